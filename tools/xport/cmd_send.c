/*
 * The verb `xport send`: a file, as a plain stream of bytes over TCP.
 *
 * What success means. A transport that buffers completes a send when it has a copy, so completed
 * sends say nothing about the peer. The command therefore releases the connection after the last
 * byte, waits until the peer's transport has acknowledged every one, and then listens for a moment:
 * a receiver that could not store what came resets the connection, `xport recv` closes it when the
 * file is whole, and one that says nothing, like nc, is taken at its transport's word.
 *
 * From the start a receive is outstanding, which notices a peer that resets or ends. What a peer
 * says is thrown away.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "counters.h"
#include "endpoint.h"
#include "interrupt.h"
#include "listener.h"
#include "messenger.h"
#include "monitor.h"
#include "sender.h"
#include "xport.h"

#define LARGEST_BLOCK (UINT64_C(1) << 30)
#define LARGEST_TOTAL (UINT64_C(4) << 30) /* depth x block */

enum {
	DEFAULT_DEPTH = 16,
	DEFAULT_BLOCK = 256 * 1024,
	LARGEST_DEPTH = 4096,
};

static const uint64_t DEFAULT_TIMEOUT_NS = UINT64_C(30000000000);
static const uint64_t LONGEST_POLL_NS = 10000000;
static const int64_t WAIT_FOR_CLOSE_NS = 2000000000;

static const char send_help[] =
	"usage: xport send --to HOST:PORT [OPTIONS] FILE\n"
	"       xport send --message FILE HOST:PORT    as messages; add --help\n"
	"\n"
	"Sends a file over TCP; '-' is standard input. 'xport recv', or 'nc -l', receives it. "
	"Success\n"
	"means that the receiver's system has acknowledged every byte, and that the receiver has "
	"not\n"
	"given up.\n"
	"\n"
	"  --to HOST:PORT    where to; an IPv6 address in brackets: [::1]:4444\n"
	"  --mode MODE       'async': many sends under way; 'sync': one, and a wait for it;\n"
	"                    'nonblocking': many, of which goes out what there is room for "
	"(async)\n"
	"  --depth N         how many are many: 1 to 4096 (16)\n"
	"  --block SIZE      bytes of a send: 1 to 1GiB; K, M and G are powers of 1024 (256K)\n"
	"  --direct          send from these pages without a copy; a send then takes a round trip\n"
	"  --nagle           let small sends wait for each other, to share a packet\n"
	"  --timeout TIME    give up after so long without progress; 0s: never (30s)\n"
	"  --no-counters     publish no counters; otherwise 'xport stat' shows them meanwhile\n"
	"  --json            print the figures as one JSON object\n"
	"\n"
	"Example: xport recv --listen 127.0.0.1:4444 -o copy &\n"
	"         xport send --to 127.0.0.1:4444 FILE\n";

static const char *const mode_names[] = {
	[SEND_SYNC] = "sync",
	[SEND_ASYNC] = "async",
	[SEND_NONBLOCKING] = "nonblocking",
};

struct send_command {
	/* The command line. */
	struct send_options options;
	struct address_list peers;
	const char *file;
	uint64_t file_bytes; /* 0: not known */
	uint64_t timeout_ns;
	bool direct;
	bool nagle;
	bool uncounted;
	bool json;

	/* While it runs. */
	int status; /* the exit status */
	struct transport_address peer;
	struct stat_segment *segment;
	struct caller caller;
	struct listener listener;
	struct monitor monitor;

	/* What came of it. */
	struct send_report report;
	struct tdi_connection_info info;
	uint64_t begin_ns;    /* the connection stood */
	double total_seconds; /* from then until everything was acknowledged */
	bool receiver_closed;
};

/* ---- Connecting ---------------------------------------------------------------------------- */

static ntstatus connect_to(struct send_command *command, const struct transport_address *peer)
{
	const struct tcp_options options = {.direct = command->direct,
					    .timeout_ns = command->timeout_ns,
					    .segment = command->segment};
	int64_t timeout_ns =
		command->timeout_ns != 0 ? (int64_t)command->timeout_ns : KE_WAIT_FOREVER;
	ntstatus status = caller_connect(&command->caller, &options, peer, timeout_ns);

	if (!nt_success(status) || !command->nagle)
		return status;
	status = tdi_set_information(&command->caller.stream->file, TDI_SET_NAGLE, &command->nagle,
				     sizeof(command->nagle));
	if (!nt_success(status))
		caller_close(&command->caller);
	return status;
}

