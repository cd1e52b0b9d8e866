/*
 * The verb `xport recv`: takes one connection, receives until the peer's end of stream, and ends.
 * With a directory to write to it takes as many as come: serve.c.
 *
 * The order at the end matters: first the file gets its name, then the connection is released. So a
 * sender that sees this side close knows that the file is there, and one that sees a reset knows
 * that it is not.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "counters.h"
#include "directory.h"
#include "endpoint.h"
#include "interrupt.h"
#include "messenger.h"
#include "monitor.h"
#include "output.h"
#include "received.h"
#include "receiver.h"
#include "serve.h"
#include "xport.h"

/* A peer whose machine has gone is given up after so long even without --timeout. */
static const uint64_t DEAD_PEER_NS = UINT64_C(30000000000);

enum { DEFAULT_BACKLOG = 16, LARGEST_BACKLOG = 4096 };

static const char recv_help[] =
	"usage: xport recv --listen HOST:PORT [OPTIONS]\n"
	"       xport recv --message --listen HOST:PORT -o FILE    as messages; add --help\n"
	"\n"
	"Takes one connection and receives until the sender's end of stream. 'xport send', or 'nc "
	"-N',\n"
	"sends. With -o DIR it takes all connections that come, many at once, each into a file of "
	"its\n"
	"own, DIR/ADDRESS-PORT, and goes on until it is interrupted: then it serves to the end who "
	"is\n"
	"there, and a second interrupt ends that, too.\n"
	"\n"
	"  --listen HOST:PORT   where; ':4444' is every IPv4 address of this machine; port 0 lets\n"
	"                       the system choose one, which is printed on standard error\n"
	"  -o, --output FILE    the file to write, which appears under this name when it is "
	"whole;\n"
	"                       without -o, standard output\n"
	"  -o, --output DIR     a directory that is there, or DIR/, which is made; no file in it\n"
	"                       is overwritten\n"
	"  --backlog N          with DIR, how many can call at the same moment, 1 to 4096; more "
	"are\n"
	"                       refused (16)\n"
	"  --count N            with DIR, end when so many connections have been served\n"
	"  --sha256             print the SHA-256 of what was received\n"
	"  --timeout TIME       give up when no sender, or none of its bytes, comes for so long;\n"
	"                       0s: never (0s). With DIR, give up that sender only, and wait for\n"
	"                       senders without end\n"
	"  --no-counters        publish no counters; otherwise 'xport stat' shows them meanwhile\n"
	"  --json               print the figures as one JSON object a file; needs -o\n";

struct recv_command {
	/* The command line. */
	struct address_list locals;
	const char *file; /* NULL: standard output */
	bool directory;	  /* that is `file` */
	uint64_t backlog; /* 0: not said */
	uint64_t count;	  /* the same */
	uint64_t timeout_ns;
	bool sha256;
	bool uncounted;
	bool json;

	/* While it runs. */
	int status; /* the exit status */
	struct transport_address peer;
	struct stat_segment *segment;
	struct endpoint endpoint;
	struct output output;
	bool output_open;
	struct monitor monitor;

	/* What came of it. */
	struct sha256_ctx hash;
	struct receive_report report;
	double seconds; /* since the sender came */
};

/* What the connection's own watch over a dead peer is set to. */
static uint64_t silence_ns(const struct recv_command *command)
{
	return command->timeout_ns != 0 ? command->timeout_ns : DEAD_PEER_NS;
}

/* ---- Waiting for the sender ---------------------------------------------------------------- */

static int open_endpoint(struct recv_command *command)
{
	const struct tcp_options options = {.timeout_ns = silence_ns(command),
					    .segment = command->segment};
	const struct transport_address *local = &command->locals.addresses[0];
	ntstatus status = endpoint_open(&command->endpoint, &options, local);

	if (nt_success(status))
		return XPORT_OK;
	return fail("cannot listen on %s: %s", format_address(local).text, nt_status_text(status));
}

