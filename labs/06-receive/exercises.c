/* Lab 06: a bounded queue of what has come, on a transport that keeps to the contract and no more.
 */
#include <string.h>

#include "script.h"
#include "lab.h"

/* The rules of the handout. */
enum {
	RULE_INDICATED = 1,
	RULE_TAKEN,
	RULE_COPY,
	RULE_LIMIT,
	RULE_NOTED,
	RULE_OWN_RECEIVE,
	RULE_RECEIVED,
	RULE_LOAN,
	RULE_CHAIN,
	RULE_NO_LOCK,
	RULE_EXPEDITED,
	RULE_END,
};

static void complain(enum script_fault fault, const char *expected, const char *actual)
{
	static const int rules[] = {
		[SCRIPT_TAKEN_TOO_MUCH] = RULE_INDICATED, [SCRIPT_SPINS] = RULE_TAKEN,
		[SCRIPT_BAD_STATUS] = RULE_TAKEN,	  [SCRIPT_LENT_NOT_PENDING] = RULE_LOAN,
		[SCRIPT_RETURNED_TWICE] = RULE_LOAN,	  [SCRIPT_NOT_RETURNED] = RULE_LOAN,
		[SCRIPT_BAD_RECEIVE] = RULE_OWN_RECEIVE,  [SCRIPT_NO_POOL] = 0};

	expect_true(rules[fault], false, expected, actual);
}

struct desk {
	struct script script;
	struct tdi_stream stream;
	struct kevent changed;
	uint64_t read[SCRIPT_KINDS];
	ntstatus end[SCRIPT_KINDS];
};

static struct tdi_receive_queue *queue_of(struct desk *desk, int kind)
{
	return kind == SCRIPT_NORMAL ? &desk->stream.normal : &desk->stream.expedited;
}

/* What a client does when it is told: it looks. */
static void look(void *context)
{
	struct desk *desk = context;
	uint32_t length;
	ntstatus status;

	for (int kind = 0; kind < SCRIPT_KINDS; kind++)
		tdi_queue_peek(queue_of(desk, kind), &length, &status);
	ke_set_event(&desk->changed);
}

static void open_desk(struct desk *desk, uint32_t limit, bool at_once)
{
	memset(desk, 0, sizeof(*desk));
	step(0, "a queue with a limit of %u bytes, on a transport that shows data %s", limit,
	     at_once ? "as soon as it has some" : "from a DPC, beside the reader");
	script_open(&desk->script, &desk->stream, NULL, complain);
	desk->script.at_once = at_once;
	ke_initialize_event(&desk->changed, SYNCHRONIZATION_EVENT, false);
	tdi_initialize_receive_queue(&desk->stream.normal, &desk->script.connection,
				     TDI_RECEIVE_NORMAL, limit, look, desk);
	tdi_initialize_receive_queue(&desk->stream.expedited, &desk->script.connection,
				     TDI_RECEIVE_EXPEDITED, limit, look, desk);
	expect_status(0, "tdi_set_receive_handlers", STATUS_SUCCESS,
		      tdi_set_receive_handlers(&desk->script.address));
}

static void close_desk(struct desk *desk)
{
	step(RULE_LOAN, "both queues are closed");
	tdi_close_receive_queue(&desk->stream.normal);
	tdi_close_receive_queue(&desk->stream.expedited);
	step(RULE_LOAN, "the endpoint is closed: all loans must be back");
	script_close(&desk->script);
	step(RULE_LOAN, "the run ends: everything that was allocated must have been freed");
}

/* Reads at most so many bytes, and checks them; how many there were. */
static uint32_t read_some(struct desk *desk, int rule, int kind, uint32_t most)
{
	struct tdi_receive_queue *queue = queue_of(desk, kind);
	uint32_t done = 0, length;
	const void *bytes;

	while (done < most && (bytes = tdi_queue_peek(queue, &length, &desk->end[kind])) != NULL) {
		expect_true(rule, length > 0, "the queue shows some bytes, or NULL",
			    "it shows none, and not NULL");
		if (length > most - done)
			length = most - done;
		expect_true(rule, script_is(kind, desk->read[kind], bytes, length),
			    "the bytes that the peer has sent, each once and in order",
			    "others are read");
		desk->read[kind] += length;
		done += length;
		tdi_queue_consume(queue, length);
	}
	return done;
}

static void expect_read(struct desk *desk, int rule, int kind, uint32_t most, uint32_t expected)
{
	step(rule, "the reader asks for %u %s bytes", most,
	     kind == SCRIPT_NORMAL ? "normal" : "expedited");
	expect_number(rule, "bytes that it reads", expected, read_some(desk, rule, kind, most));
}

