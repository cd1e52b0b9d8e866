/*
 * Reports: bug checks, deadlocks, livelocks, and the table of lanes.
 *
 * A report is written into the run's ke_sim_report and, unless that is unwanted, to standard error.
 * It reads no memory of the caller's but the names in call sites: an event or a lock that somebody
 * waits for may be gone. Who holds a lock is found among the lanes.
 *
 * After a bug check the process aborts, for a core dump or a debugger; with KE_SIM_CATCH the run is
 * left instead, as after a deadlock, and its lanes are abandoned where they stand.
 */
#include "ke/sim/executive.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct ke_sim_report *ke_sim_last_report(void)
{
	return &sim_state.report;
}

unsigned ke_sim_set_flags(unsigned flags)
{
	unsigned old = sim_state.flags;

	sim_state.flags = flags;
	return old;
}

/* ---- Writing -------------------------------------------------------------------------------- */

static void vprint(const char *format, va_list arguments)
{
	char *text = sim_state.report.text;
	size_t used = strlen(text);

	vsnprintf(text + used, KE_SIM_TEXT_BYTES - used, format, arguments);
}

__attribute__((format(printf, 1, 2))) static void print(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprint(format, arguments);
	va_end(arguments);
}

/*
 * The same schedule gives the same report in every process: an address becomes the number of the
 * object among those of the report.
 */
static void number_objects(char *text)
{
	enum { OBJECTS = 16, ADDRESS_DIGITS = 10 }; /* shorter ones are statuses */
	unsigned long long known[OBJECTS];
	unsigned count = 0, number;
	char *from = text, *to = text, *end;

	while (*from != '\0') {
		unsigned long long address = 0;

		end = from;
		if (from[0] == '0' && from[1] == 'x')
			address = strtoull(from, &end, 16);
		if (end - from < 2 + ADDRESS_DIGITS) {
			*to++ = *from++;
			continue;
		}
		for (number = 0; number < count && known[number] != address;)
			number++;
		if (number == count && count < OBJECTS)
			known[count++] = address;
		from = end;
		to += sprintf(to, "#%u", number + 1);
	}
	*to = '\0';
}

static void publish(void)
{
	number_objects(sim_state.report.text);
	sim_state.failed = true;
	if (!(sim_state.flags & KE_SIM_QUIET))
		fputs(sim_state.report.text, stderr);
}

/* ---- The table of lanes --------------------------------------------------------------------- */

static const char *const operation_names[SIM_OPERATIONS] = {
	[SIM_OP_NONE] = "start",
	[SIM_OP_CHOOSE] = "choose",
	[SIM_OP_RAISE_IRQL] = "raise IRQL",
	[SIM_OP_LOWER_IRQL] = "lower IRQL",
	[SIM_OP_ACQUIRE_LOCK] = "acquire lock",
	[SIM_OP_RELEASE_LOCK] = "release lock",
	[SIM_OP_INTERLOCKED] = "interlocked",
	[SIM_OP_INSERT_LIST] = "insert into list",
	[SIM_OP_REMOVE_LIST] = "remove from list",
	[SIM_OP_REFERENCE] = "reference",
	[SIM_OP_DEREFERENCE] = "dereference",
	[SIM_OP_SET_EVENT] = "set event",
	[SIM_OP_CLEAR_EVENT] = "clear event",
	[SIM_OP_WAIT] = "wait",
	[SIM_OP_DELAY] = "delay",
	[SIM_OP_QUEUE_DPC] = "queue DPC",
	[SIM_OP_REMOVE_DPC] = "remove DPC",
	[SIM_OP_FLUSH_DPCS] = "flush DPCs",
	[SIM_OP_SET_TIMER] = "set timer",
	[SIM_OP_CANCEL_TIMER] = "cancel timer",
	[SIM_OP_QUEUE_WORK_ITEM] = "queue work item",
	[SIM_OP_CREATE_THREAD] = "create thread",
	[SIM_OP_WAIT_THREAD] = "wait for thread",
	[SIM_OP_CONNECT] = "connect interrupt",
	[SIM_OP_DISCONNECT] = "disconnect interrupt",
	[SIM_OP_REQUEST] = "request interrupt",
	[SIM_OP_SYNCHRONIZE] = "synchronize",
};

const char *sim_operation_name(unsigned operation)
{
	return operation_names[operation];
}

const char *sim_kind_name(unsigned kind)
{
	static const char *const names[] = {"thread", "work item", "DPC", "interrupt"};

	return names[kind];
}

static const char *file_name(const struct ke_site *site)
{
	const char *slash = strrchr(site->file, '/');

	return slash ? slash + 1 : site->file;
}

