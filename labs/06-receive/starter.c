/*
 * Lab 06: your part of src/tdi/tsdu.c and src/tdi/receive.c. See README.md. Only these functions
 * are yours; graft puts each in place of the one of the same name.
 */
#include "tdi/stream.h"

/* ---- Loans --------------------------------------------------------------------------------- */

/* Goes on to the MDL in which the first unread byte stands. */
static void skip_read_mdls(struct tdi_tsdu *tsdu)
{
	(void)tsdu;
	ke_bug_check("NOT-WRITTEN", "skip_read_mdls is yours to write");
}

/* Where the first unread bytes stand, and how many there are together. */
static const char *unread_bytes(struct tdi_tsdu *tsdu, uint32_t *length)
{
	(void)tsdu;
	(void)length;
	ke_bug_check("NOT-WRITTEN", "unread_bytes is yours to write");
}

/* The TSDU is out of the queue, and read or thrown away. Lock not held: the transport is called. */
static void let_go(struct tdi_receive_queue *queue, struct tdi_tsdu *tsdu)
{
	(void)queue;
	(void)tsdu;
	ke_bug_check("NOT-WRITTEN", "let_go is yours to write");
}

/* With the lock held: the loan is the last in the queue. STATUS_PENDING, or it is not taken. */
static ntstatus take_loan(struct tdi_receive_queue *queue, uint32_t length, uint32_t offset,
			  const struct mdl *mdl, void *descriptor)
{
	(void)queue;
	(void)length;
	(void)offset;
	(void)mdl;
	(void)descriptor;
	return STATUS_DATA_NOT_ACCEPTED; /* TODO: the transport forgets it */
}

/* ---- Copies -------------------------------------------------------------------------------- */

ntstatus tdi_queue_receive(struct tdi_receive_queue *queue, uint32_t bytes_indicated,
			   uint32_t bytes_available, uint32_t *bytes_taken, const void *tsdu)
{
	(void)queue;
	(void)bytes_indicated;
	(void)bytes_available;
	(void)bytes_taken;
	(void)tsdu;
	ke_bug_check("NOT-WRITTEN", "tdi_queue_receive is yours to write");
}

/*
 * With the lock held: whether it is time for a TDI_RECEIVE. Then queue->receiving is a slab, as
 * long as what is asked for, and start_receive is to be called when the lock is free.
 */
static bool prepare_receive(struct tdi_receive_queue *queue)
{
	(void)queue;
	return false; /* TODO */
}

/* With the lock held: the receive is over. Whether its slab is in the queue now. */
static bool take_received(struct tdi_receive_queue *queue, ntstatus status, uint32_t bytes)
{
	(void)queue;
	(void)status;
	(void)bytes;
	ke_bug_check("NOT-WRITTEN", "take_received is yours to write");
}

/* ---- The reader ---------------------------------------------------------------------------- */

const void *tdi_queue_peek(struct tdi_receive_queue *queue, uint32_t *length, ntstatus *status)
{
	(void)queue;
	(void)length;
	(void)status;
	ke_bug_check("NOT-WRITTEN", "tdi_queue_peek is yours to write");
}

/* With the lock held: the first TSDU if that was the last of it, to be let go of; else NULL. */
static struct tdi_tsdu *consume_first(struct tdi_receive_queue *queue, uint32_t length)
{
	(void)queue;
	(void)length;
	ke_bug_check("NOT-WRITTEN", "consume_first is yours to write");
}

void tdi_queue_consume(struct tdi_receive_queue *queue, uint32_t length)
{
	consume_first(queue, length); /* TODO: under the lock, and then? */
}

/* ---- receive.c ----------------------------------------------------------------------------- */

static ntstatus receive_expedited_event(void *event_context, void *connection_context,
					uint32_t receive_flags, uint32_t bytes_indicated,
					uint32_t bytes_available, uint32_t *bytes_taken,
					const void *tsdu, struct irp **receive_irp)
{
	(void)event_context;
	(void)connection_context;
	(void)receive_flags;
	(void)bytes_indicated;
	(void)bytes_available;
	(void)bytes_taken;
	(void)tsdu;
	(void)receive_irp;
	ke_bug_check("NOT-WRITTEN", "receive_expedited_event is yours to write");
}