static void arrive(struct desk *desk, int rule, int kind, uint32_t length, uint32_t mdls)
{
	step(rule, mdls > 0 ? "%u %s bytes come, as a loan in %u MDLs" : "%u %s bytes come", length,
	     kind == SCRIPT_NORMAL ? "normal" : "expedited", mdls);
	script_arrive(&desk->script, kind, length, mdls);
}

/* ---- Copies -------------------------------------------------------------------------------- */

static void is_copied(void *context)
{
	struct desk desk;

	(void)context;
	open_desk(&desk, 1000, true);
	desk.script.lookahead = 100;
	step(RULE_INDICATED, "the transport indicates at most 100 bytes at a time");
	for (int i = 0; i < 3; i++)
		arrive(&desk, RULE_INDICATED, SCRIPT_NORMAL, 250, 0);
	expect_number(RULE_TAKEN, "bytes that the transport has got rid of", 750,
		      (int64_t)desk.script.kinds[SCRIPT_NORMAL].gone);
	expect_read(&desk, RULE_COPY, SCRIPT_NORMAL, 300, 300);
	expect_read(&desk, RULE_COPY, SCRIPT_NORMAL, 1000, 450);
	expect_number(RULE_OWN_RECEIVE, "TDI_RECEIVEs, when nothing was refused", 0,
		      desk.script.kinds[SCRIPT_NORMAL].receives);
	close_desk(&desk);
}

static void is_full(void *context)
{
	struct script_kind *normal;
	struct desk desk;

	(void)context;
	open_desk(&desk, 100, true);
	normal = &desk.script.kinds[SCRIPT_NORMAL];
	arrive(&desk, RULE_LIMIT, SCRIPT_NORMAL, 80, 0);
	arrive(&desk, RULE_LIMIT, SCRIPT_NORMAL, 400, 0);
	expect_number(RULE_LIMIT, "bytes in copies", 100, desk.stream.normal.copied);
	expect_number(RULE_TAKEN, "bytes that the transport has got rid of", 100,
		      (int64_t)normal->gone);
	expect_number(RULE_TAKEN, "whether the transport waits for a TDI_RECEIVE", 1,
		      normal->waits);
	expect_read(&desk, RULE_TAKEN, SCRIPT_NORMAL, 49, 49);
	expect_number(RULE_OWN_RECEIVE, "TDI_RECEIVEs, while less than half of the limit is free",
		      0, normal->receives);
	expect_read(&desk, RULE_OWN_RECEIVE, SCRIPT_NORMAL, 1, 1);
	expect_number(RULE_OWN_RECEIVE, "TDI_RECEIVEs, when half of the limit is free", 1,
		      normal->receives);
	expect_number(RULE_LIMIT, "bytes in copies", 100, desk.stream.normal.copied);
	expect_read(&desk, RULE_RECEIVED, SCRIPT_NORMAL, 1000, 430);
	expect_number(RULE_LIMIT, "bytes in copies", 0, desk.stream.normal.copied);
	close_desk(&desk);
}

static void brings_little(void *context)
{
	struct desk desk;

	(void)context;
	open_desk(&desk, 100, true);
	arrive(&desk, RULE_RECEIVED, SCRIPT_NORMAL, 120, 0);
	expect_read(&desk, RULE_RECEIVED, SCRIPT_NORMAL, 60, 60);
	step(RULE_RECEIVED, "the TDI_RECEIVE for 60 bytes has brought 20");
	arrive(&desk, RULE_RECEIVED, SCRIPT_NORMAL, 30, 0);
	expect_read(&desk, RULE_RECEIVED, SCRIPT_NORMAL, 1000, 90);
	close_desk(&desk);
}

static void fails(void *context)
{
	struct desk desk;

	(void)context;
	open_desk(&desk, 100, true);
	desk.script.receive_fails = STATUS_INSUFFICIENT_RESOURCES;
	step(RULE_RECEIVED, "the next TDI_RECEIVE fails for want of memory, those after it do not");
	arrive(&desk, RULE_RECEIVED, SCRIPT_NORMAL, 150, 0);
	expect_read(&desk, RULE_RECEIVED, SCRIPT_NORMAL, 1000, 100);
	expect_event(RULE_RECEIVED, &desk.changed, "changed is called for the first 100 bytes");
	expect_event(RULE_RECEIVED, &desk.changed, "a later TDI_RECEIVE brings the other 50");
	ke_flush_queued_dpcs(); /* the DPC that has brought them */
	expect_read(&desk, RULE_RECEIVED, SCRIPT_NORMAL, 1000, 50);
	desk.script.receive_fails = STATUS_CONNECTION_RESET;
	step(RULE_RECEIVED, "the next TDI_RECEIVE fails, because the connection is broken");
	arrive(&desk, RULE_RECEIVED, SCRIPT_NORMAL, 150, 0);
	expect_read(&desk, RULE_RECEIVED, SCRIPT_NORMAL, 1000, 100);
	expect_status(RULE_RECEIVED, "what the reader is told after the last byte",
		      STATUS_CONNECTION_RESET, desk.end[SCRIPT_NORMAL]);
	close_desk(&desk);
}

