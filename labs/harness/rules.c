/*
 * The rules of a lab, read from its handout, so that each sentence stands in one place: the items
 * of the numbered list under the heading "## The rules", which may go on over several lines.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

enum { SENTENCE_BYTES = 600 };

static void append(char *sentence, const char *line)
{
	size_t used = strlen(sentence);

	line += strspn(line, " \t");
	snprintf(sentence + used, SENTENCE_BYTES - used, "%s%.*s", used > 0 ? " " : "",
		 (int)strcspn(line, "\n"), line);
}

static void read_rule(FILE *handout, int rule, char *sentence)
{
	bool inside = false, wanted = false;
	char line[512];

	while (fgets(line, sizeof(line), handout) != NULL) {
		if (line[0] == '#')
			inside = strncmp(line, "## The rules", 12) == 0;
		if (!inside)
			continue;
		if (isdigit((unsigned char)line[0])) {
			wanted = atoi(line) == rule;
			if (wanted)
				append(sentence, line + strcspn(line, ".") + 1);
		} else if (line[0] != ' ') {
			wanted = false;
		} else if (wanted) {
			append(sentence, line);
		}
	}
}

const char *lab_rule_sentence(const struct lab_options *options, int rule)
{
	static char sentence[SENTENCE_BYTES];
	FILE *handout = fopen(options->handout, "re");

	sentence[0] = '\0';
	if (handout != NULL) {
		read_rule(handout, rule, sentence);
		fclose(handout);
	}
	return sentence[0] != '\0' ? sentence : "see the handout";
}
