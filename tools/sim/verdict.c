/* What a search came to; the numbers are what the board says, the guarantee is what they allow. */
#include "verdict.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "chart.h"
#include "token.h"
#include "xport.h"

static const struct {
	enum ke_sim_strategy strategy;
	const char *name;
} sampled[] = {{KE_SIM_POS, "POS"},
	       {KE_SIM_UNIFORM, "uniform"},
	       {KE_SIM_PCT, "PCT"},
	       {KE_SIM_STICKY, "sticky"}};

enum { SAMPLED = sizeof(sampled) / sizeof(sampled[0]) };

#define WORTH_SAYING 0.5

static double rate_of(const struct sim_progress *progress)
{
	return progress->elapsed_ns > 0
		       ? (double)progress->schedules * 1e9 / (double)progress->elapsed_ns
		       : 0;
}

/* The highest bound all of whose schedules were run; -1: none. */
static int bound_reached(const struct sim_progress *progress)
{
	int bound = -1;

	while (bound + 1 < SIM_BOUNDS && progress->exhausted[bound + 1] > 0)
		bound++;
	return bound;
}

/*
 * With what probability PCT has missed a bug that needs three ordered events: a third of its runs
 * were of that depth, and each finds it with 1 / (n * k^2) at least.
 */
static double chance_to_miss(const struct sim_progress *progress)
{
	double lanes = progress->most_lanes, steps = (double)progress->most_steps;
	double runs = (double)progress->sampled[KE_SIM_PCT] / 3;

	return lanes * steps == 0 ? 1 : exp(-runs / (lanes * steps * steps));
}

/* ---- In words -------------------------------------------------------------------------------- */

static void print_bounds(FILE *stream, const struct sim_progress *progress)
{
	for (int bound = 0; bound <= bound_reached(progress); bound++)
		fprintf(stream, "  %12" PRIu64 "  with %d deviation%s: every one there is\n",
			progress->exhausted[bound], bound, bound == 1 ? "" : "s");
}

static void print_samples(FILE *stream, const struct sim_progress *progress)
{
	if (progress->failures_tried > 0)
		fprintf(stream, "  %12" PRIu64 "  with one allocation that fails: each in turn\n",
			progress->failures_tried);
	for (unsigned i = 0; i < SAMPLED; i++)
		if (progress->sampled[sampled[i].strategy] > 0)
			fprintf(stream, "  %12" PRIu64 "  at random, %s\n",
				progress->sampled[sampled[i].strategy], sampled[i].name);
}

static void print_guarantee(FILE *stream, const struct sim_progress *progress)
{
	int bound = bound_reached(progress);

	fputs("no failure", stream);
	if (bound >= 0)
		fprintf(stream, ": none exists with up to %d deviation%s", bound,
			bound == 1 ? "" : "s");
	if (chance_to_miss(progress) < WORTH_SAYING)
		fprintf(stream,
			"%s one that needs 3 events in order (n = %u, k = %" PRIu64
			") was missed with a probability of %.0e at most",
			bound >= 0 ? ";" : ":", progress->most_lanes, progress->most_steps,
			fmax(chance_to_miss(progress), 1e-99));
	fputs("\n", stream);
}

void print_verdict(FILE *stream, const struct sim_search *search, const struct sim_board *board)
{
	const struct sim_progress *progress = &board->progress;

	fprintf(stream, "%s: %s\n", search->scenario->name, search->scenario->says);
	fprintf(stream,
		"size %u, %u processors; %" PRIu64 " schedules in %s, %.0f a second; up to %" PRIu64
		" steps of %u contexts\n",
		search->requests, search->processors, progress->schedules,
		format_seconds((double)progress->elapsed_ns / 1e9).text, rate_of(progress),
		progress->most_steps, progress->most_lanes);
	print_bounds(stream, progress);
	print_samples(stream, progress);
	if (!board->finding.found)
		print_guarantee(stream, progress);
	else if (board->finding.unstable)
		fputs("the same schedule was not the same run twice: the scenario depends on "
		      "something that the simulator does not control\n",
		      stream);
}

bool tell_failure(FILE *stream, const struct sim_scenario *scenario, struct sim_board *board,
		  struct ke_sim_event *events, uint32_t event_room)
{
	struct sim_schedule *schedule = &board->finding.schedule;
	uint32_t count;

	if (board->finding.unstable)
		return true;
	if (!explore_again(scenario, schedule, board, events, event_room))
		return false;
	count = board->record.event_count < event_room ? board->record.event_count : event_room;
	fprintf(stream, "\n%u deviation%s, size %u:\n\n", schedule->deviation_count,
		schedule->deviation_count == 1 ? "" : "s", schedule->requests);
	print_chart(stream, events, count, board->record.event_count);
	fprintf(stream, "\n%s\nxport replay ", board->finding.text);
	print_token(stream, scenario->name, program_hash(), schedule);
	putc('\n', stream);
	return true;
}

/* ---- As JSON --------------------------------------------------------------------------------- */

static void print_finding_json(FILE *stream, const struct sim_scenario *scenario,
			       const struct sim_finding *finding)
{
	fputs(",\"rule\":", stream);
	print_json_string(stream, finding->rule);
	fputs(",\"report\":", stream);
	print_json_string(stream, finding->text);
	fprintf(stream, ",\"deviations\":%u,\"requests\":%u,\"token\":\"",
		finding->schedule.deviation_count, finding->schedule.requests);
	print_token(stream, scenario->name, program_hash(), &finding->schedule);
	fputs("\"", stream);
}

void print_verdict_json(FILE *stream, const struct sim_search *search,
			const struct sim_board *board)
{
	const struct sim_progress *progress = &board->progress;

	fprintf(stream,
		"{\"scenario\":\"%s\",\"processors\":%u,\"found\":%s,\"schedules\":%" PRIu64
		",\"seconds\":%.6g,\"schedules_per_second\":%.6g,\"most_steps\":%" PRIu64
		",\"most_contexts\":%u,\"exhausted_bound\":%d,\"failures_tried\":%" PRIu64,
		search->scenario->name, search->processors, board->finding.found ? "true" : "false",
		progress->schedules, (double)progress->elapsed_ns / 1e9, rate_of(progress),
		progress->most_steps, progress->most_lanes, bound_reached(progress),
		progress->failures_tried);
	for (unsigned i = 0; i < SAMPLED; i++)
		fprintf(stream, ",\"%s\":%" PRIu64, sampled[i].name,
			progress->sampled[sampled[i].strategy]);
	fprintf(stream, ",\"hash\":\"%016" PRIx64 "\"", progress->hash);
	if (board->finding.found)
		print_finding_json(stream, search->scenario, &board->finding);
	fputs("}\n", stream);
}
