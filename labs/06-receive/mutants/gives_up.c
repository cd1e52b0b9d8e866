/* Breaks rule 7: takes a want of memory for the end of the connection. */
static bool take_received(struct tdi_receive_queue *queue, ntstatus status, uint32_t bytes)
{
	struct tdi_tsdu *tsdu = queue->receiving;

	queue->receiving = NULL;
	queue->copied -= tsdu->length;
	count(queue, TDI_COUNTS_RECEIVED, 1);
	if (nt_success(status) && bytes > 0 && !queue->closed) {
		tsdu->length = bytes;
		insert_tail_list(&queue->tsdus, &tsdu->entry);
		note_copied(queue, bytes);
		return true;
	}
	if (!nt_success(status) && queue->end == STATUS_SUCCESS)
		queue->end = status;
	return false;
}
