/* Breaks rule 5: looks whether data was refused before it has the lock. */
void tdi_queue_consume(struct tdi_receive_queue *queue, uint32_t length)
{
	struct tdi_tsdu *done = NULL;
	bool refused = queue->refused;
	bool receive;
	kirql irql;

	if (length == 0)
		return;
	irql = ke_acquire_spin_lock(&queue->lock);
	done = consume_first(queue, length);
	receive = refused && prepare_receive(queue);
	ke_release_spin_lock(&queue->lock, irql);
	if (done != NULL)
		let_go(queue, done);
	if (receive)
		start_receive(queue);
}
