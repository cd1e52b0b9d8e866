/* Code as HTML: colours, links to definitions, and a page for each file. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "book.h"

/* ---- What an identifier means -------------------------------------------------------------- */

static bool is_tag(enum definition_kind kind)
{
	return kind == DEFINITION_STRUCT || kind == DEFINITION_ENUM;
}

/* How well a definition answers for a name; 0: not at all. The contract in a header comes first,
 * then the one place where it is implemented. */
static int rank(const struct file *file, const struct file *from, const struct definition *d)
{
	size_t length = strlen(file->source.path);
	bool header = length > 2 && strcmp(file->source.path + length - 2, ".h") == 0;

	if (d->is_static && !header && file != from)
		return 0;
	if (file == from)
		return d->kind == DEFINITION_PROTOTYPE ? 3 : 6;
	if (strncmp(file->source.path, "src/", 4) != 0)
		return 0;
	if (d->kind == DEFINITION_PROTOTYPE)
		return header ? 4 : 0;
	return header ? 5 : 2;
}

char *find_link(const struct book *book, const struct file *from, const char *name, bool tagged)
{
	const struct file *best_file = NULL;
	unsigned best = 0;
	int best_rank = 0;

	for (unsigned f = 0; f < book->file_count; f++) {
		const struct file *file = &book->files[f];

		for (unsigned i = 0; i < file->source.definition_count; i++) {
			const struct definition *d = &file->source.definitions[i];

			if (strcmp(d->name, name) == 0 && is_tag(d->kind) == tagged &&
			    rank(file, from, d) > best_rank) {
				best_rank = rank(file, from, d);
				best_file = file;
				best = i;
			}
		}
	}
	if (best_file == NULL)
		return NULL;
	if (best_file->shown_in[best] != NULL)
		return format_string("%s#%s", best_file->shown_in[best],
				     best_file->source.definitions[best].name);
	return format_string("%s#L%u", best_file->page, best_file->source.definitions[best].begin);
}

/* ---- Colours ------------------------------------------------------------------------------- */

static bool is_keyword(const char *word)
{
	static const char *const words[] = {
		"auto",	   "bool",     "break",	   "case",     "char",	   "const",    "continue",
		"default", "do",       "double",   "else",     "enum",	   "extern",   "false",
		"float",   "for",      "goto",	   "if",       "inline",   "int",      "int32_t",
		"int64_t", "int8_t",   "kirql",	   "long",     "NULL",	   "ntstatus", "return",
		"short",   "signed",   "sizeof",   "size_t",   "static",   "struct",   "switch",
		"true",	   "typedef",  "uint16_t", "uint32_t", "uint64_t", "uint8_t",  "uintptr_t",
		"union",   "unsigned", "void",	   "volatile", "while",	   "_Noreturn"};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(word, words[i]) == 0)
			return true;
	return false;
}

struct pen {
	struct text *html;
	const struct book *book;
	const struct file *file;
	bool in_comment;
	bool after_tag;	   /* the last word was struct, union or enum */
	bool after_member; /* a . or -> came just before */
};

static void add_span(struct pen *pen, const char *class, const char *at, size_t length)
{
	text_printf(pen->html, "<span class=\"%s\">", class);
	text_add_escaped(pen->html, at, length);
	text_add(pen->html, "</span>");
}

static size_t comment_length(struct pen *pen, const char *at, size_t left)
{
	const char *search = pen->in_comment ? at : at + 2;
	const char *end = memmem(search, left - (size_t)(search - at), "*/", 2);

	pen->in_comment = end == NULL;
	return end == NULL ? left : (size_t)(end - at) + 2;
}

static size_t string_length(const char *at, size_t left)
{
	size_t length = 1;

	while (length < left && at[length] != at[0])
		length += at[length] == '\\' && length + 1 < left ? 2 : 1;
	return length < left ? length + 1 : left;
}

static void add_word(struct pen *pen, const char *at, size_t length)
{
	char *word = copy_bytes(at, length);
	char *link = NULL;

	if (is_keyword(word)) {
		add_span(pen, "k", at, length);
		pen->after_tag = strcmp(word, "struct") == 0 || strcmp(word, "enum") == 0 ||
				 strcmp(word, "union") == 0;
		free(word);
		return;
	}
	if (!pen->after_member && !isdigit((unsigned char)word[0]) && length > 1)
		link = find_link(pen->book, pen->file, word, pen->after_tag);
	if (link != NULL)
		text_printf(pen->html, "<a href=\"%s\">%s</a>", link, word);
	else
		text_add(pen->html, word);
	pen->after_tag = false;
	free(link);
	free(word);
}

