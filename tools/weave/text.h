/*
 * text - what the book builder and graft share: growing strings, files read whole, and the one way
 * in which both fail: a line on standard error that names the place, and exit status 1.
 */
#ifndef XPORT_WEAVE_TEXT_H
#define XPORT_WEAVE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* A string that grows. All zero is an empty one; `bytes` is NULL or ends with a NUL. */
struct text {
	char *bytes;
	size_t length;
	size_t room;
};

void text_append(struct text *text, const char *bytes, size_t length);
void text_add(struct text *text, const char *string);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The string with &, <, > and " as HTML wants them. */
void text_add_escaped(struct text *text, const char *bytes, size_t length);

/* The string so far, never NULL; the text's own memory, until it is changed. */
const char *text_string(const struct text *text);
void text_free(struct text *text);

/* Ends the program. `file` may be NULL, `line` 0: then the message names no place. */
_Noreturn void die(const char *file, unsigned line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Memory that is there, or the end of the program. */
void *allocate(size_t bytes);
void *reallocate(void *memory, size_t bytes);
char *copy_string(const char *string);
char *copy_bytes(const char *bytes, size_t length);
char *format_string(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A whole file, or NULL and errno. The caller frees it. */
char *read_file(const char *path);
void write_file(const char *path, const char *string);

/*
 * Runs a program, found on PATH, and appends its standard output to `output`, with standard error
 * too when `with_errors`. Returns its exit status, 128 + the number of the signal that ended it, or
 * -1 when it could not be started.
 */
int run_program(char *const argv[], struct text *output, bool with_errors);

#endif
