/* Breaks rule 3: keeps where the data stands instead of the data. */
ntstatus tdi_queue_receive(struct tdi_receive_queue *queue, uint32_t bytes_indicated,
			   uint32_t bytes_available, uint32_t *bytes_taken, const void *tsdu)
{
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	uint32_t room = takes_no_more(queue) ? 0 : queue->limit - queue->copied;
	uint32_t taken = smaller(bytes_indicated, room);
	struct tdi_tsdu *kept = allocate_copy(sizeof(struct mdl));
	struct mdl *mdl = (struct mdl *)(void *)bytes_behind(kept);

	(void)bytes_available;
	*mdl = (struct mdl){.mapped_system_va = (char *)tsdu, .byte_count = taken};
	*kept = (struct tdi_tsdu){.kind = TDI_TSDU_MDL, .length = taken, .mdl = mdl};
	insert_tail_list(&queue->tsdus, &kept->entry);
	queue->lent += taken;
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
	return taken == bytes_indicated ? STATUS_SUCCESS : STATUS_DATA_NOT_ACCEPTED;
}

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
