/*
 * Stage 06 against a scripted transport (labs/06-receive/script.h): what a queue takes, refuses and
 * gives back, and that the reader gets each byte once, in order, whatever the transport shows.
 */
#include <string.h>

#include "../labs/06-receive/script.h"
#include "executive.h"
#include "laws.h"
#include "suites.h"
#include "tdi/provider.h"
#include "transport_client.h"

#if !EXECUTIVE_HOST
#include "ke/sim/plan.h"
#endif

static void complain(enum script_fault fault, const char *expected, const char *actual)
{
	(void)fault;
	printf("\n    expected %s; actual %s\n", expected, actual);
	CU_FAIL("the transport has a complaint");
}

struct bed {
	struct script script;
	struct tdi_stream stream;
	struct counted counted;
	struct kevent changed;
	uint64_t read[SCRIPT_KINDS];
	bool reads_in_changed;
};

static struct tdi_receive_queue *queue_of(struct bed *bed, int kind)
{
	return kind == SCRIPT_NORMAL ? &bed->stream.normal : &bed->stream.expedited;
}

static uint32_t copied_in(struct tdi_receive_queue *queue)
{
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	uint32_t copied = queue->copied;

	ke_release_spin_lock(&queue->lock, irql);
	return copied;
}

/* Reads up to `most` bytes and checks them. How many there were, or the status. */
static int64_t read_some(struct bed *bed, int kind, uint32_t most)
{
	static const uint32_t room = 64 << 10;
	uint8_t *bytes = need_pool(room);
	int64_t got = tdi_queue_read(queue_of(bed, kind), bytes, most < room ? most : room);

	if (got > 0) {
		CU_ASSERT(script_is(kind, bed->read[kind], bytes, (uint32_t)got));
		bed->read[kind] += (uint64_t)got;
	}
	ex_free_pool(bytes);
	return got;
}

static ntstatus read_all(struct bed *bed, int kind)
{
	int64_t got;

	while ((got = read_some(bed, kind, UINT32_MAX)) > 0)
		CU_ASSERT(copied_in(queue_of(bed, kind)) <= queue_of(bed, kind)->limit);
	return (ntstatus)got;
}

/* A watcher may look at the queue: the lock is free. It may also read, from within the event. */
static void on_changed(void *context)
{
	struct bed *bed = context;

	for (int kind = 0; kind < SCRIPT_KINDS; kind++) {
		uint32_t length;
		ntstatus status;

		tdi_queue_peek(queue_of(bed, kind), &length, &status);
		if (bed->reads_in_changed)
			read_all(bed, kind);
	}
	ke_set_event(&bed->changed);
}

/* Waits until something has come. False, and the test has failed, if nothing does. */
static bool more_comes(struct bed *bed)
{
	if (ke_wait_for_single_object(&bed->changed, SOON) == STATUS_SUCCESS)
		return true;
	CU_FAIL("nothing comes any more");
	return false;
}

static void open_bed(struct bed *bed, uint32_t limit)
{
	memset(bed, 0, sizeof(*bed));
	begin_counted(&bed->counted);
	script_open(&bed->script, &bed->stream, bed->counted.segment, complain);
	ke_initialize_event(&bed->changed, SYNCHRONIZATION_EVENT, false);
	tdi_initialize_receive_queue(&bed->stream.normal, &bed->script.connection,
				     TDI_RECEIVE_NORMAL, limit, on_changed, bed);
	tdi_initialize_receive_queue(&bed->stream.expedited, &bed->script.connection,
				     TDI_RECEIVE_EXPEDITED, limit, on_changed, bed);
	CU_ASSERT_EQUAL(tdi_set_receive_handlers(&bed->script.address), STATUS_SUCCESS);
}

static void close_bed(struct bed *bed)
{
	tdi_close_receive_queue(&bed->stream.normal);
	tdi_close_receive_queue(&bed->stream.expedited);
	script_close(&bed->script);
	end_counted(&bed->counted);
}

static uint64_t counted(struct bed *bed, const char *counter)
{
	return sum_of(&bed->counted, "receive", counter);
}

/* ---- What the handlers answer -------------------------------------------------------------- */

