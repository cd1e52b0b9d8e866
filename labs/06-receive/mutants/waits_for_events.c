/* Breaks rule 6: refuses, and then waits for events that cannot come. */
void tdi_queue_consume(struct tdi_receive_queue *queue, uint32_t length)
{
	struct tdi_tsdu *done = NULL;
	kirql irql;

	if (length == 0)
		return;
	irql = ke_acquire_spin_lock(&queue->lock);
	done = consume_first(queue, length);
	ke_release_spin_lock(&queue->lock, irql);
	if (done != NULL)
		let_go(queue, done);
}
