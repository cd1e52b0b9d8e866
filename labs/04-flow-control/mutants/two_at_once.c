/* Breaks rule 3: starts a piece on news of room, though one is under way. */
static struct tdi_window_send *next_piece(struct tdi_send_window *window)
{
	if (!window->possible || is_list_empty(&window->waiting))
		return NULL;
	window->sending = true;
	window->possible = false;
	return first_of(&window->waiting);
}
