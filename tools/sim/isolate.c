/*
 * Searching in a child process, so that a crash is a finding: what the child had chosen up to then
 * stands on the board, and its last words in a file that both have.
 */
#include "explore.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *share(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return memory != MAP_FAILED ? memory : NULL;
}

struct sim_board *explore_new_board(void)
{
	return share(sizeof(struct sim_board));
}

struct ke_sim_event *explore_new_events(uint32_t room)
{
	return share(room * sizeof(struct ke_sim_event));
}

struct child {
	pid_t pid;
	int words; /* what it wrote to standard error */
};

/* Returns in the child with pid 0. */
static struct child start_child(void)
{
	struct child child = {.words = memfd_create("words", MFD_CLOEXEC)};
	pid_t parent = getpid();

	fflush(NULL);
	child.pid = fork();
	if (child.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		dup2(child.words, STDERR_FILENO);
	}
	return child;
}

/* Waits, and looks at the board several times a second. */
static int wait_for(const struct child *child, struct sim_board *board, explore_watcher *watch,
		    void *context)
{
	int process = (int)syscall(SYS_pidfd_open, child->pid, 0);
	struct pollfd ended = {.fd = process, .events = POLLIN};
	int status = 0;

	while (process >= 0 && poll(&ended, 1, watch != NULL ? 100 : -1) == 0)
		watch(&board->progress, context);
	while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (process >= 0)
		close(process);
	return status;
}

/* The child died in the run that the board's record tells of. */
static void keep_crash(const struct child *child, int status, unsigned processors,
		       struct sim_board *board)
{
	struct sim_finding *finding = &board->finding;
	ssize_t got;

	*finding = (struct sim_finding){.found = true};
	snprintf(finding->rule, sizeof(finding->rule), "CRASH");
	got = pread(child->words, finding->text, sizeof(finding->text) - 1, 0);
	if (got <= 0)
		snprintf(finding->text, sizeof(finding->text), "the run died of signal %d (%s)\n",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	explore_take_running(board, processors);
}

static bool finish_child(const struct child *child, int status, unsigned processors,
			 struct sim_board *board)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		keep_crash(child, status, processors, board);
	close(child->words);
	return board->finding.found;
}

static bool search_in_child(const struct sim_search *search, struct sim_board *board,
			    explore_watcher *watch, void *context)
{
	struct child child = start_child();

	if (child.pid == 0) {
		explore_here(search, board);
		_exit(0);
	}
	if (child.pid < 0)
		return false;
	return finish_child(&child, wait_for(&child, board, watch, context), search->processors,
			    board);
}

bool explore_again(const struct sim_scenario *scenario, const struct sim_schedule *schedule,
		   struct sim_board *board, struct ke_sim_event *events, uint32_t event_room)
{
	struct child child;

	board->finding.found = false;
	child = start_child();
	if (child.pid == 0) {
		explore_run(scenario, schedule, board, events, event_room);
		_exit(0);
	}
	if (child.pid < 0)
		return false;
	return finish_child(&child, wait_for(&child, board, NULL, NULL), schedule->processors,
			    board);
}

/* ---- Shrinking ------------------------------------------------------------------------------- */

#define SHRINK_NS UINT64_C(3000000000) /* for each size */

enum { SMALL_SIZES = 3 };

/* The same rule with few deviations and these requests. Whether there is such a schedule. */
static bool find_smaller(const struct sim_search *search, unsigned requests,
			 struct sim_board *board)
{
	struct sim_finding before = board->finding;
	struct sim_progress progress = board->progress;
	struct sim_search smaller = *search;
	bool found;

	smaller.portfolio = SIM_ONLY_BOUNDED;
	smaller.bound = SIM_BOUNDS - 1;
	smaller.budget_ns = SHRINK_NS;
	smaller.budget_schedules = 0;
	smaller.requests = requests;
	smaller.rule = before.rule;
	board->finding = (struct sim_finding){.found = false};
	found = search_in_child(&smaller, board, NULL, NULL) &&
		strcmp(board->finding.rule, before.rule) == 0;
	if (!found)
		board->finding = before;
	board->progress = progress;
	return found;
}

static void shrink(const struct sim_search *search, struct sim_board *board)
{
	if (board->finding.unstable || board->finding.schedule.fail_allocation != 0)
		return;
	for (unsigned requests = 1; requests <= SMALL_SIZES && requests < search->requests;
	     requests++)
		if (find_smaller(search, requests, board))
			return;
	find_smaller(search, search->requests, board);
}

bool explore(const struct sim_search *search, struct sim_board *board, explore_watcher *watch,
	     void *context)
{
	board->progress = (struct sim_progress){0};
	board->finding = (struct sim_finding){.found = false};
	if (!search_in_child(search, board, watch, context))
		return false;
	shrink(search, board);
	return true;
}
