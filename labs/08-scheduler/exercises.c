/* Lab 08: connections that share a scheduler; a transport that keeps to the contract and no more.
 */
#include "desk.h"

enum {
	LONG_PIECE = 60,     /* so many bytes in a piece of a message that is not */
	LONG_PIECES = 330,   /* for more batches than a turn has */
	LONGER_PIECES = 280, /* than a few batches have */
};

/* ---- Sending ------------------------------------------------------------------------------- */

/* While the transport has it. */
static void expect_left_alone(struct desk *desk)
{
	struct ksock_conn *conn = desk->conns[0];
	struct look look = look_at(desk, 0);
	kirql irql = ke_acquire_spin_lock(&conn->peer->lock);
	bool scheduled = conn->tx_scheduled;

	ke_release_spin_lock(&conn->peer->lock, irql);
	expect_true(RULE_ANSWER, !ksocknal_is_closing(conn),
		    "the connection goes on while its send is pending", "it is closed");
	expect_number(RULE_TWO_REFERENCES,
		      "batches that are idle while the transport has the only one", 0,
		      look.batches);
	expect_true(RULE_ONE_BATCH, !scheduled && look.tx_conns == 0,
		    "a connection whose batch is under way is not scheduled", "it is");
	expect_number(RULE_REFERENCE, "references of a connection that is idle", 1,
		      look.references);
}

static void sends_one(void *context)
{
	struct desk *desk = open_desk(1);

	(void)context;
	step(0, "the transport completes sends before it answers");
	expect_told(give(desk, RULE_CALLBACK, 0, 1, SMALL), RULE_CALLBACK, STATUS_SUCCESS);
	settle(desk, RULE_CALLBACK);
	close_desk(desk);
}

static void sends_pending(void *context)
{
	struct desk *desk = open_desk(1);
	struct note *note;

	(void)context;
	step(0, "the transport keeps sends until it is told to complete them");
	desk->line.when = HELD;
	note = give(desk, RULE_CALLBACK, 0, 1, SMALL);
	settle(desk, RULE_CALLBACK);
	expect_number(RULE_CALLBACK, "sends", 1, desk->line.ends[0].held != NULL);
	expect_number(RULE_CALLBACK, "callbacks before the send is done", 0, note->told);
	expect_left_alone(desk);
	let_go(&desk->line.ends[0]);
	expect_told(note, RULE_TWO_REFERENCES, STATUS_SUCCESS);
	step(0, "the transport completes sends before it answers STATUS_PENDING");
	desk->line.when = PENDING_AT_ONCE;
	expect_told(give(desk, RULE_ANSWER, 0, 1, SMALL), RULE_ANSWER, STATUS_SUCCESS);
	step(0, "the transport completes sends from a DPC");
	desk->line.when = FROM_DPC;
	expect_told(give(desk, RULE_LOOKS, 0, 1, SMALL), RULE_LOOKS, STATUS_SUCCESS);
	close_desk(desk);
}

static void waits(void *context)
{
	enum { MESSAGES = 4 };
	struct desk *desk = open_desk(1);
	struct line_end *end = &desk->line.ends[0];
	struct note *notes[MESSAGES];

	(void)context;
	step(0, "the transport keeps sends until it is told to complete them");
	desk->line.when = HELD;
	notes[0] = give(desk, RULE_ONE_BATCH, 0, 1, SMALL);
	settle(desk, RULE_ONE_BATCH);
	for (int i = 1; i < MESSAGES; i++)
		notes[i] = give(desk, RULE_ONE_BATCH, 0, 1, SMALL);
	settle(desk, RULE_ONE_BATCH);
	expect_number(RULE_ONE_BATCH, "sends since the HELLO's", 1, end->sends - 1);
	expect_left_alone(desk);
	step(RULE_TWO_REFERENCES, "the first send is done");
	let_go(end);
	settle(desk, RULE_TWO_REFERENCES);
	expect_number(RULE_TWO_REFERENCES, "sends since the HELLO's", 2, end->sends - 1);
	step(RULE_ORDER, "the second send is done, which has all that has waited");
	desk->line.when = AT_ONCE;
	let_go(end);
	for (int i = 0; i < MESSAGES; i++)
		expect_told(notes[i], RULE_CALLBACK, STATUS_SUCCESS);
	expect_number(RULE_ORDER, "sends since the HELLO's", 2, end->sends - 1);
	close_desk(desk);
}

