/* What stands for a directive of a chapter: code, a transcript, a figure. Syntax: weave.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "book.h"

/* ---- Code ---------------------------------------------------------------------------------- */

static struct range find_section(struct file *file, const char *title, const char *path,
				 unsigned line)
{
	const struct source *source = &file->source;
	char *banner = format_string("/* ---- %s ", title);
	unsigned first = 0, last;

	if (strcmp(title, "essay") == 0 && line_begins(source, 1, "/*"))
		first = 1;
	for (unsigned i = 1; i <= source->line_count && first == 0; i++)
		if (line_begins(source, i, banner))
			first = i;
	free(banner);
	if (first == 0)
		die(path, line, "%s has no section '%s'", source->path, title);
	for (last = first; last < source->line_count; last++) {
		if (strcmp(title, "essay") == 0
			    ? strstr(source->lines[last - 1], "*/") < source->lines[last]
			    : line_begins(source, last + 1, "/* ---- "))
			break;
	}
	while (line_is_blank(source, last) || line_begins(source, last, "#endif"))
		last--;
	return (struct range){file, first, last, NULL};
}

static struct range find_named(struct file *file, const char *name, const char *path, unsigned line)
{
	const struct definition *d = source_find(&file->source, name);

	if (d == NULL)
		die(path, line, "%s has no definition '%s'", file->source.path, name);
	return (struct range){file, d->first, d->last, d};
}

static struct file *must_find_file(const struct book *book, const char *name, const char *path,
				   unsigned line)
{
	struct file *file = find_file(book, name);

	if (file == NULL)
		die(path, line, "there is no source file '%s'", name);
	return file;
}

unsigned find_ranges(const struct book *book, const char *words, struct range *ranges,
		     unsigned room, const char *path, unsigned line)
{
	char *copy = copy_string(words), *colon = strchr(copy, ':'), *rest = copy, *word;
	struct file *file;
	unsigned count = 0;

	if (colon != NULL) {
		*colon = '\0';
		ranges[count++] =
			find_section(must_find_file(book, copy, path, line), colon + 1, path, line);
		free(copy);
		return count;
	}
	file = must_find_file(book, strsep(&rest, " "), path, line);
	if (rest == NULL)
		ranges[count++] = (struct range){file, 1, file->source.line_count, NULL};
	while (rest != NULL && (word = strsep(&rest, " ")) != NULL) {
		char *name = word;

		if ((strcmp(word, "struct") == 0 || strcmp(word, "enum") == 0) && rest != NULL) {
			word[strlen(word)] = ' ';
			strsep(&rest, " ");
		}
		if (count == room)
			die(path, line, "more than %u definitions in one directive", room);
		ranges[count++] = find_named(file, name, path, line);
	}
	free(copy);
	return count;
}

void add_code_figure(struct text *html, const struct book *book, const char *words,
		     const char *path, unsigned line)
{
	struct range ranges[16];
	unsigned count = find_ranges(book, words, ranges, 16, path, line);

	for (unsigned i = 0; i < count; i++) {
		const struct file *file = ranges[i].file;

		text_add(html, "<figure class=\"listing\"");
		if (ranges[i].definition != NULL)
			text_printf(html, " id=\"%s\"", ranges[i].definition->name);
		text_printf(html, "><figcaption><a href=\"%s#L%u\">%s</a>, line %u</figcaption>\n",
			    file->page, ranges[i].first, file->source.path, ranges[i].first);
		add_code(html, book, file, ranges[i].first, ranges[i].last, false);
		text_add(html, "</figure>\n");
	}
}

/* ---- Transcripts --------------------------------------------------------------------------- */

static void run_command(const char *command, struct text *output, const char *path, unsigned line)
{
	char *argv[] = {"timeout", "120", "sh", "-c", (char *)command, NULL};
	int status = run_program(argv, output, true);

	if (status != 0)
		die(path, line, "'%s' ended with status %d: %.300s", command, status,
		    text_string(output));
}