static void print_holder(const struct kspin_lock *lock)
{
	for (unsigned id = 0; id < sim_state.lanes_used; id++) {
		const struct sim_lane *lane = sim_state.lanes[id];

		if (lane->state == SIM_FREE)
			continue;
		for (unsigned i = 0; i < lane->held_count; i++) {
			if (lane->held[i].lock == lock)
				print(", held by lane %u since %s:%d", id,
				      file_name(lane->held[i].site), lane->held[i].site->line);
		}
	}
}

/* What keeps the lane from going on, if anything does. */
static void print_obstacle(const struct sim_lane *lane)
{
	if (lane->state == SIM_ENDED) {
		print("ended, not waited for");
	} else if (lane->spins_on) {
		print("spins for lock %p", (void *)lane->spins_on);
		print_holder(lane->spins_on);
	} else if (lane->state == SIM_WAITING) {
		switch (lane->wait) {
		case SIM_WAIT_EVENT:
			print("waits for event %p", lane->waits_on);
			break;
		case SIM_WAIT_THREAD:
			print("waits for the end of lane %u",
			      ((const struct sim_lane *)lane->waits_on)->id);
			break;
		case SIM_WAIT_DPCS:
			print("waits for the DPCs queued before");
			break;
		default:
			print("sleeps");
		}
	} else if (lane->state == SIM_PINNED && lane->processor->top != lane) {
		print("interrupted by lane %u", lane->processor->top->id);
	} else {
		print(lane == sim_state.current ? "runs" : "ready");
	}
}

static void print_lane(const struct sim_lane *lane)
{
	char processor[16] = "-", place[64] = "-";

	if (lane->state == SIM_PINNED || lane->kind == SIM_WORK_ITEM)
		snprintf(processor, sizeof(processor), "%u", lane->processor->number);
	if (lane->site)
		snprintf(place, sizeof(place), "%s:%d", file_name(lane->site), lane->site->line);
	print("%6u  %-9s  %4u  %3s  %-24s %-16s ", lane->id,
	      lane->id == 0 ? "main" : sim_kind_name(lane->kind), lane->irql, processor, place,
	      operation_names[lane->operation]);
	print_obstacle(lane);
	if (lane->task.origin)
		print(" (created at %s:%d)", file_name(lane->task.origin), lane->task.origin->line);
	print("\n");
}

static void print_lanes(void)
{
	enum { MOST = 40 };
	unsigned shown = 0;

	print("  lane  kind       IRQL  cpu  last at                  operation        state\n");
	for (unsigned id = 0; id < sim_state.lanes_used; id++) {
		if (sim_state.lanes[id]->state == SIM_FREE)
			continue;
		if (shown++ < MOST)
			print_lane(sim_state.lanes[id]);
	}
	if (shown > MOST)
		print("  and %u more\n", shown - MOST);
	print("  seed %llu, %u processors, step %llu, time %llu ns\n",
	      (unsigned long long)sim_state.report.seed, sim_state.processors,
	      (unsigned long long)sim_state.steps, (unsigned long long)sim_state.now_ns);
}

/* ---- The reports ---------------------------------------------------------------------------- */

__attribute__((format(printf, 4, 0))) static void
write_violation(const struct ke_site *site, const char *rule, const struct verifier_event *other,
		const char *format, va_list arguments)
{
	const struct verifier_rule *known = verifier_find_rule(rule);
	struct ke_sim_report *report = &sim_state.report;

	report->verdict = KE_SIM_BUG_CHECK;
	snprintf(report->rule, sizeof(report->rule), "%s", rule);
	report->text[0] = '\0';
	print("bug check %s: ", rule);
	vprint(format, arguments);
	print("\n  at %s:%d\n", site->file, site->line);
	if (other)
		print("  before: %s at %s:%d\n", other->what, other->site->file, other->site->line);
	if (known)
		print("  clause: %s\n  read: %s\n", known->clause, known->page);
	if (sim_state.running)
		print_lanes();
	publish();
	if (!sim_state.running || !(sim_state.flags & KE_SIM_CATCH))
		abort();
}

void sim_report_violation(const struct ke_site *site, const char *rule,
			  const struct verifier_event *other, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	write_violation(site, rule, other, format, arguments);
	va_end(arguments);
}

void verifier_stop(const struct ke_site *site, const char *rule, const struct verifier_event *other,
		   const char *format, va_list arguments)
{
	write_violation(site, rule, other, format, arguments);
	/* Caught, which needs a lane to leave; its frames are abandoned with the others. */
	if (sim_state.current)
		sim_leave(KE_SIM_BUG_CHECK);
	abort();
}

void ke_bug_check_at(const struct ke_site *site, const char *rule, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	verifier_stop(site, rule, NULL, format, arguments);
}

void sim_report_stuck(enum ke_sim_verdict verdict)
{
	sim_state.report.text[0] = '\0';
	if (verdict == KE_SIM_DEADLOCK)
		print("deadlock: no context can ever go on\n");
	else
		print("livelock: no end after %llu steps\n", (unsigned long long)sim_state.steps);
	print_lanes();
	publish();
}