/* To the first of the host's addresses that answers; the last one's error if none does. */
static int connect_to_any(struct send_command *command)
{
	ntstatus status = STATUS_INVALID_PARAMETER;

	for (unsigned i = 0; i < command->peers.count; i++) {
		command->peer = command->peers.addresses[i];
		status = connect_to(command, &command->peer);
		if (nt_success(status))
			return XPORT_OK;
	}
	return fail("cannot connect to %s: %s%s", format_address(&command->peer).text,
		    nt_status_text(status),
		    status == STATUS_CONNECTION_REFUSED ? "; is a receiver listening there?" : "");
}

/* ---- After the last byte ------------------------------------------------------------------- */

static int report_failure(struct send_command *command, ntstatus status)
{
	struct text peer = format_address(&command->peer);
	uint64_t bytes;

	tdi_query_information(&command->caller.stream->file, TDI_QUERY_CONNECTION_INFO,
			      &command->info, sizeof(command->info));
	bytes = command->info.acknowledged_bytes;
	if (status == STATUS_CANCELLED && command->report.file_error == 0) {
		/* The sender gave up because of the listener's error. */
		ke_wait_for_single_object(&command->listener.ended, KE_WAIT_FOREVER);
		status = command->listener.status;
	}
	if (command->report.file_error != 0)
		return fail("cannot read %s: %s", command->file,
			    strerror(command->report.file_error));
	if (monitor_timed_out(&command->monitor))
		return fail("%s has taken nothing for %s; gave up after %" PRIu64 " bytes",
			    peer.text, format_seconds((double)command->timeout_ns / 1e9).text,
			    bytes);
	return fail("%s: %s after %" PRIu64 " bytes", peer.text, nt_status_text(status), bytes);
}

static bool has_ended(struct send_command *command, int64_t timeout_ns)
{
	return ke_wait_for_single_object(&command->listener.ended, timeout_ns) == STATUS_SUCCESS;
}

/*
 * Why nothing more will be acknowledged, or STATUS_SUCCESS. A peer that has ended its own direction
 * may still reset, of which the ended receive tells nothing; but a new one does.
 */
static ntstatus check_connection(struct send_command *command)
{
	int64_t probe;
	char byte;

	if (!has_ended(command, 0))
		return STATUS_SUCCESS;
	if (command->listener.status != STATUS_GRACEFUL_DISCONNECT)
		return command->listener.status;
	probe = tdi_receive_stream(&command->caller.stream->file, &byte, sizeof(byte));
	return probe == STATUS_GRACEFUL_DISCONNECT ? STATUS_SUCCESS : (ntstatus)probe;
}

/* STATUS_SUCCESS when the peer's transport has it all. Silence is the monitor's to end. */
static ntstatus wait_for_acknowledgement(struct send_command *command)
{
	struct file_object *connection = &command->caller.stream->file;
	uint64_t delay_ns = 50000;

	for (;;) {
		ntstatus status = tdi_query_information(connection, TDI_QUERY_CONNECTION_INFO,
							&command->info, sizeof(command->info));

		if (!nt_success(status))
			return status;
		if (command->info.acknowledged_bytes >= command->report.bytes)
			return STATUS_SUCCESS;
		status = check_connection(command);
		if (!nt_success(status))
			return status;
		ke_delay_execution_thread(delay_ns);
		delay_ns = delay_ns * 2 < LONGEST_POLL_NS ? delay_ns * 2 : LONGEST_POLL_NS;
	}
}

static int finish_sending(struct send_command *command)
{
	ntstatus status;

	interrupt_check();
	status = tdi_disconnect(&command->caller.stream->file, TDI_DISCONNECT_RELEASE);
	if (nt_success(status))
		status = wait_for_acknowledgement(command);
	if (!nt_success(status))
		return report_failure(command, status);
	command->total_seconds = (double)(ke_query_interrupt_time() - command->begin_ns) / 1e9;
	if (!has_ended(command, WAIT_FOR_CLOSE_NS))
		return XPORT_OK;
	if (command->listener.status != STATUS_GRACEFUL_DISCONNECT)
		return fail("%s has taken all %" PRIu64 " bytes, but then gave up: %s",
			    format_address(&command->peer).text, command->report.bytes,
			    nt_status_text(command->listener.status));
	command->receiver_closed = true;
	return XPORT_OK;
}

/* ---- The figures --------------------------------------------------------------------------- */

/* Completed sends of a short transfer tell of the local buffer only: then the whole time counts. */
static void choose_figures(struct send_command *command)
{
	struct send_report *report = &command->report;

	if (!report->window_too_short)
		return;
	report->seconds = command->total_seconds;
	report->bytes_per_second =
		report->seconds > 0 ? (double)report->bytes / report->seconds : 0;
}

