/* Breaks rule 1: waits for each acknowledgement before it sends again. */
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

static void run_and_unlock(struct tdi_send_window *window, kirql irql)
{
	struct tdi_window_send *send;

	if (window->running) {
		ke_release_spin_lock(&window->lock, irql);
		return;
	}
	window->running = true;
	for (;;) {
		give_up(window);
		if ((send = next_done(window)) != NULL) {
			ke_release_spin_lock(&window->lock, irql);
			send->callback(send->context, send->status, send->sent);
		} else if ((send = next_piece(window)) != NULL) {
			ke_release_spin_lock(&window->lock, irql);
			tdi_start_send_buffer(window->connection, send->buffer + send->sent,
					      send->length - send->sent,
					      window->buffers ? TDI_SEND_NON_BLOCKING : 0,
					      piece_answered, window);
		} else {
			break;
		}
		irql = ke_acquire_spin_lock(&window->lock);
	}
	window->running = false;
	ke_release_spin_lock(&window->lock, irql);
}
