/* Breaks rule 2: answers STATUS_SUCCESS when it is full, and is shown the same again and again. */
ntstatus tdi_queue_receive(struct tdi_receive_queue *queue, uint32_t bytes_indicated,
			   uint32_t bytes_available, uint32_t *bytes_taken, const void *tsdu)
{
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	uint32_t room = takes_no_more(queue) ? 0 : queue->limit - queue->copied;
	uint32_t taken = append(queue, tsdu, smaller(bytes_indicated, room));

	(void)bytes_available;
	count(queue, TDI_COUNTS_INDICATED, 1);
	if (taken < bytes_indicated) {
		count(queue, TDI_COUNTS_REFUSED, 1);
		queue->refused = true;
		if (queue->copied <= queue->limit / 2)
			retry_later(queue);
	}
	ke_release_spin_lock(&queue->lock, irql);
	*bytes_taken = taken;
	if (taken > 0)
		queue->changed(queue->context);
	return STATUS_SUCCESS;
}