static void print_json(const struct send_command *command)
{
	const struct send_report *report = &command->report;
	const struct send_options *options = &command->options;

	printf("{\"mode\":\"%s\",\"depth\":%" PRIu32 ",\"block_bytes\":%" PRIu32
	       ",\"direct\":%s,\"bytes\":%" PRIu64 ",\"total_seconds\":%.9g,\"seconds\":%.9g,"
	       "\"bytes_per_second\":%.9g,\"effective_depth\":%.4g,\"window_too_short\":%s",
	       mode_names[options->mode], options->depth, options->block_bytes,
	       command->direct ? "true" : "false", report->bytes, command->total_seconds,
	       report->seconds, report->bytes_per_second, report->effective_depth,
	       report->window_too_short ? "true" : "false");
	if (command->direct)
		printf(",\"copied_sends\":%" PRIu64 ",\"delayed_sends\":%" PRIu64,
		       command->info.copied_sends, command->info.delayed_sends);
	if (report->window[TDI_FLOW_PIECES] > 0)
		printf(",\"pieces\":%" PRIu64 ",\"short\":%" PRIu64 ",\"refused\":%" PRIu64
		       ",\"possible\":%" PRIu64,
		       report->window[TDI_FLOW_PIECES], report->window[TDI_FLOW_SHORT],
		       report->window[TDI_FLOW_REFUSED], report->window[TDI_FLOW_POSSIBLE]);
	printf(",\"receiver_closed\":%s,\"peer\":\"%s\"}\n",
	       command->receiver_closed ? "true" : "false", format_address(&command->peer).text);
}

static void print_words(const struct send_command *command)
{
	const struct send_report *report = &command->report;
	double rate =
		command->total_seconds > 0 ? (double)report->bytes / command->total_seconds : 0;

	printf("sent %s to %s in %s, %s", format_bytes(report->bytes).text,
	       format_address(&command->peer).text, format_seconds(command->total_seconds).text,
	       format_rate(rate).text);
	if (command->options.mode == SEND_SYNC)
		printf("; one send of %s at a time",
		       format_size(command->options.block_bytes).text);
	else
		printf("; up to %" PRIu32 " sends of %s under way, %.3g on average",
		       command->options.depth, format_size(command->options.block_bytes).text,
		       report->effective_depth);
	if (report->window_too_short)
		puts("");
	else
		printf("; %s after the warm-up\n", format_rate(report->bytes_per_second).text);
	if (report->window[TDI_FLOW_PIECES] > 0)
		printf("%" PRIu64 " pieces, %" PRIu64 " of them short and %" PRIu64
		       " refused; room was announced %" PRIu64 " times\n",
		       report->window[TDI_FLOW_PIECES], report->window[TDI_FLOW_SHORT],
		       report->window[TDI_FLOW_REFUSED], report->window[TDI_FLOW_POSSIBLE]);
	if (command->info.copied_sends > 0)
		printf("the system copied %" PRIu64 " of the direct sends, as it does where the "
		       "packets do not leave the machine\n",
		       command->info.copied_sends);
	if (command->info.delayed_sends > 0)
		printf("sends waited %" PRIu64 " times for lockable memory; see 'xport doctor'\n",
		       command->info.delayed_sends);
}

/* ---- The job ------------------------------------------------------------------------------- */

static int transfer(struct send_command *command)
{
	struct file_object *connection = &command->caller.stream->file;
	ntstatus status = monitor_start(&command->monitor, connection, MONITOR_SENDING,
					command->file_bytes, command->timeout_ns);
	int result;

	if (!nt_success(status))
		return fail("cannot start a thread: %s", nt_status_text(status));
	command->begin_ns = ke_query_interrupt_time();
	command->options.window = &command->caller.stream->window;
	status = send_file(connection, &command->options, &command->report);
	result = nt_success(status) ? finish_sending(command) : report_failure(command, status);
	monitor_stop(&command->monitor);
	return result;
}

static void send_main(void *context)
{
	struct send_command *command = context;

	command->status = connect_to_any(command);
	if (command->status != XPORT_OK)
		return;
	if (listener_start(&command->listener, command->caller.stream))
		command->status = transfer(command);
	else
		command->status = fail("not enough memory");
	caller_close(&command->caller); /* ends the listener's receive, too */
	ex_free_pool(command->listener.buffer);
	if (command->status != XPORT_OK)
		return;
	choose_figures(command);
	if (command->json)
		print_json(command);
	else
		print_words(command);
}

/* ---- The command line ---------------------------------------------------------------------- */

static int parse_mode(const char *text, enum send_mode *mode)
{
	for (size_t i = 0; i < sizeof(mode_names) / sizeof(mode_names[0]); i++) {
		if (strcmp(text, mode_names[i]) == 0) {
			*mode = (enum send_mode)i;
			return XPORT_OK;
		}
	}
	return usage("--mode '%s' is none of sync, async and nonblocking", text);
}

