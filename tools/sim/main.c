/*
 * xport-sim, the part of xport that is linked with the simulated executive: the verbs sim and
 * replay, to which `xport` hands its arguments.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chart.h"
#include "scenarios.h"
#include "token.h"
#include "verdict.h"
#include "xport.h"

enum { EVENTS = 200000, LARGEST_REQUESTS = 1000 };

static const char sim_help[] =
	"usage: xport sim list [--json]\n"
	"       xport sim SCENARIO [OPTIONS]\n"
	"\n"
	"Searches the orders of events of a scenario, in the simulator, for one on which it "
	"fails:\n"
	"first every order with 0, 1 and 2 deviations from the ordinary one, then orders at "
	"random.\n"
	"A failure is shrunk, drawn, and printed with a token for 'xport replay'; the exit status "
	"is "
	"1.\n"
	"\n"
	"  --budget TIME      how long to search: 500ms, 10s (10s)\n"
	"  --schedules N      stop after so many instead\n"
	"  --requests N       the size of the scenario: 1 to 1000 (its own)\n"
	"  --processors N     virtual processors: 1 to 64 (2)\n"
	"  --bound N          deviations of the exhaustive part: 0, 1 or 2 (2)\n"
	"  --strategy NAME    only this one: bounded, pos, uniform, pct or sticky\n"
	"  --seed N           of the random part (1)\n"
	"  --json             print one JSON object\n";

static const char replay_help[] =
	"usage: xport replay TOKEN [--trace FILE] [--stop-at STEP] [--gdb]\n"
	"\n"
	"Runs the one order of events that a token of 'xport sim' stands for. The exit status is 1 "
	"when\n"
	"it fails, as it should.\n"
	"\n"
	"  --trace FILE     write all steps for a trace viewer (ui.perfetto.dev, "
	"chrome://tracing)\n"
	"  --stop-at STEP   stop before this step, for a debugger\n"
	"  --gdb            run under gdb, stopped at --stop-at, or else at the failure\n";

struct sim_command {
	struct sim_search search;
	bool json;
	bool shows_progress;
};

/* ---- sim ------------------------------------------------------------------------------------- */

static int list_scenarios(bool json)
{
	const struct sim_scenario *scenario = NULL;
	const char *before = "[";

	while ((scenario = next_scenario(scenario)) != NULL) {
		if (!json) {
			printf("%-18s  %s\n", scenario->name, scenario->says);
			continue;
		}
		printf("%s{\"scenario\":", before);
		print_json_string(stdout, scenario->name);
		fputs(",\"says\":", stdout);
		print_json_string(stdout, scenario->says);
		printf(",\"requests\":%u}", scenario->requests);
		before = ",\n ";
	}
	if (json)
		puts("]");
	return XPORT_OK;
}

static void show_progress(const struct sim_progress *progress, void *context)
{
	const struct sim_command *command = context;

	if (command->shows_progress)
		fprintf(stderr, "\r\033[K%s: %" PRIu64 " schedules, %s of %s",
			command->search.scenario->name, progress->schedules,
			format_seconds((double)progress->elapsed_ns / 1e9).text,
			format_seconds((double)command->search.budget_ns / 1e9).text);
}

static int parse_strategy(const char *text, struct sim_search *search)
{
	static const struct {
		const char *name;
		int strategy;
	} names[] = {{"pos", KE_SIM_POS},
		     {"uniform", KE_SIM_UNIFORM},
		     {"pct", KE_SIM_PCT},
		     {"sticky", KE_SIM_STICKY}};

	if (strcmp(text, "bounded") == 0) {
		search->portfolio = SIM_ONLY_BOUNDED;
		return XPORT_OK;
	}
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(text, names[i].name) == 0) {
			search->portfolio = SIM_ONLY_SAMPLING;
			search->strategy = names[i].strategy;
			return XPORT_OK;
		}
	return usage("--strategy '%s' is none of bounded, pos, uniform, pct, sticky", text);
}

