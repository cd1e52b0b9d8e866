/* Breaks rule 10: makes its TDI_RECEIVE with the lock held, under which it completes. */
void tdi_queue_consume(struct tdi_receive_queue *queue, uint32_t length)
{
	struct tdi_tsdu *done = NULL;
	bool receive;
	kirql irql;

	if (length == 0)
		return;
	irql = ke_acquire_spin_lock(&queue->lock);
	done = consume_first(queue, length);
	receive = prepare_receive(queue);
	if (done != NULL)
		let_go(queue, done);
	if (receive)
		start_receive(queue);
	ke_release_spin_lock(&queue->lock, irql);
}
