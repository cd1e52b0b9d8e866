/*
 * graft [-s] REFERENCE.c... PATCH.c > OUT.c - puts each definition of PATCH in place of the
 * definition of the same name in the references, which become one source in this order.
 *
 * A lab's starter, a student's answer and a mutant hold only the definitions that differ; the
 * rest of the stage stays the reference. PATCH may hold definitions, includes, comments, and
 * declarations (which are left out: the definitions are what counts). Includes are added behind
 * the last one of the first reference. Anything else is an error, and so is a definition whose name
 * no reference has or which comes twice: nothing of a student's disappears silently.
 *
 * With -s a definition with a new name is put in if no other file can see it (static, or a type):
 * it stays, as do prototypes, with the definition that follows it in PATCH, or with the last one.
 *
 * #line keeps compiler messages and debuggers at the file in which each line was written.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "definitions.h"
#include "text.h"

static void print_lines(const struct source *source, unsigned first, unsigned last)
{
	if (first > last)
		return;
	printf("#line %u \"%s\"\n", first, source->path);
	for (unsigned line = first; line <= last; line++) {
		unsigned length;
		const char *begin = source_line(source, line, &length);

		printf("%.*s\n", (int)length, begin);
	}
}

static bool is_piece(const struct definition *definition)
{
	return !definition->nested && definition->kind != DEFINITION_PROTOTYPE;
}

/* The sources that take the patch, and whether new names are welcome. */
struct job {
	struct source *references;
	unsigned reference_count;
	bool allow_new;
};

/* A definition of a reference, and the lines of the patch that take its place. */
struct replacement {
	const struct source *reference;
	const struct definition *old;
	unsigned first, last;
};

static bool is_seen_by_others(const struct definition *definition)
{
	return !definition->is_static &&
	       (definition->kind == DEFINITION_FUNCTION || definition->kind == DEFINITION_VARIABLE);
}

static _Noreturn void refuse_name(const struct job *job, const struct source *patch,
				  const struct definition *definition)
{
	struct text names = {0};

	for (unsigned i = 0; i < job->reference_count; i++)
		text_printf(&names, "%s%s", i > 0 ? ", " : "", job->references[i].path);
	die(patch->path, definition->begin,
	    "'%s' is not defined in %s, so there is nothing that it could replace%s",
	    definition->name, text_string(&names),
	    job->allow_new ? " (a function of your own is static)" : "");
}

/* Finds what this definition of the patch replaces; false for one that is new, and welcome. */
static bool find_target(const struct job *job, const struct source *patch,
			const struct definition *definition, struct replacement *found)
{
	bool tagged = definition->kind == DEFINITION_STRUCT;
	char *name = format_string("%s%s", tagged ? "struct " : "", definition->name);

	*found = (struct replacement){.first = definition->first, .last = definition->last};
	for (unsigned i = 0; found->old == NULL && i < job->reference_count; i++) {
		found->reference = &job->references[i];
		found->old = source_find(found->reference, name);
	}
	free(name);
	if (found->old == NULL && (!job->allow_new || is_seen_by_others(definition)))
		refuse_name(job, patch, definition);
	if (found->old != NULL && found->old->kind != definition->kind &&
	    !(found->old->kind == DEFINITION_ENUMERATOR && definition->kind == DEFINITION_ENUM))
		die(patch->path, definition->begin, "'%s' is a %s here and a %s in %s",
		    definition->name, definition_kind_name(definition->kind),
		    definition_kind_name(found->old->kind), found->reference->path);
	return found->old != NULL;
}

static void refuse_repetition(const struct source *patch)
{
	for (unsigned i = 0; i < patch->definition_count; i++) {
		const struct definition *later = &patch->definitions[i];

		for (unsigned j = 0; is_piece(later) && j < i; j++) {
			const struct definition *earlier = &patch->definitions[j];

			if (is_piece(earlier) && earlier->kind == later->kind &&
			    strcmp(earlier->name, later->name) == 0)
				die(patch->path, later->begin, "'%s' is defined in line %u already",
				    later->name, earlier->begin);
		}
	}
}

/* Marks the lines of comments; what is left over then must be known. */
static void mark_comments(const struct source *source, bool *known)
{
	bool inside = false;

	for (unsigned line = 1; line <= source->line_count; line++) {
		unsigned length;
		const char *begin = source_line(source, line, &length);
		bool whole = inside || line_begins(source, line, "/*");

		known[line] |= line_begins(source, line, "//") || (whole && !known[line]);
		if (!whole)
			continue;
		inside = memmem(begin, length, "*/", 2) == NULL;
	}
}

static bool is_include(const struct source *source, unsigned line)
{
	return line_begins(source, line, "#include") || line_begins(source, line, "# include");
}

