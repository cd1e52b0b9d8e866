/*
 * book - what the parts of the book builder share: the sources, the chapters and the rules.
 *
 * weave.c reads everything first, so that any page can link to any other, and then writes.
 */
#ifndef XPORT_WEAVE_BOOK_H
#define XPORT_WEAVE_BOOK_H

#include "definitions.h"
#include "text.h"

struct file {
	struct source source;
	char *page;	       /* of its listing */
	const char **shown_in; /* for each definition: the page of the chapter, or NULL */
	bool *shown;	       /* for each line from 1: a chapter has it */
};

struct rule {
	char *number; /* such as 02.1 */
	char *sentence;
	const char *page;
};

struct chapter {
	char *path;
	char *page;
	char *title;
	char *files; /* the stage's, with blanks between; NULL for a page without code of its own */
	char *body;  /* behind the front matter */
	unsigned body_line;
};

struct book {
	const char *build; /* where programs are */
	const char *out;   /* where pages go */
	bool refresh;	   /* measure figures anew */
	struct file *files;
	unsigned file_count;
	struct chapter *chapters;
	unsigned chapter_count;
	struct rule *rules;
	unsigned rule_count;
	struct text index; /* of the search: one JavaScript array a line */
};

/* ---- listing.c ----------------------------------------------------------------------------- */

/* The page and anchor of what an identifier in `from` means, or NULL. The caller frees it. */
char *find_link(const struct book *book, const struct file *from, const char *name, bool tagged);

/* Lines of a file as HTML, coloured and linked; with anchors L1, L2, ... in a listing. */
void add_code(struct text *html, const struct book *book, const struct file *file, unsigned first,
	      unsigned last, bool anchors);
void write_listings(struct book *book);

/* ---- chapter.c ----------------------------------------------------------------------------- */

struct file *find_file(const struct book *book, const char *path);
void read_chapter(struct book *book, const char *path);
/* Notes which definitions a chapter shows and which rules it states. */
void scan_chapter(struct book *book, struct chapter *chapter);
void write_chapter(struct book *book, unsigned number);

/* ---- directive.c --------------------------------------------------------------------------- */

/* The lines that "PATH:SECTION", or NAME in PATH, means; ends the program when there are none. */
struct range {
	struct file *file;
	unsigned first, last;
	const struct definition *definition; /* or NULL */
};
unsigned find_ranges(const struct book *book, const char *words, struct range *ranges,
		     unsigned room, const char *path, unsigned line);
void add_code_figure(struct text *html, const struct book *book, const char *words,
		     const char *path, unsigned line);
void add_run(struct text *html, const struct book *book, const char *command, const char *path,
	     unsigned line);
void add_figure(struct text *html, const struct book *book, const char *name, const char *path,
		unsigned line);
void add_chart(struct text *html, const struct book *book, const char *words, const char *path,
	       unsigned line);

/* ---- complete.c ---------------------------------------------------------------------------- */

/* Ends the program when a line of a chapter's files is shown in no chapter. */
void check_complete(const struct book *book);

/* ---- page.c -------------------------------------------------------------------------------- */

/* Writes a page; `number` is the chapter's, or -1 for a listing. */
void write_page(const struct book *book, int number, const char *page, const char *title,
		const char *body);
void add_index(struct book *book, const char *name, const char *kind, const char *href);
void write_assets(const struct book *book);

#endif
