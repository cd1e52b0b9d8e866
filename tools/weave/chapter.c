/*
 * Chapters: Markdown with directives (weave.c says which), through libcmark.
 *
 * A directive becomes an HTML comment of its own, which libcmark passes through, and what stands
 * for it is put in place of the comment afterwards: so code and output are never read as Markdown.
 */
#include <cmark.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "book.h"

struct file *find_file(const struct book *book, const char *path)
{
	for (unsigned i = 0; i < book->file_count; i++)
		if (strcmp(book->files[i].source.path, path) == 0)
			return &book->files[i];
	return NULL;
}

/* ---- Reading ------------------------------------------------------------------------------- */

static void take_front_matter(struct chapter *chapter, char *line, unsigned number)
{
	if (strncmp(line, "title: ", 7) == 0)
		chapter->title = copy_string(line + 7);
	else if (strncmp(line, "files: ", 7) == 0)
		chapter->files = copy_string(line + 7);
	else
		die(chapter->path, number, "'%s' is neither 'title: ' nor 'files: '", line);
}

void read_chapter(struct book *book, const char *path)
{
	struct chapter chapter = {.path = copy_string(path), .body_line = 1};
	char *text = read_file(path), *rest = text, *line;
	const char *name = strrchr(path, '/') + 1;

	if (text == NULL)
		die(path, 0, "%s", strerror(errno));
	if (strcmp(strsep(&rest, "\n"), "---") != 0)
		die(path, 1, "a chapter begins with '---', title, files, '---'");
	while ((line = strsep(&rest, "\n")) != NULL) {
		chapter.body_line++;
		if (strcmp(line, "---") == 0)
			break;
		take_front_matter(&chapter, line, chapter.body_line);
	}
	if (chapter.title == NULL || rest == NULL)
		die(path, 1, "a chapter begins with '---', title, files, '---'");
	chapter.body_line++;
	chapter.body = copy_string(rest);
	chapter.page = format_string("%.*s.html", (int)strcspn(name, "."), name);
	free(text);
	book->chapters =
		reallocate(book->chapters, (book->chapter_count + 1) * sizeof(book->chapters[0]));
	book->chapters[book->chapter_count++] = chapter;
}

/* "[02.1] " at the beginning of a line states a rule. Returns the number's length, or 0. */
static size_t rule_length(const char *text)
{
	size_t length = 1;

	if (text[0] != '[' || !isdigit((unsigned char)text[1]))
		return 0;
	while (isdigit((unsigned char)text[length]) || text[length] == '.')
		length++;
	return text[length] == ']' && memchr(text, '.', length) != NULL ? length - 1 : 0;
}

static const struct rule *find_rule(const struct book *book, const char *number, size_t length)
{
	for (unsigned i = 0; i < book->rule_count; i++)
		if (strlen(book->rules[i].number) == length &&
		    memcmp(book->rules[i].number, number, length) == 0)
			return &book->rules[i];
	return NULL;
}

static void scan_rule(struct book *book, const struct chapter *chapter, const char *line,
		      unsigned number)
{
	size_t length = rule_length(line);
	struct rule *rule;

	if (length == 0)
		return;
	if (find_rule(book, line + 1, length) != NULL)
		die(chapter->path, number, "the rule %.*s is stated twice", (int)length, line + 1);
	book->rules = reallocate(book->rules, (book->rule_count + 1) * sizeof(book->rules[0]));
	rule = &book->rules[book->rule_count++];
	rule->number = copy_bytes(line + 1, length);
	rule->sentence = copy_string(line + length + 2 + strspn(line + length + 2, " "));
	rule->page = chapter->page;
}

static void scan_code(struct book *book, const struct chapter *chapter, const char *words,
		      unsigned number)
{
	struct range ranges[16];
	unsigned count = find_ranges(book, words, ranges, 16, chapter->path, number);

	for (unsigned i = 0; i < count; i++) {
		struct file *file = ranges[i].file;

		for (unsigned line = ranges[i].first; line <= ranges[i].last; line++)
			file->shown[line] = true;
		if (ranges[i].definition != NULL)
			file->shown_in[ranges[i].definition - file->source.definitions] =
				chapter->page;
	}
}

/* Whether the line is "{{word ...}}"; `rest` is then what stands behind the word. */
static bool is_directive(char *line, const char *word, char **rest)
{
	size_t length = strlen(line), wanted = strlen(word);

	if (strncmp(line, "{{", 2) != 0 || length < wanted + 4 ||
	    strcmp(line + length - 2, "}}") != 0 || strncmp(line + 2, word, wanted) != 0)
		return false;
	if (line[2 + wanted] != ' ' && line[2 + wanted] != '}')
		return false;
	line[length - 2] = '\0';
	*rest = line + 2 + wanted + strspn(line + 2 + wanted, " ");
	return true;
}

void scan_chapter(struct book *book, struct chapter *chapter)
{
	char *copy = copy_string(chapter->body), *left = copy, *line, *rest;

	for (unsigned number = chapter->body_line; (line = strsep(&left, "\n")) != NULL; number++) {
		scan_rule(book, chapter, line, number);
		if (is_directive(line, "code", &rest))
			scan_code(book, chapter, rest, number);
	}
	free(copy);
}

/* ---- Rendering ----------------------------------------------------------------------------- */

struct pieces {
	struct text *html;
	unsigned count;
};

static struct text *add_piece(struct pieces *pieces, struct text *markdown)
{
	pieces->html = reallocate(pieces->html, (pieces->count + 1) * sizeof(pieces->html[0]));
	pieces->html[pieces->count] = (struct text){0};
	text_printf(markdown, "\n<!--piece %u-->\n\n", pieces->count);
	return &pieces->html[pieces->count++];
}

