/* The search itself, in the process that runs the scenario; see explore.h. */
#include "explore.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct level {
	uint32_t choices;
	uint16_t alternatives[SIM_CHOICES];
};

struct explorer {
	const struct sim_search *search;
	struct sim_board *board;
	struct ke_sim_plan plan;
	struct ke_sim_deviation deviations[SIM_BOUNDS];
	uint64_t end_ns;
	uint64_t begun_ns;
	uint64_t last_hash;
	bool truncated; /* a run had more choices than could be recorded */
};

static struct level levels[SIM_BOUNDS + 1];

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- One run -------------------------------------------------------------------------------- */

static const char *rule_of(const struct ke_sim_report *report)
{
	switch (report->verdict) {
	case KE_SIM_DEADLOCK:
		return "DEADLOCK";
	case KE_SIM_LIVELOCK:
		return "LIVELOCK";
	case KE_SIM_BUG_CHECK:
		return report->rule;
	case KE_SIM_COMPLETED:
		break;
	}
	return "";
}

static void begin_record(struct sim_board *board, struct level *level)
{
	board->record = (struct ke_sim_record){
		.deviation_room = SIM_DEVIATIONS,
		.deviations = board->deviations,
		.choice_room = level != NULL ? SIM_CHOICES : 0,
		.alternatives = level != NULL ? level->alternatives : NULL,
	};
}

static void note_size(struct sim_progress *progress, const struct ke_sim_report *report)
{
	progress->schedules++;
	progress->hash = (progress->hash ^ report->trace_hash) * UINT64_C(0x9e3779b97f4a7c15);
	if (report->steps > progress->most_steps)
		progress->most_steps = report->steps;
	if (report->choices > progress->most_choices)
		progress->most_choices = report->choices;
	if (report->lanes > progress->most_lanes)
		progress->most_lanes = report->lanes;
}

/* What a run has chosen is a schedule by itself, whatever strategy chose it. */
void explore_take_running(struct sim_board *board, unsigned processors)
{
	struct sim_schedule *schedule = &board->finding.schedule;
	uint32_t kept = board->record.deviation_count;

	schedule->processors = processors;
	schedule->requests = board->running_requests;
	schedule->fail_allocation = board->running_failure;
	schedule->deviation_count = kept;
	if (kept > SIM_DEVIATIONS)
		kept = SIM_DEVIATIONS;
	memcpy(schedule->deviations, board->deviations, kept * sizeof(schedule->deviations[0]));
}

static void keep_finding(struct sim_board *board, const struct ke_sim_report *report,
			 unsigned processors)
{
	struct sim_finding *finding = &board->finding;

	finding->found = true;
	snprintf(finding->rule, sizeof(finding->rule), "%s", rule_of(report));
	memcpy(finding->text, report->text, sizeof(finding->text));
	explore_take_running(board, processors);
}

/* Runs the scenario by the plan. True when it fails by a rule that counts. */
static bool run(struct explorer *explorer, uint64_t seed, struct level *level)
{
	const struct sim_search *search = explorer->search;
	struct sim_setting setting = {.requests = search->requests};
	struct ke_options options = {.processors = search->processors, .seed = seed};
	struct sim_board *board = explorer->board;
	const struct ke_sim_report *report = ke_sim_last_report();
	ntstatus status;

	begin_record(board, level);
	board->running_requests = search->requests;
	board->running_failure = explorer->plan.fail_allocation;
	ke_sim_set_plan(&explorer->plan, &board->record);
	status = ke_run(&options, search->scenario->run, &setting);
	ke_sim_set_plan(NULL, NULL);
	note_size(&board->progress, report);
	explorer->last_hash = report->trace_hash;
	if (level != NULL) {
		level->choices = board->record.choice_count;
		if (level->choices > SIM_CHOICES) {
			level->choices = SIM_CHOICES;
			explorer->truncated = true;
		}
	}
	if (nt_success(status) ||
	    (search->rule != NULL && strcmp(search->rule, rule_of(report)) != 0))
		return false;
	keep_finding(board, report, search->processors);
	return true;
}

