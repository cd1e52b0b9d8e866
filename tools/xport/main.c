/*
 * xport: finds the verb and lets it run.
 *
 * What a verb printed is worth something only when it got out, so that standard output is flushed
 * and looked at here, once for all of them.
 */
#include "xport.h"

#include <errno.h>
#include <string.h>

#include "lab.h"
#include "wan.h"

#ifndef XPORT_VERSION
#define XPORT_VERSION "0.1"
#endif

struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
};

static const struct verb verbs[] = {
	{"send", cmd_send, "send a file over TCP, with one or many sends under way"},
	{"recv", cmd_recv, "receive a file"},
	{"ping", cmd_ping, "ask an LNet node whether it is there"},
	{"demo", cmd_demo, "see why one wants many sends under way: the main result, in a minute"},
	{"wan", cmd_wan, "a link with a real round-trip time, on this machine"},
	{"rules", cmd_rules, "what the name of a bug check means"},
	{"lab", cmd_lab, "take a stage out, write it yourself, and have it checked"},
	{"sim", cmd_sim, "search the orders of events of a scenario for one that fails"},
	{"replay", cmd_sim, "run the one order of events that was found to fail"},
	{"mount", cmd_mount, "show the counters of all xport processes as files"},
	{"umount", cmd_umount, "end that"},
	{"stat", cmd_stat, "print the counters of all xport processes, or check their laws"},
	{"doctor", cmd_doctor, "what this machine can do, and what to do about the rest"},
};

enum { VERB_COUNT = sizeof(verbs) / sizeof(verbs[0]) };

static void print_help(FILE *stream)
{
	fputs("usage: xport VERB [OPTIONS]\n"
	      "\n"
	      "Asynchronous transports in the style of NT, to read, run, watch, break and "
	      "rebuild.\n"
	      "\n",
	      stream);
	for (size_t i = 0; i < VERB_COUNT; i++)
		fprintf(stream, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
	fputs("\n"
	      "'xport VERB --help' tells more, 'xport --version' which xport this is. The exit\n"
	      "status is 0 for success, 1 when the job failed, 2 when the command line made no\n"
	      "sense.\n",
	      stream);
}

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < VERB_COUNT; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

static int unknown_verb(const char *name)
{
	fprintf(stderr, "xport: there is no verb '%s'; the verbs are", name);
	for (size_t i = 0; i < VERB_COUNT; i++)
		fprintf(stderr, "%s %s", i > 0 ? "," : "", verbs[i].name);
	fputs("; see 'xport --help'\n", stderr);
	return XPORT_USAGE;
}

static int run(int argc, char **argv)
{
	const struct verb *verb;

	if (argc < 2) {
		print_help(stderr);
		return XPORT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_help(stdout);
		return XPORT_OK;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("xport " XPORT_VERSION);
		return XPORT_OK;
	}
	verb = find_verb(argv[1]);
	if (verb == NULL)
		return unknown_verb(argv[1]);
	set_verb(verb->name);
	return verb->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	int status = run(argc, argv);

	if (fflush(stdout) != 0 || ferror(stdout))
		return fail("cannot write to standard output: %s", strerror(errno));
	return status;
}
