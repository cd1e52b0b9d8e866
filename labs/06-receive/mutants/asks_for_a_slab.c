/* Breaks rule 4: asks for as much as a slab holds, whatever the limit leaves. */
static bool prepare_receive(struct tdi_receive_queue *queue)
{
	struct tdi_tsdu *tsdu;

	if (!queue->refused || takes_no_more(queue) || queue->copied > queue->limit / 2)
		return false;
	tsdu = allocate_copy(SLAB_ROOM);
	if (tsdu == NULL) {
		retry_later(queue);
		return false;
	}
	tsdu->length = tsdu->capacity;
	queue->copied += tsdu->length;
	queue->refused = false;
	queue->receiving = tsdu;
	count(queue, TDI_COUNTS_RECEIVES, 1);
	return true;
}
