/*
 * Whole jobs on addresses and connections, for threads that wait.
 *
 * Each is an IRP of io_allocate_irp's with a completion routine that takes it back and sets an
 * event. The IRP stays this function's, so a wait that has taken too long can cancel it safely, and
 * then waits on: the transport completes it one way or the other, and only that ends its use of the
 * caller's stack.
 */
#include "tdi/counters.h"
#include "tdi/stream.h"

struct call {
	struct irp *irp;
	struct kevent done;
};

static ntstatus call_done(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)irp;
	ke_set_event(&((struct call *)context)->done);
	return STATUS_MORE_PROCESSING_REQUIRED; /* ours again */
}

static ntstatus begin_call(struct call *call, struct file_object *file)
{
	ke_initialize_event(&call->done, NOTIFICATION_EVENT, false);
	call->irp = io_allocate_irp(io_get_related_device_object(file)->stack_size);
	return call->irp != NULL ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}

/* Sends the request, waits, frees it: its status. *expired: it was cancelled, for it took too long.
 */
static ntstatus run_call(struct call *call, struct file_object *file, int64_t timeout_ns,
			 bool *expired)
{
	ntstatus status;

	io_call_driver(io_get_related_device_object(file), call->irp);
	*expired = ke_wait_for_single_object(&call->done, timeout_ns) == STATUS_TIMEOUT;
	if (*expired) {
		io_cancel_irp(call->irp);
		ke_wait_for_single_object(&call->done, KE_WAIT_FOREVER);
	}
	status = call->irp->io_status.status;
	io_free_irp(call->irp);
	*expired = *expired && status == STATUS_CANCELLED;
	return status;
}

/* What it was cancelled for is a timeout to the caller. */
static ntstatus finish_call(struct call *call, struct file_object *file, int64_t timeout_ns)
{
	bool expired;
	ntstatus status = run_call(call, file, timeout_ns, &expired);

	return expired ? STATUS_IO_TIMEOUT : status;
}

static ntstatus call_major(struct file_object *file, enum irp_major_function major,
			   const struct tdi_create *create)
{
	struct call call;
	struct io_stack_location *next;
	ntstatus status = begin_call(&call, file);

	if (!nt_success(status))
		return status;
	next = io_get_next_irp_stack_location(call.irp);
	next->major_function = (uint8_t)major;
	next->file_object = file;
	if (create != NULL)
		*tdi_parameters(next, tdi_create) = *create;
	io_set_completion_routine(call.irp, call_done, &call, true, true, true);
	return finish_call(&call, file, KE_WAIT_FOREVER);
}

ntstatus tdi_open_transport_address(struct device_object *device,
				    const struct transport_address *address,
				    struct file_object *file)
{
	const struct tdi_ea ea = {TDI_TRANSPORT_ADDRESS, address, sizeof(*address)};
	const struct tdi_create create = {&ea, 1};

	*file = (struct file_object){.device_object = device};
	return call_major(file, IRP_MJ_CREATE, &create);
}

static void begin_counting(struct file_object *file)
{
	struct stat_segment *segment = file->device_object->segment;

	stat_add_block(&file->requests, segment, &io_request_table);
	stat_add_block(&file->client[TDI_COUNTS_SEND_SYNC], segment, &tdi_send_sync_table);
	stat_add_block(&file->client[TDI_COUNTS_SEND_ASYNC], segment, &tdi_send_async_table);
}

static void end_counting(struct file_object *file)
{
	stat_remove_block(&file->requests);
	for (unsigned i = 0; i < IO_CLIENT_BLOCKS; i++)
		stat_remove_block(&file->client[i]);
}

ntstatus tdi_open_connection_endpoint(struct device_object *device, void *connection_context,
				      struct file_object *file)
{
	const struct tdi_ea ea = {TDI_CONNECTION_CONTEXT, &connection_context, sizeof(void *)};
	const struct tdi_create create = {&ea, 1};
	ntstatus status;

	*file = (struct file_object){.device_object = device};
	status = call_major(file, IRP_MJ_CREATE, &create);
	if (nt_success(status))
		begin_counting(file);
	return status;
}

