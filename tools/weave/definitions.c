/* Definitions, by Universal Ctags; see definitions.h. */
#include "definitions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

static const struct {
	const char *ctags;
	const char *name;
} kinds[] = {
	[DEFINITION_FUNCTION] = {"function", "function"},
	[DEFINITION_STRUCT] = {"struct", "structure"},
	[DEFINITION_ENUM] = {"enum", "enumeration"},
	[DEFINITION_MACRO] = {"macro", "macro"},
	[DEFINITION_VARIABLE] = {"variable", "variable"},
	[DEFINITION_TYPEDEF] = {"typedef", "type"},
	[DEFINITION_ENUMERATOR] = {"enumerator", "enumerator"},
	[DEFINITION_PROTOTYPE] = {"prototype", "declaration"},
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

const char *definition_kind_name(enum definition_kind kind)
{
	return kinds[kind].name;
}

/* ---- Lines --------------------------------------------------------------------------------- */

static void find_lines(struct source *source)
{
	const char *at = source->text;
	unsigned room = 1;

	for (const char *c = at; *c != '\0'; c++)
		room += *c == '\n';
	source->lines = allocate((room + 1) * sizeof(source->lines[0]));
	while (*at != '\0') {
		source->lines[source->line_count++] = at;
		at += strcspn(at, "\n");
		at += *at == '\n';
	}
	source->lines[source->line_count] = at;
}

const char *source_line(const struct source *source, unsigned line, unsigned *length)
{
	const char *begin = source->lines[line - 1];

	*length = (unsigned)strcspn(begin, "\n");
	return begin;
}

bool line_begins(const struct source *source, unsigned line, const char *prefix)
{
	const char *begin = source->lines[line - 1];

	begin += strspn(begin, " \t");
	return strncmp(begin, prefix, strlen(prefix)) == 0;
}

bool line_is_blank(const struct source *source, unsigned line)
{
	unsigned length;
	const char *begin = source_line(source, line, &length);

	return strspn(begin, " \t") >= length;
}

/* Whether the line's last characters, before blanks, are these. */
static bool line_ends(const struct source *source, unsigned line, const char *suffix)
{
	unsigned length;
	const char *begin = source_line(source, line, &length);
	size_t wanted = strlen(suffix);

	while (length > 0 && (begin[length - 1] == ' ' || begin[length - 1] == '\t'))
		length--;
	return length >= wanted && memcmp(begin + length - wanted, suffix, wanted) == 0;
}

/* ---- Where a definition begins and ends ---------------------------------------------------- */

/* The first line of the comment that ends on `line`, or 0 when no comment has that line alone. */
static unsigned comment_above(const struct source *source, unsigned line)
{
	if (line_begins(source, line, "//"))
		return line;
	if (!line_ends(source, line, "*/"))
		return 0;
	for (; line > 0; line--) {
		unsigned length;
		const char *begin = source_line(source, line, &length);

		if (line_begins(source, line, "/*"))
			return line;
		if (memmem(begin, length, "/*", 2) != NULL)
			return 0; /* behind code: that code's */
	}
	return 0;
}

/* A return type that stands on a line of its own belongs to the definition below it. */
static unsigned find_begin(const struct source *source, unsigned line)
{
	while (line > 1 && !line_is_blank(source, line - 1) && !line_ends(source, line - 1, ";") &&
	       !line_ends(source, line - 1, "}") && !line_ends(source, line - 1, "*/") &&
	       !line_ends(source, line - 1, "\\") && !line_begins(source, line - 1, "#") &&
	       !line_begins(source, line - 1, "//") && !line_ends(source, line - 1, "*/"))
		line--;
	return line;
}

static unsigned find_first(const struct source *source, unsigned begin)
{
	unsigned comment;

	while (begin > 1 && (comment = comment_above(source, begin - 1)) != 0)
		begin = comment;
	return begin;
}

/* The line of the semicolon that ends what begins on `line`; ctags does not tell for a typedef. */
static unsigned find_semicolon(const struct source *source, unsigned line)
{
	while (line < source->line_count && !line_ends(source, line, ";") &&
	       !line_ends(source, line, "*/"))
		line++;
	return line;
}

/* ---- What ctags says ----------------------------------------------------------------------- */

static int kind_of(const char *word)
{
	if (strcmp(word, "union") == 0)
		return DEFINITION_STRUCT;
	for (int kind = 0; kind < KINDS; kind++)
		if (strcmp(word, kinds[kind].ctags) == 0)
			return kind;
	return -1;
}

/* One line of ctags': kind, name, line, end line (or nothing). */
static void take_tag(struct source *source, char *tag)
{
	char *word[4] = {NULL};
	struct definition *definition;
	int kind;

	for (int i = 0; i < 4; i++)
		word[i] = tag != NULL ? strsep(&tag, "\t") : NULL;
	if (word[2] == NULL || (kind = kind_of(word[0])) < 0)
		return;
	source->definitions = reallocate(source->definitions, (source->definition_count +
							       1) * sizeof(source->definitions[0]));
	definition = &source->definitions[source->definition_count++];
	*definition = (struct definition){.name = copy_string(word[1]), .kind = kind};
	definition->begin = definition->last = (unsigned)strtoul(word[2], NULL, 10);
	if (word[3] != NULL && word[3][0] != '\0')
		definition->last = (unsigned)strtoul(word[3], NULL, 10);
	if (definition->begin == 0 || definition->begin > source->line_count)
		die(source->path, 0, "changed while it was read");
	if (kind != DEFINITION_MACRO && kind != DEFINITION_ENUMERATOR)
		definition->begin = find_begin(source, definition->begin);
	if (kind == DEFINITION_TYPEDEF)
		definition->last = find_semicolon(source, definition->last);
	definition->first = find_first(source, definition->begin);
	definition->is_static = line_begins(source, definition->begin, "static ");
}

static void run_ctags(struct source *source)
{
	char *argv[] = {"ctags",
			"-x",
			"--sort=no",
			"--language-force=C",
			"--c-kinds=defgpstuv",
			"--_xformat=%{kind}\t%N\t%n\t%{end}",
			source->path,
			NULL};
	struct text output = {0};
	int status = run_program(argv, &output, false);
	char *rest = output.bytes, *tag;

	if (status == -1)
		die(NULL, 0, "cannot run ctags: %s (package universal-ctags)", strerror(errno));
	if (status != 0)
		die(source->path, 0, "ctags ended with status %d", status);
	while (rest != NULL && (tag = strsep(&rest, "\n")) != NULL)
		if (tag[0] != '\0')
			take_tag(source, tag);
	text_free(&output);
}

static int compare_begin(const void *left, const void *right)
{
	const struct definition *a = left, *b = right;

	if (a->begin != b->begin)
		return a->begin < b->begin ? -1 : 1;
	if (a->kind != b->kind) /* an enum before its enumerators */
		return a->kind < b->kind ? -1 : 1;
	return a->last > b->last ? -1 : a->last < b->last;
}

/* Gives enumerators the lines of their enum, an enum without a tag a name, and marks the nested. */
static void relate(struct source *source)
{
	struct definition *outer = NULL;

	for (unsigned i = 0; i < source->definition_count; i++) {
		struct definition *definition = &source->definitions[i];

		if (outer == NULL || definition->begin > outer->last) {
			outer = definition;
			continue;
		}
		definition->nested = true;
		if (definition->kind != DEFINITION_ENUMERATOR)
			continue;
		if (outer->kind == DEFINITION_ENUM && strncmp(outer->name, "__anon", 6) == 0) {
			free(outer->name);
			outer->name = copy_string(definition->name);
		}
		definition->first = outer->first;
		definition->begin = outer->begin;
		definition->last = outer->last;
	}
}

/* Some editors end lines with two characters; the line numbers are the same. */
static void drop_carriage_returns(char *text)
{
	char *to = text;

	for (const char *from = text; *from != '\0'; from++)
		if (from[0] != '\r' || from[1] != '\n')
			*to++ = *from;
	*to = '\0';
}

void source_load(struct source *source, const char *path)
{
	*source = (struct source){.path = copy_string(path), .text = read_file(path)};
	if (source->text == NULL)
		die(path, 0, "%s", strerror(errno));
	drop_carriage_returns(source->text);
	find_lines(source);
	run_ctags(source);
	if (source->definition_count != 0)
		qsort(source->definitions, source->definition_count, sizeof(source->definitions[0]),
		      compare_begin);
	relate(source);
}

void source_free(struct source *source)
{
	for (unsigned i = 0; i < source->definition_count; i++)
		free(source->definitions[i].name);
	free(source->definitions);
	free(source->lines);
	free(source->text);
	free(source->path);
	*source = (struct source){0};
}

const struct definition *source_find(const struct source *source, const char *name)
{
	const struct definition *tagged = NULL, *enumerator = NULL;
	const char *plain = name;

	if (strncmp(name, "struct ", 7) == 0 || strncmp(name, "enum ", 5) == 0)
		plain = strchr(name, ' ') + 1;
	for (unsigned i = 0; i < source->definition_count; i++) {
		const struct definition *definition = &source->definitions[i];

		if (strcmp(definition->name, plain) != 0 ||
		    definition->kind == DEFINITION_PROTOTYPE)
			continue;
		if (definition->kind == DEFINITION_ENUMERATOR)
			enumerator = definition;
		else if (definition->kind == DEFINITION_STRUCT ||
			 definition->kind == DEFINITION_ENUM)
			tagged = definition;
		else if (plain == name)
			return definition;
	}
	return tagged != NULL ? tagged : enumerator;
}
