/*
 * The verb `xport wan`: brings a wan up, runs commands on its two sides, tells how it does, and
 * ends it. Each subcommand parses its options into one struct request and calls wan.h. Exit
 * status: 0, 1 when it could not be done, 2 when the command line made no sense; `exec` passes on
 * the status of its command, or is 126 or 127 when that could not be started, as in a shell.
 */

#include "quantity.h"
#include "wan.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	EXIT_USAGE = 2,
	EXIT_NOT_EXECUTABLE = 126,
	EXIT_NOT_FOUND = 127,
	ERROR_SIZE = 256,
};

/* What the command line asks for. */
struct request {
	struct wan_options options;
	bool json;
	bool help;
	char **arguments; /* what follows the options, up to a NULL */
};

struct subcommand {
	const char *name;
	const char *options; /* those it knows, by their value in option_table */
	bool takes_arguments;
	int (*run)(const struct request *request);
	const char *help;
};

__attribute__((format(printf, 2, 3))) static int complain(int status, const char *format, ...)
{
	va_list arguments;

	fputs("xport wan: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return status;
}

/* "10ms" for 10000000: the largest unit of which the time has at least one. */
static void print_duration(uint64_t nanoseconds)
{
	if (nanoseconds >= 1000000000)
		printf("%.9gs", (double)nanoseconds / 1e9);
	else if (nanoseconds >= 1000000)
		printf("%.9gms", (double)nanoseconds / 1e6);
	else
		printf("%.9gus", (double)nanoseconds / 1e3);
}

static void print_rate(uint64_t bits_per_second)
{
	if (bits_per_second == 0)
		printf("unlimited");
	else if (bits_per_second >= 1000000000)
		printf("%.9ggbit", (double)bits_per_second / 1e9);
	else if (bits_per_second >= 1000000)
		printf("%.9gmbit", (double)bits_per_second / 1e6);
	else
		printf("%.9gkbit", (double)bits_per_second / 1e3);
}

/* ---- The subcommands ---- */

static const char *name_of(const struct request *request)
{
	return request->options.name ? request->options.name : WAN_DEFAULT_NAME;
}

static int run_up(const struct request *request)
{
	char error[ERROR_SIZE];

	if (wan_up(&request->options, false, error, sizeof(error)) < 0)
		return complain(EXIT_FAILURE, "%s", error);
	printf("wan '%s' is up: round trip ", name_of(request));
	print_duration(request->options.rtt_ns);
	printf(", rate ");
	print_rate(request->options.rate_bits_per_second);
	printf("; a is %s, b is %s\n", wan_address('a'), wan_address('b'));
	return EXIT_SUCCESS;
}

static int run_exec(const struct request *request)
{
	char error[ERROR_SIZE];
	char **command = request->arguments;
	const char *side = command[0];

	if (!side || !side[0] || side[1] || !wan_address(side[0]))
		return complain(EXIT_USAGE,
				"exec: name a side, a or b; see 'xport wan exec --help'");
	command++;
	if (command[0] && strcmp(command[0], "--") == 0)
		command++;
	if (!command[0])
		return complain(EXIT_USAGE, "exec: name a command; see 'xport wan exec --help'");
	if (wan_enter(request->options.name, side[0], error, sizeof(error)) < 0)
		return complain(EXIT_FAILURE, "%s", error);
	execvp(command[0], command);
	return complain(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE,
			"exec: cannot run %s: %s", command[0], strerror(errno));
}

static int run_down(const struct request *request)
{
	char error[ERROR_SIZE];

	if (wan_down(request->options.name, error, sizeof(error)) < 0)
		return complain(EXIT_FAILURE, "%s", error);
	return EXIT_SUCCESS;
}

static void print_traffic(const char *direction, const struct wan_traffic *traffic, bool json)
{
	printf(json ? ",\"%s\":{\"packets\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"dropped\":%" PRIu64
		      ",\"queued\":%" PRIu64 "}"
		    : "%s  %" PRIu64 " packets, %" PRIu64 " bytes, %" PRIu64 " dropped, %" PRIu64
		      " bytes under way\n",
	       direction, traffic->packets, traffic->bytes, traffic->dropped, traffic->queued);
}

static int run_status(const struct request *request)
{
	char error[ERROR_SIZE];
	struct wan_status status;

	if (wan_status(request->options.name, &status, error, sizeof(error)) < 0)
		return complain(EXIT_FAILURE, "%s", error);
	if (request->json) {
		printf("{\"name\":\"%s\",\"rtt_ns\":%" PRIu64 ",\"rate_bits_per_second\":%" PRIu64
		       ",\"relay_pid\":%" PRId64,
		       name_of(request), status.rtt_ns, status.rate_bits_per_second,
		       status.relay_pid);
	} else {
		printf("wan '%s': round trip ", name_of(request));
		print_duration(status.rtt_ns);
		printf(", rate ");
		print_rate(status.rate_bits_per_second);
		printf(", relay process %" PRId64 "\n", status.relay_pid);
	}
	print_traffic(request->json ? "a_to_b" : "a to b", &status.a_to_b, request->json);
	print_traffic(request->json ? "b_to_a" : "b to a", &status.b_to_a, request->json);
	if (request->json)
		puts("}");
	return EXIT_SUCCESS;
}

/* ---- The command line ---- */

static const char up_help[] =
	"usage: xport wan up [--rtt 10ms] [--rate 1gbit] [--name NAME]\n"
	"\n"
	"Joins two new network namespaces, a and b, by a link with a real round trip. It stays\n"
	"until 'xport wan down'. Needs root, or user namespaces and access to /dev/net/tun.\n"
	"\n"
	"  --rtt TIME    the round trip, 0s to 10s, in ns, us, ms or s (10ms)\n"
	"  --rate RATE   of each direction, in bit, kbit, mbit or gbit a second (unlimited)\n"
	"  --name NAME   of this wan; several with different names can be up (wan)\n";

static const char exec_help[] =
	"usage: xport wan exec [--name NAME] a|b -- COMMAND...\n"
	"\n"
	"Runs a command on one side: a is 10.77.0.1, b is 10.77.0.2. The exit status is the\n"
	"command's own. Try: xport wan exec a -- ping -c 3 10.77.0.2\n"
	"\n"
	"  --name NAME   which wan (wan)\n";

static const char status_help[] =
	"usage: xport wan status [--name NAME] [--json]\n"
	"\n"
	"Prints the settings of a wan that is up, and what has crossed it.\n"
	"\n"
	"  --name NAME   which wan (wan)\n"
	"  --json        print one JSON object\n";

static const char down_help[] =
	"usage: xport wan down [--name NAME]\n"
	"\n"
	"Ends a wan and waits until its devices have gone. Commands still running on its sides\n"
	"are not ended, but find no link any more.\n"
	"\n"
	"  --name NAME   which wan (wan)\n";

static const char wan_help[] =
	"usage: xport wan up|exec|status|down [OPTIONS]\n"
	"\n"
	"A link with a real round-trip time, between two network namespaces of this machine.\n"
	"\n"
	"  up      [--rtt 10ms] [--rate 1gbit] [--name NAME]   start it\n"
	"  exec    [--name NAME] a|b -- COMMAND...             run a command on one side\n"
	"  status  [--name NAME] [--json]                      see what crosses it\n"
	"  down    [--name NAME]                               end it\n"
	"\n"
	"'xport wan up --help' and so on tell more.\n";

static const struct subcommand subcommands[] = {
	{"up", "trn", false, run_up, up_help},
	{"exec", "n", true, run_exec, exec_help},
	{"status", "nj", false, run_status, status_help},
	{"down", "n", false, run_down, down_help},
};

static const struct option option_table[] = {
	{"rtt", required_argument, NULL, 't'},	{"rate", required_argument, NULL, 'r'},
	{"name", required_argument, NULL, 'n'}, {"json", no_argument, NULL, 'j'},
	{"help", no_argument, NULL, 'h'},	{NULL, 0, NULL, 0},
};

static int apply_option(int option, struct request *request)
{
	switch (option) {
	case 't':
		if (parse_duration(optarg, &request->options.rtt_ns) < 0 ||
		    request->options.rtt_ns > WAN_MAX_RTT_NS)
			return complain(EXIT_USAGE,
					"--rtt '%s' is no time from 0s to 10s; "
					"write 10ms or 250us",
					optarg);
		break;
	case 'r':
		if (parse_rate(optarg, &request->options.rate_bits_per_second) < 0)
			return complain(EXIT_USAGE,
					"--rate '%s' is no rate; write 1gbit or 2.5mbit, "
					"or leave it out for no limit",
					optarg);
		break;
	case 'n':
		request->options.name = optarg;
		break;
	case 'j':
		request->json = true;
		break;
	case 'h':
		request->help = true;
		break;
	}
	return 0;
}

static int parse_options(const struct subcommand *subcommand, int argc, char **argv,
			 struct request *request)
{
	const char *name = subcommand->name;
	int option;

	opterr = 0;
	optind = 0; /* for glibc: starts anew, in case another verb has used it */
	/* "+": options of the command that exec runs are not ours. */
	while ((option = getopt_long(argc, argv, "+:", option_table, NULL)) != -1) {
		int status;

		if (option == ':')
			return complain(EXIT_USAGE,
					"%s: %s needs a value; see 'xport wan %s --help'", name,
					argv[optind - 1], name);
		if (option != 'h' && !strchr(subcommand->options, option))
			return complain(EXIT_USAGE,
					"%s: unknown option near '%s'; "
					"see 'xport wan %s --help'",
					name, argv[optind - 1], name);
		status = apply_option(option, request);
		if (status != 0)
			return status;
	}
	request->arguments = argv + optind;
	if (argv[optind] && !subcommand->takes_arguments && !request->help)
		return complain(EXIT_USAGE, "%s: '%s' is too much; see 'xport wan %s --help'", name,
				argv[optind], name);
	return 0;
}

int cmd_wan(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	struct request request = {.options = {.rtt_ns = WAN_DEFAULT_RTT_NS}};

	if (strcmp(name, "--help") == 0) {
		fputs(wan_help, stdout);
		return EXIT_SUCCESS;
	}
	for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++) {
		const struct subcommand *subcommand = &subcommands[i];
		int status;

		if (strcmp(name, subcommand->name) != 0)
			continue;
		status = parse_options(subcommand, argc - 1, argv + 1, &request);
		if (status != 0)
			return status;
		if (!request.help)
			return subcommand->run(&request);
		fputs(subcommand->help, stdout);
		return EXIT_SUCCESS;
	}
	return complain(EXIT_USAGE,
			"say what to do: up, exec, status or down; see 'xport wan --help'");
}