static int parse_unsigned(const char *what, uint64_t minimum, uint64_t maximum, unsigned *value)
{
	uint64_t count;
	int status = parse_count(what, optarg, minimum, maximum, &count);

	if (status == XPORT_OK)
		*value = (unsigned)count;
	return status;
}

static int parse_budget(struct sim_search *search)
{
	int status = parse_timeout("--budget", optarg, &search->budget_ns);

	if (status == XPORT_OK && search->budget_ns == 0)
		return usage("--budget 0 leaves no time to search; give it 1s, say");
	return status;
}

static int apply_option(struct sim_command *command, int option)
{
	struct sim_search *search = &command->search;

	switch (option) {
	case 'b':
		return parse_budget(search);
	case 'n':
		return parse_count("--schedules", optarg, 1, UINT64_MAX, &search->budget_schedules);
	case 'r':
		return parse_unsigned("--requests", 1, LARGEST_REQUESTS, &search->requests);
	case 'p':
		return parse_unsigned("--processors", 1, KE_MAXIMUM_PROCESSORS,
				      &search->processors);
	case 'B':
		return parse_unsigned("--bound", 0, SIM_BOUNDS - 1, &search->bound);
	case 's':
		return parse_strategy(optarg, search);
	case 'S':
		return parse_count("--seed", optarg, 0, UINT64_MAX, &search->seed);
	case 'j':
		command->json = true;
		return XPORT_OK;
	default:
		return XPORT_USAGE;
	}
}

static int parse_sim(int argc, char **argv, struct sim_command *command)
{
	static const struct option table[] = {
		{"budget", required_argument, NULL, 'b'},
		{"schedules", required_argument, NULL, 'n'},
		{"requests", required_argument, NULL, 'r'},
		{"processors", required_argument, NULL, 'p'},
		{"bound", required_argument, NULL, 'B'},
		{"strategy", required_argument, NULL, 's'},
		{"seed", required_argument, NULL, 'S'},
		{"json", no_argument, NULL, 'j'},
		{NULL, 0, NULL, 0},
	};
	int option;

	for (bool first = true; (option = next_option(argc, argv, ":", table, first)) != -1;
	     first = false) {
		int status = apply_option(command, option);

		if (status != XPORT_OK)
			return status;
	}
	if (optind >= argc)
		return usage("which scenario? 'xport sim list' lists them");
	if (optind + 1 < argc)
		return usage("'%s' is too much: one scenario at a time", argv[optind + 1]);
	return XPORT_OK;
}

static int search(struct sim_command *command)
{
	struct ke_sim_event *events = explore_new_events(EVENTS);
	struct sim_board *board = explore_new_board();
	bool found;

	if (board == NULL || events == NULL)
		return fail("not enough memory");
	command->shows_progress = !command->json && isatty(STDERR_FILENO) == 1;
	found = explore(&command->search, board, show_progress, command);
	if (command->shows_progress)
		fputs("\r\033[K", stderr);
	if (command->json)
		print_verdict_json(stdout, &command->search, board);
	else
		print_verdict(stdout, &command->search, board);
	if (found && !command->json)
		tell_failure(stdout, command->search.scenario, board, events, EVENTS);
	return found ? XPORT_FAILED : XPORT_OK;
}

static int run_sim(int argc, char **argv)
{
	struct sim_command command = {.search = {.processors = 2,
						 .seed = 1,
						 .budget_ns = UINT64_C(10000000000),
						 .bound = SIM_BOUNDS - 1,
						 .strategy = -1}};
	int status;

	if (wants_help(argc, argv)) {
		fputs(sim_help, stdout);
		return XPORT_OK;
	}
	status = parse_sim(argc, argv, &command);
	if (status != XPORT_OK)
		return status;
	if (strcmp(argv[optind], "list") == 0)
		return list_scenarios(command.json);
	command.search.scenario = find_scenario(argv[optind]);
	if (command.search.scenario == NULL)
		return usage("there is no scenario '%s'; 'xport sim list' lists them",
			     argv[optind]);
	if (command.search.requests == 0)
		command.search.requests = command.search.scenario->requests;
	return search(&command);
}

/* ---- replay ---------------------------------------------------------------------------------- */

