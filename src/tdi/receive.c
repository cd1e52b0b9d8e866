/*
 * Stage 06: the two ways in which data comes.
 *
 * Asked for: a request with a buffer, which the transport fills. A started receive needs no second
 * reference, unlike a send of stage 03: the submitter does not ask how it went, so after
 * io_call_driver it touches nothing, and the completion routine is the only one to clean up.
 *
 * Not asked for: an event. The four handlers at the end are all that a transport needs to know of a
 * stream. Each is given the endpoint's context, which is the stream, picks the queue that the data
 * is for, and does there what tsdu.c is about.
 *
 * Sources: the Tdinal design (the four callbacks, "at the time callback is triggered the portals
 * might not prepare well the buffers yet").
 */
#include "tdi/stream.h"

/* ---- Asked for ----------------------------------------------------------------------------- */

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

/* ---- Not asked for ------------------------------------------------------------------------- */

/* The same as NT's ReceiveEventHandler and so on; nobody wants to have a request filled. */
static ntstatus receive_event(void *event_context, void *connection_context, uint32_t receive_flags,
			      uint32_t bytes_indicated, uint32_t bytes_available,
			      uint32_t *bytes_taken, const void *tsdu, struct irp **receive_irp)
{
	struct tdi_stream *stream = connection_context;

	(void)event_context;
	(void)receive_flags;
	(void)receive_irp;
	return tdi_queue_receive(&stream->normal, bytes_indicated, bytes_available, bytes_taken,
				 tsdu);
}

static ntstatus receive_expedited_event(void *event_context, void *connection_context,
					uint32_t receive_flags, uint32_t bytes_indicated,
					uint32_t bytes_available, uint32_t *bytes_taken,
					const void *tsdu, struct irp **receive_irp)
{
	struct tdi_stream *stream = connection_context;

	(void)event_context;
	(void)receive_flags;
	(void)receive_irp;
	return tdi_queue_receive(&stream->expedited, bytes_indicated, bytes_available, bytes_taken,
				 tsdu);
}

static ntstatus chained_receive_event(void *event_context, void *connection_context,
				      uint32_t receive_flags, uint32_t receive_length,
				      uint32_t starting_offset, const struct mdl *tsdu,
				      void *tsdu_descriptor)
{
	struct tdi_stream *stream = connection_context;

	(void)event_context;
	(void)receive_flags;
	return tdi_queue_chained_receive(&stream->normal, receive_length, starting_offset, tsdu,
					 tsdu_descriptor);
}

static ntstatus chained_receive_expedited_event(void *event_context, void *connection_context,
						uint32_t receive_flags, uint32_t receive_length,
						uint32_t starting_offset, const struct mdl *tsdu,
						void *tsdu_descriptor)
{
	struct tdi_stream *stream = connection_context;

	(void)event_context;
	(void)receive_flags;
	return tdi_queue_chained_receive(&stream->expedited, receive_length, starting_offset, tsdu,
					 tsdu_descriptor);
}

ntstatus tdi_set_receive_handlers(struct file_object *address)
{
	static const struct {
		enum tdi_event_type type;
		tdi_event_handler *handler;
	} handlers[] = {
		{TDI_EVENT_RECEIVE, (tdi_event_handler *)receive_event},
		{TDI_EVENT_RECEIVE_EXPEDITED, (tdi_event_handler *)receive_expedited_event},
		{TDI_EVENT_CHAINED_RECEIVE, (tdi_event_handler *)chained_receive_event},
		{TDI_EVENT_CHAINED_RECEIVE_EXPEDITED,
		 (tdi_event_handler *)chained_receive_expedited_event},
	};
	ntstatus status = STATUS_SUCCESS;

	for (unsigned i = 0; nt_success(status) && i < sizeof(handlers) / sizeof(handlers[0]); i++)
		status =
			tdi_set_event_handler(address, handlers[i].type, handlers[i].handler, NULL);
	return status;
}
