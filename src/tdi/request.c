/* The builders: what a request looks like to the transport. */
#include "tdi/tdi.h"

/* The next location, for this file and minor function, with the routine set to run in every case.
 */
static struct io_stack_location *build(struct irp *irp, struct file_object *file, uint8_t minor,
				       io_completion_routine *routine, void *context)
{
	struct io_stack_location *next = io_get_next_irp_stack_location(irp);

	next->major_function = IRP_MJ_INTERNAL_DEVICE_CONTROL;
	next->minor_function = minor;
	next->file_object = file;
	if (routine != NULL)
		io_set_completion_routine(irp, routine, context, true, true, true);
	return next;
}

void tdi_build_associate_address(struct irp *irp, struct file_object *connection,
				 io_completion_routine *routine, void *context,
				 struct file_object *address)
{
	struct io_stack_location *next =
		build(irp, connection, TDI_ASSOCIATE_ADDRESS, routine, context);

	tdi_parameters(next, tdi_request_associate)->address = address;
}

void tdi_build_connect(struct irp *irp, struct file_object *connection,
		       io_completion_routine *routine, void *context,
		       const struct transport_address *remote)
{
	struct io_stack_location *next = build(irp, connection, TDI_CONNECT, routine, context);

	tdi_parameters(next, tdi_request_connect)->remote = remote;
}

void tdi_build_listen(struct irp *irp, struct file_object *connection,
		      io_completion_routine *routine, void *context,
		      struct transport_address *remote)
{
	struct io_stack_location *next = build(irp, connection, TDI_LISTEN, routine, context);

	tdi_parameters(next, tdi_request_listen)->remote = remote;
}

void tdi_build_disassociate_address(struct irp *irp, struct file_object *connection,
				    io_completion_routine *routine, void *context)
{
	build(irp, connection, TDI_DISASSOCIATE_ADDRESS, routine, context);
}

void tdi_build_accept(struct irp *irp, struct file_object *connection,
		      io_completion_routine *routine, void *context)
{
	build(irp, connection, TDI_ACCEPT, routine, context);
}

void tdi_build_disconnect(struct irp *irp, struct file_object *connection,
			  io_completion_routine *routine, void *context, uint32_t flags)
{
	struct io_stack_location *next = build(irp, connection, TDI_DISCONNECT, routine, context);

	tdi_parameters(next, tdi_request_disconnect)->flags = flags;
}

void tdi_build_send(struct irp *irp, struct file_object *connection, io_completion_routine *routine,
		    void *context, struct mdl *mdl, uint32_t flags, uint32_t length)
{
	struct io_stack_location *next = build(irp, connection, TDI_SEND, routine, context);

	irp->mdl_address = mdl;
	tdi_parameters(next, tdi_request_send)->send_length = length;
	tdi_parameters(next, tdi_request_send)->send_flags = flags;
}

void tdi_build_receive(struct irp *irp, struct file_object *connection,
		       io_completion_routine *routine, void *context, struct mdl *mdl,
		       uint32_t flags, uint32_t length)
{
	struct io_stack_location *next = build(irp, connection, TDI_RECEIVE, routine, context);

	irp->mdl_address = mdl;
	tdi_parameters(next, tdi_request_receive)->receive_length = length;
	tdi_parameters(next, tdi_request_receive)->receive_flags = flags;
}

void tdi_build_query_information(struct irp *irp, struct file_object *file,
				 io_completion_routine *routine, void *context,
				 enum tdi_query_type type, void *buffer, uint32_t length)
{
	struct io_stack_location *next = build(irp, file, TDI_QUERY_INFORMATION, routine, context);

	*tdi_parameters(next, tdi_request_query) =
		(struct tdi_request_query){.query_type = type, .buffer = buffer, .length = length};
}

void tdi_build_set_information(struct irp *irp, struct file_object *file,
			       io_completion_routine *routine, void *context,
			       enum tdi_set_type type, const void *value, uint32_t length)
{
	struct io_stack_location *next = build(irp, file, TDI_SET_INFORMATION, routine, context);

	*tdi_parameters(next, tdi_request_set) = (struct tdi_request_set){type, value, length};
}

void tdi_build_set_event_handler(struct irp *irp, struct file_object *address,
				 io_completion_routine *routine, void *context,
				 enum tdi_event_type type, tdi_event_handler *handler,
				 void *handler_context)
{
	struct io_stack_location *next =
		build(irp, address, TDI_SET_EVENT_HANDLER, routine, context);

	*tdi_parameters(next, tdi_request_set_event) =
		(struct tdi_request_set_event){type, handler, handler_context};
}

struct irp *tdi_build_internal_device_control_irp(struct file_object *file, struct kevent *event,
						  struct io_status_block *iosb)
{
	return io_build_device_io_control_request(IRP_MJ_INTERNAL_DEVICE_CONTROL,
						  io_get_related_device_object(file), event, iosb);
}