static int wait_for_sender(struct recv_command *command)
{
	int64_t timeout_ns =
		command->timeout_ns != 0 ? (int64_t)command->timeout_ns : KE_WAIT_FOREVER;
	struct transport_address local;
	ntstatus status;

	status = tdi_query_information(&command->endpoint.address, TDI_QUERY_ADDRESS_INFO, &local,
				       sizeof(local));
	if (!nt_success(status))
		return fail("cannot tell the local address: %s", nt_status_text(status));
	fprintf(stderr, "listening on %s\n", format_address(&local).text);
	status = tdi_listen(&command->endpoint.connection, &command->peer, timeout_ns);
	if (status == STATUS_IO_TIMEOUT)
		return fail("no sender came to %s for %s", format_address(&local).text,
			    format_seconds((double)command->timeout_ns / 1e9).text);
	if (!nt_success(status))
		return fail("cannot listen on %s: %s", format_address(&local).text,
			    nt_status_text(status));
	endpoint_close_address(&command->endpoint);
	return XPORT_OK;
}

/* ---- Receiving ----------------------------------------------------------------------------- */

static int report_failure(const struct recv_command *command, ntstatus status)
{
	const char *file = command->file != NULL ? command->file : "standard output";
	struct text peer = format_address(&command->peer);

	if (command->report.file_error != 0)
		return fail("cannot write %s: %s", file, strerror(command->report.file_error));
	if (status == STATUS_IO_TIMEOUT)
		return fail("%s has sent nothing for %s; gave up after %" PRIu64 " bytes",
			    peer.text, format_seconds((double)silence_ns(command) / 1e9).text,
			    command->report.bytes);
	return fail("%s: %s after %" PRIu64 " bytes", peer.text, nt_status_text(status),
		    command->report.bytes);
}

static int receive(struct recv_command *command)
{
	struct receive_options options = {
		.fd = command->output_open ? command->output.fd : STDOUT_FILENO,
		.sha256 = command->sha256 ? &command->hash : NULL,
		.timeout_ns = command->timeout_ns,
	};
	uint64_t begin_ns = ke_query_interrupt_time();
	ntstatus status;

	sha256_init(&command->hash);
	status = monitor_start(&command->monitor, &command->endpoint.connection, MONITOR_RECEIVING,
			       0, 0);
	if (!nt_success(status))
		return fail("cannot start a thread: %s", nt_status_text(status));
	status = receive_file(&command->endpoint.connection, &options, &command->report);
	command->seconds = (double)(ke_query_interrupt_time() - begin_ns) / 1e9;
	monitor_stop(&command->monitor);
	return nt_success(status) ? XPORT_OK : report_failure(command, status);
}

/* The file gets its name, then the sender hears that all is well. */
static int finish_receiving(struct recv_command *command)
{
	if (command->output_open) {
		command->output_open = false;
		if (output_commit(&command->output) != XPORT_OK)
			return XPORT_FAILED;
	}
	/* It has failed since if the sender has reset: too late to matter, the file is whole. */
	tdi_disconnect(&command->endpoint.connection, TDI_DISCONNECT_RELEASE);
	return XPORT_OK;
}

/* ---- The figures --------------------------------------------------------------------------- */

static void print_figures(struct recv_command *command)
{
	FILE *stream = command->file != NULL ? stdout : stderr; /* not among the data */
	const struct received received = {
		.peer = command->peer,
		.bytes = command->report.bytes,
		.seconds = command->seconds,
		.hash = command->sha256 ? &command->hash : NULL,
		.file = command->file,
	};

	if (command->json) {
		print_received_json(&received);
		return;
	}
	print_received(stream, &received);
	fputc('\n', stream);
	if (command->sha256)
		fprintf(stream, "%s  %s\n", hash_text(&command->hash).text,
			command->file != NULL ? command->file : "-");
}

/* ---- The job ------------------------------------------------------------------------------- */

