/*
 * From an answer to two programs that check it.
 *
 *   graft     the answer's definitions take the place of the reference's
 *   compile   with sanitizers; messages carry the answer's own line numbers
 *   hide      every symbol but those that the reference's objects offer, so that a stray name
 *             can't take another room's place
 *   link      with the exercises, the rooms without this stage, and an executive
 *
 * Each step returns whether it is done. If it is not, and the answer is at fault, `complaint` says
 * why; otherwise a line has been printed.
 */
#include "lab.h"

#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { ARGUMENTS = 40 };

/* ---- What the build must have made ---------------------------------------------------------- */

static bool is_built(char *const *targets)
{
	for (; *targets != NULL; targets++)
		if (access(lab_build_path("%s", *targets), R_OK) != 0)
			return false;
	return true;
}

/* Two checks at once must not both build. The lock ends with the process at the latest. */
static int build(char *const *targets, bool at_hand)
{
	char *arguments[ARGUMENTS] = {lab_source_path("tools/build"), lab_build_path(".")};
	FILE *lock = fopen(lab_build_path(".lab.lock"), "we");
	char *words = NULL;
	int status;

	for (int i = 0; targets[i] != NULL; i++)
		arguments[2 + i] = targets[i];
	if (lock == NULL || flock(fileno(lock), LOCK_EX) != 0)
		return fail("cannot build in %s", lab_build_path("."));
	if (!at_hand)
		fputs("building what the lab is checked with, once\n", stderr);
	status = lab_run_tool(arguments, NULL, lab_work_path("errors"));
	fclose(lock);
	if (status == 0)
		return XPORT_OK;
	words = lab_read_file(lab_work_path("errors"));
	fputs(words != NULL ? words : "", stderr);
	free(words);
	return fail("the parts of the lab could not be built; 'tools/setup run' installs what that "
		    "needs, and the build must have its sanitizers");
}

int lab_prepare(const struct lab_stage *stage)
{
	char exercises[64], rest[64];
	char *targets[] = {"graft",
			   "libxport-plain.a",
			   "libke-sim-plain.a",
			   "libke-host-asan.a",
			   "libverifier.a",
			   "libverifier-on.a",
			   "libverifier-off.a",
			   "liblab-simulator.a",
			   "liblab-host.a",
			   exercises,
			   rest,
			   NULL};
	bool at_hand;

	snprintf(exercises, sizeof(exercises), "liblab-%s.a", stage->name);
	snprintf(rest, sizeof(rest), "libwithout-%s.a", stage->name);
	at_hand = is_built(targets);
	/* Somebody else's build, which is whole, is taken as it is. */
	if (at_hand && access(lab_build_path("."), W_OK) != 0)
		return XPORT_OK;
	return build(targets, at_hand);
}

/* ---- The steps ------------------------------------------------------------------------------ */

/* What the last tool wrote to standard error, if it ran at all. */
static bool complain(char **complaint, int status)
{
	if (status > 0)
		*complaint = lab_read_file(lab_work_path("errors"));
	return false;
}

/* Appends the words of a list that ends with NULL. */
static int append(char **arguments, int count, char *const *words)
{
	while (*words != NULL && count < ARGUMENTS - 1)
		arguments[count++] = *words++;
	arguments[count] = NULL;
	return count;
}

static char *const sanitizers[] = {"-fsanitize=address,undefined", "-fno-sanitize-recover=all",
				   "-fno-omit-frame-pointer", "-g", NULL};

/* Runs the compiler that built everything else, with the flags of all C here and these words. */
static int compile(char *const *words)
{
	char *common[] = {XPORT_COMPILER, "-std=gnu11",		  "-D_GNU_SOURCE",
			  "-I",		  lab_source_path("src"), NULL};
	char *arguments[ARGUMENTS];

	append(arguments, append(arguments, 0, common), words);
	return lab_run_tool(arguments, NULL, lab_work_path("errors"));
}

/* The names of the functions that a file defines, each between newlines. */
static char *list_functions(const char *path)
{
	char *arguments[] = {"ctags",	      "-x",	    "--sort=no", "--c-kinds=f",
			     "--_xformat=%N", (char *)path, NULL};
	int status = lab_run_tool(arguments, lab_work_path("names"), lab_work_path("errors"));
	char *text, *names = NULL;

	if (status < 0)
		return NULL;
	if (status > 0) {
		fail("Universal Ctags is needed; 'tools/setup run' installs it");
		return NULL;
	}
	text = lab_read_file(lab_work_path("names"));
	if (text == NULL || asprintf(&names, "\n%s", text) < 0)
		names = NULL;
	free(text);
	return names;
}

/* Every function that the starter holds must be in the answer, or the reference's would stand in.
 */
static bool is_whole(const struct lab_stage *stage, const char *answer, char **complaint)
{
	char *wanted = list_functions(lab_source_path("labs/%s/starter.c", stage->name));
	char *found = wanted != NULL ? list_functions(answer) : NULL;
	bool whole = found != NULL;
	char *name, *rest = NULL, line[256];

	for (name = found != NULL ? strtok_r(wanted, "\n", &rest) : NULL; whole && name != NULL;
	     name = strtok_r(NULL, "\n", &rest)) {
		snprintf(line, sizeof(line), "\n%s\n", name);
		whole = strstr(found, line) != NULL;
		if (!whole &&
		    asprintf(complaint, "%s: the function '%s' is missing; it is yours to write\n",
			     answer, name) < 0)
			*complaint = NULL;
	}
	free(wanted);
	free(found);
	return whole;
}

