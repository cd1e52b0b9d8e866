/* Breaks rule 5: takes STATUS_SUCCESS for all sent. */
static void take_answer(struct tdi_send_window *window, ntstatus status, uint32_t bytes)
{
	struct tdi_window_send *send = first_of(&window->waiting);

	window->sending = false;
	if (status == STATUS_DEVICE_NOT_READY)
		return;
	if (nt_success(status))
		send->sent = send->length;
	window->possible = true;
	finish(window, send, status);
}
