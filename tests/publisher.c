/*
 * test-publisher NAME [lose] [BLOCKS]: a process with counters, for the mount's tests and
 * measurements. It publishes an object that lives and BLOCKS (2) that have ended, prints the name
 * of its segment, and counts a request each millisecond until SIGTERM, its orderly end. With `lose`
 * one completion of the first ended object is missing.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stat/publish.h"

enum { POSTED, DONE, BYTES, LATENCY, VALUES = LATENCY + STAT_HISTOGRAM_VALUES };

static const struct stat_counter counters[] = {
	{"posted", STAT_COUNTER, POSTED, "requests", "requests that were handed over"},
	{"done", STAT_COUNTER, DONE, "requests", "requests that have ended"},
	{"sent_bytes", STAT_COUNTER, BYTES, "bytes", "bytes of those"},
	{"latency_ns", STAT_HISTOGRAM, LATENCY, "ns", "from the one to the other"},
};
static const struct stat_law laws[] = {{0, 1, true}, {1, 3, true}};
static const struct stat_table table = {.room = "tests",
					.object = "thing",
					.counter_count = 4,
					.law_count = 2,
					.value_count = VALUES,
					.counters = counters,
					.laws = laws};

struct job {
	const char *name;
	bool lose;
	int blocks;
	int status;
};

static volatile sig_atomic_t is_told_to_end;

static void on_signal(int number)
{
	(void)number;
	is_told_to_end = 1;
}

static void one_request(struct stat_block *block, bool is_lost)
{
	stat_count(block, POSTED, 1);
	if (is_lost)
		return;
	stat_count(block, DONE, 1);
	stat_count(block, BYTES, 4096);
	stat_record(block, LATENCY, 1000000);
}

static void run(void *context)
{
	struct job *job = context;
	struct stat_publication publication;
	struct stat_block block;
	int error = stat_publish(&publication, job->name);

	job->status = error != 0;
	if (error != 0) {
		fprintf(stderr, "test-publisher: %s\n", strerror(error));
		return;
	}
	for (int i = 0; i < job->blocks; i++) {
		stat_add_block(&block, publication.segment, &table);
		for (int requests = 0; requests < 10; requests++)
			one_request(&block, job->lose && i == 0 && requests == 0);
		stat_remove_block(&block);
	}
	stat_add_block(&block, publication.segment, &table);
	one_request(&block, false);
	puts(strrchr(publication.path, '/') + 1);
	fflush(stdout);
	while (!is_told_to_end) {
		one_request(&block, false);
		stat_beat(publication.segment);
		usleep(1000);
	}
	stat_remove_block(&block);
	stat_withdraw(&publication);
}

int main(int argc, char **argv)
{
	struct ke_options options = {.processors = 1};
	struct job job = {.blocks = 2};

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "lose") == 0)
			job.lose = true;
		else if (atoi(argv[i]) > 0)
			job.blocks = atoi(argv[i]);
		else
			job.name = argv[i];
	}
	if (job.name == NULL) {
		fputs("usage: test-publisher NAME [lose] [BLOCKS]\n", stderr);
		return 2;
	}
	signal(SIGTERM, on_signal);
	return nt_success(ke_run(&options, run, &job)) ? job.status : 1;
}
