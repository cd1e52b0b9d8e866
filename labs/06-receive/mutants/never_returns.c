/* Breaks rule 8: keeps its loans, and the transport has less and less to lend. */
static void let_go(struct tdi_receive_queue *queue, struct tdi_tsdu *tsdu)
{
	kirql irql;

	if (tsdu != &queue->spare) {
		ex_free_pool(tsdu);
		return;
	}
	irql = ke_acquire_spin_lock(&queue->lock);
	queue->spare_used = false;
	ke_release_spin_lock(&queue->lock, irql);
}
