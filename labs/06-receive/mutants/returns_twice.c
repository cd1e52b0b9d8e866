/* Breaks rule 8: gives each loan back a second time. */
static void let_go(struct tdi_receive_queue *queue, struct tdi_tsdu *tsdu)
{
	kirql irql;

	if (tsdu->kind == TDI_TSDU_MDL) {
		tdi_return_chained_receives(&tsdu->descriptor, 1);
		tdi_return_chained_receives(&tsdu->descriptor, 1);
	}
	if (tsdu != &queue->spare) {
		ex_free_pool(tsdu);
		return;
	}
	irql = ke_acquire_spin_lock(&queue->lock);
	queue->spare_used = false;
	ke_release_spin_lock(&queue->lock, irql);
}
