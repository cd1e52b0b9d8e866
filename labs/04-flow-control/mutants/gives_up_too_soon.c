/* Breaks rule 12: ends what waits although the transport has a piece of it. */
static void give_up(struct tdi_send_window *window)
{
	struct tdi_window_send *send;

	if (nt_success(window->ended))
		return;
	while ((send = first_of(&window->waiting)) != NULL)
		finish(window, send, window->ended);
}