/* Shows bytes in memory of exactly their number, which goes afterwards. */
static ntstatus show(struct tdi_receive_queue *queue, uint32_t indicated, uint32_t available,
		     uint32_t *taken)
{
	char *bytes = need_pool(indicated);
	ntstatus status;

	memset(bytes, 'x', indicated);
	*taken = 0;
	status = tdi_queue_receive(queue, indicated, available, taken, bytes);
	memset(bytes, '?', indicated);
	ex_free_pool(bytes);
	return status;
}

static void plain_answers(void *context)
{
	struct bed *bed = need_pool(sizeof(*bed));
	struct tdi_receive_queue *queue = &bed->stream.normal;
	uint32_t taken;

	(void)context;
	open_bed(bed, 1000);
	CU_ASSERT_EQUAL(show(queue, 100, 100, &taken), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(taken, 100);
	CU_ASSERT_EQUAL(show(queue, 300, 5000, &taken), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(taken, 300);
	CU_ASSERT(!queue->refused);
	CU_ASSERT_EQUAL(show(queue, 600, 4700, &taken), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(taken, 600);
	CU_ASSERT_EQUAL(queue->copied, 1000);
	CU_ASSERT(!queue->refused);
	CU_ASSERT_EQUAL(show(queue, 1, 1, &taken), STATUS_DATA_NOT_ACCEPTED);
	CU_ASSERT_EQUAL(taken, 0);
	CU_ASSERT(queue->refused);
	tdi_queue_consume(queue, 10);
	CU_ASSERT_EQUAL(show(queue, 30, 30, &taken), STATUS_DATA_NOT_ACCEPTED);
	CU_ASSERT_EQUAL(taken, 10);
	tdi_end_receive_queue(queue, STATUS_CONNECTION_RESET);
	tdi_queue_consume(queue, 900);
	CU_ASSERT_EQUAL(show(queue, 1, 1, &taken), STATUS_DATA_NOT_ACCEPTED);
	CU_ASSERT_EQUAL(taken, 0);
	CU_ASSERT_EQUAL(counted(bed, "refused"), 3);
	CU_ASSERT_EQUAL(counted(bed, "taken_bytes"), 1010);
	CU_ASSERT_EQUAL(bed->script.kinds[SCRIPT_NORMAL].receives, 0);
	close_bed(bed);
	ex_free_pool(bed);
}

static void test_plain_answers(void)
{
	in_executive(plain_answers, NULL);
}

/* Counts how often a loan that nobody takes comes back. */
struct counted_loan {
	struct tdi_loan loan;
	int returned;
};

static void count_return(struct tdi_loan *loan)
{
	containing_record(loan, struct counted_loan, loan)->returned++;
}

static void chained_answers(void *context)
{
	struct bed *bed = need_pool(sizeof(*bed));
	struct tdi_receive_queue *queue = &bed->stream.normal;
	struct counted_loan loan = {{count_return}, 0};
	char bytes[8] = "..abcdef";
	struct mdl mdl = {.mapped_system_va = bytes, .byte_count = sizeof(bytes)};

	(void)context;
	open_bed(bed, 1);
	CU_ASSERT_EQUAL(tdi_queue_chained_receive(queue, 6, 2, &mdl, &loan.loan), STATUS_PENDING);
	CU_ASSERT_EQUAL(queue->lent, 6);
	CU_ASSERT_EQUAL(queue->copied, 0);
	tdi_queue_consume(queue, 5);
	CU_ASSERT_EQUAL(loan.returned, 0);
	tdi_queue_consume(queue, 1);
	CU_ASSERT_EQUAL(loan.returned, 1);
	tdi_end_receive_queue(queue, STATUS_GRACEFUL_DISCONNECT);
	CU_ASSERT_EQUAL(tdi_queue_chained_receive(queue, 6, 2, &mdl, &loan.loan),
			STATUS_DATA_NOT_ACCEPTED);
	tdi_close_receive_queue(queue);
	CU_ASSERT_EQUAL(tdi_queue_chained_receive(queue, 6, 2, &mdl, &loan.loan),
			STATUS_DATA_NOT_ACCEPTED);
	CU_ASSERT_EQUAL(loan.returned, 1);
	close_bed(bed);
	ex_free_pool(bed);
}

static void test_chained_answers(void)
{
	in_executive(chained_answers, NULL);
}

static void four_handlers(void *context)
{
	struct bed *bed = need_pool(sizeof(*bed));

	(void)context;
	open_bed(bed, TDI_QUEUE_BYTES);
	bed->script.at_once = true;
	for (uint32_t mdls = 0; mdls < 2; mdls++) {
		script_arrive(&bed->script, SCRIPT_NORMAL, 10, mdls);
		CU_ASSERT_EQUAL(read_some(bed, SCRIPT_EXPEDITED, 100), 0);
		CU_ASSERT_EQUAL(read_some(bed, SCRIPT_NORMAL, 100), 10);
		script_arrive(&bed->script, SCRIPT_EXPEDITED, 20, mdls);
		CU_ASSERT_EQUAL(read_some(bed, SCRIPT_NORMAL, 100), 0);
		CU_ASSERT_EQUAL(read_some(bed, SCRIPT_EXPEDITED, 100), 20);
	}
	CU_ASSERT_EQUAL(counted(bed, "indicated"), 2);
	CU_ASSERT_EQUAL(counted(bed, "chained"), 2);
	close_bed(bed);
	ex_free_pool(bed);
}

static void test_four_handlers(void)
{
	in_executive(four_handlers, NULL);
}

/* ---- Kinds of TSDUs ------------------------------------------------------------------------ */

static unsigned tsdu_count(const struct tdi_receive_queue *queue)
{
	unsigned tsdus = 0;

	for (struct list_entry *e = queue->tsdus.next; e != &queue->tsdus; e = e->next)
		tsdus++;
	return tsdus;
}

static void kinds_by_size(void *context)
{
	struct bed *bed = need_pool(sizeof(*bed));
	struct tdi_receive_queue *queue = &bed->stream.normal;

	(void)context;
	open_bed(bed, TDI_QUEUE_BYTES);
	bed->script.at_once = true;
	for (int i = 0; i < 1000; i++)
		script_arrive(&bed->script, SCRIPT_NORMAL, 10, 0);
	CU_ASSERT_EQUAL(tsdu_count(queue), 1);
	CU_ASSERT_EQUAL(queue->copied, 10000);
	script_arrive(&bed->script, SCRIPT_NORMAL, 40000, 0); /* fills the slab, and a buffer */
	CU_ASSERT_EQUAL(tsdu_count(queue), 2);
	script_arrive(&bed->script, SCRIPT_NORMAL, 10, 0);
	CU_ASSERT_EQUAL(tsdu_count(queue), 3);
	script_arrive(&bed->script, SCRIPT_NORMAL, 10, 1);
	script_arrive(&bed->script, SCRIPT_NORMAL, 10, 0);
	CU_ASSERT_EQUAL(tsdu_count(queue), 5);
	CU_ASSERT_EQUAL(read_all(bed, SCRIPT_NORMAL), 0);
	CU_ASSERT_EQUAL(bed->read[SCRIPT_NORMAL], 50030);
	CU_ASSERT_EQUAL(queue->copied + queue->lent, 0);
	close_bed(bed);
	ex_free_pool(bed);
}

static void test_kinds_by_size(void)
{
	in_executive(kinds_by_size, NULL);
}

/* Every cut of 12 bytes into MDLs, behind offsets that may be more than the first one. */
static void chains(void *context)
{
	struct bed *bed = need_pool(sizeof(*bed));

	(void)context;
	open_bed(bed, 1);
	bed->script.at_once = true;
	for (uint32_t mdls = 1; mdls < 20; mdls++)
		for (uint32_t offset = 0; offset < 20; offset += 3) {
			bed->script.offset = offset;
			script_arrive(&bed->script, SCRIPT_NORMAL, 12, mdls);
			for (int i = 0; i < 12; i++) {
				CU_ASSERT_EQUAL(bed->script.lent, 1);
				CU_ASSERT_EQUAL(read_some(bed, SCRIPT_NORMAL, 1), 1);
			}
			CU_ASSERT_EQUAL(bed->script.lent, 0);
		}
	CU_ASSERT_EQUAL(counted(bed, "loans"), counted(bed, "returned"));
	close_bed(bed);
	ex_free_pool(bed);
}

static void test_chains(void)
{
	in_executive(chains, NULL);
}

/* ---- Backpressure -------------------------------------------------------------------------- */

static void stalls(void *context)
{
	enum { LIMIT = 4000, TOTAL = 40000 };
	struct bed *bed = need_pool(sizeof(*bed));
	struct tdi_receive_queue *queue = &bed->stream.normal;

	(void)context;
	open_bed(bed, LIMIT);
	bed->script.at_once = true;
	for (int i = 0; i < TOTAL / 800; i++) {
		script_arrive(&bed->script, SCRIPT_NORMAL, 800, 0);
		CU_ASSERT(queue->copied <= LIMIT);
	}
	CU_ASSERT_EQUAL(queue->copied, LIMIT);
	CU_ASSERT_EQUAL(bed->script.kinds[SCRIPT_NORMAL].gone, LIMIT);
	CU_ASSERT_EQUAL(read_some(bed, SCRIPT_NORMAL, LIMIT / 2 - 1), LIMIT / 2 - 1);
	CU_ASSERT_EQUAL(bed->script.kinds[SCRIPT_NORMAL].receives, 0);
	CU_ASSERT_EQUAL(read_some(bed, SCRIPT_NORMAL, 1), 1); /* now half is free */
	CU_ASSERT_EQUAL(bed->script.kinds[SCRIPT_NORMAL].receives, 1);
	CU_ASSERT_EQUAL(queue->copied, LIMIT);
	while (read_some(bed, SCRIPT_NORMAL, 700) > 0) {
		CU_ASSERT(queue->copied <= LIMIT);
		CU_ASSERT(tsdu_count(queue) <= 2); /* in so many slabs, and one may be filled */
	}
	CU_ASSERT_EQUAL(bed->read[SCRIPT_NORMAL], TOTAL);
	CU_ASSERT(counted(bed, "refused") > 5);
	CU_ASSERT_EQUAL(counted(bed, "receives"), counted(bed, "received"));
	CU_ASSERT_EQUAL(counted(bed, "consumed_bytes"), TOTAL);
	close_bed(bed);
	ex_free_pool(bed);
}

static void test_stalls(void)
{
	in_executive(stalls, NULL);
}

/* The whole queue is read within the event that fills it, before its handler has returned. */
static void read_in_event(void *context)
{
	struct bed *bed = need_pool(sizeof(*bed));

	(void)context;
	open_bed(bed, 100);
	bed->reads_in_changed = true;
	for (int i = 0; i < 20; i++)
		script_arrive(&bed->script, SCRIPT_NORMAL, 333, i % 3 == 0 ? 2 : 0);
	script_end(&bed->script, STATUS_GRACEFUL_DISCONNECT);
	while (!script_has_ended(&bed->script) && more_comes(bed))
		;
	ke_flush_queued_dpcs();
	CU_ASSERT_EQUAL(bed->read[SCRIPT_NORMAL], 20 * 333);
	close_bed(bed);
	ex_free_pool(bed);
}

static void test_read_in_event(void)
{
	in_executive(read_in_event, NULL);
}

/* The transport is short of memory once: the receive is made again. Or broken: that is the end. */
static void receives_fail(void *context)
{
	static const ntstatus ends[] = {STATUS_INSUFFICIENT_RESOURCES, STATUS_CONNECTION_RESET};

	(void)context;
	for (int i = 0; i < 2; i++) {
		struct bed *bed = need_pool(sizeof(*bed));
		ntstatus status = 0;

		open_bed(bed, 100);
		bed->script.at_once = true;
		bed->script.receive_fails = ends[i];
		script_arrive(&bed->script, SCRIPT_NORMAL, 150, 0);
		while (bed->read[SCRIPT_NORMAL] < 150 && nt_success(status) && more_comes(bed))
			status = read_all(bed, SCRIPT_NORMAL);
		CU_ASSERT_EQUAL(bed->read[SCRIPT_NORMAL], i == 0 ? 150 : 100);
		CU_ASSERT_EQUAL(status, i == 0 ? 0 : STATUS_CONNECTION_RESET);
		close_bed(bed);
		ex_free_pool(bed);
	}
}

static void test_receives_fail(void)
{
	in_executive(receives_fail, NULL);
}

/* ---- All together -------------------------------------------------------------------------- */

enum { ARRIVALS = 300, LARGEST = 9000 };

struct random {
	uint32_t state;
};

static uint32_t below(struct random *random, uint32_t bound)
{
	random->state = random->state * 1664525u + 1013904223u;
	return (random->state >> 8) % bound;
}

struct source {
	struct bed *bed;
	uint64_t sent[SCRIPT_KINDS];
};

static void send_at_random(void *context)
{
	struct source *source = context;
	struct random random = {ke_get_current_processor_number() + 7};

	for (int i = 0; i < ARRIVALS; i++) {
		int kind = below(&random, 4) == 0 ? SCRIPT_EXPEDITED : SCRIPT_NORMAL;
		uint32_t length = 1 + below(&random, below(&random, 3) == 0 ? LARGEST : 40);

		script_arrive(&source->bed->script, kind, length, below(&random, 4));
		source->sent[kind] += length;
	}
	script_end(&source->bed->script, STATUS_GRACEFUL_DISCONNECT);
}

static void read_to_the_end(struct bed *bed)
{
	bool over[SCRIPT_KINDS] = {false};

	while (!over[SCRIPT_NORMAL] || !over[SCRIPT_EXPEDITED]) {
		for (int kind = 0; kind < SCRIPT_KINDS; kind++)
			over[kind] = read_all(bed, kind) == STATUS_GRACEFUL_DISCONNECT;
		if (over[SCRIPT_NORMAL] && over[SCRIPT_EXPEDITED])
			break;
		if (!more_comes(bed))
			break;
	}
}

static void at_random(void *context)
{
	struct bed *bed = need_pool(sizeof(*bed));
	struct source source = {.bed = bed};
	struct kthread thread;

	(void)context;
	open_bed(bed, 5000);
	bed->script.lookahead = 1000;
	bed->script.offset = 5;
	bed->script.most_lent = 3;
	ps_create_system_thread(&thread, send_at_random, &source);
	read_to_the_end(bed);
	ke_wait_for_thread(&thread);
	for (int kind = 0; kind < SCRIPT_KINDS; kind++)
		CU_ASSERT_EQUAL(bed->read[kind], source.sent[kind]);
	CU_ASSERT_EQUAL(counted(bed, "taken_bytes"), source.sent[0] + source.sent[1]);
	CU_ASSERT_EQUAL(counted(bed, "taken_bytes"),
			counted(bed, "copied_bytes") + counted(bed, "lent_bytes"));
	CU_ASSERT_EQUAL(counted(bed, "discarded_bytes"), 0);
	CU_ASSERT_EQUAL(count_broken_laws(&bed->counted), 0);
	close_bed(bed);
	ex_free_pool(bed);
}

static void test_at_random(void)
{
	in_executive(at_random, NULL);
}

/* ---- Ends ---------------------------------------------------------------------------------- */

static void end_behind_data(void *context)
{
	struct bed *bed = need_pool(sizeof(*bed));

	(void)context;
	open_bed(bed, 1000);
	bed->script.at_once = true;
	script_arrive(&bed->script, SCRIPT_NORMAL, 10, 0);
	script_arrive(&bed->script, SCRIPT_NORMAL, 10, 2);
	script_end(&bed->script, STATUS_CONNECTION_RESET);
	tdi_end_receive_queue(&bed->stream.normal, STATUS_GRACEFUL_DISCONNECT);
	CU_ASSERT_EQUAL(read_some(bed, SCRIPT_NORMAL, 15), 15);
	CU_ASSERT_EQUAL(read_some(bed, SCRIPT_NORMAL, 15), 5);
	CU_ASSERT_EQUAL(read_some(bed, SCRIPT_NORMAL, 15), STATUS_CONNECTION_RESET);
	CU_ASSERT_EQUAL(read_some(bed, SCRIPT_EXPEDITED, 15), STATUS_CONNECTION_RESET);
	CU_ASSERT_EQUAL(tdi_queue_read(&bed->stream.normal, NULL, 0), 0);
	close_bed(bed);
	ex_free_pool(bed);
}

static void test_end_behind_data(void)
{
	in_executive(end_behind_data, NULL);
}

static void closed_with_data(void *context)
{
	struct bed *bed = need_pool(sizeof(*bed));

	(void)context;
	open_bed(bed, 100);
	bed->script.at_once = true;
	script_arrive(&bed->script, SCRIPT_NORMAL, 10, 3);
	script_arrive(&bed->script, SCRIPT_NORMAL, 10, 1);
	script_arrive(&bed->script, SCRIPT_NORMAL, 200, 0);
	CU_ASSERT_EQUAL(read_some(bed, SCRIPT_NORMAL, 12), 12);
	CU_ASSERT_EQUAL(bed->script.lent, 1);
	tdi_close_receive_queue(&bed->stream.normal);
	CU_ASSERT_EQUAL(bed->script.lent, 0);
	CU_ASSERT_EQUAL(counted(bed, "discarded_bytes"), 108);
	script_arrive(&bed->script, SCRIPT_EXPEDITED, 10, 1);
	script_arrive(&bed->script, SCRIPT_EXPEDITED, 10, 0);
	tdi_close_receive_queue(&bed->stream.expedited);
	script_arrive(&bed->script, SCRIPT_EXPEDITED, 10, 1); /* the transport forgets it */
	CU_ASSERT_EQUAL(bed->script.lent, 0);
	close_bed(bed);
	ex_free_pool(bed);
}

static void test_closed_with_data(void)
{
	in_executive(closed_with_data, NULL);
}

/* The transport holds a TDI_RECEIVE of the queue's when that is closed, and cancels it later. */
static void closed_while_receiving(void *context)
{
	struct bed *bed = need_pool(sizeof(*bed));
	struct tdi_receive_queue *queue = &bed->stream.normal;
	uint32_t taken;

	(void)context;
	open_bed(bed, 100);
	CU_ASSERT_EQUAL(show(queue, 101, 101, &taken), STATUS_DATA_NOT_ACCEPTED);
	tdi_queue_consume(queue, 100);
	CU_ASSERT_EQUAL(queue->copied, 100);
	tdi_end_receive_queue(queue, STATUS_CONNECTION_RESET);
	CU_ASSERT_EQUAL(read_some(bed, SCRIPT_NORMAL, 1), 0); /* it may still bring something */
	close_bed(bed);
	ex_free_pool(bed);
}

static void test_closed_while_receiving(void)
{
	in_executive(closed_while_receiving, NULL);
}

/* ---- No pool: in the simulator only -------------------------------------------------------- */

#if !EXECUTIVE_HOST

static struct ke_sim_plan plan;
static struct ke_sim_record record;

static bool has_refused(struct tdi_receive_queue *queue)
{
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	bool refused = queue->refused;

	ke_release_spin_lock(&queue->lock, irql);
	return refused;
}

/* The nth allocation from now on finds no pool. */
static void fail_allocation(unsigned nth)
{
	plan.fail_allocation = record.allocation_count + nth;
}

static void in_plan(ke_thread_routine *routine)
{
	plan = (struct ke_sim_plan){.strategy = KE_SIM_SEEDED};
	ke_sim_set_plan(&plan, &record);
	in_executive(routine, NULL);
	ke_sim_set_plan(NULL, NULL);
}

/* The queue is empty and stays so: nothing but time can make it try again. */
static void copy_without_pool(void *context)
{
	struct bed *bed = need_pool(sizeof(*bed));

	(void)context;
	open_bed(bed, 1000);
	bed->script.at_once = true;
	fail_allocation(3); /* the transport allocates twice, then the queue */
	script_arrive(&bed->script, SCRIPT_NORMAL, 10, 0);
	CU_ASSERT_EQUAL(read_some(bed, SCRIPT_NORMAL, 100), 0);
	CU_ASSERT(has_refused(&bed->stream.normal));
	script_arrive(&bed->script, SCRIPT_NORMAL, 10, 0);
	while (bed->read[SCRIPT_NORMAL] < 20 && more_comes(bed))
		read_all(bed, SCRIPT_NORMAL);
	CU_ASSERT_EQUAL(bed->script.kinds[SCRIPT_NORMAL].receives, 1);
	close_bed(bed);
	ex_free_pool(bed);
}

static void test_copy_without_pool(void)
{
	in_plan(copy_without_pool);
}

/* What resuming needs: the slab, the context, the IRP, the MDL; one of them is not there. */
static void resume_without_pool(void *context)
{
	(void)context;
	for (unsigned nth = 1; nth <= 4; nth++) {
		struct bed *bed = need_pool(sizeof(*bed));

		open_bed(bed, 100);
		bed->script.at_once = true;
		script_arrive(&bed->script, SCRIPT_NORMAL, 250, 0);
		CU_ASSERT_EQUAL(bed->stream.normal.copied, 100);
		fail_allocation(nth);
		tdi_queue_consume(&bed->stream.normal, 100);
		bed->read[SCRIPT_NORMAL] = 100;
		CU_ASSERT(has_refused(&bed->stream.normal));
		CU_ASSERT_EQUAL(bed->script.kinds[SCRIPT_NORMAL].receives, 0);
		while (bed->read[SCRIPT_NORMAL] < 250 && more_comes(bed))
			read_all(bed, SCRIPT_NORMAL);
		CU_ASSERT_EQUAL(bed->read[SCRIPT_NORMAL], 250);
		close_bed(bed);
		ex_free_pool(bed);
	}
}

static void test_resume_without_pool(void)
{
	in_plan(resume_without_pool);
}

/* The timer may be armed, or its DPC on its way, when the queue goes. */
static void closed_without_pool(void *context)
{
	struct bed *bed = need_pool(sizeof(*bed));

	(void)context;
	open_bed(bed, 1000);
	bed->script.at_once = true;
	fail_allocation(3);
	script_arrive(&bed->script, SCRIPT_NORMAL, 10, 0);
	ke_delay_execution_thread(9990000); /* not long before it would try again */
	close_bed(bed);
	ex_free_pool(bed);
}

static void test_closed_without_pool(void)
{
	in_plan(closed_without_pool);
}

static void lend_without_pool(struct bed *bed, struct counted_loan *loan, ntstatus wanted)
{
	static char byte = 'x';
	static struct mdl mdl = {.mapped_system_va = &byte, .byte_count = 1};

	*loan = (struct counted_loan){{count_return}, 0};
	fail_allocation(1);
	CU_ASSERT_EQUAL(tdi_queue_chained_receive(&bed->stream.normal, 1, 0, &mdl, &loan->loan),
			wanted);
}

static void loans_without_pool(void *context)
{
	struct bed *bed = need_pool(sizeof(*bed));
	struct tdi_receive_queue *queue = &bed->stream.normal;
	struct counted_loan loans[3];
	char bytes[2];

	(void)context;
	open_bed(bed, 1000);
	lend_without_pool(bed, &loans[0], STATUS_PENDING);
	CU_ASSERT_EQUAL(tdi_queue_read(queue, bytes, 2), 1);
	lend_without_pool(bed, &loans[1], STATUS_PENDING); /* the spare is there again */
	lend_without_pool(bed, &loans[2], STATUS_INSUFFICIENT_RESOURCES);
	CU_ASSERT_EQUAL(tdi_queue_read(queue, bytes, 2), 1);
	CU_ASSERT_EQUAL(tdi_queue_read(queue, bytes, 2), STATUS_INSUFFICIENT_RESOURCES);
	CU_ASSERT_EQUAL(loans[0].returned, 1);
	CU_ASSERT_EQUAL(loans[1].returned, 1);
	CU_ASSERT_EQUAL(loans[2].returned, 0);
	close_bed(bed);
	ex_free_pool(bed);
}

static void test_loans_without_pool(void)
{
	in_plan(loans_without_pool);
}

static const struct test_case pool_cases[] = {
	{"no pool for a copy: it is refused, and fetched later", test_copy_without_pool},
	{"no pool for a receive: it is made later", test_resume_without_pool},
	{"no pool for a receive, and the queue goes", test_closed_without_pool},
	{"no pool for a loan: one is taken all the same, a second ends the queue",
	 test_loans_without_pool},
	{NULL, NULL},
};

#endif

void register_receive_suite(void)
{
	static const struct test_case cases[] = {
		{"shown to be copied: all is taken, or as much as there is room for, and refused",
		 test_plain_answers},
		{"shown as a loan: taken, and back when its last byte is consumed",
		 test_chained_answers},
		{"each of the four handlers fills the queue of its kind", test_four_handlers},
		{"small data shares slabs, large data has buffers, and the order stays",
		 test_kinds_by_size},
		{"loans in chains of MDLs behind an offset are read byte by byte", test_chains},
		{"copies stay under the limit, and it goes on when half of it is free",
		 test_stalls},
		{"all may be read within the event that shows it", test_read_in_event},
		{"a receive that fails for want of memory is made again; another error is the end",
		 test_receives_fail},
		{"both kinds, both ways, random sizes: each byte comes once and in order",
		 test_at_random},
		{"the end is told behind what is unread, and the first reason counts",
		 test_end_behind_data},
		{"a close gives back loans, and counts what it throws away", test_closed_with_data},
		{"a close with a receive under way", test_closed_while_receiving},
		{NULL, NULL},
	};

	add_suite("06-receive", cases);
#if !EXECUTIVE_HOST
	add_suite("06-receive-no-pool", pool_cases);
#endif
}