struct replay_command {
	const char *token;
	const char *trace;
	uint64_t stop_at;
	bool gdb;
};

static int parse_replay(int argc, char **argv, struct replay_command *command)
{
	static const struct option table[] = {{"trace", required_argument, NULL, 't'},
					      {"stop-at", required_argument, NULL, 's'},
					      {"gdb", no_argument, NULL, 'g'},
					      {NULL, 0, NULL, 0}};
	int option;

	for (bool first = true; (option = next_option(argc, argv, ":", table, first)) != -1;
	     first = false) {
		if (option == 't')
			command->trace = optarg;
		else if (option == 'g')
			command->gdb = true;
		else if (option != 's' || parse_count("--stop-at", optarg, 1, UINT64_MAX,
						      &command->stop_at) != XPORT_OK)
			return XPORT_USAGE;
	}
	if (optind + 1 != argc)
		return usage("give one token, as 'xport sim' prints it");
	command->token = argv[optind];
	return XPORT_OK;
}

/* This program again, under the debugger. */
static int run_gdb(const struct replay_command *command)
{
	char self[4096], step[32];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *arguments[] = {"gdb", "-q",     "-ex",	   "run", "--args",
			     self,  "replay", "--stop-at", step,  (char *)command->token,
			     NULL};

	self[length > 0 ? length : 0] = '\0';
	snprintf(step, sizeof(step), "%" PRIu64,
		 command->stop_at != 0 ? command->stop_at : UINT64_MAX);
	execvp("gdb", arguments);
	return fail("cannot run gdb: %s", strerror(errno));
}

static int replay_here(const struct replay_command *command, const struct sim_scenario *scenario,
		       const struct sim_schedule *schedule, struct sim_board *board)
{
	ke_sim_stop_at(command->stop_at);
	return explore_run(scenario, schedule, board, NULL, 0) ? XPORT_FAILED : XPORT_OK;
}

static int replay(const struct replay_command *command, const struct sim_scenario *scenario,
		  const struct sim_schedule *schedule)
{
	struct ke_sim_event *events = explore_new_events(EVENTS);
	struct sim_board *board = explore_new_board();
	uint32_t count;

	if (board == NULL || events == NULL)
		return fail("not enough memory");
	if (command->stop_at != 0)
		return replay_here(command, scenario, schedule, board);
	board->finding.schedule = *schedule;
	if (!tell_failure(stdout, scenario, board, events, EVENTS)) {
		puts("this order of events ends well");
		return XPORT_OK;
	}
	count = board->record.event_count < EVENTS ? board->record.event_count : EVENTS;
	if (command->trace != NULL && !write_trace(command->trace, scenario->name, events, count))
		return fail("cannot write %s: %s", command->trace, strerror(errno));
	return XPORT_FAILED;
}

static int run_replay(int argc, char **argv)
{
	static struct sim_schedule schedule;
	struct replay_command command = {.gdb = false};
	const struct sim_scenario *scenario;
	bool other_program;
	char name[64];
	int status;

	if (wants_help(argc, argv)) {
		fputs(replay_help, stdout);
		return XPORT_OK;
	}
	status = parse_replay(argc, argv, &command);
	if (status != XPORT_OK)
		return status;
	if (!parse_token(command.token, name, sizeof(name), &schedule, &other_program))
		return usage("'%s' is no token of 'xport sim'", command.token);
	scenario = find_scenario(name);
	if (scenario == NULL)
		return usage("the token is of the scenario '%s', which this build does not have",
			     name);
	if (other_program)
		fputs("xport replay: the token is from another build, and may mean another order "
		      "here\n",
		      stderr);
	return command.gdb ? run_gdb(&command) : replay(&command, scenario, &schedule);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		set_verb(argv[1]);
	if (argc > 1 && strcmp(argv[1], "sim") == 0)
		return run_sim(argc - 1, argv + 1);
	if (argc > 1 && strcmp(argv[1], "replay") == 0)
		return run_replay(argc - 1, argv + 1);
	fputs("xport-sim: this is a part of xport; use 'xport sim' and 'xport replay'\n", stderr);
	return XPORT_USAGE;
}