ntstatus tdi_open_control_channel(struct device_object *device, struct file_object *file)
{
	const struct tdi_create create = {NULL, 0};

	*file = (struct file_object){.device_object = device};
	return call_major(file, IRP_MJ_CREATE, &create);
}

/* Closing can't fail, so the request for it is not allowed to need memory that isn't there. */
void tdi_close(struct file_object *file)
{
	while (call_major(file, IRP_MJ_CLEANUP, NULL) == STATUS_INSUFFICIENT_RESOURCES)
		ke_delay_execution_thread(1000000);
	while (call_major(file, IRP_MJ_CLOSE, NULL) == STATUS_INSUFFICIENT_RESOURCES)
		ke_delay_execution_thread(1000000);
	end_counting(file);
}

ntstatus tdi_associate_address(struct file_object *connection, struct file_object *address)
{
	struct call call;
	ntstatus status = begin_call(&call, connection);

	if (!nt_success(status))
		return status;
	tdi_build_associate_address(call.irp, connection, call_done, &call, address);
	return finish_call(&call, connection, KE_WAIT_FOREVER);
}

ntstatus tdi_disassociate_address(struct file_object *connection)
{
	struct call call;
	ntstatus status = begin_call(&call, connection);

	if (!nt_success(status))
		return status;
	tdi_build_disassociate_address(call.irp, connection, call_done, &call);
	return finish_call(&call, connection, KE_WAIT_FOREVER);
}

ntstatus tdi_set_event_handler(struct file_object *address, enum tdi_event_type type,
			       tdi_event_handler *handler, void *context)
{
	struct call call;
	ntstatus status = begin_call(&call, address);

	if (!nt_success(status))
		return status;
	tdi_build_set_event_handler(call.irp, address, call_done, &call, type, handler, context);
	return finish_call(&call, address, KE_WAIT_FOREVER);
}

ntstatus tdi_connect(struct file_object *connection, const struct transport_address *remote,
		     int64_t timeout_ns)
{
	struct call call;
	ntstatus status = begin_call(&call, connection);

	if (!nt_success(status))
		return status;
	tdi_build_connect(call.irp, connection, call_done, &call, remote);
	return finish_call(&call, connection, timeout_ns);
}

ntstatus tdi_listen(struct file_object *connection, struct transport_address *remote,
		    int64_t timeout_ns)
{
	struct call call;
	ntstatus status = begin_call(&call, connection);

	if (!nt_success(status))
		return status;
	tdi_build_listen(call.irp, connection, call_done, &call, remote);
	return finish_call(&call, connection, timeout_ns);
}

ntstatus tdi_disconnect(struct file_object *connection, uint32_t flags)
{
	struct call call;
	ntstatus status = begin_call(&call, connection);

	if (!nt_success(status))
		return status;
	tdi_build_disconnect(call.irp, connection, call_done, &call, flags);
	return finish_call(&call, connection, KE_WAIT_FOREVER);
}

/* The reason for an end may be any status, so that none tells whether this is one. */
ntstatus tdi_wait_for_end(struct file_object *connection, int64_t timeout_ns)
{
	struct call call;
	ntstatus status = begin_call(&call, connection);
	bool expired;

	if (!nt_success(status))
		return status;
	tdi_build_disconnect(call.irp, connection, call_done, &call, TDI_DISCONNECT_WAIT);
	status = run_call(&call, connection, timeout_ns, &expired);
	if (expired)
		return STATUS_IO_TIMEOUT;
	return status == STATUS_INVALID_DEVICE_REQUEST ? status : STATUS_SUCCESS;
}

ntstatus tdi_query_information(struct file_object *file, enum tdi_query_type type, void *buffer,
			       uint32_t length)
{
	struct call call;
	ntstatus status = begin_call(&call, file);

	if (!nt_success(status))
		return status;
	tdi_build_query_information(call.irp, file, call_done, &call, type, buffer, length);
	return finish_call(&call, file, KE_WAIT_FOREVER);
}

ntstatus tdi_set_information(struct file_object *file, enum tdi_set_type type, const void *value,
			     uint32_t length)
{
	struct call call;
	ntstatus status = begin_call(&call, file);

	if (!nt_success(status))
		return status;
	tdi_build_set_information(call.irp, file, call_done, &call, type, value, length);
	return finish_call(&call, file, KE_WAIT_FOREVER);
}
