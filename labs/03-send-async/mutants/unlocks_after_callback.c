/* Breaks rule 3: calls back first, while the pages are still locked under the client. */
static ntstatus send_completed(struct device_object *device, struct irp *irp, void *context)
{
	struct send_context *send = context;

	(void)device;
	send->status = irp->io_status.status;
	send->callback(send->callback_context, send->status, (uint32_t)irp->io_status.information);
	io_unlock_buffer(irp);
	tdi_count_end(send->counters, send->begun_ns, &irp->io_status);
	if (ob_dereference(&send->references))
		free_send(send);
	return STATUS_MORE_PROCESSING_REQUIRED;
}