static void sends_many(void *context)
{
	enum { MESSAGES = 3 };
	struct desk *desk = open_desk(1);
	struct note *notes[MESSAGES];

	(void)context;
	step(0, "the transport completes sends in all ways");
	desk->line.when = ANYHOW;
	for (int i = 0; i < MESSAGES; i++)
		notes[i] = give(desk, RULE_LOOKS, 0, 1, SMALL);
	for (int i = 0; i < MESSAGES; i++)
		expect_told(notes[i], RULE_LOOKS, STATUS_SUCCESS);
	close_desk(desk);
}

static void fails(void *context)
{
	static const enum when whens[LINE_ENDS] = {AT_ONCE, FROM_DPC};
	struct desk *desk = open_desk(2);

	(void)context;
	desk->line.outcome = STATUS_CONNECTION_RESET;
	for (int end = 0; end < LINE_ENDS; end++) {
		struct note *note;

		step(RULE_ANSWER, "the transport completes sends with STATUS_CONNECTION_RESET, %s",
		     whens[end] == AT_ONCE ? "before it answers" : "from a DPC");
		desk->line.when = whens[end];
		note = give(desk, RULE_ANSWER, end, 1, SMALL);
		bury(desk, RULE_ANSWER);
		expect_told(note, RULE_ANSWER, STATUS_CONNECTION_RESET);
	}
	close_desk(desk);
}

/* A batch has room for four of them, and then for the last one. */
static void waits_for_room(void *context)
{
	(void)context;
	keep_order(5, 14000, 0);
}

/* Five have room in a batch, but only four in one that is open. */
static void waits_behind_open(void *context)
{
	(void)context;
	keep_order(9, 13011, 2);
}

static void sends_in_parts(void *context)
{
	struct desk *desk = open_desk(1);
	struct line_end *end = &desk->line.ends[0];
	struct note *first, *second;

	(void)context;
	step(0, "the transport keeps sends until it is told to complete them");
	desk->line.when = HELD;
	first = give(desk, RULE_ORDER, 0, LONGER_PIECES, LONG_PIECE);
	second = give(desk, RULE_ORDER, 0, 1, SMALL);
	settle(desk, RULE_ORDER);
	step(RULE_ORDER, "the peer wants the word that two payloads have come");
	for (int i = 1; i <= 2; i++) /* a single one would go along with the second message */
		ksocknal_queue_zc_ack(desk->conns[0], SOCKNAL_KEEPALIVE_PING + i);
	for (int i = 0; end->held != NULL && i < LONGER_PIECES; i++) {
		step(RULE_ORDER, "the send is done");
		let_go(end);
		settle(desk, RULE_ORDER);
	}
	expect_told(first, RULE_ORDER, STATUS_SUCCESS);
	expect_told(second, RULE_ORDER, STATUS_SUCCESS);
	expect_number(RULE_ORDER, "the word to the peer", 1, end->noops);
	close_desk(desk);
}

/* ---- Taking turns -------------------------------------------------------------------------- */

static void is_fair(void *context)
{
	struct desk *desk = open_desk(2);
	struct note *notes[LINE_ENDS];

	(void)context;
	step(0, "both connections have messages of many pieces");
	desk->line.when = HELD;
	for (int end = 0; end < LINE_ENDS; end++)
		notes[end] = give(desk, RULE_TAIL, end, LONG_PIECES, LONG_PIECE);
	settle(desk, RULE_TAIL);
	step(RULE_TAIL, "their first sends are done, and all others are at once");
	desk->line.when = AT_ONCE;
	desk->line.fair = true;
	for (int end = 0; end < LINE_ENDS; end++)
		let_go(&desk->line.ends[end]);
	for (int end = 0; end < LINE_ENDS; end++)
		expect_told(notes[end], RULE_TAIL, STATUS_SUCCESS);
	close_desk(desk);
}

