/* Breaks rule 6: cleans up, and then lets the walk go on over a request that is its own. */
static ntstatus send_completed(struct device_object *device, struct irp *irp, void *context)
{
	struct send_context *send = context;

	(void)device;
	io_unlock_buffer(irp);
	tdi_count_end(send->counters, send->begun_ns, &irp->io_status);
	send->status = irp->io_status.status;
	send->callback(send->callback_context, send->status, (uint32_t)irp->io_status.information);
	if (ob_dereference(&send->references))
		free_send(send);
	return STATUS_SUCCESS;
}