static void serve_main(void *context)
{
	struct recv_command *command = context;
	const struct serve_options options = {
		.local = &command->locals.addresses[0],
		.directory = command->file,
		.backlog = command->backlog != 0 ? (uint32_t)command->backlog : DEFAULT_BACKLOG,
		.count = command->count,
		.timeout_ns = command->timeout_ns,
		.dead_peer_ns = silence_ns(command),
		.sha256 = command->sha256,
		.json = command->json,
		.segment = command->segment,
	};

	command->status = serve(&options);
}

static void recv_main(void *context)
{
	struct recv_command *command = context;

	command->status = open_endpoint(command);
	if (command->status != XPORT_OK)
		return;
	command->status = wait_for_sender(command);
	if (command->status == XPORT_OK)
		command->status = receive(command);
	if (command->status == XPORT_OK)
		command->status = finish_receiving(command);
	endpoint_close(&command->endpoint); /* resets the sender unless released */
	if (command->status == XPORT_OK)
		print_figures(command);
}

/* ---- The command line ---------------------------------------------------------------------- */

static int apply_option(struct recv_command *command, int option)
{
	switch (option) {
	case 'l':
		return parse_address("--listen", optarg, true, &command->locals);
	case 'o':
		command->file = optarg;
		return XPORT_OK;
	case 'b':
		return parse_count("--backlog", optarg, 1, LARGEST_BACKLOG, &command->backlog);
	case 'c':
		return parse_count("--count", optarg, 1, UINT64_MAX, &command->count);
	case 'w':
		return parse_timeout("--timeout", optarg, &command->timeout_ns);
	case 's':
		command->sha256 = true;
		return XPORT_OK;
	case 'C':
		command->uncounted = true;
		return XPORT_OK;
	case 'j':
		command->json = true;
		return XPORT_OK;
	default:
		return XPORT_USAGE;
	}
}

static int parse_command_line(struct recv_command *command, int argc, char **argv)
{
	static const struct option table[] = {
		{"listen", required_argument, NULL, 'l'},
		{"output", required_argument, NULL, 'o'},
		{"backlog", required_argument, NULL, 'b'},
		{"count", required_argument, NULL, 'c'},
		{"timeout", required_argument, NULL, 'w'},
		{"sha256", no_argument, NULL, 's'},
		{"json", no_argument, NULL, 'j'},
		{"no-counters", no_argument, NULL, 'C'},
		{NULL, 0, NULL, 0},
	};
	bool first = true;
	int option;

	while ((option = next_option(argc, argv, ":o:", table, first)) != -1) {
		int status = apply_option(command, option);

		if (status != XPORT_OK)
			return status;
		first = false;
	}
	if (optind < argc)
		return usage("'%s' is too much; a file to write is named with -o", argv[optind]);
	if (command->locals.count == 0)
		return usage("say where to listen with --listen HOST:PORT");
	if (command->json && command->file == NULL)
		return usage("--json needs -o FILE, for standard output carries the data");
	command->directory = command->file != NULL && directory_is_meant(command->file);
	if (!command->directory && (command->backlog != 0 || command->count != 0))
		return usage("--backlog and --count are for many senders; they need -o DIR/");
	return XPORT_OK;
}

int cmd_recv(int argc, char **argv)
{
	struct recv_command command = {.status = XPORT_FAILED};
	int status;

	if (wants(argc, argv, "--message"))
		return receive_message(argc, argv);
	if (wants_help(argc, argv)) {
		fputs(recv_help, stdout);
		return XPORT_OK;
	}
	status = parse_command_line(&command, argc, argv);
	if (status != XPORT_OK)
		return status;
	if (interrupt_watch() != XPORT_OK)
		return XPORT_FAILED;
	if (command.directory) {
		if (directory_prepare(command.file) != XPORT_OK)
			return XPORT_FAILED;
	} else if (command.file != NULL) {
		if (output_open(&command.output, command.file) != XPORT_OK)
			return XPORT_FAILED;
		command.output_open = true;
	}
	if (run_counted(command.uncounted ? NULL : "recv", &command.segment,
			command.directory ? serve_main : recv_main, &command) != XPORT_OK)
		command.status = XPORT_FAILED;
	if (command.output_open)
		output_discard(&command.output);
	return command.status;
}
