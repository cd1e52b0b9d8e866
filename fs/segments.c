/*
 * Which processes there are, and their segments. A process has a number for as long as the daemon
 * lives, or until MOST others came after it: so its inode numbers stay. Its segment stays mapped
 * from one request to the next, while few others are.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "stat/publish.h"
#include "tree.h"

enum { MOST = 4096, MOST_MAPPED = 256, REAP_SECONDS = 60 };

struct process {
	char name[STAT_FILE_NAME];
	uint32_t number; /* its index modulo MOST; MOST at least */
	struct segment *segment;
	uint64_t used; /* the later the larger */
};

static struct process processes[MOST];
static uint32_t process_count; /* those that were ever in use */
static uint32_t mapped_count;
static uint64_t clock_of_use;

/* ---- Segments ------------------------------------------------------------------------------ */

struct segment *hold_segment(struct segment *segment)
{
	segment->holders++;
	return segment;
}

void release_segment(struct segment *segment)
{
	if (--segment->holders > 0)
		return;
	stat_close_reader(segment->reader);
	free(segment);
}

static void unmap(struct process *process)
{
	if (process->segment == NULL)
		return;
	release_segment(process->segment);
	process->segment = NULL;
	mapped_count--;
}

static void unmap_least_used(void)
{
	struct process *least = NULL;

	for (uint32_t i = 0; i < process_count; i++)
		if (processes[i].segment != NULL &&
		    (least == NULL || processes[i].used < least->used))
			least = &processes[i];
	if (least != NULL)
		unmap(least);
}

static void drop_vanished(void)
{
	for (uint32_t i = 0; i < process_count; i++)
		if (processes[i].segment != NULL && !stat_is_current(processes[i].segment->reader))
			unmap(&processes[i]);
}

void sweep_segments(void)
{
	static time_t last;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (last == 0 || now.tv_sec - last >= REAP_SECONDS) {
		last = now.tv_sec;
		stat_reap();
	}
	drop_vanished();
}

/* Sees to it that the process's segment is that of the file that now has the name. */
static int map(struct process *process)
{
	struct segment *segment;
	int error;

	process->used = ++clock_of_use;
	if (process->segment != NULL) {
		if (stat_is_current(process->segment->reader))
			return 0;
		unmap(process);
	}
	segment = calloc(1, sizeof(*segment));
	if (segment == NULL)
		return ENOMEM;
	drop_vanished();
	if (mapped_count >= MOST_MAPPED)
		unmap_least_used();
	error = stat_open_reader(&segment->reader, process->name);
	if (error != 0) {
		free(segment);
		return error == ENOMEM || error == EMFILE || error == ENFILE ? error : ENOENT;
	}
	process->segment = hold_segment(segment);
	mapped_count++;
	return 0;
}

/* ---- Processes ----------------------------------------------------------------------------- */

static struct process *find_name(const char *name)
{
	for (uint32_t i = 0; i < process_count; i++)
		if (strcmp(processes[i].name, name) == 0)
			return &processes[i];
	return NULL;
}

/* An entry that was never used, or has been longest without use. */
static struct process *take_entry(void)
{
	struct process *process = &processes[0];

	if (process_count < MOST) {
		process = &processes[process_count];
		process->number = process_count++;
	} else {
		for (uint32_t i = 1; i < MOST; i++)
			if (processes[i].used < process->used)
				process = &processes[i];
		unmap(process);
	}
	process->number += MOST;
	return process;
}

int find_process(const char *name, uint32_t *number, struct segment **segment)
{
	struct process *process = find_name(name);
	struct process stranger = {.segment = NULL};
	int error;

	if (process == NULL) {
		/* An entry only for what can be opened: others ask for all kinds of names. */
		if (strlen(name) >= sizeof(stranger.name))
			return ENOENT;
		strcpy(stranger.name, name);
		error = map(&stranger);
		if (error != 0)
			return error;
		process = take_entry();
		stranger.number = process->number;
		*process = stranger;
	} else {
		error = map(process);
		if (error != 0)
			return error;
	}
	*number = process->number;
	*segment = process->segment;
	return 0;
}

int find_process_number(uint32_t number, struct segment **segment)
{
	struct process *process = &processes[number % MOST];
	int error;

	if (process->number != number)
		return ENOENT;
	error = map(process);
	*segment = process->segment;
	return error;
}
