/*
 * `xport recv --message`: a file that comes as LNet PUTs, see nal/delivery.h.
 *
 * The file itself is message_file.c's. This waits until it is there and its sender knows, or until
 * it can't be, and its sender has been told.
 */
#include <errno.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <string.h>

#include "counters.h"
#include "interrupt.h"
#include "message_file.h"
#include "messenger.h"
#include "output.h"
#include "progress.h"
#include "received.h"

static const uint64_t DEAD_PEER_NS = UINT64_C(30000000000);
static const int64_t LOOK_INTERVAL_NS = 100000000;
static const uint64_t LAST_WORDS_NS = UINT64_C(3000000000);

static const char message_help[] =
	"usage: xport recv --message --listen HOST:PORT -o FILE [OPTIONS]\n"
	"\n"
	"Receives a file that 'xport send --message' sends as LNet messages, and ends. What has "
	"come is\n"
	"kept in .FILE.ID.part beside FILE: if the connection breaks, or either side is killed "
	"and\n"
	"started again with the same command, it goes on from there.\n"
	"\n"
	"  --listen HOST:PORT   where; ':4444' is every IPv4 address of this machine; port 0 lets\n"
	"                       the system choose one, which is printed on standard error\n"
	"  -o, --output FILE    the file to write, which appears under this name when it is "
	"whole\n"
	"  --nid NID            as whom (its addresses, as in 10.0.0.1@tcp)\n"
	"  --sha256             print the SHA-256 of what was received\n"
	"  --timeout TIME       give up when nothing comes for so long; 0s: never (0s)\n"
	"  --no-counters        publish no counters; otherwise 'xport stat' shows them meanwhile\n"
	"  --json               print the figures as one JSON object\n";

struct message_command {
	/* The command line. */
	struct address_list locals;
	const char *file;
	uint64_t nids[MOST_NIDS];
	uint32_t nid_count;
	uint64_t timeout_ns;
	bool sha256;
	bool uncounted;
	bool json;

	/* While it runs. */
	int status; /* the exit status */
	struct stat_segment *segment;
	struct messenger messenger;
	struct lnet_portal portals[MESSAGE_PORTAL + 1];
	struct message_file kept;
	struct progress progress;
};

/* ---- The job ------------------------------------------------------------------------------- */

enum outlook { WAITING, SETTLED, SILENT };

static enum outlook look(struct message_command *command)
{
	struct message_file *kept = &command->kept;
	kirql irql = ke_acquire_spin_lock(&kept->lock);
	uint64_t now = ke_query_interrupt_time(), position = kept->position;
	bool settled = kept->finished || kept->error != 0;
	enum outlook outlook = WAITING;

	if (settled && (kept->at_rest || now - kept->end_ns >= LAST_WORDS_NS))
		outlook = SETTLED;
	else if (!settled && command->timeout_ns != 0 &&
		 now - kept->moved_ns >= command->timeout_ns)
		outlook = SILENT;
	ke_release_spin_lock(&kept->lock, irql);
	progress_update(&command->progress, position);
	if (command->segment != NULL)
		stat_beat(command->segment);
	return outlook;
}

static int await_file(struct message_command *command)
{
	enum outlook outlook;

	progress_begin(&command->progress, 0);
	while ((outlook = look(command)) == WAITING)
		ke_wait_for_single_object(&command->kept.changed, LOOK_INTERVAL_NS);
	progress_end(&command->progress);
	if (outlook == SILENT)
		return fail("nothing came for %s; what has come stays for another 'xport recv'",
			    format_seconds((double)command->timeout_ns / 1e9).text);
	if (command->kept.finished)
		return XPORT_OK;
	if (command->kept.error == EWOULDBLOCK)
		return fail("cannot write %s: another process receives this file", command->file);
	return fail("cannot write %s: %s; what has come stays for another 'xport recv'",
		    command->file, strerror(command->kept.error));
}

static void tell_listener(struct message_command *command)
{
	struct transport_address local;
	char nid[LNET_NID_TEXT];

	if (!nt_success(lnet_query_listener(command->messenger.node, &local)))
		return;
	fprintf(stderr, "listening on %s as %s%s\n", format_address(&local).text,
		lnet_nid_to_text(command->nids[0], nid),
		command->nid_count > 1 ? ", or another of this machine's addresses" : "");
}

static int receive(struct message_command *command)
{
	struct lnet_options options = {
		.listen = &command->locals.addresses[0],
		.nids = command->nids,
		.nid_count = command->nid_count,
		.portals = command->portals,
		.portal_count = MESSAGE_PORTAL + 1,
		.timeout_ns = command->timeout_ns != 0 ? command->timeout_ns : DEAD_PEER_NS,
		.segment = command->segment,
	};
	ntstatus status = messenger_open(&command->messenger, &options, NULL);
	int result;

	if (!nt_success(status))
		return fail("cannot listen on %s: %s", format_address(options.listen).text,
			    nt_status_text(status));
	tell_listener(command);
	result = await_file(command);
	messenger_close(&command->messenger); /* the writer does what is still asked of it */
	return result;
}

