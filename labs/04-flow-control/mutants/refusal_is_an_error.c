/* Breaks rule 6: calls back with STATUS_DEVICE_NOT_READY. */
static void take_answer(struct tdi_send_window *window, ntstatus status, uint32_t bytes)
{
	struct tdi_window_send *send = first_of(&window->waiting);

	window->sending = false;
	if (nt_success(status)) {
		send->sent += bytes;
		if (send->sent < send->length)
			return;
	}
	window->possible = true;
	finish(window, send, status);
}