static bool graft(const struct lab_stage *stage, const char *answer, char **complaint)
{
	char *arguments[LAB_FILES + 4] = {lab_build_path("graft"), "-s"};
	int count = 2, status;

	for (const char *const *source = stage->sources; *source != NULL; source++)
		arguments[count++] = lab_source_path("%s", *source);
	arguments[count] = (char *)answer;
	status = lab_run_tool(arguments, lab_work_path("answer.c"), lab_work_path("errors"));
	return status == 0 || complain(complaint, status);
}

/*
 * Whoever forgets a brace should not hear of definitions that could not be told apart. The answer
 * alone lacks the reference's names, so of its errors only those count that no name could mend: the
 * compiler expected something else there. If there are any, they become the complaint.
 */
static bool complain_of_syntax(const struct lab_stage *stage, const char *answer, char **complaint)
{
	char *words[] = {"-fsyntax-only",	"-w",		"-include",
			 (char *)stage->header, (char *)answer, NULL};
	char *errors, *better = NULL, *rest = NULL;
	size_t length = 0;
	FILE *text;

	compile(words);
	errors = lab_read_file(lab_work_path("errors"));
	text = open_memstream(&better, &length);
	if (errors == NULL || text == NULL)
		return false;
	for (char *line = strtok_r(errors, "\n", &rest); line != NULL;
	     line = strtok_r(NULL, "\n", &rest))
		if (strstr(line, "error: expected") != NULL)
			fprintf(text, "%s\n", line);
	fclose(text);
	free(errors);
	if (length > 0) {
		free(*complaint);
		*complaint = better;
	} else {
		free(better);
	}
	return false;
}

/* From the answer and the reference, the source that is compiled. */
static bool make_source(const struct lab_stage *stage, const struct lab_answer *answer,
			char **complaint)
{
	if ((answer->partial || is_whole(stage, answer->path, complaint)) &&
	    graft(stage, answer->path, complaint))
		return true;
	return *complaint != NULL && complain_of_syntax(stage, answer->path, complaint);
}

/* Warnings are the student's business, but no obstacle. */
static bool make_object(char **complaint, char **warnings)
{
	char map[LAB_PATH + 32];
	char *words[ARGUMENTS] = {"-O1",
				  "-fno-strict-aliasing",
				  "-Wall",
				  "-Wextra",
				  "-Wno-unused-function",
				  "-Werror=implicit-function-declaration",
				  map,
				  "-c",
				  "-o",
				  lab_work_path("answer.o"),
				  lab_work_path("answer.c"),
				  NULL};
	int status;

	/* Names in reports begin where the sources do. */
	snprintf(map, sizeof(map), "-ffile-prefix-map=%s=", lab_source_path("%s", ""));
	append(words, 11, sanitizers);
	status = compile(words);
	if (status != 0)
		return complain(complaint, status);
	*warnings = lab_read_file(lab_work_path("errors"));
	return true;
}

/* The object that the build made of a source. */
static char *object_of(const char *source)
{
	char name[LAB_PATH];

	snprintf(name, sizeof(name), "%s", source);
	for (char *slash = name; (slash = strchr(slash, '/')) != NULL;)
		*slash = '_';
	return lab_build_path("libxport-plain.a.p/%s.o", name);
}

/*
 * Also the answer's way to set an event becomes the harness's (labs/harness/steps.c), and its
 * variables get sections of their own, which the harness restores before each run (sim.c).
 */
static bool hide(const struct lab_stage *stage)
{
	char option[LAB_PATH + 32];
	char *objcopy[] = {"objcopy",
			   option,
			   "--redefine-sym",
			   "ke_set_event_at=lab_set_event_at",
			   "--rename-section",
			   ".data=lab_data",
			   "--rename-section",
			   ".bss=lab_bss",
			   lab_work_path("answer.o"),
			   NULL};
	char *nm[LAB_FILES + 6] = {"nm", "-g", "-j", "--defined-only"};
	int count = 4, status;

	for (const char *const *source = stage->sources; *source != NULL; source++)
		nm[count++] = object_of(*source);
	snprintf(option, sizeof(option), "--keep-global-symbols=%s", lab_work_path("symbols"));
	status = lab_run_tool(nm, lab_work_path("symbols"), NULL);
	if (status == 0)
		status = lab_run_tool(objcopy, NULL, NULL);
	if (status > 0)
		fail("the symbols of the answer could not be selected");
	return status == 0;
}

/* An answer to the stage of requests does not tell the verifier what it does with them, and would
 * be accused of what it has not said. */
static const char *verifier_for(const struct lab_stage *stage)
{
	return strcmp(stage->name, "01-request") == 0 ? "libverifier-off.a" : "libverifier-on.a";
}

static bool link_program(const struct lab_stage *stage, const char *executive, const char *library,
			 char **complaint)
{
	char *words[ARGUMENTS] = {"-o",
				  lab_work_path("%s", executive),
				  lab_work_path("answer.o"),
				  "-Wl,--start-group",
				  lab_build_path("liblab-%s.a", stage->name),
				  lab_build_path("liblab-%s.a", executive),
				  lab_build_path("libwithout-%s.a", stage->name),
				  lab_build_path("%s", library),
				  lab_build_path("libverifier.a"),
				  lab_build_path("%s", verifier_for(stage)),
				  "-Wl,--end-group",
				  "-lcunit",
				  "-lpthread",
				  NULL};
	int status;

	append(words, 13, sanitizers);
	status = compile(words);
	return status == 0 || complain(complaint, status);
}

int lab_make_programs(const struct lab_stage *stage, const struct lab_answer *answer,
		      char **complaint, char **warnings)
{
	*complaint = *warnings = NULL;
	if (make_source(stage, answer, complaint) && make_object(complaint, warnings) &&
	    hide(stage) && link_program(stage, "simulator", "libke-sim-plain.a", complaint) &&
	    link_program(stage, "host", "libke-host-asan.a", complaint))
		return XPORT_OK;
	return XPORT_FAILED;
}
