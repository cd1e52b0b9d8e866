/*
 * xport rules: what a bug check's name means. The rules are the verifier's own table, so that this,
 * the reports and the book say the same.
 */
#include "xport.h"

#include <getopt.h>
#include <string.h>

#include "verifier/verifier.h"

static const char rules_help[] =
	"usage: xport rules [--json] [RULE...]\n"
	"\n"
	"Prints the rules that the verifier knows, or those named: what must hold, and which "
	"chapter\n"
	"of the book is about it. A run that breaks one ends with a bug check of its name.\n"
	"\n"
	"  --json    an array of objects with name, page and clause\n"
	"  --help    this text\n";

/* The clause below the name, in lines of at most 76 columns behind four blanks. */
static void print_clause(const char *clause)
{
	enum { WIDTH = 76 };

	while (*clause != '\0') {
		size_t length = strlen(clause);

		if (length > WIDTH)
			for (length = WIDTH; clause[length] != ' ' && length > 0; length--)
				;
		printf("    %.*s\n", (int)length, clause);
		clause += length + strspn(clause + length, " ");
	}
}

static void print_rule(const struct verifier_rule *rule, bool json, bool first)
{
	if (!json) {
		printf("%-32s %s\n", rule->name, rule->page);
		print_clause(rule->clause);
		return;
	}
	printf("%s{\"name\": \"%s\", \"page\": \"%s\", \"clause\": ", first ? "[" : ",\n ",
	       rule->name, rule->page);
	print_json_string(stdout, rule->clause);
	putchar('}');
}

static void print_all(bool json)
{
	for (unsigned i = 0; i < verifier_rule_count; i++)
		print_rule(&verifier_rules[i], json, i == 0);
}

int cmd_rules(int argc, char **argv)
{
	static const struct option table[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
	bool json = false, first = true;
	int option;

	if (wants_help(argc, argv)) {
		fputs(rules_help, stdout);
		return XPORT_OK;
	}
	while ((option = next_option(argc, argv, ":", table, first)) != -1) {
		if (option != 'j')
			return XPORT_USAGE;
		json = true;
		first = false;
	}
	for (int i = optind; i < argc; i++)
		if (verifier_find_rule(argv[i]) == NULL)
			return usage("there is no rule '%s'", argv[i]);
	if (optind == argc)
		print_all(json);
	for (int i = optind; i < argc; i++)
		print_rule(verifier_find_rule(argv[i]), json, i == optind);
	if (json)
		puts("]");
	return XPORT_OK;
}
