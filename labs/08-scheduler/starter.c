/*
 * Lab 08: your part of src/nal/scheduler.c and src/nal/transmit.c. See README.md. Only these
 * functions are yours; graft puts each in place of the one of the same name.
 */
#include "nal/private.h"

/* ---- scheduler.c: into the lists ----------------------------------------------------------- */

/* The scheduler runs, or will. With the lock held. */
static void wake(struct ksock_sched *sched)
{
	(void)sched;
	ke_bug_check("NOT-WRITTEN", "wake is yours to write");
}

/* Its turn will come. With the lock held. */
static void put_into(struct list_entry *list, struct list_entry *entry, struct ksock_conn *conn)
{
	if (conn->threaded) { /* thread.c: no list, and no scheduler */
		ke_set_event(&conn->work);
		return;
	}
	(void)list;
	(void)entry;
	(void)wake; /* TODO */
	ke_bug_check("NOT-WRITTEN", "put_into is yours to write");
}

/* It is ready: something has come for it to read. With the lock held. */
static void schedule_rx(struct ksock_conn *conn)
{
	(void)conn;
	(void)put_into; /* TODO: or is it in the list already? */
	ke_bug_check("NOT-WRITTEN", "schedule_rx is yours to write");
}

void ksocknal_schedule_rx(struct ksock_conn *conn)
{
	(void)conn;
	(void)schedule_rx; /* TODO: under the lock, and not always */
	ke_bug_check("NOT-WRITTEN", "ksocknal_schedule_rx is yours to write");
}

void lnet_resume(struct lnet_incoming *incoming)
{
	(void)incoming;
	ke_bug_check("NOT-WRITTEN", "lnet_resume is yours to write");
}

/* With the peer's lock held. */
void ksocknal_schedule_tx(struct ksock_conn *conn)
{
	(void)conn;
	ke_bug_check("NOT-WRITTEN", "ksocknal_schedule_tx is yours to write");
}

/* ---- scheduler.c: turns -------------------------------------------------------------------- */

/* Begins and ends with the lock held. begin_rx_turn says whether there is anything to read. */
bool ksocknal_rx_turn(struct ksock_conn *conn)
{
	(void)conn;
	(void)begin_rx_turn; /* TODO: then ksocknal_process_receive */
	ke_bug_check("NOT-WRITTEN", "ksocknal_rx_turn is yours to write");
}

/* Likewise. */
bool ksocknal_tx_turn(struct ksock_conn *conn, struct ksock_batch **hand)
{
	(void)conn;
	(void)hand; /* TODO: ksocknal_process_transmit */
	ke_bug_check("NOT-WRITTEN", "ksocknal_tx_turn is yours to write");
}

/* The turn of a connection is over, and perhaps it needs another. With the lock held. */
static void put_back(struct list_entry *list, struct list_entry *entry, struct ksock_conn *conn,
		     bool again)
{
	(void)list;
	(void)entry;
	(void)conn;
	(void)again;
	ke_bug_check("NOT-WRITTEN", "put_back is yours to write");
}

/* The work item's routine. take_turns gives the next connection of each list its turn. */
static void ksocknal_scheduler(void *context)
{
	(void)context;
	(void)idle_batch; /* TODO: a batch in hand for all turns; then take_turns, up to TURNS times
			   */
	(void)take_turns;
	(void)return_batch;
	ke_bug_check("NOT-WRITTEN", "ksocknal_scheduler is yours to write");
}

/* ---- scheduler.c: batches ------------------------------------------------------------------ */

/* The batch is idle; and one connection that has found none has its turn. With the lock held. */
static void return_batch(struct ksock_sched *sched, struct ksock_batch *batch)
{
	insert_head_list(&sched->batches, &batch->entry); /* TODO: and? */
}

/* An idle batch, or a new one, or NULL, and then the connection waits for one. */
struct ksock_batch *ksocknal_take_batch(struct ksock_conn *conn)
{
	return ksocknal_create_batch(conn->node->options.device); /* TODO */
}

/* ---- transmit.c ---------------------------------------------------------------------------- */

/*
 * From the last batch to the next, under one hold of the peer's lock: the messages of the last
 * (NULL: there was none) are sent, and go to `done` if that was all that they wait for; what there
 * is to send goes into the next. NULL: that is nothing.
 */
static struct ksock_batch *next_batch(struct ksock_conn *conn, struct ksock_batch *last,
				      struct ksock_batch **hand)
{
	(void)conn;
	(void)last;
	(void)hand;
	(void)finish_txs; /* TODO: it is made of these */
	(void)begin_batch;
	(void)in_midst_of_message;
	(void)take_txs;
	(void)put_away;
	ke_bug_check("NOT-WRITTEN", "next_batch is yours to write");
}

/* Messages from the head of the queue go into the batch, behind all that was given before them.
 * With the peer's lock held. */
static void take_txs(struct ksock_conn *conn, struct ksock_batch *batch)
{
	(void)conn;
	(void)batch; /* TODO: ksocknal_pack_tx says whether all of a message is packed */
	ke_bug_check("NOT-WRITTEN", "take_txs is yours to write");
}

/* The completion routine. */
static ntstatus batch_sent(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)irp;
	(void)context;
	return STATUS_MORE_PROCESSING_REQUIRED; /* TODO */
}

/* Sends the batch. STATUS_PENDING: the completion routine has it, or has had it. */
static ntstatus transmit(struct ksock_conn *conn, struct ksock_batch *batch)
{
	(void)conn;
	(void)batch;
	(void)batch_sent; /* TODO */
	ke_bug_check("NOT-WRITTEN", "transmit is yours to write");
}

/* The turn ends while its batch is with the transport. True: or it was, until now. */
static bool is_done_meanwhile(struct ksock_conn *conn)
{
	(void)conn;
	return false; /* TODO */
}

bool ksocknal_process_transmit(struct ksock_conn *conn, struct ksock_batch **hand)
{
	(void)conn;
	(void)hand;
	(void)finish_connect; /* TODO: it is made of these */
	(void)has_memory;
	(void)next_batch; /* and ksocknal_add_checksums, if the node's options say so */
	(void)transmit;
	(void)is_done_meanwhile;
	ke_bug_check("NOT-WRITTEN", "ksocknal_process_transmit is yours to write");
}
