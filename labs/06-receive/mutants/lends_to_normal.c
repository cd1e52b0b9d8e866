/* Breaks rule 11: puts expedited loans into the normal queue. */
static ntstatus chained_receive_expedited_event(void *event_context, void *connection_context,
						uint32_t receive_flags, uint32_t receive_length,
						uint32_t starting_offset, const struct mdl *tsdu,
						void *tsdu_descriptor)
{
	struct tdi_stream *stream = connection_context;

	(void)event_context;
	(void)receive_flags;
	return tdi_queue_chained_receive(&stream->normal, receive_length, starting_offset, tsdu,
					 tsdu_descriptor);
}
