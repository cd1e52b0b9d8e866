/* Breaks rule 4: leaves the window of a broken connection as it is. */
static void disconnected(void *event_context, void *connection_context, uint32_t flags,
			 ntstatus reason)
{
	struct tdi_stream *stream = connection_context;

	(void)event_context;
	if (flags == TDI_DISCONNECT_RELEASE)
		reason = STATUS_GRACEFUL_DISCONNECT;
	tdi_window_send_possible(&stream->window);
	tdi_end_receive_queue(&stream->normal, reason);
	tdi_end_receive_queue(&stream->expedited, reason);
}
