/* Breaks rule 4: takes the submitter's reference when the request may be over already. */
static struct send_context *allocate_send(struct file_object *connection,
					  tdi_completion_callback *callback, void *context)
{
	struct send_context *send = ex_allocate_pool(sizeof(*send));

	if (send == NULL)
		return NULL;
	send->irp = io_allocate_irp(io_get_related_device_object(connection)->stack_size);
	if (send->irp == NULL) {
		ex_free_pool(send);
		return NULL;
	}
	ob_initialize_reference(&send->references, 1);
	send->callback = callback;
	send->callback_context = context;
	send->counters = &connection->client[TDI_COUNTS_SEND_ASYNC];
	return send;
}

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
	status = io_call_driver(io_get_related_device_object(connection), send->irp);
	if (status != STATUS_PENDING)
		return status;
	ob_reference(&send->references);
	if (!ob_dereference(&send->references))
		return STATUS_PENDING;
	status = send->status;
	free_send(send);
	return status;
}
