/* Breaks rule 7: lets each send that is given try its luck. */
void tdi_window_send(struct tdi_send_window *window, struct tdi_window_send *send,
		     const void *buffer, uint32_t length, tdi_completion_callback *callback,
		     void *context)
{
	kirql irql = ke_acquire_spin_lock(&window->lock);

	if (!window->buffers && nt_success(window->ended)) {
		ke_release_spin_lock(&window->lock, irql);
		tdi_start_send_buffer(window->connection, buffer, length, 0, callback, context);
		return;
	}
	*send = (struct tdi_window_send){
		.buffer = buffer, .length = length, .callback = callback, .context = context};
	window->possible = true;
	insert_tail_list(&window->waiting, &send->entry);
	run_and_unlock(window, irql);
}