/* In a turn of connection 1, with the scheduler at work: nobody but it takes from its lists. */
static void in_a_turn(struct desk *desk)
{
	struct look look;

	step(RULE_ONCE, "in a turn of connection 1: news for both, twice, and two messages for 0");
	for (int i = 0; i < 2; i++) {
		show(desk, 0);
		show(desk, 1);
		give(desk, RULE_ONCE, 0, 1, SMALL);
	}
	look = look_at(desk, 0);
	expect_number(RULE_ONCE, "connections that wait to be read: only 0, for 1 has its turn", 1,
		      look.rx_conns);
	expect_number(RULE_ONCE, "connections that wait to send", 1, look.tx_conns);
	expect_number(RULE_REFERENCE,
		      "references of connection 0: that it is alive, and of two lists", 3,
		      look.references);
	expect_number(RULE_REFERENCE,
		      "references of connection 1: that it is alive, and of its turn", 2,
		      look_at(desk, 1).references);
	expect_true(RULE_AT_WORK, !look.woken, "a scheduler at work is not woken", "it is");
}

static void has_news(void *context)
{
	struct desk *desk = open_desk(2);

	(void)context;
	desk->meanwhile = in_a_turn;
	step(RULE_ONCE, "a message comes for connection 1, which is read");
	show(desk, 1);
	expect_read(desk, RULE_LOOKS, 5);
	for (uint32_t i = 0; i < desk->note_count; i++)
		expect_told(&desk->notes[i], RULE_LOOKS, STATUS_SUCCESS);
	settle(desk, RULE_LOOKS);
	expect_number(RULE_REFERENCE, "references of connection 0, which is idle", 1,
		      look_at(desk, 0).references);
	close_desk(desk);
}

static void shown_by_dpc(struct kdpc *dpc, void *context)
{
	(void)dpc;
	show(context, 0);
}

static void reads_beside(void *context)
{
	struct desk *desk = open_desk(1);
	struct kdpc dpc;

	(void)context;
	ke_initialize_dpc(&dpc, shown_by_dpc, desk, 1);
	step(RULE_LOOKS, "a message comes, and another, from a DPC of the other processor");
	show(desk, 0);
	ke_insert_queue_dpc(&dpc);
	expect_read(desk, RULE_LOOKS, 2);
	ke_flush_queued_dpcs();
	close_desk(desk);
}

/* ---- Owners who are not ready -------------------------------------------------------------- */

static void is_held(void *context)
{
	struct desk *desk = open_desk(1);

	(void)context;
	step(RULE_HELD, "the portal's owner says: not now");
	desk->says_not_now = 1;
	show(desk, 0);
	while (desk->asked == 0)
		ke_wait_for_single_object(&desk->came, SOON);
	step(RULE_HELD, "more comes, but nobody has called lnet_resume");
	show(desk, 0);
	settle(desk, RULE_HELD);
	expect_number(RULE_HELD, "times that the owner was asked", 1, desk->asked);
	step(RULE_HELD, "lnet_resume is called");
	lnet_resume(desk->kept);
	expect_read(desk, RULE_HELD, 2);
	step(RULE_HELD, "the owner says: not now, and then the connection is closed");
	settle(desk, RULE_HELD);
	desk->says_not_now = 1;
	show(desk, 0);
	settle(desk, RULE_HELD);
	close_conn(desk, RULE_HELD, 0);
	settle(desk, RULE_HELD);
	expect_true(RULE_HELD, is_list_empty(&desk->node->dead),
		    "a connection lives until its portal's owner has called lnet_resume",
		    "it is dead");
	step(RULE_HELD, "lnet_resume is called");
	lnet_resume(desk->kept);
	bury(desk, RULE_HELD);
	close_desk(desk);
}

static void is_resumed_early(void *context)
{
	enum { TIMES = 40 };
	struct desk *desk = open_desk(1);

	(void)context;
	step(RULE_HELD, "the portal's owner says: not now, %d times, and calls lnet_resume before",
	     TIMES);
	desk->says_not_now = TIMES;
	desk->resumes_at_once = true;
	show(desk, 0);
	expect_read(desk, RULE_HELD, 1);
	expect_number(RULE_HELD, "times that the owner was asked", TIMES + 1, desk->asked);
	close_desk(desk);
}

