/* Breaks rule 5: puts count and status into one 32-bit number, where a large count is an error. */
int64_t tdi_send_stream(struct file_object *connection, const void *buffer, uint32_t length,
			uint32_t flags)
{
	struct io_status_block iosb;
	struct kevent event;
	struct irp *irp;
	ntstatus status;

	ke_initialize_event(&event, NOTIFICATION_EVENT, false);
	irp = tdi_build_internal_device_control_irp(connection, &event, &iosb);
	if (irp == NULL)
		return STATUS_INSUFFICIENT_RESOURCES;
	status = io_lock_buffer(irp, (void *)buffer, length, IO_READ_ACCESS);
	if (!nt_success(status)) {
		io_free_irp(irp);
		return status;
	}
	tdi_build_send(irp, connection, NULL, NULL, irp->mdl_address, flags, length);
	io_call_driver(io_get_related_device_object(connection), irp);
	ke_wait_for_single_object(&event, KE_WAIT_FOREVER);
	return nt_success(iosb.status) ? (ntstatus)iosb.information : iosb.status;
}
