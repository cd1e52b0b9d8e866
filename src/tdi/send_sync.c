/*
 * Stage 02: one send, one wait.
 *
 * This is the routine that the first seed thread complains about, made correct. It is as simple as
 * a send can be: the request lives on nobody's conscience, because the I/O manager frees it and its
 * MDL when it completes; the buffer, the event and the status block live on this stack, and the
 * wait keeps the stack alive. And it is slow for the same reason: a transport that does not buffer
 * needs the buffer until the peer has acknowledged it, so one call takes one round trip, however
 * fast the line is:
 *
 *      client    send ─────────────┐ wait ............. ┌ return, send ─────┐ wait ....
 *      line      ═════ data ═════▶ │                    │                   │
 *      peer                        └──── ack ───────────┘
 *
 * What was wrong in the original: it freed a threaded IRP by hand (in NT the thread still lists
 * it); status and byte count shared a 32-bit return type, in which a large count is an error; and
 * it read the status block only after STATUS_PENDING, so its answer for a request that completed at
 * once was a status where a count belonged.
 */
#include "tdi/counters.h"
#include "tdi/tdi.h"

int64_t tdi_send_stream(struct file_object *connection, const void *buffer, uint32_t length,
			uint32_t flags)
{
	struct stat_block *counters = &connection->client[TDI_COUNTS_SEND_SYNC];
	struct io_status_block iosb;
	struct kevent event;
	struct irp *irp;
	ntstatus status;
	uint64_t begun_ns;

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

	begun_ns = tdi_count_begin(counters, 1);
	io_call_driver(io_get_related_device_object(connection), irp);
	/* Also when it has completed already: then the event is set, and this returns at once. */
	ke_wait_for_single_object(&event, KE_WAIT_FOREVER);
	tdi_count_end(counters, begun_ns, &iosb);
	return nt_success(iosb.status) ? (int64_t)iosb.information : iosb.status;
}
