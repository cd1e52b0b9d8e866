/* Breaks rule 14: the completion routine calls the messages back. */
static ntstatus batch_sent(struct device_object *device, struct irp *irp, void *context)
{
	struct ksock_batch *batch = context;
	struct ksock_conn *conn = batch->conn;
	struct list_entry done;
	kirql irql;

	(void)device;
	batch->status = irp->io_status.status;
	initialize_list_head(&done);
	irql = ke_acquire_spin_lock(&conn->peer->lock);
	if (nt_success(batch->status))
		finish_txs(batch, &done);
	ke_release_spin_lock(&conn->peer->lock, irql);
	ksocknal_txlist_done(&done);
	if (!ob_dereference(&batch->references))
		return STATUS_MORE_PROCESSING_REQUIRED; /* the turn goes on with it */
	irql = ke_acquire_spin_lock(&conn->peer->lock);
	conn->tx_ready = true;
	ksocknal_schedule_tx(conn);
	ke_release_spin_lock(&conn->peer->lock, irql);
	return STATUS_MORE_PROCESSING_REQUIRED;
}
