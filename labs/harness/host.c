/* The harness on the host executive: repetition is all that varies the order of events. */
#include <unistd.h>

#include "private.h"

enum { REPETITIONS = 20 };

const char lab_executive[] = "host";
const bool lab_can_repeat = false;

void lab_prepare_runs(void)
{
}

void lab_run_exercise(const struct lab_exercise *exercise, enum lab_job job)
{
	struct ke_options options = {.processors = 2};

	(void)job;
	for (int i = 0; i < REPETITIONS; i++) {
		lab_begin_run();
		if (ke_run(&options, exercise->run, NULL) != STATUS_SUCCESS)
			_exit(1);
	}
}

void lab_take_failure(void)
{
}

unsigned lab_deviations(void)
{
	return 0;
}

int lab_read_token(const char *token)
{
	(void)token;
	return -1;
}

void lab_print_token(void)
{
}

void lab_print_drawing(void)
{
}
