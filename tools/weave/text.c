/* Growing strings, whole files, other programs. See text.h. */
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

void die(const char *file, unsigned line, const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	if (file != NULL && line != 0)
		fprintf(stderr, "%s:%u: ", file, line);
	else
		fprintf(stderr, "%s: ", file != NULL ? file : program_invocation_short_name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

void *reallocate(void *memory, size_t bytes)
{
	memory = realloc(memory, bytes != 0 ? bytes : 1);
	if (memory == NULL)
		die(NULL, 0, "out of memory");
	return memory;
}

void *allocate(size_t bytes)
{
	return memset(reallocate(NULL, bytes), 0, bytes);
}

char *copy_bytes(const char *bytes, size_t length)
{
	char *copy = allocate(length + 1);

	if (length != 0)
		memcpy(copy, bytes, length);
	return copy;
}

char *copy_string(const char *string)
{
	return copy_bytes(string, strlen(string));
}

char *format_string(const char *format, ...)
{
	va_list arguments;
	char *string;

	va_start(arguments, format);
	if (vasprintf(&string, format, arguments) < 0)
		die(NULL, 0, "out of memory");
	va_end(arguments);
	return string;
}

void text_append(struct text *text, const char *bytes, size_t length)
{
	if (text->length + length + 1 > text->room) {
		text->room = 2 * (text->length + length + 1);
		text->bytes = reallocate(text->bytes, text->room);
	}
	if (length != 0)
		memcpy(text->bytes + text->length, bytes, length);
	text->length += length;
	text->bytes[text->length] = '\0';
}

void text_add(struct text *text, const char *string)
{
	text_append(text, string, strlen(string));
}

void text_printf(struct text *text, const char *format, ...)
{
	va_list arguments;
	char *string;

	va_start(arguments, format);
	if (vasprintf(&string, format, arguments) < 0)
		die(NULL, 0, "out of memory");
	va_end(arguments);
	text_add(text, string);
	free(string);
}

void text_add_escaped(struct text *text, const char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		switch (bytes[i]) {
		case '&':
			text_add(text, "&amp;");
			break;
		case '<':
			text_add(text, "&lt;");
			break;
		case '>':
			text_add(text, "&gt;");
			break;
		case '"':
			text_add(text, "&quot;");
			break;
		default:
			text_append(text, &bytes[i], 1);
		}
	}
}

const char *text_string(const struct text *text)
{
	return text->bytes != NULL ? text->bytes : "";
}

void text_free(struct text *text)
{
	free(text->bytes);
	*text = (struct text){0};
}

static bool read_all(int fd, struct text *text)
{
	char buffer[65536];
	ssize_t got;

	while ((got = read(fd, buffer, sizeof(buffer))) != 0) {
		if (got > 0)
			text_append(text, buffer, (size_t)got);
		else if (errno != EINTR)
			return false;
	}
	return true;
}

char *read_file(const char *path)
{
	struct text text = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool good;

	if (fd < 0)
		return NULL;
	text_append(&text, "", 0);
	good = read_all(fd, &text);
	close(fd);
	if (good)
		return text.bytes;
	text_free(&text);
	return NULL;
}

void write_file(const char *path, const char *string)
{
	FILE *file = fopen(path, "w");

	if (file == NULL)
		die(path, 0, "%s", strerror(errno));
	if (fputs(string, file) < 0 || fclose(file) != 0)
		die(path, 0, "%s", strerror(errno));
}

int run_program(char *const argv[], struct text *output, bool with_errors)
{
	posix_spawn_file_actions_t actions;
	int ends[2], status, error;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) != 0)
		die(NULL, 0, "pipe: %s", strerror(errno));
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	if (with_errors)
		posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
	error = posix_spawnp(&child, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	if (error == 0)
		read_all(ends[0], output);
	close(ends[0]);
	errno = error;
	if (error != 0)
		return -1;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