static void add_question(struct text *html, const char *question)
{
	char *inner = cmark_markdown_to_html(question, strlen(question), CMARK_OPT_SMART);

	text_printf(html, "<details class=\"predict\"><summary>%.*s</summary>\n",
		    (int)strlen(inner) - 8, inner + 3); /* without <p> and </p>\n */
	free(inner);
}

static void take_line(const struct book *book, const struct chapter *chapter, char *line,
		      unsigned number, struct text *markdown, struct pieces *pieces)
{
	char *rest;

	if (is_directive(line, "code", &rest))
		add_code_figure(add_piece(pieces, markdown), book, rest, chapter->path, number);
	else if (is_directive(line, "run", &rest))
		add_run(add_piece(pieces, markdown), book, rest, chapter->path, number);
	else if (is_directive(line, "figure", &rest))
		add_figure(add_piece(pieces, markdown), book, rest, chapter->path, number);
	else if (is_directive(line, "chart", &rest))
		add_chart(add_piece(pieces, markdown), book, rest, chapter->path, number);
	else if (is_directive(line, "predict", &rest))
		add_question(add_piece(pieces, markdown), rest);
	else if (is_directive(line, "end", &rest))
		text_add(add_piece(pieces, markdown), "</details>\n");
	else if (strncmp(line, "{{", 2) == 0)
		die(chapter->path, number, "'%s' is no directive", line);
	else
		text_printf(markdown, "%s\n", line);
}

/* Rules get their anchors, and every other mention of one a link. */
static void add_with_rules(struct text *out, const struct book *book, const struct chapter *chapter,
			   const char *html)
{
	for (const char *at = html; *at != '\0';) {
		size_t length = rule_length(at);
		bool stated = at - html >= 3 && memcmp(at - 3, "<p>", 3) == 0;
		const struct rule *rule;

		if (length == 0) {
			text_append(out, at++, 1);
			continue;
		}
		rule = find_rule(book, at + 1, length);
		if (rule == NULL)
			die(chapter->path, 0, "no chapter states the rule %.*s", (int)length,
			    at + 1);
		if (stated)
			text_printf(out,
				    "<a class=\"rule\" id=\"rule-%s\" href=\"#rule-%s\">%s</a>",
				    rule->number, rule->number, rule->number);
		else
			text_printf(out, "<a class=\"rule\" href=\"%s#rule-%s\">%s</a>", rule->page,
				    rule->number, rule->number);
		at += length + 2;
	}
}

/* Headings get anchors, for the search and for links. */
static void add_with_headings(struct text *out, struct book *book, const struct chapter *chapter,
			      const char *html)
{
	const char *at = html, *heading;

	while ((heading = strstr(at, "<h2>")) != NULL) {
		const char *title = heading + 4, *end = strstr(title, "</h2>");
		char *name = copy_bytes(title, (size_t)(end - title)), *href;
		char *id = copy_string(name);

		for (char *c = id; *c != '\0'; c++)
			*c = isalnum((unsigned char)*c) ? (char)tolower((unsigned char)*c) : '-';
		text_append(out, at, (size_t)(heading - at));
		text_printf(out, "<h2 id=\"s-%s\">", id);
		href = format_string("%s#s-%s", chapter->page, id);
		add_index(book, name, chapter->title, href);
		free(href);
		free(id);
		free(name);
		at = title;
	}
	text_add(out, at);
}

static void put_pieces_in(struct text *out, const char *html, const struct pieces *pieces)
{
	static const char mark[] = "<!--piece ";
	const char *at = html, *found;

	while ((found = strstr(at, mark)) != NULL) {
		unsigned long number = strtoul(found + strlen(mark), NULL, 10);

		text_append(out, at, (size_t)(found - at));
		text_add(out, text_string(&pieces->html[number]));
		at = strstr(found, "-->") + 3;
	}
	text_add(out, at);
}

static void index_rules(struct book *book, const struct chapter *chapter)
{
	for (unsigned i = 0; i < book->rule_count; i++) {
		const struct rule *rule = &book->rules[i];
		char *name, *href;

		if (rule->page != chapter->page)
			continue;
		name = format_string("%s %s", rule->number, rule->sentence);
		href = format_string("%s#rule-%s", rule->page, rule->number);
		add_index(book, name, "rule", href);
		free(name);
		free(href);
	}
}

void write_chapter(struct book *book, unsigned number)
{
	struct chapter *chapter = &book->chapters[number];
	struct text markdown = {0}, ruled = {0}, headed = {0}, whole = {0};
	struct pieces pieces = {0};
	char *copy = copy_string(chapter->body), *left = copy, *line, *html;

	for (unsigned at = chapter->body_line; (line = strsep(&left, "\n")) != NULL; at++)
		take_line(book, chapter, line, at, &markdown, &pieces);
	html = cmark_markdown_to_html(text_string(&markdown), markdown.length,
				      CMARK_OPT_UNSAFE | CMARK_OPT_SMART);
	add_index(book, chapter->title, "chapter", chapter->page);
	add_with_rules(&ruled, book, chapter, html);
	add_with_headings(&headed, book, chapter, text_string(&ruled));
	put_pieces_in(&whole, text_string(&headed), &pieces);
	index_rules(book, chapter);
	write_page(book, (int)number, chapter->page, chapter->title, text_string(&whole));
	for (unsigned i = 0; i < pieces.count; i++)
		text_free(&pieces.html[i]);
	free(pieces.html);
	free(html);
	free(copy);
	text_free(&whole);
	text_free(&headed);
	text_free(&ruled);
	text_free(&markdown);
}
