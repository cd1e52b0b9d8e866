/*
 * From an answer to two programs that check it.
 *
 *   merge     the stage's source files become one, so that one answer can hold parts of all
 *   graft     the answer's definitions take the place of the reference's
 *   compile   with sanitizers; messages carry the answer's own line numbers
 *   hide      every symbol but those that the reference's objects offer, so that a stray name
 *             can't take another room's place and a missing one is missed
 *   link      with the exercises, the rooms without this stage, and an executive
 */
#include "lab.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARGUMENTS = 48 };

static bool say(char **complaint, const char *format, const char *first, const char *second)
{
	if (asprintf(complaint, format, first, second) < 0)
		*complaint = NULL;
	return false;
}

/* ---- What the build must have made ---------------------------------------------------------- */

static int collect_missing(const struct lab_stage *stage, char **targets)
{
	static char lab[64], rest[64];
	static char *all[] = {"graft", "libke-sim-plain.a", "libke-host-asan.a", lab, rest, NULL};
	int count = 0;

	snprintf(lab, sizeof(lab), "liblab-%s.a", stage->name);
	snprintf(rest, sizeof(rest), "libwithout-%s.a", stage->name);
	for (char **target = all; *target != NULL; target++)
		if (access(lab_build_path("%s", *target), R_OK) != 0)
			targets[count++] = *target;
	return count;
}

int lab_prepare(const struct lab_stage *stage)
{
	char *arguments[ARGUMENTS] = {(char *)lab_source_path("tools/build"),
				      (char *)lab_build_path(".")};

	if (collect_missing(stage, arguments + 2) == 0)
		return XPORT_OK;
	if (lab_run_tool(arguments, NULL, NULL) == 0)
		return XPORT_OK;
	return fail("the parts of lab %s could not be built in %s", stage->name,
		    lab_build_path("."));
}

/* ---- Merge ---------------------------------------------------------------------------------- */

static bool is_include(const char *line)
{
	return strncmp(line, "#include", 8) == 0;
}

/* Copies the include lines of a source, or all others with empty lines in place of includes. */
static bool copy_lines(FILE *to, const char *path, bool includes)
{
	FILE *from = fopen(path, "re");
	char line[1024];

	if (from == NULL)
		return false;
	while (fgets(line, sizeof(line), from) != NULL) {
		if (is_include(line) == includes)
			fputs(line, to);
		else if (!includes)
			fputc('\n', to);
	}
	fclose(from);
	return true;
}

static bool merge(const struct lab_stage *stage)
{
	FILE *merged = fopen(lab_work_path("reference.c"), "we");
	bool done = merged != NULL;

	for (const char *const *source = stage->sources; done && *source != NULL; source++)
		done = copy_lines(merged, lab_source_path("%s", *source), true);
	for (const char *const *source = stage->sources; done && *source != NULL; source++)
		done = copy_lines(merged, lab_source_path("%s", *source), false);
	return merged != NULL && fclose(merged) == 0 && done;
}

/* ---- Graft ---------------------------------------------------------------------------------- */

/* Whether the text defines a function of this name: it begins a line's declarator with "name(". */
static bool defines(const char *text, const char *name, size_t length)
{
	for (const char *at = strstr(text, name); at != NULL; at = strstr(at + 1, name)) {
		const char *begin = at;

		while (begin > text && begin[-1] != '\n')
			begin--;
		if (at[length] == '(' && begin != at && isalpha((unsigned char)*begin) &&
		    !isalnum((unsigned char)at[-1]) && at[-1] != '_')
			return true;
	}
	return false;
}

/* Every function that the starter holds must be in the answer, or the reference's would stand in.
 */
static bool is_whole(const struct lab_stage *stage, const char *answer, char **complaint)
{
	char *names, *text = lab_read_file(answer), *rest = NULL;
	bool whole = true;
	char *arguments[] = {"ctags",
			     "-x",
			     "--c-kinds=f",
			     "--_xformat=%N",
			     (char *)lab_source_path("labs/%s/starter.c", stage->name),
			     NULL};

	if (lab_run_tool(arguments, lab_work_path("names"), lab_work_path("errors")) != 0)
		names = NULL;
	else
		names = lab_read_file(lab_work_path("names"));
	for (char *name = names != NULL ? strtok_r(names, "\n", &rest) : NULL;
	     whole && text != NULL && name != NULL; name = strtok_r(NULL, "\n", &rest)) {
		whole = defines(text, name, strlen(name));
		if (!whole)
			say(complaint, "%s: the function '%s' is missing; the lab is to write it\n",
			    answer, name);
	}
	free(names);
	free(text);
	return whole;
}

static bool graft(const char *answer, char **complaint)
{
	char *arguments[] = {(char *)lab_build_path("graft"), (char *)lab_work_path("reference.c"),
			     (char *)answer, NULL};

	if (lab_run_tool(arguments, lab_work_path("answer.c"), lab_work_path("errors")) == 0)
		return true;
	*complaint = lab_read_file(lab_work_path("errors"));
	return false;
}

/* ---- Compile, hide, link -------------------------------------------------------------------- */

