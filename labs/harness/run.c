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

static uint64_t only_seed;

static void begin_run(uint64_t seed)
{
	lab_record->seed = seed;
	lab_record->step_count = 0;
	lab_record->step_rule = 0;
}

/* Each executive reports why it could not end; the exit tells that there is such a report. */
static void run_under_seed(const struct lab_exercise *exercise, uint64_t seed)
{
	struct ke_options options = {.processors = 2, .seed = seed};

	begin_run(seed);
	if (ke_run(&options, exercise->run, NULL) != STATUS_SUCCESS)
		_exit(1);
}

/* A CUnit test has no argument: the record says which exercise is next. */
static void run_next_exercise(void)
{
	const struct lab_exercise *exercise = &lab_under_check.exercises[lab_record->exercise];

	alarm(LIMIT_SECONDS);
	if (only_seed != 0)
		run_under_seed(exercise, only_seed);
	for (uint64_t seed = 1; only_seed == 0 && seed <= lab_repetitions; seed++)
		run_under_seed(exercise, seed);
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

static struct lab_ending run_in_child(void)
{
	struct lab_ending ending = {0};
	int errors = memfd_create("errors", 0);
	pid_t child;

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

	while ((option = getopt(argc, argv, "r:f:s:j")) != -1) {
		switch (option) {
		case 'r':
			options.handout = optarg;
			break;
		case 'f':
			options.student = optarg;
			break;
		case 's':
			options.seed = strtoull(optarg, NULL, 0);
			break;
		case 'j':
			options.json = true;
			break;
		default:
			exit(2);
		}
	}
	return options;
}

int main(int argc, char **argv)
{
	struct lab_options options = parse(argc, argv);
	struct lab_ending ending;
	bool well;

	only_seed = options.seed;
	lab_record = mmap(NULL, sizeof(*lab_record), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (lab_record == MAP_FAILED) {
		perror("lab");
		return 2;
	}
	while (lab_under_check.exercises[lab_record->total].says != NULL)
		lab_record->total++;
	ending = run_in_child();
	well = lab_tell(&options, &ending);
	free(ending.errors);
	return well ? 0 : 1;
}
