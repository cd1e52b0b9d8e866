/* Breaks rule 3: waits for an event that can't follow the last one. */
static void disconnected(void *event_context, void *connection_context, uint32_t flags,
			 ntstatus reason)
{
	struct tdi_stream *stream = connection_context;

	(void)event_context;
	if (flags == TDI_DISCONNECT_RELEASE)
		reason = STATUS_GRACEFUL_DISCONNECT;
	else
		tdi_end_send_window(&stream->window, reason);
	tdi_end_receive_queue(&stream->normal, reason);
	tdi_end_receive_queue(&stream->expedited, reason);
}
