/* Breaks rule 11: puts expedited data into the normal queue. */
static ntstatus receive_expedited_event(void *event_context, void *connection_context,
					uint32_t receive_flags, uint32_t bytes_indicated,
					uint32_t bytes_available, uint32_t *bytes_taken,
					const void *tsdu, struct irp **receive_irp)
{
	struct tdi_stream *stream = connection_context;

	(void)event_context;
	(void)receive_flags;
	(void)receive_irp;
	return tdi_queue_receive(&stream->normal, bytes_indicated, bytes_available, bytes_taken,
				 tsdu);
}
