/*
 * Receiving into the client's buffers.
 *
 * A started receive needs no second reference, unlike a send of stage 03: the submitter does not
 * ask how it went, so after io_call_driver it touches nothing, and the completion routine is the
 * only one to clean up.
 */
#include "tdi/tdi.h"

struct receive_context {
	tdi_completion_callback *callback;
	void *callback_context;
};

static ntstatus receive_completed(struct device_object *device, struct irp *irp, void *context)
{
	struct receive_context receive = *(struct receive_context *)context;
	struct io_status_block result = irp->io_status;

	(void)device;
	io_unlock_buffer(irp);
	io_free_irp(irp);
	ex_free_pool(context);
	receive.callback(receive.callback_context, result.status, (uint32_t)result.information);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

void tdi_start_receive_buffer(struct file_object *connection, void *buffer, uint32_t length,
			      uint32_t flags, tdi_completion_callback *callback, void *context)
{
	struct device_object *device = io_get_related_device_object(connection);
	struct receive_context *receive = ex_allocate_pool(sizeof(*receive));
	struct irp *irp = io_allocate_irp(device->stack_size);
	ntstatus status = STATUS_INSUFFICIENT_RESOURCES;

	if (receive != NULL && irp != NULL)
		status = io_lock_buffer(irp, buffer, length, IO_WRITE_ACCESS);
	if (!nt_success(status)) {
		if (irp != NULL)
			io_free_irp(irp);
		ex_free_pool(receive);
		callback(context, status, 0);
		return;
	}
	*receive = (struct receive_context){callback, context};
	tdi_build_receive(irp, connection, receive_completed, receive, irp->mdl_address, flags,
			  length);
	io_call_driver(device, irp);
}

struct wait {
	struct kevent done;
	ntstatus status;
	uint32_t bytes;
};

static void wait_done(void *context, ntstatus status, uint32_t bytes)
{
	struct wait *wait = context;

	wait->status = status;
	wait->bytes = bytes;
	ke_set_event(&wait->done);
}

int64_t tdi_receive_stream(struct file_object *connection, void *buffer, uint32_t length)
{
	struct wait wait;

	ke_initialize_event(&wait.done, NOTIFICATION_EVENT, false);
	tdi_start_receive_buffer(connection, buffer, length, 0, wait_done, &wait);
	ke_wait_for_single_object(&wait.done, KE_WAIT_FOREVER);
	return nt_success(wait.status) ? (int64_t)wait.bytes : wait.status;
}
