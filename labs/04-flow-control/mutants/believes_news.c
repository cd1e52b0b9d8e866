/* Breaks rule 9: takes the piece that follows the news for taken whole. */
static bool announced;

static void take_answer(struct tdi_send_window *window, ntstatus status, uint32_t bytes)
{
	struct tdi_window_send *send = first_of(&window->waiting);

	window->sending = false;
	if (announced) {
		status = STATUS_SUCCESS;
		bytes = send->length - send->sent;
	}
	announced = false;
	if (status == STATUS_DEVICE_NOT_READY)
		return;
	if (nt_success(status)) {
		send->sent += bytes;
		if (send->sent < send->length)
			return;
	}
	window->possible = true;
	finish(window, send, status);
}

void tdi_window_send_possible(struct tdi_send_window *window)
{
	kirql irql = ke_acquire_spin_lock(&window->lock);

	announced = !is_list_empty(&window->waiting) && !window->sending;
	window->possible = true;
	run_and_unlock(window, irql);
}
