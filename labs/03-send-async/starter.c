/*
 * Lab 03: your part of src/tdi/send_async.c. See README.md. Only these functions are yours; graft
 * puts each in place of the one of the same name.
 */
#include "tdi/tdi.h"

/* The context with its IRP and its references, ready for io_call_driver; NULL: no pool. */
static struct send_context *allocate_send(struct file_object *connection,
					  tdi_completion_callback *callback, void *context)
{
	(void)connection;
	(void)callback;
	(void)context;
	return NULL; /* TODO */
}

/* The transport is done with the request. */
static ntstatus send_completed(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)irp;
	(void)context;
	ke_bug_check("NOT-WRITTEN", "send_completed is yours to write");
}

ntstatus tdi_start_send_buffer(struct file_object *connection, const void *buffer, uint32_t length,
			       uint32_t flags, tdi_completion_callback *callback, void *context)
{
	struct send_context *send = allocate_send(connection, callback, context);

	(void)buffer;
	(void)length;
	(void)flags;
	if (send != NULL)
		free_send(send);
	(void)send_completed; /* TODO: for tdi_build_send */
	ke_bug_check("NOT-WRITTEN", "tdi_start_send_buffer is yours to write");
}