static size_t add_token(struct pen *pen, const char *at, size_t left)
{
	size_t length = 1;

	if (pen->in_comment || (left > 1 && (!memcmp(at, "/*", 2) || !memcmp(at, "//", 2)))) {
		length = !pen->in_comment && at[1] == '/' ? left : comment_length(pen, at, left);
		add_span(pen, "c", at, length);
		return length;
	}
	if (at[0] == '"' || at[0] == '\'') {
		length = string_length(at, left);
		add_span(pen, "s", at, length);
	} else if (isalnum((unsigned char)at[0]) || at[0] == '_') {
		while (length < left && (isalnum((unsigned char)at[length]) || at[length] == '_'))
			length++;
		add_word(pen, at, length);
	} else {
		text_add_escaped(pen->html, at, 1);
	}
	pen->after_member = at[0] == '.' || at[0] == '>';
	return length;
}

static void add_line(struct pen *pen, const char *at, size_t length)
{
	size_t hash = strspn(at, " \t");

	if (!pen->in_comment && hash < length && at[hash] == '#') {
		size_t word = hash + 1;

		while (word < length && isalpha((unsigned char)at[word]))
			word++;
		add_span(pen, "p", at, word);
		if (strncmp(at + hash, "#include", 8) == 0) {
			add_span(pen, "s", at + word, length - word);
			return;
		}
		at += word;
		length -= word;
	}
	while (length > 0) {
		size_t done = add_token(pen, at, length);

		at += done;
		length -= done;
	}
}

void add_code(struct text *html, const struct book *book, const struct file *file, unsigned first,
	      unsigned last, bool anchors)
{
	struct pen pen = {.html = html, .book = book, .file = file};

	text_add(html, "<pre class=\"code\"><code>");
	for (unsigned line = first; line <= last; line++) {
		unsigned length;
		const char *at = source_line(&file->source, line, &length);

		if (anchors)
			text_printf(html, "<span class=\"n\" id=\"L%u\">%4u</span> ", line, line);
		add_line(&pen, at, length);
		text_add(html, "\n");
	}
	text_add(html, "</code></pre>\n");
}

/* ---- Pages --------------------------------------------------------------------------------- */

static void index_definitions(struct book *book, const struct file *file)
{
	for (unsigned i = 0; i < file->source.definition_count; i++) {
		const struct definition *d = &file->source.definitions[i];
		char *kind, *href;

		if (d->kind == DEFINITION_ENUMERATOR || d->kind == DEFINITION_PROTOTYPE)
			continue;
		kind = format_string("%s in %s", definition_kind_name(d->kind), file->source.path);
		href = file->shown_in[i] != NULL
			       ? format_string("%s#%s", file->shown_in[i], d->name)
			       : format_string("%s#L%u", file->page, d->begin);
		add_index(book, d->name, kind, href);
		free(kind);
		free(href);
	}
}

static void add_folder(struct text *html, const char *path, char *folder, size_t room)
{
	int length = (int)(strrchr(path, '/') - path);

	if ((int)strlen(folder) == length && strncmp(folder, path, (size_t)length) == 0)
		return;
	text_printf(html, "%s<h2>%.*s/</h2>\n<ul>\n", folder[0] != '\0' ? "</ul>\n" : "", length,
		    path);
	snprintf(folder, room, "%.*s", length, path);
}

void write_listings(struct book *book)
{
	struct text contents = {0};
	char folder[256] = "";

	text_add(&contents, "<h1>Sources</h1>\n<p>Every file, with each name linked to where it is "
			    "defined.</p>\n");
	for (unsigned f = 0; f < book->file_count; f++) {
		const struct file *file = &book->files[f];
		struct text html = {0};

		text_printf(&html, "<h1 class=\"path\">%s</h1>\n", file->source.path);
		add_code(&html, book, file, 1, file->source.line_count, true);
		write_page(book, -1, file->page, file->source.path, text_string(&html));
		text_free(&html);
		index_definitions(book, file);
		add_folder(&contents, file->source.path, folder, sizeof(folder));
		text_printf(&contents, "<li><a href=\"%s\">%s</a></li>\n", file->page,
			    strrchr(file->source.path, '/') + 1);
	}
	text_add(&contents, folder[0] != '\0' ? "</ul>\n" : "");
	write_page(book, -1, "sources.html", "Sources", text_string(&contents));
	text_free(&contents);
}
