/* Breaks rule 1: sends by pieces over a transport that does not buffer, and waits for news there.
 */
void tdi_window_send(struct tdi_send_window *window, struct tdi_window_send *send,
		     const void *buffer, uint32_t length, tdi_completion_callback *callback,
		     void *context)
{
	kirql irql = ke_acquire_spin_lock(&window->lock);

	*send = (struct tdi_window_send){
		.buffer = buffer, .length = length, .callback = callback, .context = context};
	insert_tail_list(&window->waiting, &send->entry);
	run_and_unlock(window, irql);
}
