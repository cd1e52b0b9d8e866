/*
 * Stage 03: a send that returns at once and calls back.
 *
 * Each send is a request of its own, so any number can be under way, and the line need not idle for
 * a round trip between two of them. The price is that nothing may live on the caller's stack, and
 * that two contexts, which nobody orders, end their business with the request: the submitter, which
 * returns from io_call_driver, and the completion routine, which may run before, while or after it
 * does, on any processor. The status that io_call_driver returns does not tell which:
 * STATUS_PENDING only says that the request was pending at some time.
 *
 * So there is a completion context with two references:
 *
 *      submitter                                completion routine
 *        allocates IRP, MDL, context (2 refs)
 *        io_call_driver ──────────────────────▶   unlocks and frees the MDL: the buffer is the
 *          ...                                    caller's again
 *          ...                                    keeps the status, calls back
 *        drops one ◀────── in any order ──────▶   drops one
 *
 * and whoever drops the last frees the IRP and the context. To the submitter the drop also gives
 * the answer that io_call_driver could not: if it was the last, then the callback has run, and the
 * status in the context is final; if not, the request is still under way.
 *
 * The callback runs in the completion routine, never in the submitter after the fact: a transport
 * completes requests from its pump, which does not nest, so a callback that starts the next send
 * can do so for ever without growing the stack.
 *
 * Sources: the first seed thread (tdi_start_send_buffer), the Tdinal design (the race between the
 * sending routine and the completion routine, and its two references).
 */
#include "tdi/counters.h"
#include "tdi/tdi.h"

struct send_context {
	struct ob_reference references; /* the submitter's and the completion routine's */
	ntstatus status;		/* written before the completion routine drops its own */
	struct irp *irp;
	tdi_completion_callback *callback;
	void *callback_context;
	struct stat_block *counters;
	uint64_t begun_ns;
};

static void free_send(struct send_context *send)
{
	io_free_irp(send->irp);
	ex_free_pool(send);
}

static ntstatus send_completed(struct device_object *device, struct irp *irp, void *context)
{
	struct send_context *send = context;

	(void)device;
	io_unlock_buffer(irp); /* the client's again, and the callback may rely on it */
	tdi_count_end(send->counters, send->begun_ns, &irp->io_status);
	send->status = irp->io_status.status;
	send->callback(send->callback_context, send->status, (uint32_t)irp->io_status.information);
	if (ob_dereference(&send->references))
		free_send(send);
	return STATUS_MORE_PROCESSING_REQUIRED; /* the IRP is ours, and perhaps gone */
}

/* Both references are taken before anyone else can drop one. NULL when there is no pool. */
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
	ob_initialize_reference(&send->references, 2);
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
	io_call_driver(io_get_related_device_object(connection), send->irp);
	if (!ob_dereference(&send->references))
		return STATUS_PENDING; /* the completion routine will free it, or has begun to */
	status = send->status;
	free_send(send);
	return status;
}