static void add_transcript(struct text *html, const char *command, const char *output)
{
	text_add(html, "<pre class=\"run\"><span class=\"command\">$ ");
	text_add_escaped(html, command, strlen(command));
	text_add(html, "</span>\n");
	text_add_escaped(html, output, strlen(output));
	text_add(html, "</pre>\n");
}

void add_run(struct text *html, const struct book *book, const char *command, const char *path,
	     unsigned line)
{
	struct text output = {0};

	(void)book;
	run_command(command, &output, path, line);
	add_transcript(html, command, text_string(&output));
	text_free(&output);
}

/* "Intel Xeon, 2 processors, Linux 6.1": enough to know what a figure can be compared with. */
static void describe_machine(struct text *text)
{
	char *cpus = read_file("/proc/cpuinfo");
	char *model = cpus != NULL ? strstr(cpus, "model name") : NULL;
	struct utsname name;

	uname(&name);
	if (model != NULL && (model = strchr(model, ':')) != NULL)
		text_printf(text, "%.*s, ", (int)strcspn(model + 2, "\n"), model + 2);
	text_printf(text, "%ld processors, %s %.*s, %s", sysconf(_SC_NPROCESSORS_ONLN),
		    name.sysname, (int)strcspn(name.release, "-+"), name.release, name.machine);
	free(cpus);
}

/* A figure's file: the command behind "$ ", the day and the machine, a blank line, the output. */
static void refresh_figure(const char *file, const char *command, const char *path, unsigned line)
{
	struct text text = {0};
	time_t now = time(NULL);
	char day[32];

	strftime(day, sizeof(day), "%Y-%m-%d", gmtime(&now));
	text_printf(&text, "$ %s\n%s, ", command, day);
	describe_machine(&text);
	text_add(&text, "\n\n");
	run_command(command, &text, path, line);
	write_file(file, text_string(&text));
	text_free(&text);
}

void add_figure(struct text *html, const struct book *book, const char *name, const char *path,
		unsigned line)
{
	char *file = format_string("book/figures/%s.txt", name);
	char *text = read_file(file), *when, *output;

	if (text == NULL || strncmp(text, "$ ", 2) != 0)
		die(path, line, "there is no figure %s that begins with '$ COMMAND'", file);
	if (book->refresh) {
		refresh_figure(file, strtok(text + 2, "\n"), path, line);
		free(text);
		text = read_file(file);
	}
	when = strchr(text, '\n');
	output = when != NULL ? strstr(when, "\n\n") : NULL;
	if (output == NULL)
		die(path, line, "%s holds no measurement yet; weave --refresh makes it", file);
	*when++ = '\0';
	*output = '\0';
	/* The shell's "! " stands before a command that is meant to fail. */
	add_transcript(html, text + (strncmp(text, "$ ! ", 4) == 0 ? 4 : 2), output + 2);
	text_add(html, "<p class=\"when\">Run ");
	text_add_escaped(html, when, strlen(when));
	text_add(html, ".</p>\n");
	free(text);
	free(file);
}

void add_chart(struct text *html, const struct book *book, const char *words, const char *path,
	       unsigned line)
{
	int length = (int)strcspn(words, " ");
	const char *what = words + length + (words[length] != '\0');
	char *script = format_string("book/figures/%.*s.gnuplot", length, words);
	char *picture = format_string("%s/%.*s.svg", book->out, length, words);
	char *argv[] = {"timeout", "60", "gnuplot", script, NULL};
	struct text svg = {0};

	if (*what == '\0')
		die(path, line, "a chart needs words for those who can't see it");
	if (run_program(argv, &svg, false) != 0)
		die(path, line, "gnuplot makes no chart of %s", script);
	write_file(picture, text_string(&svg));
	text_printf(html, "<figure class=\"chart\"><img src=\"%.*s.svg\" alt=\"", length, words);
	text_add_escaped(html, what, strlen(what));
	text_add(html, "\"/></figure>\n");
	text_free(&svg);
	free(picture);
	free(script);
}