/* ---- No batch ------------------------------------------------------------------------------ */

static void starves(void *context)
{
	struct desk *desk = open_desk(2);
	struct note *notes[LINE_ENDS];

	(void)context;
	step(RULE_STARVED, "there is no memory for batches but the one that there always is");
	desk->line.when = HELD;
	set_shortage(&desk->line, true);
	for (int end = 0; end < LINE_ENDS; end++) {
		notes[end] = give(desk, RULE_STARVED, end, 1, SMALL);
		settle(desk, RULE_STARVED);
	}
	expect_number(RULE_STARVED, "sends of connection 1, for which there is no batch", 0,
		      desk->line.ends[1].sends - 1);
	step(RULE_STARVED, "connection 0's send is done");
	desk->line.when = AT_ONCE;
	let_go(&desk->line.ends[0]);
	for (int end = 0; end < LINE_ENDS; end++)
		expect_told(notes[end], RULE_STARVED, STATUS_SUCCESS);
	set_shortage(&desk->line, false);
	close_desk(desk);
}

static void starves_beside(void *context)
{
	struct desk *desk = open_desk(2);
	struct note *notes[LINE_ENDS];

	(void)context;
	step(RULE_STARVED, "there is no memory for batches but the one that there always is");
	desk->line.when = HELD;
	set_shortage(&desk->line, true);
	notes[0] = give(desk, RULE_STARVED, 0, 1, SMALL);
	settle(desk, RULE_STARVED);
	close_conn(desk, RULE_STARVED, 0);
	desk->line.when = AT_ONCE;
	notes[1] = give(desk, RULE_STARVED, 1, 1, SMALL);
	bury(desk, RULE_STARVED);
	expect_told(notes[0], RULE_STARVED, STATUS_LOCAL_DISCONNECT);
	expect_told(notes[1], RULE_STARVED, STATUS_SUCCESS);
	set_shortage(&desk->line, false);
	close_desk(desk);
}

/* ---- Closing ------------------------------------------------------------------------------- */

/* In a turn of connection 1: connection 0 is closed before its turn comes. */
static void closes_the_other(struct desk *desk)
{
	step(RULE_CLOSED, "in a turn of connection 1: connection 0 is given a message and closed");
	give(desk, RULE_CLOSED, 0, 1, SMALL);
	ksocknal_conn_addref(desk->conns[0]); /* the exercise's */
	close_conn(desk, RULE_CLOSED, 0);
	step(RULE_CLOSED, "news comes for the closed connection");
	show(desk, 0);
	expect_number(RULE_CLOSED, "connections that wait to be read", 0,
		      look_at(desk, 0).rx_conns);
}

static void is_closed(void *context)
{
	struct desk *desk = open_desk(2);

	(void)context;
	desk->meanwhile = closes_the_other;
	show(desk, 1);
	expect_read(desk, RULE_CLOSED, 1);
	settle(desk, RULE_CLOSED);
	expect_number(RULE_CLOSED, "sends of connection 0 since the HELLO's", 0,
		      desk->line.ends[0].sends - 1);
	expect_number(RULE_REFERENCE, "references of connection 0: only the exercise's", 1,
		      look_at(desk, 0).references);
	ksocknal_conn_decref(desk->conns[0]);
	bury(desk, RULE_REFERENCE);
	expect_told(&desk->notes[0], RULE_CLOSED, STATUS_LOCAL_DISCONNECT);
	close_desk(desk);
}

static void is_closed_meanwhile(void *context)
{
	struct desk *desk = open_desk(1);
	struct note *notes[2];

	(void)context;
	step(0, "the transport keeps sends until it is told to complete them");
	desk->line.when = HELD;
	notes[0] = give(desk, RULE_CALLBACK, 0, 1, SMALL);
	settle(desk, RULE_CALLBACK);
	notes[1] = give(desk, RULE_CALLBACK, 0, 1, SMALL);
	close_conn(desk, RULE_CALLBACK, 0);
	bury(desk, RULE_REFERENCE);
	for (int i = 0; i < 2; i++)
		expect_told(notes[i], RULE_CALLBACK, STATUS_LOCAL_DISCONNECT);
	close_desk(desk);
}

