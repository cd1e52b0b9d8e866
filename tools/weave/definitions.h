/*
 * definitions - a C source file as its lines and its definitions, found with Universal Ctags.
 *
 * The book shows code by naming a definition, and graft replaces one by its name; so the sources
 * carry no markers. For that the sources keep two habits: no typedef of an anonymous structure, and
 * the return type on the line of the name or on the one before.
 *
 * Line numbers count from 1. A definition has three of them: `first`, where the comments that
 * adjoin it begin (no blank line between); `begin`, where its own text does; and `last`.
 */
#ifndef XPORT_WEAVE_DEFINITIONS_H
#define XPORT_WEAVE_DEFINITIONS_H

#include <stdbool.h>

enum definition_kind {
	DEFINITION_FUNCTION,
	DEFINITION_STRUCT, /* or a union */
	DEFINITION_ENUM,   /* one without a tag goes by the name of its first enumerator */
	DEFINITION_MACRO,
	DEFINITION_VARIABLE,
	DEFINITION_TYPEDEF,
	DEFINITION_ENUMERATOR, /* its lines are those of its enum; never in source_find's way */
	DEFINITION_PROTOTYPE,  /* a declaration only; likewise */
};

struct definition {
	char *name;
	enum definition_kind kind;
	bool is_static; /* known in its own file only */
	bool nested;	/* inside another definition, so no piece of the file by itself */
	unsigned first, begin, last;
};

struct source {
	char *path;
	char *text;	    /* as it is in the file */
	const char **lines; /* lines[n - 1] is where line n begins; the one after the last
			       is where the text ends */
	unsigned line_count;
	struct definition *definitions; /* in the order of their lines */
	unsigned definition_count;
};

/* Reads a file and finds its definitions; ends the program when it can't (text.h: die). */
void source_load(struct source *source, const char *path);
void source_free(struct source *source);

/*
 * The definition of that name, or NULL. The name of an enumerator finds the enum. Where a structure
 * and a function share a name, "struct NAME" (or "enum NAME") finds the one, NAME the other.
 */
const struct definition *source_find(const struct source *source, const char *name);

/* Where a line begins, and its length without the newline. */
const char *source_line(const struct source *source, unsigned line, unsigned *length);

/* "function", "structure", ... */
const char *definition_kind_name(enum definition_kind kind);

/* What a line begins with, after blanks: a comparison for callers that look at lines. */
bool line_begins(const struct source *source, unsigned line, const char *prefix);
bool line_is_blank(const struct source *source, unsigned line);

#endif
