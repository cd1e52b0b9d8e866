/*
 * graft REFERENCE.c PATCH.c > OUT.c - puts each definition of PATCH in place of the definition of
 * the same name in REFERENCE.
 *
 * A lab's starter, a student's answer and a mutant hold only the definitions that differ; the
 * rest of the stage stays the reference. PATCH may hold definitions, includes, comments, and
 * declarations (which are left out: the definitions are what counts). Includes are added behind
 * the reference's last one. Anything else is an error, and so is a definition whose name the
 * reference does not have or which comes twice: nothing of a student's disappears silently.
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

/* The definition of the reference that this one of the patch replaces; ends when there is none. */
static const struct definition *find_target(const struct source *reference,
					    const struct source *patch,
					    const struct definition *definition)
{
	bool tagged = definition->kind == DEFINITION_STRUCT;
	char *name = format_string("%s%s", tagged ? "struct " : "", definition->name);
	const struct definition *target = source_find(reference, name);

	free(name);
	if (target == NULL)
		die(patch->path, definition->begin,
		    "'%s' is not defined in %s, so there is nothing that it could replace",
		    definition->name, reference->path);
	if (target->kind != definition->kind &&
	    !(target->kind == DEFINITION_ENUMERATOR && definition->kind == DEFINITION_ENUM))
		die(patch->path, definition->begin, "'%s' is a %s here and a %s in %s",
		    definition->name, definition_kind_name(definition->kind),
		    definition_kind_name(target->kind), reference->path);
	return target;
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

struct replacement {
	const struct definition *old;
	const struct definition *new;
};

static int compare_replacements(const void *left, const void *right)
{
	const struct replacement *a = left, *b = right;

	return a->old->begin < b->old->begin ? -1 : a->old->begin > b->old->begin;
}

/* The reference from line `from` up to and with `to`, with the includes of the patch put in. */
static void print_reference(const struct source *reference, const struct source *patch,
			    unsigned from, unsigned to)
{
	unsigned include = last_include(reference);

	if (include < from || include > to) {
		print_lines(reference, from, to);
		return;
	}
	print_lines(reference, from, include);
	print_includes(patch);
	print_lines(reference, include + 1, to);
}

static void graft(const struct source *reference, const struct source *patch)
{
	struct replacement *list = allocate((patch->definition_count + 1) * sizeof(list[0]));
	unsigned count = 0, next = 1;

	for (unsigned i = 0; i < patch->definition_count; i++) {
		const struct definition *definition = &patch->definitions[i];

		if (is_piece(definition))
			list[count++] = (struct replacement){
				find_target(reference, patch, definition), definition};
	}
	if (count == 0)
		die(patch->path, 0, "holds no definition");
	qsort(list, count, sizeof(list[0]), compare_replacements);
	for (unsigned i = 0; i < count; i++) {
		print_reference(reference, patch, next, list[i].old->first - 1);
		print_lines(patch, list[i].new->first, list[i].new->last);
		next = list[i].old->last + 1;
	}
	print_reference(reference, patch, next, reference->line_count);
	free(list);
}

int main(int argc, char **argv)
{
	struct source reference, patch;

	if (argc != 3 || argv[1][0] == '-') {
		fprintf(stderr, "usage: graft REFERENCE.c PATCH.c > OUT.c\n");
		return 2;
	}
	source_load(&reference, argv[1]);
	source_load(&patch, argv[2]);
	refuse_repetition(&patch);
	refuse_strays(&patch);
	graft(&reference, &patch);
	source_free(&reference);
	source_free(&patch);
	if (fflush(stdout) != 0 || ferror(stdout))
		die(NULL, 0, "cannot write the result");
	return 0;
}
