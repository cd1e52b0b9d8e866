#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "executive.h"

static uint64_t first_seed = 1;
static unsigned seed_count = EXECUTIVE_HOST ? 1 : 50;

void set_seeds(uint64_t first, unsigned count)
{
	first_seed = first;
	if (!EXECUTIVE_HOST && count > 0)
		seed_count = count;
}

void in_executive(ke_thread_routine *routine, void *context)
{
	for (unsigned i = 0; i < seed_count; i++) {
		struct ke_options options = {.processors = 2, .seed = first_seed + i};
		unsigned failures = CU_get_number_of_failures();
		ntstatus status = ke_run(&options, routine, context);

		CU_ASSERT_EQUAL(status, STATUS_SUCCESS);
		if (CU_get_number_of_failures() != failures) {
			if (!EXECUTIVE_HOST)
				printf("\n    with --seed %llu --seeds 1\n",
				       (unsigned long long)options.seed);
			return;
		}
	}
}

static bool show_reports;

void set_show_reports(bool show)
{
	show_reports = show;
}

static void run_and_exit(ke_thread_routine *routine, void *context, int report_fd)
{
	struct ke_options options = {.processors = 2, .seed = first_seed};

	dup2(report_fd, STDERR_FILENO);
	alarm(60);
	ke_run(&options, routine, context);
	_exit(0);
}

static void expect_words(const char *report, const char *words)
{
	if (strstr(report, words) == NULL)
		printf("\n    wanted \"%s\", got: %s\n", words, report);
	CU_ASSERT_PTR_NOT_NULL(strstr(report, words));
}

void expect_bug_check(const char *rule, ke_thread_routine *routine, void *context)
{
	expect_report(rule, "  clause: ", routine, context);
}

void expect_report(const char *rule, const char *words, ke_thread_routine *routine, void *context)
{
	char report[4096] = "", wanted[64];
	size_t length = 0;
	ssize_t got;
	int pipe_fds[2], status = 0;
	pid_t child;

	fflush(NULL);
	if (pipe(pipe_fds) != 0 || (child = fork()) < 0) {
		CU_FAIL("no process for the case");
		return;
	}
	if (child == 0) {
		close(pipe_fds[0]);
		run_and_exit(routine, context, pipe_fds[1]);
	}
	close(pipe_fds[1]);
	while ((got = read(pipe_fds[0], report + length, sizeof(report) - 1 - length)) > 0)
		length += (size_t)got;
	close(pipe_fds[0]);
	waitpid(child, &status, 0);
	snprintf(wanted, sizeof(wanted), "bug check %s:", rule);
	if (show_reports)
		printf("%s\n", report);
	CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	expect_words(report, wanted);
	expect_words(report, words);
}

void add_suite(const char *name, const struct test_case *cases)
{
	CU_pSuite suite = CU_add_suite(name, NULL, NULL);

	if (suite == NULL) {
		fprintf(stderr, "suite %s: %s\n", name, CU_get_error_msg());
		exit(1);
	}
	for (; cases->says != NULL; cases++)
		if (CU_add_test(suite, cases->says, cases->run) == NULL)
			fprintf(stderr, "%s: %s: %s\n", name, cases->says, CU_get_error_msg());
}