/* The reader may empty the queue while the handler is about to refuse. */
static void runs_beside(void *context)
{
	enum { PIECES = 3, PIECE = 4 };
	struct desk desk;

	(void)context;
	open_desk(&desk, PIECE, false);
	step(RULE_NOTED, "%d times %d bytes come, while they are read", PIECES, PIECE);
	for (int i = 0; i < PIECES; i++)
		script_arrive(&desk.script, SCRIPT_NORMAL, PIECE, 0);
	while (desk.read[SCRIPT_NORMAL] < PIECES * PIECE) {
		step(RULE_NOTED, "%u bytes are read; the reader waits for more",
		     (unsigned)desk.read[SCRIPT_NORMAL]);
		expect_event(RULE_NOTED, &desk.changed, "more bytes come");
		read_some(&desk, RULE_NOTED, SCRIPT_NORMAL, UINT32_MAX);
	}
	ke_flush_queued_dpcs();
	close_desk(&desk);
}

/* ---- Loans --------------------------------------------------------------------------------- */

static void is_lent(void *context)
{
	struct desk desk;

	(void)context;
	open_desk(&desk, 10, true);
	arrive(&desk, RULE_LOAN, SCRIPT_NORMAL, 100, 1);
	expect_number(RULE_LOAN, "loans that the transport has out", 1, desk.script.lent);
	expect_number(RULE_LIMIT, "bytes in copies", 0, desk.stream.normal.copied);
	expect_read(&desk, RULE_CHAIN, SCRIPT_NORMAL, 99, 99);
	expect_number(RULE_LOAN, "loans that are out while a byte is unread", 1, desk.script.lent);
	expect_read(&desk, RULE_CHAIN, SCRIPT_NORMAL, 1, 1);
	expect_number(RULE_LOAN, "loans that are out when the last byte is consumed", 0,
		      desk.script.lent);
	close_desk(&desk);
}

static void is_chained(void *context)
{
	struct desk desk;

	(void)context;
	open_desk(&desk, 10, true);
	for (uint32_t offset = 0; offset <= 30; offset += 10) {
		desk.script.offset = offset;
		step(RULE_CHAIN, "the bytes of loans begin at offset %u", offset);
		arrive(&desk, RULE_CHAIN, SCRIPT_NORMAL, 40, 5);
		expect_read(&desk, RULE_CHAIN, SCRIPT_NORMAL, 15, 15);
		expect_read(&desk, RULE_CHAIN, SCRIPT_NORMAL, 100, 25);
	}
	expect_number(RULE_LOAN, "loans that are out", 0, desk.script.lent);
	close_desk(&desk);
}

static void is_closed(void *context)
{
	struct desk desk;

	(void)context;
	open_desk(&desk, 10, true);
	arrive(&desk, RULE_LOAN, SCRIPT_NORMAL, 40, 2);
	arrive(&desk, RULE_LOAN, SCRIPT_NORMAL, 40, 2);
	expect_read(&desk, RULE_CHAIN, SCRIPT_NORMAL, 10, 10);
	close_desk(&desk);
}

/* The transport goes on in the very call that gives its loan back. */
static void comes_back(void *context)
{
	struct desk desk;

	(void)context;
	open_desk(&desk, 10, true);
	desk.script.most_lent = 1;
	step(RULE_NO_LOCK, "the transport has one loan out at most, and shows the next as soon as "
			   "it is back");
	for (int i = 0; i < 3; i++)
		arrive(&desk, RULE_NO_LOCK, SCRIPT_NORMAL, 10, 1);
	expect_read(&desk, RULE_NO_LOCK, SCRIPT_NORMAL, 100, 30);
	close_desk(&desk);
}

/* ---- Kinds and ends ------------------------------------------------------------------------ */

