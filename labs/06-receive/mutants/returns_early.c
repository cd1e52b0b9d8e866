/* Breaks rule 8: gives a loan back when its first bytes are consumed, and reads on. */
static void let_go(struct tdi_receive_queue *queue, struct tdi_tsdu *tsdu)
{
	kirql irql;

	if (tsdu->kind == TDI_TSDU_MDL && tsdu->descriptor != NULL)
		tdi_return_chained_receives(&tsdu->descriptor, 1);
	if (tsdu != &queue->spare) {
		ex_free_pool(tsdu);
		return;
	}
	irql = ke_acquire_spin_lock(&queue->lock);
	queue->spare_used = false;
	ke_release_spin_lock(&queue->lock, irql);
}

void tdi_queue_consume(struct tdi_receive_queue *queue, uint32_t length)
{
	struct tdi_tsdu *done = NULL;
	struct tdi_tsdu *first;
	void *descriptor = NULL;
	bool receive;
	kirql irql;

	if (length == 0)
		return;
	irql = ke_acquire_spin_lock(&queue->lock);
	first = containing_record(queue->tsdus.next, struct tdi_tsdu, entry);
	if (first->kind == TDI_TSDU_MDL) {
		descriptor = first->descriptor;
		first->descriptor = NULL;
	}
	done = consume_first(queue, length);
	receive = prepare_receive(queue);
	ke_release_spin_lock(&queue->lock, irql);
	if (descriptor != NULL)
		tdi_return_chained_receives(&descriptor, 1);
	if (done != NULL)
		let_go(queue, done);
	if (receive)
		start_receive(queue);
}
