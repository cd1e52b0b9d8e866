/*
 * The verb `xport ping`: whether an LNet node answers, how soon, and by which NIDs it is known.
 *
 * Any node will do that speaks socklnd's protocol, an `xport recv --message` as well as one of
 * Lustre's. A node answers only those who call it by one of its NIDs.
 */
#include <inttypes.h>
#include <string.h>

#include "counters.h"
#include "interrupt.h"
#include "messenger.h"

static const uint64_t DEFAULT_INTERVAL_NS = UINT64_C(1000000000);
static const uint64_t DEFAULT_TIMEOUT_NS = UINT64_C(5000000000);

static const char ping_help[] =
	"usage: xport ping HOST:PORT [OPTIONS]\n"
	"\n"
	"Asks an LNet node for its interfaces, over TCP: one of Lustre's, whose port is 988, or "
	"an\n"
	"'xport recv --message'. The first time includes the calling.\n"
	"\n"
	"  --nid NID          whom to ask for there (its address, as in 10.0.0.1@tcp)\n"
	"  --from NID         as whom (this machine's address towards it)\n"
	"  --count N          how often (1)\n"
	"  --interval TIME    between two pings (1s)\n"
	"  --timeout TIME     how long to wait for an answer (5s)\n"
	"  --json             print the figures as one JSON object\n";

/* A GET, and where its REPLY goes: pool memory. */
struct question {
	struct ksock_tx tx;
	struct kevent done;
	ntstatus status;
	uint32_t length;
	char bytes[LNET_PING_MOST_BYTES];
};

struct ping_command {
	/* The command line. */
	struct address_list peers;
	struct correspondent peer;
	uint64_t count;
	uint64_t interval_ns;
	uint64_t timeout_ns;
	bool json;

	/* While it runs, and what came of it. */
	int status; /* the exit status */
	struct messenger messenger;
	struct question *question;
	struct lnet_ping_reply reply; /* the last */
	uint64_t answers;
	double first_seconds; /* and of the others: */
	double least_seconds, most_seconds, sum_seconds;
};

static void answered(void *context, ntstatus status, uint32_t length)
{
	struct question *question = context;

	question->status = status;
	question->length = length;
	ke_set_event(&question->done); /* the last touch */
}

/* STATUS_SUCCESS, and the reply is there. */
static ntstatus ask(struct ping_command *command, double *seconds, const char **trouble)
{
	static const struct lnet_get get = {.ptl_index = LNET_RESERVED_PORTAL,
					    .match_bits = LNET_PROTO_PING_MATCHBITS};
	struct question *question = command->question;
	const struct lnet_iov piece = {question->bytes, sizeof(question->bytes)};
	const struct lnet_payload payload = {
		.length = sizeof(question->bytes), .count = 1, .iov = &piece};
	uint64_t begin_ns = ke_query_interrupt_time();
	enum lnet_wire_reason reason;
	bool swapped;

	ke_initialize_event(&question->done, SYNCHRONIZATION_EVENT, false);
	lnet_get(command->messenger.peer, &question->tx, &get, &payload, answered, question);
	ke_wait_for_single_object(&question->done, KE_WAIT_FOREVER);
	*seconds = (double)(ke_query_interrupt_time() - begin_ns) / 1e9;
	*trouble = nt_status_text(question->status);
	if (!nt_success(question->status))
		return question->status;
	reason = lnet_decode_ping_reply(question->bytes, question->length, &command->reply,
					&swapped);
	*trouble = lnet_wire_reason_text(reason);
	return reason == LNET_WIRE_GOOD ? STATUS_SUCCESS : STATUS_INVALID_NETWORK_RESPONSE;
}

static void note_time(struct ping_command *command, double seconds)
{
	if (command->answers++ == 0) {
		command->first_seconds = seconds;
		return;
	}
	command->sum_seconds += seconds;
	if (command->answers == 2 || seconds < command->least_seconds)
		command->least_seconds = seconds;
	if (seconds > command->most_seconds)
		command->most_seconds = seconds;
}

static const char *state_of(const struct ping_command *command, uint32_t i)
{
	if ((command->reply.features & LNET_PING_FEAT_NI_STATUS) == 0)
		return "not told";
	return command->reply.interfaces[i].status == LNET_NI_STATUS_UP ? "up" : "down";
}

static void print_interfaces(const struct ping_command *command)
{
	char nid[LNET_NID_TEXT];

	for (uint32_t i = 0; i < command->reply.count; i++)
		printf("  %-24s %s\n", lnet_nid_to_text(command->reply.interfaces[i].nid, nid),
		       state_of(command, i));
}

static void ping_once(struct ping_command *command)
{
	const char *trouble;
	char nid[LNET_NID_TEXT];
	double seconds;
	ntstatus status = ask(command, &seconds, &trouble);

	lnet_nid_to_text(command->peer.nid, nid);
	if (!nt_success(status)) {
		command->status = fail(
			"%s at %s: %s%s", nid, format_address(&command->peer.address).text, trouble,
			status == STATUS_CONNECTION_REFUSED ? "; does a node listen there?"
			: status == STATUS_CONNECTION_RESET ||
					status == STATUS_GRACEFUL_DISCONNECT ||
					status == STATUS_CONNECTION_ABORTED
				? "; is that its NID? See --nid"
				: "");
		return;
	}
	note_time(command, seconds);
	if (command->json)
		return;
	printf("%s has answered in %s\n", nid, format_seconds(seconds).text);
	if (command->answers == 1)
		print_interfaces(command);
}

