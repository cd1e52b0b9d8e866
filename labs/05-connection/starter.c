/*
 * Lab 05: your part of src/tdi/stream.c and src/tdi/daemon.c. See README.md. Only these functions
 * are yours; graft puts each in place of the one of the same name.
 */
#include "tdi/stream.h"

/* ClientEventDisconnect: the last event. */
static void disconnected(void *event_context, void *connection_context, uint32_t flags,
			 ntstatus reason)
{
	(void)event_context;
	(void)connection_context;
	(void)flags;
	(void)reason;
	ke_bug_check("NOT-WRITTEN", "disconnected is yours to write");
}

/* NULL and *status when it can't be. */
struct tdi_stream *tdi_create_stream(struct file_object *address, uint32_t limit, ntstatus *status)
{
	(void)address;
	(void)limit;
	(void)status;
	(void)begin_stream; /* TODO: begin, open */
	(void)open_endpoint;
	ke_bug_check("NOT-WRITTEN", "tdi_create_stream is yours to write");
}

void tdi_delete_stream(struct tdi_stream *stream)
{
	(void)stream;
	(void)end_stream; /* TODO: end, close, free */
	ke_bug_check("NOT-WRITTEN", "tdi_delete_stream is yours to write");
}

/* As many children stand as peers may wait; or the status says why not. */
static ntstatus replenish(struct tdi_daemon *daemon)
{
	(void)daemon;
	(void)create_child; /* TODO */
	ke_bug_check("NOT-WRITTEN", "replenish is yours to write");
}

/* Why the peer is refused, or STATUS_SUCCESS and a child for it. */
static ntstatus choose_child(struct tdi_daemon *daemon, struct tdi_stream **child)
{
	(void)daemon;
	(void)child;
	ke_bug_check("NOT-WRITTEN", "choose_child is yours to write");
}

/* The transport gives the child back, with a peer or without. */
static ntstatus accept_completed(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)irp;
	(void)context;
	ke_bug_check("NOT-WRITTEN", "accept_completed is yours to write");
}

/* ClientEventConnect. */
static ntstatus peer_calls(void *event_context, const struct transport_address *remote,
			   struct irp **accept_irp)
{
	(void)event_context;
	(void)remote;
	(void)accept_irp;
	(void)choose_child;
	(void)accept_completed; /* TODO: for tdi_build_accept */
	ke_bug_check("NOT-WRITTEN", "peer_calls is yours to write");
}

/* The peer that has waited longest. NULL if there is none, or *status says that it is all over. */
static struct tdi_stream *take_accepted(struct tdi_daemon *daemon, ntstatus *status)
{
	(void)daemon;
	(void)status;
	ke_bug_check("NOT-WRITTEN", "take_accepted is yours to write");
}

void tdi_stop_daemon(struct tdi_daemon *daemon)
{
	(void)daemon;
	(void)take_any; /* TODO */
	ke_bug_check("NOT-WRITTEN", "tdi_stop_daemon is yours to write");
}
