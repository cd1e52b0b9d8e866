/*
 * Stage 06, on a transport that shows data from a DPC, beside the reader: refusals, receives and
 * loans in every order. A wake-up that is lost leaves the reader waiting, which is a deadlock.
 */
#include <string.h>

#include "../../labs/06-receive/script.h"
#include "scenarios.h"

enum { LIMIT = 4, PIECE = 3 };

struct bench {
	struct script script;
	struct tdi_stream stream;
	struct kevent changed;
	uint64_t read[SCRIPT_KINDS];
	ntstatus end[SCRIPT_KINDS];
};

static void complain(enum script_fault fault, const char *expected, const char *actual)
{
	(void)fault;
	ke_bug_check("SCENARIO", "expected: %s; actual: %s", expected, actual);
}

static struct tdi_receive_queue *queue_of(struct bench *bench, int kind)
{
	return kind == SCRIPT_NORMAL ? &bench->stream.normal : &bench->stream.expedited;
}

static uint32_t copied_in(struct tdi_receive_queue *queue)
{
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	uint32_t copied = queue->copied;

	ke_release_spin_lock(&queue->lock, irql);
	return copied;
}

static void wake_reader(void *context)
{
	ke_set_event(&((struct bench *)context)->changed);
}

/* False when there is no pool for that. */
static bool open_bench(struct bench *bench)
{
	memset(bench, 0, sizeof(*bench));
	script_open(&bench->script, &bench->stream, NULL, complain);
	ke_initialize_event(&bench->changed, SYNCHRONIZATION_EVENT, false);
	for (int kind = 0; kind < SCRIPT_KINDS; kind++)
		tdi_initialize_receive_queue(queue_of(bench, kind), &bench->script.connection,
					     kind == SCRIPT_NORMAL ? TDI_RECEIVE_NORMAL
								   : TDI_RECEIVE_EXPEDITED,
					     LIMIT, wake_reader, bench);
	return nt_success(tdi_set_receive_handlers(&bench->script.address));
}

static void close_bench(struct bench *bench)
{
	for (int kind = 0; kind < SCRIPT_KINDS; kind++)
		tdi_close_receive_queue(queue_of(bench, kind));
	script_close(&bench->script);
}

/* Reads what there is; whether the end was told. */
static bool read_kind(struct bench *bench, int kind)
{
	struct tdi_receive_queue *queue = queue_of(bench, kind);
	const void *bytes;
	uint32_t length;

	while ((bytes = tdi_queue_peek(queue, &length, &bench->end[kind])) != NULL) {
		scenario_expect(script_is(kind, bench->read[kind], bytes, length),
				"byte %u or one of the %u behind it is not what was sent",
				(unsigned)bench->read[kind], length);
		scenario_expect(copied_in(queue) <= LIMIT, "the queue holds more than %d bytes",
				LIMIT);
		bench->read[kind] += length;
		tdi_queue_consume(queue, length);
	}
	return bench->end[kind] != STATUS_PENDING;
}

static void read_to_the_end(struct bench *bench)
{
	bool over = false;

	while (!over) {
		ke_wait_for_single_object(&bench->changed, KE_WAIT_FOREVER);
		over = true;
		for (int kind = 0; kind < SCRIPT_KINDS; kind++)
			over &= read_kind(bench, kind);
	}
}

static void expect_all(const struct bench *bench, int kind, uint64_t sent)
{
	scenario_expect(bench->end[kind] == STATUS_GRACEFUL_DISCONNECT, "the end was told as %s",
			nt_status_name(bench->end[kind]));
	scenario_expect(bench->read[kind] == sent, "%u of %u bytes were read",
			(unsigned)bench->read[kind], (unsigned)sent);
}

static void stall(void *context)
{
	const struct sim_setting *setting = context;
	uint64_t sent = 0;
	struct bench bench;

	if (open_bench(&bench)) {
		for (unsigned i = 0; i < setting->requests; i++) {
			uint32_t length = i % 2 == 0 ? LIMIT : PIECE; /* to fill it, or nearly */

			script_arrive(&bench.script, SCRIPT_NORMAL, length, 0);
			sent += length;
		}
		script_end(&bench.script, STATUS_GRACEFUL_DISCONNECT);
		read_to_the_end(&bench);
		expect_all(&bench, SCRIPT_NORMAL, sent);
	}
	close_bench(&bench);
}

/* Loans and copies in one stream, loans of the other kind, and a close that may come at any time.
 */
static void loans(void *context)
{
	const struct sim_setting *setting = context;
	bool patient = ke_choose(2, "whether the reader gives up") == 0;
	struct bench bench;

	if (open_bench(&bench)) {
		bench.script.most_lent = 1;
		for (unsigned i = 0; i < setting->requests; i++) {
			script_arrive(&bench.script, SCRIPT_NORMAL, PIECE, (i + 2) % 3);
			script_arrive(&bench.script, SCRIPT_EXPEDITED, PIECE, 1);
		}
		script_end(&bench.script, STATUS_GRACEFUL_DISCONNECT);
		if (patient) {
			read_to_the_end(&bench);
			expect_all(&bench, SCRIPT_NORMAL, (uint64_t)setting->requests * PIECE);
			expect_all(&bench, SCRIPT_EXPEDITED, (uint64_t)setting->requests * PIECE);
		} else {
			read_kind(&bench, SCRIPT_NORMAL);
		}
	}
	close_bench(&bench);
}

const struct sim_scenario receive_scenarios[] = {
	{"receive/stall", "more comes than a queue may hold, while it is read", stall, 3, true},
	{"receive/loans",
	 "loans and copies of both kinds, one loan at a time, and perhaps an early "
	 "close",
	 loans, 2, true},
	{0},
};
