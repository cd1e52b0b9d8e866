/*
 * The harness in the simulator: an exercise is a scenario, whose orders of events are searched,
 * first those with few deviations from the ordinary one and then some at random. Budgets count runs
 * and not time, so that the same answer gets the same report.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chart.h"
#include "explore.h"
#include "private.h"
#include "token.h"

enum {
	PROCESSORS = 2,
	ORDERS = 2500,
	RANDOM_ORDERS = 5, /* of these, one in so many */
	SHRINKING_RUNS = 20000,
	EVENTS = 20000,
};

#define NO_LIMIT UINT64_C(3600000000000)

const char lab_executive[] = "simulator";
const bool lab_can_repeat = true;

static struct sim_board *board;
static struct ke_sim_event *events;
static const struct lab_exercise *current;
static struct sim_schedule failed;

/* ---- The answer's variables ------------------------------------------------------------------ */

/* The linker's names for the sections into which `xport lab` puts them; NULL where there are none.
 */
extern char __start_lab_data[] __attribute__((weak));
extern char __stop_lab_data[] __attribute__((weak));
extern char __start_lab_bss[] __attribute__((weak));
extern char __stop_lab_bss[] __attribute__((weak));

/* Between the variables lies what the sanitizer has poisoned, so not with memcpy. */
__attribute__((no_sanitize("address"))) static void copy(char *to, const char *from, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		((volatile char *)to)[i] = from[i];
}

/* Each run finds them as the first one did: else it would depend on the runs before it. */
static void restore_variables(void)
{
	static char *data, *zeros;
	size_t data_bytes = (size_t)(__stop_lab_data - __start_lab_data);
	size_t zero_bytes = (size_t)(__stop_lab_bss - __start_lab_bss);

	if (data == NULL) {
		data = malloc(data_bytes + 1);
		zeros = calloc(1, zero_bytes + 1);
		if (data == NULL || zeros == NULL)
			abort();
		copy(data, __start_lab_data, data_bytes);
	}
	copy(__start_lab_data, data, data_bytes);
	copy(__start_lab_bss, zeros, zero_bytes);
}

/* ---- Runs ------------------------------------------------------------------------------------ */

static void run_current(void *context)
{
	(void)context;
	restore_variables();
	lab_begin_run();
	current->run(NULL);
}

static const struct sim_scenario scenario = {.run = run_current, .requests = 1};

void lab_prepare_runs(void)
{
	board = explore_new_board();
	events = explore_new_events(EVENTS);
	if (board == NULL || events == NULL) {
		fputs("lab: not enough memory\n", stderr);
		exit(2);
	}
}

static bool search(enum sim_portfolio portfolio, uint64_t runs)
{
	const struct sim_search search = {.scenario = &scenario,
					  .processors = PROCESSORS,
					  .requests = 1,
					  .seed = 1,
					  .budget_ns = NO_LIMIT,
					  .budget_schedules = runs,
					  .bound = SIM_BOUNDS - 1,
					  .portfolio = portfolio,
					  .strategy = -1};

	board->progress = (struct sim_progress){0};
	return explore_here(&search, board);
}

void lab_run_exercise(const struct lab_exercise *exercise, enum lab_job job)
{
	uint64_t orders = lab_under_check.orders != 0 ? lab_under_check.orders : ORDERS;
	uint64_t random = orders / RANDOM_ORDERS;
	bool fails = false;

	current = exercise;
	board->finding.found = false;
	switch (job) {
	case LAB_SEARCH:
		fails = search(SIM_ONLY_BOUNDED, orders - random) ||
			search(SIM_ONLY_SAMPLING, random);
		break;
	case LAB_SHRINK:
		fails = search(SIM_ONLY_BOUNDED, SHRINKING_RUNS);
		break;
	case LAB_DRAW:
		fails = explore_run(&scenario, &failed, board, events, EVENTS);
		break;
	}
	if (!fails)
		return;
	fputs(board->finding.text, stderr);
	_exit(1);
}

/* The child may have left in the middle of a run, and then it could not say which. */
void lab_take_failure(void)
{
	if (!board->finding.found)
		explore_take_running(board, PROCESSORS);
	failed = board->finding.schedule;
}

unsigned lab_deviations(void)
{
	return failed.deviation_count;
}

int lab_read_token(const char *token)
{
	char name[64], *end;
	bool other_program;
	unsigned long exercise;

	if (!parse_token(token, name, sizeof(name), &failed, &other_program))
		return -1;
	exercise = strtoul(name, &end, 10);
	return *end == '\0' && exercise >= 1 && exercise <= lab_record->total ? (int)exercise - 1
									      : -1;
}

void lab_print_token(void)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", lab_record->exercise + 1);
	print_token(stdout, name, 0, &failed);
}

void lab_print_drawing(void)
{
	uint32_t count = board->record.event_count;

	print_chart(stdout, events, count < EVENTS ? count : EVENTS, count);
}