/* Whatever happens to the messages, it happens once, and everybody lets go. */
static void is_closed_anyhow(void *context)
{
	struct desk *desk = open_desk(1);
	struct kdpc dpc;

	(void)context;
	step(0, "the transport completes sends in all ways");
	desk->line.when = ANYHOW;
	ke_initialize_dpc(&dpc, shown_by_dpc, desk, 1);
	step(RULE_REFERENCE, "a message goes out, another comes in, and the connection is closed");
	give(desk, RULE_REFERENCE, 0, 1, SMALL);
	ke_insert_queue_dpc(&dpc);
	close_conn(desk, RULE_REFERENCE, 0);
	ke_flush_queued_dpcs();
	bury(desk, RULE_REFERENCE);
	close_desk(desk);
}

static void closes_its_own(struct desk *desk)
{
	close_conn(desk, RULE_AT_WORK, 0);
}

/* In the last turn before the scheduler leaves the processor to others: it is queued again, though
 * nobody is left. */
static void stops(void *context)
{
	enum { TURNS_OF_A_RUN = 32 };
	struct desk *desk = open_desk(1);

	(void)context;
	step(RULE_AT_WORK,
	     "the portal's owner says: not now, and resumes; in the %dth turn he closes",
	     TURNS_OF_A_RUN);
	desk->says_not_now = TURNS_OF_A_RUN - 1;
	desk->resumes_at_once = true;
	desk->meanwhile = closes_its_own;
	show(desk, 0);
	bury(desk, RULE_AT_WORK);
	close_desk(desk);
}

static const struct lab_cause causes[] = {
	{"LOCK-MISUSE", RULE_NO_LOCK},
	{"LOCK-ORDER", RULE_NO_LOCK},
	{"REQ-COMPLETE-WITH-LOCK", RULE_NO_LOCK},
	{"IRQL-TOO-HIGH", RULE_NO_LOCK},
	{"REF-UNDERFLOW", RULE_TWO_REFERENCES},
	{"REQ-REUSE-IN-FLIGHT", RULE_TWO_REFERENCES},
	{"REQ-FREE-IN-USE", RULE_TWO_REFERENCES},
	{"MSG-RESUME-MISUSE", RULE_HELD},
	{"buffer-overflow", RULE_ORDER},
	{"use-after-free", RULE_REFERENCE},
	{"POOL-DOUBLE-FREE", RULE_REFERENCE},
	{"POOL-WRITE-AFTER-FREE", RULE_REFERENCE},
	{"LEAK-AT-UNLOAD", RULE_REFERENCE},
	{NULL, 0},
};

static const struct lab_exercise exercises[] = {
	{"one message", sends_one},
	{"news while the scheduler is at work", has_news},
	{"one message, which the transport keeps for a while", sends_pending},
	{"messages that wait for a send that is pending", waits},
	{"messages while sends complete", sends_many},
	{"sends that fail", fails},
	{"data that comes while it is read", reads_beside},
	{"an owner who is not ready", is_held},
	{"an owner who is not ready for a moment", is_resumed_early},
	{"a connection that finds no batch", starves},
	{"a batch that comes back while none is found", starves_beside},
	{"a close before a turn", is_closed},
	{"a close while a batch is with the transport", is_closed_meanwhile},
	{"a close in the midst of everything", is_closed_anyhow},
	{"an end while the scheduler is at work", stops},
	{"messages that do not all have room", waits_for_room},
	{"messages that find two batches open, and both full", waits_behind_open},
	{"a message of more pieces than a batch has", sends_in_parts},
	{"two connections that have much to send", is_fair},
	{NULL, NULL},
};

const struct lab lab_under_check = {
	.name = "08-scheduler", .causes = causes, .exercises = exercises, .orders = 1000};