/* Appends the words of a list that ends with NULL. */
static int append(char **arguments, int count, char *const *words)
{
	while (*words != NULL && count < ARGUMENTS - 1)
		arguments[count++] = *words++;
	arguments[count] = NULL;
	return count;
}

static char *compiler(void)
{
	char *named = getenv("CC");

	return named != NULL && named[0] != '\0' ? named : "cc";
}

static char *const sanitizers[] = {"-fsanitize=address,undefined", "-fno-sanitize-recover=all",
				   "-fno-omit-frame-pointer", "-g", NULL};

static bool compile(char **complaint)
{
	char *words[] = {compiler(),
			 "-std=gnu11",
			 "-D_GNU_SOURCE",
			 "-O1",
			 "-fno-strict-aliasing",
			 "-Wall",
			 "-Wextra",
			 "-I",
			 (char *)lab_source_path("src"),
			 "-c",
			 "-o",
			 (char *)lab_work_path("answer.o"),
			 (char *)lab_work_path("answer.c"),
			 NULL};
	char *arguments[ARGUMENTS];
	int count = append(arguments, 0, words);
	char *flags = getenv("CFLAGS"), *copy = flags != NULL ? strdup(flags) : NULL;
	char *rest = NULL;
	bool done;

	count = append(arguments, count, sanitizers);
	for (char *flag = copy != NULL ? strtok_r(copy, " ", &rest) : NULL;
	     flag != NULL && count < ARGUMENTS - 1; flag = strtok_r(NULL, " ", &rest))
		arguments[count++] = flag;
	arguments[count] = NULL;
	done = lab_run_tool(arguments, NULL, lab_work_path("errors")) == 0;
	free(copy);
	if (!done)
		*complaint = lab_read_file(lab_work_path("errors"));
	return done;
}

static const char *object_of(const char *source)
{
	char name[LAB_PATH];

	snprintf(name, sizeof(name), "%s", source);
	for (char *slash = name; (slash = strchr(slash, '/')) != NULL;)
		*slash = '_';
	return lab_build_path("libxport-plain.a.p/%s.o", name);
}

static bool hide(const struct lab_stage *stage)
{
	char *objcopy[] = {"objcopy", NULL, (char *)lab_work_path("answer.o"), NULL};
	char option[LAB_PATH + 32];
	char *nm[LAB_FILES + 6] = {"nm", "-g", "-j", "--defined-only"};
	int count = 4;

	for (const char *const *source = stage->sources; *source != NULL; source++)
		nm[count++] = (char *)object_of(*source);
	if (lab_run_tool(nm, lab_work_path("symbols"), NULL) != 0)
		return false;
	snprintf(option, sizeof(option), "--keep-global-symbols=%s", lab_work_path("symbols"));
	objcopy[1] = option;
	return lab_run_tool(objcopy, NULL, NULL) == 0;
}

/* The names that the linker missed, one a line; of the rest of its words nobody wants to know. */
static char *missing_functions(const struct lab_answer *answer)
{
	static const char sign[] = "undefined reference to `";
	char *errors = lab_read_file(lab_work_path("errors")), *lines = NULL, *name;

	name = errors != NULL ? strstr(errors, sign) : NULL;
	if (name != NULL) {
		name += sizeof(sign) - 1;
		name[strcspn(name, "'")] = '\0';
		if (asprintf(&lines,
			     "%s: the function '%s' is missing: other rooms call it, so it "
			     "must be defined, and not static\n",
			     answer->path, name) < 0)
			lines = NULL;
		free(errors);
		return lines;
	}
	return errors;
}

static bool link_program(const struct lab_stage *stage, const char *executive, char *library)
{
	char *words[] = {compiler(),
			 "-o",
			 (char *)lab_work_path("%s", executive),
			 (char *)lab_work_path("answer.o"),
			 "-Wl,--start-group",
			 (char *)lab_build_path("liblab-%s.a", stage->name),
			 (char *)lab_build_path("liblab-%s.a", executive),
			 (char *)lab_build_path("libwithout-%s.a", stage->name),
			 library,
			 "-Wl,--end-group",
			 "-lcunit",
			 "-lpthread",
			 NULL};
	char *arguments[ARGUMENTS];

	append(arguments, append(arguments, 0, words), sanitizers);
	return lab_run_tool(arguments, NULL, lab_work_path("errors")) == 0;
}

int lab_make_programs(const struct lab_stage *stage, const struct lab_answer *answer,
		      char **complaint)
{
	*complaint = NULL;
	if (access(answer->path, R_OK) != 0)
		return fail("there is no %s to check; 'xport lab start %u' makes one", answer->path,
			    stage->number);
	if (!merge(stage))
		return fail("the reference sources of %s cannot be read", stage->name);
	if ((!answer->partial && !is_whole(stage, answer->path, complaint)) ||
	    !graft(answer->path, complaint) || !compile(complaint))
		return XPORT_FAILED;
	if (!hide(stage))
		return fail("the symbols of the answer could not be selected");
	if (!link_program(stage, "simulator", (char *)lab_build_path("libke-sim-plain.a")) ||
	    !link_program(stage, "host", (char *)lab_build_path("libke-host-asan.a"))) {
		*complaint = missing_functions(answer);
		return XPORT_FAILED;
	}
	return XPORT_OK;
}
