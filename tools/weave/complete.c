/*
 * Completeness: every line of a stage's files stands in a chapter. Excepted is what says nothing
 * by itself: blank lines, includes, guards, preprocessor conditionals, declarations of what is
 * defined elsewhere, and the rules that divide a file into sections.
 */
#include <stdlib.h>
#include <string.h>

#include "book.h"

static bool is_guard(const struct source *source, unsigned line)
{
	return line > 1 && line_begins(source, line, "#define") &&
	       line_begins(source, line - 1, "#ifndef");
}

static bool says_nothing(const struct source *source, unsigned line)
{
	static const char *const begins[] = {"#include", "#if",	     "#el",
					     "#endif",	 "/* ---- ", "extern "};
	unsigned length;
	const char *at = source_line(source, line, &length);

	if (line_is_blank(source, line) || is_guard(source, line))
		return true;
	for (unsigned i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
		if (line_begins(source, line, begins[i]))
			return true;
	/* "struct irp;" */
	return strncmp(at, "struct ", 7) == 0 && length > 0 && at[length - 1] == ';';
}

static void except_declarations(const struct file *file)
{
	for (unsigned i = 0; i < file->source.definition_count; i++) {
		const struct definition *d = &file->source.definitions[i];

		for (unsigned line = d->begin; d->kind == DEFINITION_PROTOTYPE && line <= d->last;
		     line++)
			file->shown[line] = true;
	}
}

static void check_file(const struct chapter *chapter, const struct file *file)
{
	except_declarations(file);
	for (unsigned line = 1; line <= file->source.line_count; line++) {
		unsigned length;
		const char *at = source_line(&file->source, line, &length);

		if (!file->shown[line] && !says_nothing(&file->source, line))
			die(chapter->path, 1, "no chapter shows line %u of %s: %.*s", line,
			    file->source.path, (int)length, at);
	}
}

void check_complete(const struct book *book)
{
	for (unsigned i = 0; i < book->chapter_count; i++) {
		const struct chapter *chapter = &book->chapters[i];
		char *words = chapter->files != NULL ? copy_string(chapter->files) : NULL;
		char *rest = words, *path;

		while (rest != NULL && (path = strsep(&rest, " ")) != NULL) {
			struct file *file = path[0] != '\0' ? find_file(book, path) : NULL;

			if (path[0] != '\0' && file == NULL)
				die(chapter->path, 1, "there is no source file %s", path);
			if (file != NULL)
				check_file(chapter, file);
		}
		free(words);
	}
}
