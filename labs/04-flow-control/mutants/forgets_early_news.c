/* Breaks rule 8: hears news only when it waits for it. */
void tdi_window_send_possible(struct tdi_send_window *window)
{
	kirql irql = ke_acquire_spin_lock(&window->lock);

	if (!window->sending)
		window->possible = true;
	run_and_unlock(window, irql);
}
