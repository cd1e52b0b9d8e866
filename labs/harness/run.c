/*
 * Runs the exercises in a process of their own, so that their end, whatever it is, has a witness.
 *
 * The child runs them with CUnit, in order, and stops at the first that fails. All runs of an
 * exercise together have LIMIT_SECONDS; then an alarm ends the child.
 */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <CUnit/TestRun.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "private.h"

enum { LIMIT_SECONDS = 10, ERRORS_BYTES = 64 << 10 };

static enum lab_job job;

void lab_begin_run(void)
{
	lab_record->step_count = 0;
	lab_record->step_rule = 0;
}

/* A CUnit test has no argument: the record says which exercise is next. */
static void run_next_exercise(void)
{
	const struct lab_exercise *exercise = &lab_under_check.exercises[lab_record->exercise];

	alarm(LIMIT_SECONDS);
	lab_run_exercise(exercise, job);
	CU_PASS(exercise->says);
	lab_record->passed++;
	if (lab_record->exercise + 1 < lab_record->total)
		lab_record->exercise++;
}

static void register_exercises(void)
{
	CU_pSuite suite;

	if (CU_initialize_registry() != CUE_SUCCESS ||
	    (suite = CU_add_suite(lab_under_check.name, NULL, NULL)) == NULL)
		abort();
	for (uint32_t i = 0; i < lab_record->total; i++)
		if (CU_add_test(suite, lab_under_check.exercises[i].says, run_next_exercise) ==
		    NULL)
			abort();
}

static _Noreturn void be_child(int errors)
{
	struct rlimit no_core = {0, 0};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_CORE, &no_core);   /* a crash here is an answer, not an accident */
	dup2(STDERR_FILENO, STDOUT_FILENO); /* what the answer prints is no part of the report */
	setvbuf(stdout, NULL, _IOLBF, 0);
	dup2(errors, STDERR_FILENO);
	if (job != LAB_SEARCH) {
		alarm(LIMIT_SECONDS);
		lab_run_exercise(&lab_under_check.exercises[lab_record->exercise], job);
		_exit(0);
	}
	register_exercises();
	CU_run_all_tests();
	CU_cleanup_registry();
	_exit(0);
}

static char *read_errors(int fd)
{
	char *text = calloc(1, ERRORS_BYTES);

	if (text != NULL && pread(fd, text, ERRORS_BYTES - 1, 0) < 0)
		text[0] = '\0';
	return text;
}

static struct lab_ending run_in_child(enum lab_job wanted)
{
	struct lab_ending ending = {0};
	int errors = memfd_create("errors", 0);
	pid_t child;

	job = wanted;
	lab_record->failed = 0;
	fflush(NULL);
	child = fork();
	if (child == 0)
		be_child(errors);
	if (errors < 0 || child < 0 || waitpid(child, &ending.status, 0) < 0) {
		perror("lab");
		exit(2);
	}
	ending.errors = read_errors(errors);
	close(errors);
	if (ending.errors == NULL)
		exit(2);
	return ending;
}

static struct lab_options parse(int argc, char **argv)
{
	struct lab_options options = {.handout = "README.md", .student = ""};
	int option;

	while ((option = getopt(argc, argv, "r:f:s:jw")) != -1) {
		switch (option) {
		case 'r':
			options.handout = optarg;
			break;
		case 'f':
			options.student = optarg;
			break;
		case 's':
			options.again = optarg;
			break;
		case 'j':
			options.json = true;
			break;
		case 'w': /* in words */
			break;
		default:
			exit(2);
		}
	}
	return options;
}

/* Has a failed run once more, as it is told to; if that does not fail alike, the first one counts.
 */
static void repeat(const struct lab_options *options, enum lab_job wanted,
		   struct lab_ending *ending)
{
	struct lab_record before = *lab_record;
	struct lab_ending again = run_in_child(wanted);
	int rule, rule_again;

	lab_judge(options, &again, &rule_again);
	if (!WIFEXITED(again.status) || WEXITSTATUS(again.status) != 0) {
		struct lab_record after = *lab_record;

		*lab_record = before;
		lab_judge(options, ending, &rule);
		*lab_record = after;
		if (rule == rule_again) {
			free(ending->errors);
			*ending = again;
			lab_take_failure();
			return;
		}
	}
	free(again.errors);
	*lab_record = before;
}

static struct lab_ending check(const struct lab_options *options)
{
	enum { FEW = 2 };
	struct lab_ending ending;
	int exercise, rule;

	if (options->again != NULL) {
		exercise = lab_read_token(options->again);
		if (exercise < 0) {
			fprintf(stderr, "lab: '%s' is no token of this lab's\n", options->again);
			exit(2);
		}
		lab_record->exercise = (uint32_t)exercise;
		ending = run_in_child(LAB_DRAW);
		if (WIFEXITED(ending.status) && WEXITSTATUS(ending.status) == 0)
			lab_record->passed = lab_record->total; /* as far as was asked */
		return ending;
	}
	ending = run_in_child(LAB_SEARCH);
	if (!lab_can_repeat || lab_judge(options, &ending, &rule))
		return ending;
	lab_take_failure();
	if (lab_deviations() > FEW)
		repeat(options, LAB_SHRINK, &ending);
	repeat(options, LAB_DRAW, &ending);
	return ending;
}

int main(int argc, char **argv)
{
	struct lab_options options = parse(argc, argv);
	struct lab_ending ending;
	bool well;

	lab_record = mmap(NULL, sizeof(*lab_record), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (lab_record == MAP_FAILED) {
		perror("lab");
		return 2;
	}
	while (lab_under_check.exercises[lab_record->total].says != NULL)
		lab_record->total++;
	lab_prepare_runs();
	ending = check(&options);
	well = lab_tell(&options, &ending);
	free(ending.errors);
	return well ? 0 : 1;
}
