/* Breaks rule 8: lets the answer decide, although the news is newer. */
static void take_answer(struct tdi_send_window *window, ntstatus status, uint32_t bytes)
{
	struct tdi_window_send *send = first_of(&window->waiting);

	window->sending = false;
	if (status == STATUS_DEVICE_NOT_READY) {
		window->possible = false;
		return;
	}
	if (nt_success(status)) {
		send->sent += bytes;
		if (send->sent < send->length)
			return;
	}
	window->possible = true;
	finish(window, send, status);
}