static void is_expedited(void *context)
{
	struct desk desk;

	(void)context;
	open_desk(&desk, 100, true);
	for (uint32_t mdls = 0; mdls < 2; mdls++) {
		arrive(&desk, RULE_EXPEDITED, SCRIPT_NORMAL, 40, mdls);
		arrive(&desk, RULE_EXPEDITED, SCRIPT_EXPEDITED, 30, mdls);
		expect_read(&desk, RULE_EXPEDITED, SCRIPT_EXPEDITED, 100, 30);
		expect_read(&desk, RULE_EXPEDITED, SCRIPT_NORMAL, 100, 40);
	}
	step(RULE_OWN_RECEIVE, "more expedited bytes come than their queue may hold");
	arrive(&desk, RULE_OWN_RECEIVE, SCRIPT_EXPEDITED, 150, 0);
	expect_read(&desk, RULE_OWN_RECEIVE, SCRIPT_EXPEDITED, 1000, 150);
	close_desk(&desk);
}

static void has_ended(void *context)
{
	struct desk desk;

	(void)context;
	open_desk(&desk, 100, true);
	arrive(&desk, RULE_END, SCRIPT_NORMAL, 10, 0);
	arrive(&desk, RULE_END, SCRIPT_NORMAL, 10, 1);
	step(RULE_END, "the peer is done");
	script_end(&desk.script, STATUS_GRACEFUL_DISCONNECT);
	expect_read(&desk, RULE_END, SCRIPT_NORMAL, 15, 15);
	expect_read(&desk, RULE_END, SCRIPT_NORMAL, 15, 5);
	expect_status(RULE_END, "what the reader is told after the last byte",
		      STATUS_GRACEFUL_DISCONNECT, desk.end[SCRIPT_NORMAL]);
	close_desk(&desk);
}

/* No transport of ours does that; but a break is told by whoever sees it first. */
static void has_ended_early(void *context)
{
	struct desk desk;

	(void)context;
	open_desk(&desk, 100, false);
	arrive(&desk, RULE_END, SCRIPT_NORMAL, 101, 0);
	expect_event(RULE_TAKEN, &desk.changed, "changed is called for the first 100 bytes");
	ke_flush_queued_dpcs();
	expect_number(RULE_TAKEN, "whether the transport waits for a TDI_RECEIVE", 1,
		      desk.script.kinds[SCRIPT_NORMAL].waits);
	expect_number(RULE_TAKEN, "bytes in the queue", 100, desk.stream.normal.copied);
	step(RULE_END, "100 bytes are read; a TDI_RECEIVE is under way when the end is told");
	read_some(&desk, RULE_END, SCRIPT_NORMAL, 100);
	tdi_end_receive_queue(&desk.stream.normal, STATUS_CONNECTION_RESET);
	while (desk.read[SCRIPT_NORMAL] < 101 && nt_success(desk.end[SCRIPT_NORMAL])) {
		read_some(&desk, RULE_END, SCRIPT_NORMAL, 100);
		if (desk.end[SCRIPT_NORMAL] == STATUS_PENDING)
			expect_event(RULE_END, &desk.changed, "the TDI_RECEIVE brings a byte");
	}
	expect_number(RULE_END, "bytes that are read before the end is told", 101,
		      (int64_t)desk.read[SCRIPT_NORMAL]);
	read_some(&desk, RULE_END, SCRIPT_NORMAL, 100);
	expect_status(RULE_END, "what the reader is told then", STATUS_CONNECTION_RESET,
		      desk.end[SCRIPT_NORMAL]);
	close_desk(&desk);
}

static const struct lab_cause causes[] = {
	{"LOCK-MISUSE", RULE_NO_LOCK},
	{"LOCK-ORDER", RULE_NO_LOCK},
	{"REQ-COMPLETE-WITH-LOCK", RULE_NO_LOCK},
	{"heap-buffer-overflow", RULE_INDICATED},
	{"use-after-free", RULE_COPY},
	{"POOL-DOUBLE-FREE", RULE_LOAN},
	{"POOL-BAD-FREE", RULE_LOAN},
	{"LEAK-AT-UNLOAD", RULE_LOAN},
	{NULL, 0},
};

static const struct lab_exercise exercises[] = {
	{"data that is shown to be copied", is_copied},
	{"more data than the queue may hold", is_full},
	{"a receive that brings less than it could", brings_little},
	{"receives that fail", fails},
	{"data that comes while the reader makes room", runs_beside},
	{"data that is lent", is_lent},
	{"loans in several pieces, behind an offset", is_chained},
	{"a close with unread loans", is_closed},
	{"a transport that shows more as soon as its loan is back", comes_back},
	{"normal and expedited data", is_expedited},
	{"the end, behind the data", has_ended},
	{"the end, while a receive is under way", has_ended_early},
	{NULL, NULL},
};

const struct lab lab_under_check = {.name = "06-receive", .causes = causes, .exercises = exercises};
