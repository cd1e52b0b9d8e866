/* Breaks rule 9: says that all is well while the send is under way. */
ntstatus tdi_start_send_buffer(struct file_object *connection, const void *buffer, uint32_t length,
			       uint32_t flags, tdi_completion_callback *callback, void *context)
{
	struct send_context *send = allocate_send(connection, callback, context);
	ntstatus status = STATUS_INSUFFICIENT_RESOURCES;

	if (send != NULL) {
		status = io_lock_buffer(send->irp, (void *)buffer, length, IO_READ_ACCESS);
		if (!nt_success(status))
			free_send(send);
	}
	if (!nt_success(status)) {
		callback(context, status, 0);
		return status;
	}
	tdi_build_send(send->irp, connection, send_completed, send, send->irp->mdl_address, flags,
		       length);
	send->begun_ns = tdi_count_begin(send->counters, TDI_TIMED_OF);
	io_call_driver(io_get_related_device_object(connection), send->irp);
	if (!ob_dereference(&send->references))
		return STATUS_SUCCESS;
	status = send->status;
	free_send(send);
	return status;
}
