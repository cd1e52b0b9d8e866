/* xport lab: hands out the labs and checks answers. */
#include "lab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char lab_help[] =
	"usage: xport lab list [--json]\n"
	"       xport lab start N [DIR] [--force]\n"
	"       xport lab check N [DIR] [--mutant NAME] [--again TOKEN] [--json]\n"
	"\n"
	"Labs: a stage of xport is taken out, and you write it. 'start' puts the handout and a\n"
	"starter into DIR, which is ./lab-NN unless given. 'check' puts your functions in place "
	"of\n"
	"the reference's and runs the lab's exercises in the simulator and on the host; it exits "
	"0\n"
	"when all pass.\n"
	"\n"
	"  --force        start: overwrite what is in DIR\n"
	"  --mutant NAME  check: not DIR but one of the lab's known mistakes; 'reference' is "
	"none,\n"
	"                 and 'starter' what start hands out\n"
	"  --again TOKEN  check: only the order of events that a report names\n"
	"  --json         print JSON\n";

struct request {
	const struct lab_stage *stage;
	const char *folder;
	bool is_named; /* the folder, on the command line */
	const char *mutant;
	const char *again; /* a token, or NULL */
	bool force;
	bool json;
};

/* ---- list ----------------------------------------------------------------------------------- */

static void list_as_json(const struct lab_stage *stage)
{
	printf("%s{\"number\":%u,\"name\":\"%s\",\"answer\":\"%s\",\"summary\":\"%s\",\"sources\":"
	       "[",
	       stage == lab_stages ? "[" : ",\n ", stage->number, stage->name, stage->answer,
	       stage->summary);
	for (const char *const *source = stage->sources; *source != NULL; source++)
		printf("%s\"%s\"", source == stage->sources ? "" : ",", *source);
	fputs("]}", stdout);
}

static int list_labs(bool json)
{
	for (const struct lab_stage *stage = lab_stages; stage->name != NULL; stage++) {
		if (json)
			list_as_json(stage);
		else
			printf("%2u  %-14s  %s\n", stage->number, stage->name, stage->summary);
	}
	fputs(json ? "]\n" : "\nBegin with 'tools/lab start 1'.\n", stdout);
	return XPORT_OK;
}

/* ---- start ---------------------------------------------------------------------------------- */

static int copy_file(const char *from, const char *to)
{
	char *text = lab_read_file(from);
	FILE *file = text != NULL ? fopen(to, "we") : NULL;
	bool done = file != NULL && fputs(text, file) >= 0;

	if (file != NULL)
		done = fclose(file) == 0 && done;
	free(text);
	return done ? XPORT_OK : fail("cannot write %s: %s", to, strerror(errno));
}

static int start_lab(const struct request *request)
{
	const struct lab_stage *stage = request->stage;
	char answer[LAB_PATH], handout[LAB_PATH];
	const char *quote;

	snprintf(answer, sizeof(answer), "%s/%s", request->folder, stage->answer);
	snprintf(handout, sizeof(handout), "%s/README.md", request->folder);
	if (mkdir(request->folder, 0777) != 0 && errno != EEXIST)
		return fail("cannot make %s: %s", request->folder, strerror(errno));
	if (!request->force && (access(answer, F_OK) == 0 || access(handout, F_OK) == 0))
		return fail("%s has your work in it; --force overwrites it", request->folder);
	if (copy_file(lab_source_path("labs/%s/README.md", stage->name), handout) != XPORT_OK ||
	    copy_file(lab_source_path("labs/%s/starter.c", stage->name), answer) != XPORT_OK)
		return XPORT_FAILED;
	quote = strchr(request->folder, ' ') != NULL ? "'" : "";
	printf("Read %s, and write %s.\nThen: tools/lab check %u", handout, answer, stage->number);
	if (request->is_named)
		printf(" %s%s%s", quote, request->folder, quote);
	puts("\nThe first check fails: nothing is written yet.");
	return XPORT_OK;
}

/* ---- check ---------------------------------------------------------------------------------- */

/* The file to check: DIR's, or one of the lab's own. Static storage. */
static struct lab_answer choose_answer(const struct request *request)
{
	static char path[LAB_PATH];
	const char *name = request->stage->name;

	if (request->mutant == NULL)
		snprintf(path, sizeof(path), "%s/%s", request->folder, request->stage->answer);
	else if (strcmp(request->mutant, "starter") == 0)
		snprintf(path, sizeof(path), "%s", lab_source_path("labs/%s/starter.c", name));
	else if (strcmp(request->mutant, "reference") == 0)
		snprintf(path, sizeof(path), "%s",
			 lab_source_path("%s", request->stage->sources[0]));
	else
		snprintf(path, sizeof(path), "%s",
			 lab_source_path("labs/%s/mutants/%s.c", name, request->mutant));
	return (struct lab_answer){.path = path, .partial = request->mutant != NULL};
}

static bool run_program(const struct request *request, const struct lab_answer *answer,
			const char *executive)
{
	char *arguments[] = {lab_work_path("%s", executive),
			     "-r",
			     lab_source_path("labs/%s/README.md", request->stage->name),
			     "-f",
			     (char *)answer->path,
			     request->json ? "-j" : "-w",
			     request->again != NULL ? "-s" : NULL,
			     (char *)request->again,
			     NULL};
	int status = lab_run_tool(arguments, NULL, NULL);

	if (status > 2)
		fail("the program that runs the exercises ended with status %d", status);
	return status == 0;
}