static void receive_main(void *context)
{
	struct message_command *command = context;
	ntstatus status =
		message_file_open(&command->kept, command->file, &command->portals[MESSAGE_PORTAL]);

	if (!nt_success(status)) {
		command->status = fail("cannot start a thread: %s", nt_status_text(status));
		return;
	}
	command->status = receive(command);
	message_file_close(&command->kept);
}

/* ---- The figures --------------------------------------------------------------------------- */

/* Of what the file holds now. */
static int hash_file(const char *path, struct text *text)
{
	struct sha256_ctx hash;
	FILE *file = fopen(path, "re");
	uint8_t bytes[1 << 16];
	size_t got;
	int status = XPORT_OK;

	if (file == NULL)
		return fail("cannot read %s: %s", path, strerror(errno));
	sha256_init(&hash);
	while ((got = fread(bytes, 1, sizeof(bytes), file)) > 0)
		sha256_update(&hash, got, bytes);
	if (ferror(file))
		status = fail("cannot read %s: %s", path, strerror(errno));
	fclose(file);
	*text = hash_text(&hash);
	return status;
}

static int print_figures(const struct message_command *command)
{
	const struct message_file *kept = &command->kept;
	double seconds = (double)(kept->end_ns - kept->begin_ns) / 1e9;
	double rate = seconds > 0 ? (double)(kept->bytes - kept->began_at) / seconds : 0;
	char nid[LNET_NID_TEXT];
	struct text hash;

	if (command->sha256 && hash_file(command->file, &hash) != XPORT_OK)
		return XPORT_FAILED;
	lnet_nid_to_text(kept->source, nid);
	if (!command->json) {
		printf("received %s from %s in %s, %s", format_bytes(kept->bytes).text, nid,
		       format_seconds(seconds).text, format_rate(rate).text);
		if (kept->began_at > 0)
			printf("; the first %s were there", format_bytes(kept->began_at).text);
		putchar('\n');
		if (command->sha256)
			printf("%s  %s\n", hash.text, command->file);
		return XPORT_OK;
	}
	printf("{\"bytes\":%" PRIu64 ",\"began_at\":%" PRIu64
	       ",\"seconds\":%.9g,\"bytes_per_second\":%.9g",
	       kept->bytes, kept->began_at, seconds, rate);
	if (command->sha256)
		printf(",\"sha256\":\"%s\"", hash.text);
	printf(",\"nid\":\"%s\",\"id\":\"%016" PRIx64 "\",\"file\":", nid, kept->id);
	print_json_string(stdout, command->file);
	puts("}");
	return XPORT_OK;
}

/* ---- The command line ---------------------------------------------------------------------- */

static int apply_option(struct message_command *command, int option)
{
	switch (option) {
	case 'm':
		return XPORT_OK; /* that is how one comes here */
	case 'l':
		return parse_address("--listen", optarg, true, &command->locals);
	case 'o':
		command->file = optarg;
		return XPORT_OK;
	case 'n':
		command->nid_count = 1;
		return parse_nid("--nid", optarg, &command->nids[0]);
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

static int check_options(struct message_command *command, int argc, char **argv)
{
	if (optind < argc)
		return usage("'%s' is too much; a file to write is named with -o", argv[optind]);
	if (command->locals.count == 0)
		return usage("say where to listen with --listen HOST:PORT");
	if (command->file == NULL)
		return usage("with --message, name the file to write with -o FILE");
	if (command->locals.addresses[0].address_type != TDI_ADDRESS_TYPE_IP)
		return usage("--message needs an IPv4 address, of which NIDs are made");
	if (command->nid_count == 0)
		command->nid_count = find_own_nids(&command->locals.addresses[0], command->nids);
	if (command->nid_count == 0)
		return fail("this machine has no IPv4 address; say its NID with --nid");
	return output_check(command->file);
}

static int parse_command_line(struct message_command *command, int argc, char **argv)
{
	static const struct option table[] = {
		{"message", no_argument, NULL, 'm'},
		{"listen", required_argument, NULL, 'l'},
		{"output", required_argument, NULL, 'o'},
		{"nid", required_argument, NULL, 'n'},
		{"timeout", required_argument, NULL, 'w'},
		{"sha256", no_argument, NULL, 's'},
		{"no-counters", no_argument, NULL, 'C'},
		{"json", no_argument, NULL, 'j'},
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
	return check_options(command, argc, argv);
}

int receive_message(int argc, char **argv)
{
	struct message_command command = {.status = XPORT_FAILED};
	int status;

	if (wants_help(argc, argv)) {
		fputs(message_help, stdout);
		return XPORT_OK;
	}
	status = parse_command_line(&command, argc, argv);
	if (status != XPORT_OK)
		return status;
	if (interrupt_watch() != XPORT_OK)
		return XPORT_FAILED;
	if (run_counted(command.uncounted ? NULL : "recv", &command.segment, receive_main,
			&command) != XPORT_OK)
		command.status = XPORT_FAILED;
	if (command.status != XPORT_OK)
		return command.status;
	message_file_forget(command.file);
	return print_figures(&command);
}