/* ---- The figures --------------------------------------------------------------------------- */

static double mean_seconds(const struct ping_command *command)
{
	return command->sum_seconds / (double)(command->answers - 1);
}

static void print_json(const struct ping_command *command)
{
	char nid[LNET_NID_TEXT];

	printf("{\"nid\":\"%s\",\"pings\":%" PRIu64 ",\"answers\":%" PRIu64,
	       lnet_nid_to_text(command->peer.nid, nid), command->count, command->answers);
	if (command->answers > 0)
		printf(",\"first_seconds\":%.9g", command->first_seconds);
	if (command->answers > 1)
		printf(",\"least_seconds\":%.9g,\"mean_seconds\":%.9g,\"most_seconds\":%.9g",
		       command->least_seconds, mean_seconds(command), command->most_seconds);
	printf(",\"interfaces\":[");
	for (uint32_t i = 0; i < command->reply.count; i++)
		printf("%s{\"nid\":\"%s\",\"status\":\"%s\"}", i > 0 ? "," : "",
		       lnet_nid_to_text(command->reply.interfaces[i].nid, nid),
		       state_of(command, i));
	puts("]}");
}

static void print_summary(const struct ping_command *command)
{
	if (command->answers < 2)
		return;
	printf("%" PRIu64 " of %" PRIu64 " answered; but for the first in %s at least, %s on "
	       "average, %s at most\n",
	       command->answers, command->count, format_seconds(command->least_seconds).text,
	       format_seconds(mean_seconds(command)).text,
	       format_seconds(command->most_seconds).text);
}

/* ---- The job ------------------------------------------------------------------------------- */

static void ping_main(void *context)
{
	struct ping_command *command = context;
	struct lnet_options options = {
		.nids = &command->peer.own_nid, .nid_count = 1, .timeout_ns = command->timeout_ns};
	ntstatus status;

	command->question = ex_allocate_pool(sizeof(*command->question));
	status = command->question != NULL
			 ? messenger_open(&command->messenger, &options, &command->peer)
			 : STATUS_INSUFFICIENT_RESOURCES;
	if (!nt_success(status)) {
		ex_free_pool(command->question);
		command->status = fail("cannot start a node: %s", nt_status_text(status));
		return;
	}
	for (uint64_t i = 0; i < command->count; i++) {
		if (i > 0)
			ke_delay_execution_thread(command->interval_ns);
		ping_once(command);
		fflush(stdout);
	}
	messenger_close(&command->messenger);
	ex_free_pool(command->question);
	if (command->json)
		print_json(command);
	else
		print_summary(command);
}

/* ---- The command line ---------------------------------------------------------------------- */

static int apply_option(struct ping_command *command, int option)
{
	switch (option) {
	case 'n':
		return parse_nid("--nid", optarg, &command->peer.nid);
	case 'f':
		return parse_nid("--from", optarg, &command->peer.own_nid);
	case 'c':
		return parse_count("--count", optarg, 1, UINT32_MAX, &command->count);
	case 'i':
		return parse_timeout("--interval", optarg, &command->interval_ns);
	case 'w':
		return parse_timeout("--timeout", optarg, &command->timeout_ns);
	case 'j':
		command->json = true;
		return XPORT_OK;
	default:
		return XPORT_USAGE;
	}
}

static int parse_command_line(struct ping_command *command, int argc, char **argv)
{
	static const struct option table[] = {
		{"nid", required_argument, NULL, 'n'},
		{"from", required_argument, NULL, 'f'},
		{"count", required_argument, NULL, 'c'},
		{"interval", required_argument, NULL, 'i'},
		{"timeout", required_argument, NULL, 'w'},
		{"json", no_argument, NULL, 'j'},
		{NULL, 0, NULL, 0},
	};
	bool first = true;
	int option;

	while ((option = next_option(argc, argv, ":", table, first)) != -1) {
		int status = apply_option(command, option);

		if (status != XPORT_OK)
			return status;
		first = false;
	}
	if (optind >= argc)
		return usage("say whom to ping, as HOST:PORT");
	if (optind + 1 < argc)
		return usage("'%s' is too much: one node at a time", argv[optind + 1]);
	return parse_address("the address", argv[optind], false, &command->peers);
}

int cmd_ping(int argc, char **argv)
{
	struct ping_command command = {
		.count = 1, .interval_ns = DEFAULT_INTERVAL_NS, .timeout_ns = DEFAULT_TIMEOUT_NS};
	int status;

	if (wants_help(argc, argv)) {
		fputs(ping_help, stdout);
		return XPORT_OK;
	}
	status = parse_command_line(&command, argc, argv);
	if (status == XPORT_OK)
		status = find_correspondent(&command.peer, &command.peers);
	if (status != XPORT_OK)
		return status;
	if (interrupt_watch() != XPORT_OK)
		return XPORT_FAILED;
	if (run_counted(NULL, NULL, ping_main, &command) != XPORT_OK)
		command.status = XPORT_FAILED;
	return command.status;
}