static int apply_option(struct send_command *command, int option)
{
	uint64_t value;
	int status;

	switch (option) {
	case 't':
		return parse_address("--to", optarg, false, &command->peers);
	case 'm':
		return parse_mode(optarg, &command->options.mode);
	case 'd':
		status = parse_count("--depth", optarg, 1, LARGEST_DEPTH, &value);
		if (status == XPORT_OK)
			command->options.depth = (uint32_t)value;
		return status;
	case 'b':
		status = parse_size("--block", optarg, 1, LARGEST_BLOCK, &value);
		if (status == XPORT_OK)
			command->options.block_bytes = (uint32_t)value;
		return status;
	case 'w':
		return parse_timeout("--timeout", optarg, &command->timeout_ns);
	case 'D':
		command->direct = true;
		return XPORT_OK;
	case 'n':
		command->nagle = true;
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

static int check_options(struct send_command *command, int argc, char **argv)
{
	struct send_options *options = &command->options;

	if (command->peers.count == 0)
		return usage("say where to send with --to HOST:PORT");
	if (optind >= argc)
		return usage("name a file, or '-' for standard input");
	if (optind + 1 < argc)
		return usage("'%s' is too much: one file at a time", argv[optind + 1]);
	command->file = argv[optind];
	if (command->file[0] == '\0')
		return usage("the name of the file is empty");
	if (options->mode == SEND_SYNC && options->depth > 1)
		return usage("--mode sync has one send under way; leave --depth out");
	if (options->mode == SEND_NONBLOCKING && command->direct)
		return usage("with --direct nothing is copied, so there is no room that "
			     "--mode nonblocking could wait for; leave one of them out");
	if (options->depth == 0)
		options->depth = options->mode == SEND_SYNC ? 1 : DEFAULT_DEPTH;
	if ((uint64_t)options->depth * options->block_bytes > LARGEST_TOTAL)
		return usage("%" PRIu32 " blocks of %s are more than 4 GiB of buffers; use a "
			     "smaller --depth or --block",
			     options->depth, format_size(options->block_bytes).text);
	return XPORT_OK;
}

static int parse_command_line(struct send_command *command, int argc, char **argv)
{
	static const struct option table[] = {
		{"to", required_argument, NULL, 't'},	   {"mode", required_argument, NULL, 'm'},
		{"depth", required_argument, NULL, 'd'},   {"block", required_argument, NULL, 'b'},
		{"direct", no_argument, NULL, 'D'},	   {"nagle", no_argument, NULL, 'n'},
		{"timeout", required_argument, NULL, 'w'}, {"json", no_argument, NULL, 'j'},
		{"no-counters", no_argument, NULL, 'C'},   {NULL, 0, NULL, 0},
	};
	bool first = true;
	int option;

	while ((option = next_option(argc, argv, ":", table, first)) != -1) {
		int status = apply_option(command, option);

		if (status != XPORT_OK)
			return status;
		first = false;
	}
	return check_options(command, argc, argv);
}

static int open_file(struct send_command *command)
{
	struct stat status;
	int fd = STDIN_FILENO;

	if (strcmp(command->file, "-") == 0)
		command->file = "standard input";
	else
		fd = open(command->file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) < 0)
		return fail("cannot read %s: %s", command->file, strerror(errno));
	if (S_ISDIR(status.st_mode))
		return fail("cannot read %s: is a directory", command->file);
	if (S_ISREG(status.st_mode))
		command->file_bytes = (uint64_t)status.st_size;
	command->options.fd = fd;
	command->options.watch_stop = !S_ISREG(status.st_mode);
	command->options.stop_fd = command->listener.stop_fd = eventfd(0, EFD_CLOEXEC);
	if (command->options.stop_fd < 0)
		return fail("cannot make an eventfd: %s", strerror(errno));
	return XPORT_OK;
}

int cmd_send(int argc, char **argv)
{
	struct send_command command = {
		.options = {.mode = SEND_ASYNC, .block_bytes = DEFAULT_BLOCK},
		.timeout_ns = DEFAULT_TIMEOUT_NS,
	};
	int status;

	if (wants(argc, argv, "--message"))
		return send_message(argc, argv);
	if (wants_help(argc, argv)) {
		fputs(send_help, stdout);
		return XPORT_OK;
	}
	status = parse_command_line(&command, argc, argv);
	if (status == XPORT_OK)
		status = open_file(&command);
	if (status != XPORT_OK)
		return status;
	if (interrupt_watch() != XPORT_OK)
		return XPORT_FAILED;
	if (run_counted(command.uncounted ? NULL : "send", &command.segment, send_main, &command) !=
	    XPORT_OK)
		command.status = XPORT_FAILED;
	return command.status;
}
