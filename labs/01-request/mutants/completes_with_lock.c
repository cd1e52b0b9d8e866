/* Breaks rule 9: calls other people's code under its own lock. */
static void cancel_queued(struct device_object *device, struct irp *irp)
{
	struct io_csq *csq = irp->driver_context[CSQ_CONTEXT];
	kirql irql = ke_acquire_spin_lock(csq->lock);

	(void)device;
	remove_entry_list(&irp->list_entry);
	io_finish_request(irp, STATUS_CANCELLED, 0);
	ke_release_spin_lock(csq->lock, irql);
	if (csq->cancelled != NULL)
		csq->cancelled(csq, csq->context);
}