static bool is_spent(struct explorer *explorer)
{
	const struct sim_search *search = explorer->search;
	struct sim_progress *progress = &explorer->board->progress;
	uint64_t now = now_ns();

	progress->elapsed_ns = now - explorer->begun_ns;
	return now >= explorer->end_ns ||
	       (search->budget_schedules > 0 && progress->schedules >= search->budget_schedules);
}

/* ---- Every schedule with few deviations ------------------------------------------------------ */

enum outcome { NOTHING, FOUND, SPENT };

static enum outcome run_deviations(struct explorer *explorer, unsigned count)
{
	if (is_spent(explorer))
		return SPENT;
	explorer->plan = (struct ke_sim_plan){.strategy = KE_SIM_BY_ORDINAL,
					      .deviations = explorer->deviations,
					      .deviation_count = count};
	return run(explorer, 0, &levels[count]) ? FOUND : NOTHING;
}

/*
 * All schedules that have `bound` deviations, of which the first `count` are given: their run,
 * which levels[count] describes, says which choices there are to deviate at from ordinal `first`
 * on.
 */
static enum outcome extend(struct explorer *explorer, unsigned count, unsigned bound,
			   uint32_t first)
{
	enum outcome outcome = NOTHING;

	for (uint32_t ordinal = first; ordinal < levels[count].choices; ordinal++)
		for (uint32_t index = 1; index < levels[count].alternatives[ordinal]; index++) {
			explorer->deviations[count] =
				(struct ke_sim_deviation){.ordinal = ordinal, .index = index};
			outcome = run_deviations(explorer, count + 1);
			if (outcome == NOTHING && count + 1 < bound)
				outcome = extend(explorer, count + 1, bound, ordinal + 1);
			if (outcome != NOTHING)
				return outcome;
		}
	return NOTHING;
}

static enum outcome search_bounded(struct explorer *explorer)
{
	struct sim_progress *progress = &explorer->board->progress;
	enum outcome outcome = NOTHING;

	for (unsigned bound = 0; outcome == NOTHING && bound <= explorer->search->bound; bound++) {
		uint64_t before = progress->schedules;

		outcome = run_deviations(explorer, 0);
		if (outcome == NOTHING && bound > 0)
			outcome = extend(explorer, 0, bound, 0);
		if (outcome == NOTHING && !explorer->truncated)
			progress->exhausted[bound] = progress->schedules - before;
	}
	return outcome;
}

/* ---- Without memory -------------------------------------------------------------------------- */

static enum outcome search_failures(struct explorer *explorer)
{
	struct sim_board *board = explorer->board;
	uint32_t allocations;
	enum outcome outcome = run_deviations(explorer, 0);

	allocations = board->record.allocation_count;
	for (uint32_t number = 1; outcome == NOTHING && number <= allocations; number++) {
		if (is_spent(explorer))
			return SPENT;
		explorer->plan.fail_allocation = number;
		if (run(explorer, 0, NULL))
			return FOUND;
		board->progress.failures_tried = number;
	}
	explorer->plan.fail_allocation = 0;
	return outcome;
}

/* ---- At random ------------------------------------------------------------------------------- */

static enum ke_sim_strategy choose_strategy(const struct explorer *explorer, uint64_t number)
{
	static const uint8_t portfolio[20] = {
		KE_SIM_POS, KE_SIM_UNIFORM, KE_SIM_PCT,	    KE_SIM_POS, KE_SIM_STICKY,
		KE_SIM_POS, KE_SIM_PCT,	    KE_SIM_UNIFORM, KE_SIM_POS, KE_SIM_PCT,
		KE_SIM_POS, KE_SIM_UNIFORM, KE_SIM_POS,	    KE_SIM_PCT, KE_SIM_UNIFORM,
		KE_SIM_POS, KE_SIM_STICKY,  KE_SIM_PCT,	    KE_SIM_POS, KE_SIM_UNIFORM};

