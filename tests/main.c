/* Runs the suites: all, or those whose name begins with one of the arguments. */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executive.h"
#include "suites.h"

static void usage(void)
{
	puts("usage: test-EXECUTIVE-FLAVOUR [--seed N] [--seeds N] [--verbose] [--reports] "
	     "[SUITE...]\n"
	     "Runs all suites, or those whose names begin so; in the simulator under N seeds "
	     "each. --reports prints the reports of the bug checks that cases provoke.");
}

static int selected(const char *name, int count, char **prefixes)
{
	if (count == 0)
		return 1;
	for (int i = 0; i < count; i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return 1;
	return 0;
}

static void select_suites(int count, char **prefixes)
{
	for (CU_pSuite suite = CU_get_registry()->pSuite; suite != NULL; suite = suite->pNext)
		CU_set_suite_active(suite,
				    selected(suite->pName, count, prefixes) ? CU_TRUE : CU_FALSE);
}

int main(int argc, char **argv)
{
	CU_BasicRunMode mode = CU_BRM_NORMAL;
	uint64_t seed = 1;
	unsigned seeds = 0, failed, run;
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
			seed = strtoull(argv[++i], NULL, 0);
		} else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc) {
			seeds = (unsigned)strtoul(argv[++i], NULL, 0);
		} else if (strcmp(argv[i], "--reports") == 0) {
			set_show_reports(true);
		} else if (strcmp(argv[i], "--verbose") == 0) {
			mode = CU_BRM_VERBOSE;
		} else {
			usage();
			return strcmp(argv[i], "--help") == 0 ? 0 : 2;
		}
	}
	set_seeds(seed, seeds);
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	register_suites();
	select_suites(argc - i, argv + i);
	CU_set_fail_on_inactive(CU_FALSE);
	CU_basic_set_mode(mode);
	CU_basic_run_tests();
	run = CU_get_number_of_tests_run();
	failed = CU_get_number_of_tests_failed() + CU_get_number_of_suites_failed();
	printf("\n%u passed, %u failed\n", run > failed ? run - failed : 0, failed);
	CU_cleanup_registry();
	return failed != 0 || run == 0;
}
