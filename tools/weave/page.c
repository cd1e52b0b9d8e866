/* The frame of every page, and the files that all pages share. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "book.h"

static void add_contents(struct text *html, const struct book *book, int number)
{
	text_add(html, "<nav class=\"contents\" aria-label=\"Contents\">\n<ol>\n");
	for (unsigned i = 0; i < book->chapter_count; i++)
		text_printf(html, "<li><a href=\"%s\"%s>%s</a></li>\n", book->chapters[i].page,
			    (int)i == number ? " aria-current=\"page\"" : "",
			    book->chapters[i].title);
	text_add(html, "<li><a href=\"sources.html\">Sources</a></li>\n</ol>\n</nav>\n");
}

static void add_neighbours(struct text *html, const struct book *book, int number)
{
	if (number < 0)
		return;
	text_add(html, "<nav class=\"neighbours\" aria-label=\"Chapters\">");
	if (number > 0)
		text_printf(html, "<a rel=\"prev\" href=\"%s\">← %s</a> ",
			    book->chapters[number - 1].page, book->chapters[number - 1].title);
	if ((unsigned)number + 1 < book->chapter_count)
		text_printf(html, "<a rel=\"next\" href=\"%s\">%s →</a>",
			    book->chapters[number + 1].page, book->chapters[number + 1].title);
	text_add(html, "</nav>\n");
}

void write_page(const struct book *book, int number, const char *page, const char *title,
		const char *body)
{
	struct text html = {0};
	char *path = format_string("%s/%s", book->out, page);

	text_printf(&html,
		    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\" />\n"
		    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />\n"
		    "<meta name=\"color-scheme\" content=\"light dark\" />\n"
		    "<title>%s - xport</title>\n<link rel=\"icon\" href=\"data:,\" />\n"
		    "<link rel=\"stylesheet\" href=\"book.css\" />\n</head>\n<body>\n"
		    "<header><a class=\"home\" href=\"index.html\">xport</a>"
		    "<div id=\"search\"></div></header>\n",
		    title);
	add_contents(&html, book, number);
	text_printf(&html, "<main class=\"%s\">\n%s", number < 0 ? "source" : "chapter", body);
	add_neighbours(&html, book, number);
	text_add(&html, "</main>\n<script src=\"index.js\"></script>\n"
			"<script src=\"search.js\"></script>\n</body>\n</html>\n");
	write_file(path, text_string(&html));
	text_free(&html);
	free(path);
}

/* A JavaScript string. Titles come with HTML's entities, which the script shows as text. */
static void add_string(struct text *text, const char *string)
{
	text_add(text, "\"");
	for (const char *c = string; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\')
			text_add(text, "\\");
		text_append(text, c, 1);
	}
	text_add(text, "\"");
}

void add_index(struct book *book, const char *name, const char *kind, const char *href)
{
	text_add(&book->index, "[");
	add_string(&book->index, name);
	text_add(&book->index, ",");
	add_string(&book->index, kind);
	text_add(&book->index, ",");
	add_string(&book->index, href);
	text_add(&book->index, "],\n");
}

static void copy_asset(const struct book *book, const char *name)
{
	char *from = format_string("tools/weave/%s", name);
	char *to = format_string("%s/%s", book->out, name);
	char *text = read_file(from);

	if (text == NULL)
		die(from, 0, "%s", strerror(errno));
	write_file(to, text);
	free(text);
	free(to);
	free(from);
}

void write_assets(const struct book *book)
{
	struct text index = {0};
	char *path = format_string("%s/index.js", book->out);

	text_printf(&index, "\"use strict\";\nconst BOOK_INDEX = [\n%s];\n",
		    text_string(&book->index));
	write_file(path, text_string(&index));
	text_free(&index);
	free(path);
	copy_asset(book, "book.css");
	copy_asset(book, "search.js");
}
