/* Breaks rule 7: puts what a TDI_RECEIVE has brought before what came earlier. */
static bool take_received(struct tdi_receive_queue *queue, ntstatus status, uint32_t bytes)
{
	struct tdi_tsdu *tsdu = queue->receiving;

	queue->receiving = NULL;
	queue->copied -= tsdu->length;
	count(queue, TDI_COUNTS_RECEIVED, 1);
	if (nt_success(status) && bytes > 0 && !queue->closed) {
		tsdu->length = bytes;
		insert_head_list(&queue->tsdus, &tsdu->entry);
		note_copied(queue, bytes);
		return true;
	}
	if (status == STATUS_INSUFFICIENT_RESOURCES) {
		queue->refused = true;
		retry_later(queue);
	} else if (!nt_success(status) && queue->end == STATUS_SUCCESS) {
		queue->end = status;
	}
	return false;
}
