/* Breaks rule 11: the completion routine does not look whether it is the last. */
static ntstatus batch_sent(struct device_object *device, struct irp *irp, void *context)
{
	struct ksock_batch *batch = context;
	struct ksock_conn *conn = batch->conn;
	kirql irql;

	(void)device;
	batch->status = irp->io_status.status;
	ob_dereference(&batch->references);
	irql = ke_acquire_spin_lock(&conn->peer->lock);
	conn->tx_ready = true;
	ke_release_spin_lock(&conn->peer->lock, irql);
	return STATUS_MORE_PROCESSING_REQUIRED;
}
