/* Breaks rule 12: tells the end as soon as it knows, before what is unread. */
const void *tdi_queue_peek(struct tdi_receive_queue *queue, uint32_t *length, ntstatus *status)
{
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	const void *bytes = NULL;

	*length = 0;
	*status = STATUS_PENDING;
	if (queue->end != STATUS_SUCCESS) {
		*status = queue->end;
	} else if (!is_list_empty(&queue->tsdus)) {
		bytes = unread_bytes(containing_record(queue->tsdus.next, struct tdi_tsdu, entry),
				     length);
		*status = STATUS_SUCCESS;
	}
	ke_release_spin_lock(&queue->lock, irql);
	return bytes;
}