/* Every line of the patch must be one that graft understands. */
static void refuse_strays(const struct source *patch)
{
	bool *known = allocate((patch->line_count + 1) * sizeof(*known));

	for (unsigned i = 0; i < patch->definition_count; i++)
		for (unsigned line = patch->definitions[i].first;
		     line <= patch->definitions[i].last; line++)
			known[line] = true;
	mark_comments(patch, known);
	for (unsigned line = 1; line <= patch->line_count; line++) {
		bool forward = line_begins(patch, line, "struct ") ||
			       line_begins(patch, line, "enum ") ||
			       line_begins(patch, line, "extern ");

		if (!known[line] && !line_is_blank(patch, line) && !is_include(patch, line) &&
		    !forward)
			die(patch->path, line,
			    "this line is in no definition, and graft puts in nothing else");
	}
	free(known);
}

static unsigned last_include(const struct source *source)
{
	unsigned last = 0;

	for (unsigned line = 1; line <= source->line_count; line++)
		if (is_include(source, line))
			last = line;
	return last;
}

static void print_includes(const struct source *patch)
{
	for (unsigned line = 1; line <= patch->line_count; line++)
		if (is_include(patch, line))
			print_lines(patch, line, line);
}

static int compare_replacements(const void *left, const void *right)
{
	const struct replacement *a = left, *b = right;

	if (a->reference != b->reference)
		return a->reference < b->reference ? -1 : 1;
	return a->old->begin < b->old->begin ? -1 : a->old->begin > b->old->begin;
}

/* The replacements in the order of the references. The caller frees the list. */
static struct replacement *list_replacements(const struct job *job, const struct source *patch,
					     unsigned *count)
{
	struct replacement *list = allocate((patch->definition_count + 1) * sizeof(list[0]));
	unsigned new_first = 0;

	*count = 0;
	for (unsigned i = 0; i < patch->definition_count; i++) {
		const struct definition *definition = &patch->definitions[i];

		/* Prototypes of new functions go along; others do no harm. */
		if (job->allow_new && definition->kind == DEFINITION_PROTOTYPE &&
		    !definition->nested && new_first == 0)
			new_first = definition->first;
		if (!is_piece(definition))
			continue;
		if (find_target(job, patch, definition, &list[*count])) {
			if (new_first != 0)
				list[*count].first = new_first;
			new_first = 0;
			++*count;
		} else if (new_first == 0) {
			new_first = definition->first;
		}
	}
	if (*count == 0)
		die(patch->path, 0, "holds no definition");
	if (new_first != 0)
		list[*count - 1].last = patch->line_count;
	qsort(list, *count, sizeof(list[0]), compare_replacements);
	return list;
}

/* A reference from line `from` up to and with `to`, with the includes of the patch put in. */
static void print_reference(const struct source *reference, const struct source *includes,
			    unsigned from, unsigned to)
{
	unsigned include = last_include(reference);

	if (includes == NULL || include < from || include > to) {
		print_lines(reference, from, to);
		return;
	}
	print_lines(reference, from, include);
	print_includes(includes);
	print_lines(reference, include + 1, to);
}

static void graft(const struct job *job, const struct source *patch)
{
	unsigned count, at = 0;
	struct replacement *list = list_replacements(job, patch, &count);

	for (unsigned i = 0; i < job->reference_count; i++) {
		const struct source *reference = &job->references[i];
		const struct source *includes = i == 0 ? patch : NULL;
		unsigned next = 1;

		for (; at < count && list[at].reference == reference; at++) {
			print_reference(reference, includes, next, list[at].old->first - 1);
			print_lines(patch, list[at].first, list[at].last);
			next = list[at].old->last + 1;
		}
		print_reference(reference, includes, next, reference->line_count);
	}
	free(list);
}

int main(int argc, char **argv)
{
	struct job job = {.allow_new = argc > 1 && strcmp(argv[1], "-s") == 0};
	struct source patch;
	int first = job.allow_new ? 2 : 1;

	if (argc < first + 2 || argv[first][0] == '-') {
		fprintf(stderr, "usage: graft [-s] REFERENCE.c... PATCH.c > OUT.c\n");
		return 2;
	}
	job.reference_count = (unsigned)(argc - first - 1);
	job.references = allocate(job.reference_count * sizeof(job.references[0]));
	for (unsigned i = 0; i < job.reference_count; i++)
		source_load(&job.references[i], argv[first + (int)i]);
	source_load(&patch, argv[argc - 1]);
	refuse_repetition(&patch);
	refuse_strays(&patch);
	graft(&job, &patch);
	for (unsigned i = 0; i < job.reference_count; i++)
		source_free(&job.references[i]);
	free(job.references);
	source_free(&patch);
	if (fflush(stdout) != 0 || ferror(stdout))
		die(NULL, 0, "cannot write the result");
	return 0;
}