static void tell_complaint(const struct request *request, const char *complaint)
{
	if (!request->json) {
		printf("%s: your file does not become a program yet\n\n%s", request->stage->name,
		       complaint);
		return;
	}
	fputs(",\"complaint\":", stdout);
	print_json_string(stdout, complaint);
}

static int run_programs(const struct request *request, const struct lab_answer *answer)
{
	bool well;

	if (request->json)
		fputs(",\"runs\":[", stdout);
	well = run_program(request, answer, "simulator");
	/* What failed in the simulator, under a schedule that can be had again, is the answer. */
	if (well && request->again == NULL) {
		if (request->json)
			putchar(',');
		well = run_program(request, answer, "host");
	}
	if (request->json)
		putchar(']');
	return well ? XPORT_OK : XPORT_FAILED;
}

static int check_answer(const struct request *request, const struct lab_answer *answer)
{
	char *complaint, *warnings;
	int status = lab_make_programs(request->stage, answer, &complaint, &warnings);

	if (status != XPORT_OK && complaint == NULL)
		return status;
	if (request->json)
		printf("{\"lab\":\"%s\"", request->stage->name);
	else if (warnings != NULL)
		fputs(warnings, stderr);
	if (complaint != NULL)
		tell_complaint(request, complaint);
	else
		status = run_programs(request, answer);
	if (request->json)
		printf(",\"ok\":%s}\n", status == XPORT_OK ? "true" : "false");
	free(complaint);
	free(warnings);
	return status;
}

static void prepare_environment(void)
{
	/* Freed memory is overwritten, so that what still reads it goes astray visibly. */
	setenv("ASAN_OPTIONS", "max_free_fill_size=4096:free_fill_byte=221:detect_leaks=0", 1);
	setenv("UBSAN_OPTIONS", "print_stacktrace=1", 1);
	setenv("LC_ALL", "C", 1); /* the compiler's words are looked at */
}

static int check_lab(const struct request *request)
{
	struct lab_answer answer = choose_answer(request);
	int status;

	if (access(answer.path, R_OK) != 0 && request->mutant != NULL)
		return fail("lab %s has no mutant '%s'", request->stage->name, request->mutant);
	if (access(answer.path, R_OK) != 0)
		return fail("cannot read %s: %s ('tools/lab start %u' makes one)", answer.path,
			    strerror(errno), request->stage->number);
	prepare_environment();
	lab_watch_signals();
	if (!lab_begin_work())
		return XPORT_FAILED;
	status = lab_prepare(request->stage);
	if (status == XPORT_OK)
		status = check_answer(request, &answer);
	lab_end_work();
	return status;
}

/* ---- The command line ----------------------------------------------------------------------- */

static int parse_options(int argc, char **argv, struct request *request)
{
	static const struct option table[] = {{"force", no_argument, NULL, 'f'},
					      {"mutant", required_argument, NULL, 'm'},
					      {"again", required_argument, NULL, 'a'},
					      {"json", no_argument, NULL, 'j'},
					      {NULL, 0, NULL, 0}};
	int option;

	for (bool first = true; (option = next_option(argc, argv, ":", table, first)) != -1;
	     first = false) {
		if (option == 'f')
			request->force = true;
		else if (option == 'm')
			request->mutant = optarg;
		else if (option == 'a')
			request->again = optarg;
		else if (option == 'j')
			request->json = true;
		else
			return XPORT_USAGE;
	}
	return XPORT_OK;
}

/* A shell's completion adds one. */
static void trim_slashes(char *path)
{
	for (size_t end = strlen(path); end > 1 && path[end - 1] == '/'; end--)
		path[end - 1] = '\0';
}

static int choose_lab(int argc, char **argv, struct request *request)
{
	static char folder[32];

	if (optind + 1 >= argc)
		return usage("which lab? 'xport lab list' lists them");
	request->stage = lab_find(argv[optind + 1]);
	if (request->stage == NULL)
		return usage("there is no lab '%s'; 'xport lab list' lists them", argv[optind + 1]);
	snprintf(folder, sizeof(folder), "lab-%02u", request->stage->number);
	request->is_named = optind + 2 < argc;
	request->folder = request->is_named ? argv[optind + 2] : folder;
	if (request->is_named)
		trim_slashes(argv[optind + 2]);
	if (optind + 3 < argc)
		return usage("'%s' is too much", argv[optind + 3]);
	return XPORT_OK;
}

int cmd_lab(int argc, char **argv)
{
	struct request request = {.json = false};
	const char *job;
	int status;

	if (wants_help(argc, argv)) {
		fputs(lab_help, stdout);
		return XPORT_OK;
	}
	status = parse_options(argc, argv, &request);
	if (status != XPORT_OK)
		return status;
	job = optind < argc ? argv[optind] : "";
	if (strcmp(job, "list") == 0)
		return list_labs(request.json);
	if (strcmp(job, "start") != 0 && strcmp(job, "check") != 0)
		return usage("'%s' is none of list, start, check", job);
	status = choose_lab(argc, argv, &request);
	if (status != XPORT_OK)
		return status;
	if (!lab_find_places())
		return XPORT_FAILED;
	return strcmp(job, "start") == 0 ? start_lab(&request) : check_lab(&request);
}
