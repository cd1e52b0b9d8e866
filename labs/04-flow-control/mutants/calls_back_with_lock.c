/* Breaks rule 10: calls back with the lock held. */
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
			send->callback(send->context, send->status, send->sent);
			ke_release_spin_lock(&window->lock, irql);
		} else if ((send = next_piece(window)) != NULL) {
			ke_release_spin_lock(&window->lock, irql);
			tdi_start_send_buffer(window->connection, send->buffer + send->sent,
					      send->length - send->sent, TDI_SEND_NON_BLOCKING,
					      piece_answered, window);
		} else {
			break;
		}
		irql = ke_acquire_spin_lock(&window->lock);
	}
	window->running = false;
	ke_release_spin_lock(&window->lock, irql);
}
