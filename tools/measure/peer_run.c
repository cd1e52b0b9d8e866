/*
 * The order of a run. The parent maps what both processes see, forks, and listens; it tells the
 * child its port through a pipe, which is also the child's sign to begin. When the parent has
 * measured for long enough it says so in the shared page, where the child looks once a turn;
 * nothing else passes between the two but what is measured. The child leaves the number of what it
 * has sent in the shared page and ends; only then does the parent compare and print.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "peer_run.h"

enum { MOST_ROUNDS = 1 << 20, MOST_CONNECTIONS = 10000, SPARE_SECONDS = 60 };

void peer_fail(struct peer_run *run, const char *what)
{
	const char *reason = errno != 0 ? strerror(errno) : "";

	fprintf(stderr, "%s, %s: %s%s%s\n", run->tool->name, run->work, what,
		errno != 0 ? ": " : "", reason);
	/* The parent may wait for messages that will never come; the child dies with its parent. */
	if (run->child == 0)
		kill(getppid(), SIGTERM);
	_exit(1);
}

void *peer_allocate(struct peer_run *run, uint64_t bytes)
{
	void *memory = calloc(1, bytes);

	if (memory == NULL)
		peer_fail(run, "no memory");
	return memory;
}

void *peer_allocate_messages(struct peer_run *run, uint64_t bytes)
{
	if (bytes < run->message_bytes)
		bytes = run->message_bytes;
	return memset(peer_allocate(run, bytes), 'x', bytes);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

void peer_tell_port(struct peer_run *run, uint16_t port)
{
	if (write(run->port_pipe[1], &port, sizeof(port)) != sizeof(port))
		peer_fail(run, "the port");
}

/* ---- Streams --------------------------------------------------------------------------------- */

uint32_t peer_next_turn(struct peer_run *run, uint32_t *connection)
{
	uint32_t messages = PEER_TURN_BYTES / run->message_bytes;

	if (!run->last && atomic_load_explicit(&run->shared->enough, memory_order_relaxed)) {
		run->last = true;
		run->next = 0;
	}
	if (run->next == run->connections) {
		if (run->last)
			return 0;
		run->next = 0;
	}
	*connection = run->next++;
	return run->last || messages == 0 ? 1 : messages;
}

void peer_take_turns(struct peer_run *run, peer_turn *turn)
{
	uint32_t messages, connection;

	while ((messages = peer_next_turn(run, &connection)) > 0)
		turn(run, connection, messages);
}

void peer_wait_until_complete(struct peer_run *run)
{
	while (!atomic_load(&run->shared->complete))
		usleep(1000);
}

void peer_look_at_clock(struct peer_run *run)
{
	uint64_t time = now();

	run->unclocked = 0;
	if (run->silent > 0)
		return;
	if (run->warm_from == 0) {
		run->warm_from = time;
	} else if (run->begun == 0) {
		if ((double)(time - run->warm_from) < run->seconds * 1e9 / 5)
			return;
		run->begun = time;
		run->messages_begun = run->messages;
	} else if (run->ended == 0 && (double)(time - run->begun) >= run->seconds * 1e9) {
		run->ended = time;
		run->messages_ended = run->messages;
		atomic_store(&run->shared->enough, true);
	}
}

static void print_stream(const struct peer_run *run)
{
	uint64_t messages = run->messages_ended - run->messages_begun;
	double seconds = (double)(run->ended - run->begun) / 1e9;
	double rate = (double)messages / seconds;

	printf("{\"work\": \"%s\", \"tool\": \"%s\", \"message_bytes\": %u, \"connections\": %u, "
	       "\"seconds\": %.3f, \"messages\": %llu, \"messages_per_second\": %.1f, "
	       "\"bytes_per_second\": %.0f}\n",
	       run->work, run->tool->name, run->message_bytes, run->connections, seconds,
	       (unsigned long long)messages, rate, rate * run->message_bytes);
}

/* ---- Round trips ----------------------------------------------------------------------------- */

void peer_begin_round(struct peer_run *run, struct peer_head *message)
{
	uint64_t time = now();

	if (run->rounds == NULL) {
		run->rounds = peer_allocate(run, MOST_ROUNDS * sizeof(run->rounds[0]));
		run->begun = time + (uint64_t)(run->seconds * 1e9 / 5);
		run->ended = run->begun + (uint64_t)(run->seconds * 1e9);
	}
	run->last = time >= run->ended || run->round_count == MOST_ROUNDS;
	peer_stamp(run, 0, message);
	run->question = *message;
	run->asked = now();
}

bool peer_end_round(struct peer_run *run, const struct peer_head *message)
{
	uint64_t answered = now();

	if (message->sequence != run->question.sequence || message->last != run->question.last)
		peer_fail(run, "another message came back");
	if (run->asked >= run->begun && !run->last)
		run->rounds[run->round_count++] = answered - run->asked;
	return !run->last;
}

void peer_ask_rounds(struct peer_run *run, peer_round *round)
{
	struct peer_head *message = peer_allocate_messages(run, 0);

	do {
		peer_begin_round(run, message);
		round(run, message);
	} while (peer_end_round(run, message));
	free(message);
}

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

static void print_rounds(struct peer_run *run)
{
	uint32_t count = run->round_count;

	qsort(run->rounds, count, sizeof(run->rounds[0]), compare);
	printf("{\"work\": \"%s\", \"tool\": \"%s\", \"message_bytes\": %u, \"connections\": %u, "
	       "\"seconds\": %.3f, \"rounds\": %u, \"median_ns\": %llu, \"p99_ns\": %llu}\n",
	       run->work, run->tool->name, run->message_bytes, run->connections, run->seconds,
	       count, (unsigned long long)run->rounds[count / 2],
	       (unsigned long long)run->rounds[(uint64_t)count * 99 / 100]);
}

/* ---- Two processes --------------------------------------------------------------------------- */

static void be_child(struct peer_run *run, bool pingpong)
{
	if (read(run->port_pipe[0], &run->port, sizeof(run->port)) != sizeof(run->port))
		peer_fail(run, "the parent does not listen");
	(pingpong ? run->tool->echo : run->tool->send)(run);
	run->shared->sent = run->messages;
}

static void be_parent(struct peer_run *run, bool pingpong)
{
	int status;

	(pingpong ? run->tool->ping : run->tool->receive)(run);
	atomic_store(&run->shared->complete, true);
	if (waitpid(run->child, &status, 0) != run->child || status != 0)
		peer_fail(run, "the sender");
	errno = 0;
	if (pingpong ? run->round_count == 0 : run->ended == 0)
		peer_fail(run, "nothing was measured");
	if (!pingpong && run->shared->sent != run->messages)
		peer_fail(run, "not all has come that was sent");
	pingpong ? print_rounds(run) : print_stream(run);
}

static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static bool understand(struct peer_run *run, char **words, const struct peer_tool *tools,
		       unsigned tool_count, bool *pingpong)
{
	run->work = words[2];
	run->message_bytes = (uint32_t)strtoul(words[3], NULL, 10);
	run->connections = (uint32_t)strtoul(words[4], NULL, 10);
	run->seconds = strtod(words[5], NULL);
	*pingpong = strcmp(run->work, "pingpong") == 0;
	for (unsigned i = 0; i < tool_count; i++)
		if (strcmp(tools[i].name, words[1]) == 0)
			run->tool = &tools[i];
	if (!*pingpong && strcmp(run->work, "stream") != 0 && strcmp(run->work, "bulk") != 0)
		return false;
	return run->tool != NULL && (*pingpong ? run->tool->ping : run->tool->receive) != NULL &&
	       run->message_bytes >= sizeof(struct peer_head) && run->connections > 0 &&
	       run->connections <= (*pingpong ? 1 : MOST_CONNECTIONS) && run->seconds > 0;
}

int peer_main(int argc, char **argv, const struct peer_tool *tools, unsigned tool_count)
{
	struct peer_run run = {.child = -1};
	bool pingpong;

	if (argc != 6 || !understand(&run, argv, tools, tool_count, &pingpong)) {
		fprintf(stderr,
			"usage: %s TOOL stream|bulk|pingpong MESSAGE_BYTES CONNECTIONS SECONDS\n",
			argv[0]);
		return 2;
	}
	raise_descriptors();
	signal(SIGPIPE, SIG_IGN);
	run.silent = run.open = run.connections;
	run.sequence = peer_allocate(&run, run.connections * sizeof(run.sequence[0]));
	run.shared = mmap(NULL, sizeof(*run.shared), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run.shared == MAP_FAILED || pipe(run.port_pipe) != 0 || (run.child = fork()) < 0)
		peer_fail(&run, "two processes");
	alarm(SPARE_SECONDS + (unsigned)(2 * run.seconds)); /* whatever hangs */
	if (run.child > 0) {
		be_parent(&run, pingpong);
		return 0;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	be_child(&run, pingpong);
	return 0;
}
