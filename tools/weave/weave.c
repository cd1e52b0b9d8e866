/*
 * weave SOURCE_ROOT BUILD [--refresh] - builds the book: book/NN-name.md and the sources become
 * BUILD/book/NN-name.html, a listing for every source file, and the index of the search.
 *
 * A chapter is Markdown behind a head of "---", "title: TITLE", "files: FILE..." (the stage's, all
 * of whose lines the chapters must show) and "---". A line of its own can be a directive:
 *
 *      {{code FILE NAME...}}    the definitions of these names, with their comments
 *      {{code FILE:essay}}      the comment at the head of a file
 *      {{code FILE:SECTION}}    what follows the rule "---- SECTION ---" up to the next
 *      {{code FILE}}            all of it
 *      {{run COMMAND}}          the command and its output; it must succeed
 *      {{figure NAME}}          a command and its output from book/figures/NAME.txt, with day and
 *                               machine: for what takes long, or measures. --refresh makes it anew
 *      {{chart NAME WORDS}}     what gnuplot makes of book/figures/NAME.gnuplot, which reads
 * figures; and what is to be seen there, in words
 *      {{predict QUESTION}} ... {{end}}    a question whose answer is folded away
 *
 * A paragraph that begins with [02.1] states the rule of that number; [02.1] elsewhere links there.
 *
 * Commands run in SOURCE_ROOT with BUILD first on the PATH. Whatever is named but not there, or
 * there but not shown, ends the build with one line that says where.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "book.h"

struct paths {
	char **path;
	unsigned count;
};

static struct paths found; /* nftw has no argument for its function */
static const char *wanted_endings;

/* A lab's answers define again what is defined elsewhere: nothing should link to them. */
static bool is_answer(const char *path)
{
	return strstr(path, "/mutants/") != NULL || strstr(path, "/starter.c") != NULL;
}

static int take_path(const char *path, const struct stat *info, int type, struct FTW *where)
{
	const char *dot = strrchr(path + where->base, '.');

	(void)info;
	if (type != FTW_F || dot == NULL || dot[1] == '\0' || dot[2] != '\0' ||
	    strchr(wanted_endings, dot[1]) == NULL || is_answer(path))
		return 0;
	found.path = reallocate(found.path, (found.count + 1) * sizeof(found.path[0]));
	found.path[found.count++] = copy_string(path);
	return 0;
}

static int take_chapter(const char *path, const struct stat *info, int type, struct FTW *where)
{
	const char *dot = strrchr(path + where->base, '.');

	(void)info;
	if (type != FTW_F || where->level != 1 || dot == NULL || strcmp(dot, ".md") != 0)
		return 0;
	found.path = reallocate(found.path, (found.count + 1) * sizeof(found.path[0]));
	found.path[found.count++] = copy_string(path);
	return 0;
}

/* index.md comes before the numbers, the rest in the order of the names. */
static int compare_paths(const void *left, const void *right)
{
	const char *a = *(char *const *)left, *b = *(char *const *)right;
	bool first = strstr(a, "/index.md") != NULL, second = strstr(b, "/index.md") != NULL;

	return first != second ? (first ? -1 : 1) : strcmp(a, b);
}

static struct paths take_found(void)
{
	struct paths paths = found;

	if (paths.count != 0)
		qsort(paths.path, paths.count, sizeof(paths.path[0]), compare_paths);
	found = (struct paths){0};
	return paths;
}

static void read_sources(struct book *book)
{
	static const char *const folders[] = {"src", "fs", "labs", "tools", "tests"};
	struct paths paths;

	wanted_endings = "ch";
	for (unsigned i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		nftw(folders[i], take_path, 16, FTW_PHYS);
	paths = take_found();
	book->files = allocate(paths.count * sizeof(book->files[0]));
	book->file_count = paths.count;
	for (unsigned i = 0; i < paths.count; i++) {
		struct file *file = &book->files[i];

		source_load(&file->source, paths.path[i]);
		file->page = format_string("%s.html", paths.path[i]);
		for (char *c = file->page; *c != '\0'; c++)
			*c = *c == '/' ? '-' : *c;
		file->shown_in =
			allocate((file->source.definition_count + 1) * sizeof(file->shown_in[0]));
		file->shown = allocate(file->source.line_count + 2);
		free(paths.path[i]);
	}
	free(paths.path);
}

static void read_chapters(struct book *book)
{
	struct paths paths;

	nftw("book", take_chapter, 16, FTW_PHYS);
	paths = take_found();
	if (paths.count == 0)
		die("book", 0, "there are no chapters");
	for (unsigned i = 0; i < paths.count; i++) {
		read_chapter(book, paths.path[i]);
		free(paths.path[i]);
	}
	free(paths.path);
	for (unsigned i = 0; i < book->chapter_count; i++)
		scan_chapter(book, &book->chapters[i]);
}

static bool is_page(const struct book *book, const char *name)
{
	for (unsigned i = 0; i < book->chapter_count; i++)
		if (strcmp(book->chapters[i].page, name) == 0)
			return true;
	for (unsigned i = 0; i < book->file_count; i++)
		if (strcmp(book->files[i].page, name) == 0)
			return true;
	return strcmp(name, "sources.html") == 0;
}

/* A page of a chapter or a source that is gone would still be found, and mislead. */
static void remove_stale_pages(const struct book *book)
{
	DIR *out = opendir(book->out);
	struct dirent *entry;

	while (out != NULL && (entry = readdir(out)) != NULL) {
		const char *dot = strrchr(entry->d_name, '.');

		if (dot != NULL && strcmp(dot, ".html") == 0 && !is_page(book, entry->d_name))
			unlinkat(dirfd(out), entry->d_name, 0);
	}
	if (out != NULL)
		closedir(out);
}

static void set_places(struct book *book, const char *root, const char *build)
{
	const char *path = getenv("PATH");
	char *full = realpath(build, NULL), *search;

	if (full == NULL)
		die(build, 0, "%s", strerror(errno));
	book->build = full;
	book->out = format_string("%s/book", full);
	if (chdir(root) != 0)
		die(root, 0, "%s", strerror(errno));
	if (mkdir(book->out, 0777) != 0 && errno != EEXIST)
		die(book->out, 0, "%s", strerror(errno));
	search = format_string("%s:%s", full, path != NULL ? path : "/usr/bin:/bin");
	setenv("PATH", search, 1);
	setenv("LC_ALL", "C.UTF-8", 1);
	free(search);
}

int main(int argc, char **argv)
{
	struct book book = {0};

	if (argc == 4 && strcmp(argv[3], "--refresh") == 0)
		book.refresh = true;
	else if (argc != 3 || argv[1][0] == '-') {
		fprintf(stderr, "usage: weave SOURCE_ROOT BUILD [--refresh]\n");
		return 2;
	}
	set_places(&book, argv[1], argv[2]);
	read_sources(&book);
	read_chapters(&book);
	check_complete(&book);
	for (unsigned i = 0; i < book.chapter_count; i++)
		write_chapter(&book, i);
	write_listings(&book);
	write_assets(&book);
	remove_stale_pages(&book);
	return 0;
}