	if (explorer->search->strategy >= 0)
		return (enum ke_sim_strategy)explorer->search->strategy;
	return portfolio[number % 20];
}

static bool sample(struct explorer *explorer, uint64_t number)
{
	static const unsigned depths[] = {2, 3, 5};
	struct sim_progress *progress = &explorer->board->progress;
	uint64_t seed = explorer->search->seed + number;

	explorer->plan = (struct ke_sim_plan){.strategy = choose_strategy(explorer, number),
					      .depth = depths[number % 3],
					      .length = (uint32_t)progress->most_steps};
	progress->sampled[explorer->plan.strategy]++;
	return run(explorer, seed, NULL);
}

/* The same plan and seed must give the same run; else nothing that is found could be had again. */
static bool is_stable(struct explorer *explorer, uint64_t number)
{
	uint64_t hash = explorer->last_hash;

	run(explorer, explorer->search->seed + number, NULL);
	return explorer->last_hash == hash;
}

static enum outcome search_samples(struct explorer *explorer)
{
	enum { TWICE_OF = 64 };

	for (uint64_t number = 0;; number++) {
		if (is_spent(explorer))
			return SPENT;
		if (sample(explorer, number))
			return FOUND;
		if (number % TWICE_OF == 0 && !is_stable(explorer, number)) {
			explorer->board->finding.found = explorer->board->finding.unstable = true;
			snprintf(explorer->board->finding.rule, SIM_RULE_BYTES, "UNSTABLE");
			return FOUND;
		}
	}
}

/* ---- All of it ------------------------------------------------------------------------------- */

bool explore_here(const struct sim_search *search, struct sim_board *board)
{
	/* The cap on the bounded part, so that a large scenario is sampled too. */
	const uint64_t share_ns = search->budget_ns / 2;
	struct explorer explorer = {.search = search, .board = board, .begun_ns = now_ns()};
	uint64_t end_ns = explorer.begun_ns + search->budget_ns;
	unsigned flags = ke_sim_set_flags(KE_SIM_CATCH | KE_SIM_QUIET);
	enum outcome outcome = NOTHING;

	explorer.end_ns = end_ns;
	if (search->portfolio != SIM_ONLY_SAMPLING) {
		if (search->portfolio == SIM_PORTFOLIO && explorer.begun_ns + share_ns < end_ns)
			explorer.end_ns = explorer.begun_ns + share_ns;
		outcome = search_bounded(&explorer);
		explorer.end_ns = end_ns;
	}
	if (search->portfolio == SIM_PORTFOLIO && outcome != FOUND &&
	    search->scenario->wants_failures)
		outcome = search_failures(&explorer);
	if (search->portfolio != SIM_ONLY_BOUNDED && outcome != FOUND)
		outcome = search_samples(&explorer);
	is_spent(&explorer); /* notes the time */
	ke_sim_set_flags(flags);
	return outcome == FOUND;
}

bool explore_run(const struct sim_scenario *scenario, const struct sim_schedule *schedule,
		 struct sim_board *board, struct ke_sim_event *events, uint32_t event_room)
{
	struct sim_setting setting = {.requests = schedule->requests};
	struct ke_options options = {.processors = schedule->processors};
	struct ke_sim_plan plan = {.strategy = KE_SIM_BY_PLACE,
				   .deviations = schedule->deviations,
				   .deviation_count = schedule->deviation_count,
				   .fail_allocation = schedule->fail_allocation};
	unsigned flags = ke_sim_set_flags(KE_SIM_CATCH | KE_SIM_QUIET);
	ntstatus status;

	begin_record(board, NULL);
	board->record.events = events;
	board->record.event_room = event_room;
	board->running_requests = schedule->requests;
	board->running_failure = schedule->fail_allocation;
	ke_sim_set_plan(&plan, &board->record);
	status = ke_run(&options, scenario->run, &setting);
	ke_sim_set_plan(NULL, NULL);
	ke_sim_set_flags(flags);
	if (!nt_success(status))
		keep_finding(board, ke_sim_last_report(), schedule->processors);
	return !nt_success(status);
}
