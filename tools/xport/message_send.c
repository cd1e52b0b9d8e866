/*
 * `xport send --message`: a file as LNet PUTs (nal/delivery.h), which arrives once and whole though
 * connections break and either process is killed, as long as it is started again.
 *
 * The file's id is made of where and when it was changed last: so the same command finds what has
 * come of it already, and a file that has changed is another one.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "counters.h"
#include "interrupt.h"
#include "messenger.h"
#include "nal/delivery.h"
#include "progress.h"

enum { DEFAULT_BLOCK = 1024 * 1024, DEFAULT_WINDOW = 8, LARGEST_WINDOW = 1024 };

static const uint64_t DEFAULT_TIMEOUT_NS = UINT64_C(30000000000);
static const uint64_t PAUSE_NS = UINT64_C(500000000);
static const uint64_t RECONNECT_NS = UINT64_C(100000000);

static const char message_help[] =
	"usage: xport send --message FILE HOST:PORT [OPTIONS]\n"
	"\n"
	"Sends a file as LNet messages, which 'xport recv --message' receives. If a connection "
	"breaks, or\n"
	"either side is killed and started again with the same command, it goes on where it was. "
	"Success\n"
	"means that the receiver has the whole file on its disk.\n"
	"\n"
	"  --nid NID         the receiver's (its address, as in 10.0.0.1@tcp)\n"
	"  --from NID        this side's (this machine's address towards it); two senders at the "
	"same\n"
	"                    time need two\n"
	"  --block SIZE      bytes of a message: 1 to 1MiB (1MiB)\n"
	"  --window N        messages that are not acknowledged: 1 to 1024 (8)\n"
	"  --checksum        with a checksum for each message\n"
	"  --timeout TIME    give up after so long without progress; 0s: never (30s)\n"
	"  --no-counters     publish no counters; otherwise 'xport stat' shows them meanwhile\n"
	"  --json            print the figures as one JSON object\n";

struct message_command {
	/* The command line. */
	const char *file;
	struct address_list peers;
	struct correspondent peer;
	uint64_t block;
	uint64_t window;
	uint64_t timeout_ns;
	bool checksum;
	bool uncounted;
	bool json;

	/* While it runs. */
	int status; /* the exit status */
	int fd;
	struct stat found; /* what the file was when it was opened */
	int file_error;	   /* the errno for which it could not be read */
	bool changed;	   /* meanwhile */
	struct stat_segment *segment;
	struct messenger messenger;
	struct progress progress;

	/* What came of it. */
	struct lnet_delivery_report report;
	double seconds;
};

/* ---- The file ------------------------------------------------------------------------------ */

static bool is_unchanged(const struct message_command *command)
{
	struct stat now;

	return fstat(command->fd, &now) == 0 && now.st_size == command->found.st_size &&
	       now.st_mtim.tv_sec == command->found.st_mtim.tv_sec &&
	       now.st_mtim.tv_nsec == command->found.st_mtim.tv_nsec;
}

static uint64_t id_of(const struct stat *found)
{
	const uint64_t facts[] = {(uint64_t)found->st_dev, (uint64_t)found->st_ino,
				  (uint64_t)found->st_size, (uint64_t)found->st_mtim.tv_sec,
				  (uint64_t)found->st_mtim.tv_nsec};
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx hash;
	uint64_t id;

	sha256_init(&hash);
	sha256_update(&hash, sizeof(facts), (const uint8_t *)facts);
	sha256_digest(&hash, sizeof(digest), digest);
	memcpy(&id, digest, sizeof(id));
	return id;
}

/* All of it, or not at all; and what was read last is of the file that was meant. */
static ntstatus read_block(void *owner, uint64_t position, void *buffer, uint32_t length)
{
	struct message_command *command = owner;
	bool last = position + length == (uint64_t)command->found.st_size;
	char *at = buffer;

	while (length > 0) {
		ssize_t got = pread(command->fd, at, length, (off_t)position);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			command->file_error = got < 0 ? errno : 0;
			command->changed = got == 0;
			return STATUS_CANCELLED;
		}
		at += got;
		position += (uint64_t)got;
		length -= (uint32_t)got;
	}
	command->changed = last && !is_unchanged(command);
	return command->changed ? STATUS_CANCELLED : STATUS_SUCCESS;
}

static ntstatus moved(void *owner, uint64_t position)
{
	struct message_command *command = owner;

	if (command->segment != NULL)
		stat_beat(command->segment);
	progress_update(&command->progress, position);
	return STATUS_SUCCESS;
}

/* ---- The job ------------------------------------------------------------------------------- */

static int report_failure(const struct message_command *command, ntstatus status)
{
	struct text peer = format_address(&command->peer.address);
	struct text kept = format_bytes(command->report.position);

	if (command->changed)
		return fail("%s has changed while it was sent", command->file);
	if (command->file_error != 0)
		return fail("cannot read %s: %s", command->file, strerror(command->file_error));
	if (status == STATUS_DATA_NOT_ACCEPTED)
		return fail("%s cannot take the file, as it tells there; it has kept %s", peer.text,
			    kept.text);
	if (command->report.attempts == 0)
		return fail("cannot reach %s: %s", peer.text, nt_status_text(status));
	return fail("%s: %s; gave up when it had %s, from where another 'xport send' goes on",
		    peer.text, nt_status_text(status), kept.text);
}

static void print_figures(const struct message_command *command)
{
	const struct lnet_delivery_report *report = &command->report;
	uint64_t bytes = (uint64_t)command->found.st_size;
	double rate =
		command->seconds > 0 ? (double)(bytes - report->began_at) / command->seconds : 0;
	char nid[LNET_NID_TEXT];

	lnet_nid_to_text(command->peer.nid, nid);
	if (command->json) {
		printf("{\"bytes\":%" PRIu64 ",\"began_at\":%" PRIu64 ",\"bytes_sent\":%" PRIu64
		       ",\"attempts\":%" PRIu32 ",\"seconds\":%.9g,\"bytes_per_second\":%.9g,"
		       "\"peer\":\"%s\",\"nid\":\"%s\",\"id\":\"%016" PRIx64 "\"}\n",
		       bytes, report->began_at, report->sent, report->attempts, command->seconds,
		       rate, format_address(&command->peer.address).text, nid,
		       id_of(&command->found));
		return;
	}
	printf("sent %s to %s at %s in %s, %s", format_bytes(bytes).text, nid,
	       format_address(&command->peer.address).text, format_seconds(command->seconds).text,
	       format_rate(rate).text);
	if (report->began_at > 0)
		printf("; the first %s were there", format_bytes(report->began_at).text);
	if (report->attempts > 1)
		printf("; it took %" PRIu32 " attempts", report->attempts);
	putchar('\n');
}

static void deliver_file(struct message_command *command)
{
	const struct lnet_delivery delivery = {
		.peer = command->messenger.peer,
		.portal = MESSAGE_PORTAL,
		.id = id_of(&command->found),
		.length = (uint64_t)command->found.st_size,
		.block_bytes = (uint32_t)command->block,
		.window = (uint32_t)command->window,
		.pause_ns = PAUSE_NS,
		.patience_ns = command->timeout_ns,
		.read = read_block,
		.moved = moved,
		.owner = command,
	};
	uint64_t begin_ns = ke_query_interrupt_time();
	ntstatus status;

	progress_begin(&command->progress, delivery.length);
	status = lnet_deliver(&delivery, &command->report);
	progress_end(&command->progress);
	command->seconds = (double)(ke_query_interrupt_time() - begin_ns) / 1e9;
	command->status = nt_success(status) ? XPORT_OK : report_failure(command, status);
}

static void send_main(void *context)
{
	struct message_command *command = context;
	struct lnet_options options = {
		.nids = &command->peer.own_nid,
		.nid_count = 1,
		.checksums = command->checksum,
		.timeout_ns = command->timeout_ns,
		.reconnect_ns = RECONNECT_NS,
		.segment = command->segment,
	};
	ntstatus status = messenger_open(&command->messenger, &options, &command->peer);

	if (!nt_success(status)) {
		command->status = fail("cannot start a node: %s", nt_status_text(status));
		return;
	}
	deliver_file(command);
	messenger_close(&command->messenger);
	if (command->status == XPORT_OK)
		print_figures(command);
}

/* ---- The command line ---------------------------------------------------------------------- */

static int apply_option(struct message_command *command, int option)
{
	switch (option) {
	case 'm':
		return XPORT_OK; /* that is how one comes here */
	case 'n':
		return parse_nid("--nid", optarg, &command->peer.nid);
	case 'f':
		return parse_nid("--from", optarg, &command->peer.own_nid);
	case 'b':
		return parse_size("--block", optarg, 1, LNET_MTU, &command->block);
	case 'W':
		return parse_count("--window", optarg, 1, LARGEST_WINDOW, &command->window);
	case 'w':
		return parse_timeout("--timeout", optarg, &command->timeout_ns);
	case 'c':
		command->checksum = true;
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

static int parse_command_line(struct message_command *command, int argc, char **argv)
{
	static const struct option table[] = {
		{"message", no_argument, NULL, 'm'},	  {"nid", required_argument, NULL, 'n'},
		{"from", required_argument, NULL, 'f'},	  {"block", required_argument, NULL, 'b'},
		{"window", required_argument, NULL, 'W'}, {"timeout", required_argument, NULL, 'w'},
		{"checksum", no_argument, NULL, 'c'},	  {"no-counters", no_argument, NULL, 'C'},
		{"json", no_argument, NULL, 'j'},	  {NULL, 0, NULL, 0},
	};
	bool first = true;
	int option;

	while ((option = next_option(argc, argv, ":", table, first)) != -1) {
		int status = apply_option(command, option);

		if (status != XPORT_OK)
			return status;
		first = false;
	}
	if (optind + 2 != argc)
		return usage("with --message, name a file and where to send it: FILE HOST:PORT");
	command->file = argv[optind];
	return parse_address("the address", argv[optind + 1], false, &command->peers);
}

static int open_file(struct message_command *command)
{
	command->fd = open(command->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (command->fd < 0 || fstat(command->fd, &command->found) < 0)
		return fail("cannot read %s: %s", command->file, strerror(errno));
	if (!S_ISREG(command->found.st_mode))
		return fail("cannot read %s: is not a regular file, and --message goes back in it",
			    command->file);
	return XPORT_OK;
}

int send_message(int argc, char **argv)
{
	struct message_command command = {
		.block = DEFAULT_BLOCK, .window = DEFAULT_WINDOW, .timeout_ns = DEFAULT_TIMEOUT_NS};
	int status;

	if (wants_help(argc, argv)) {
		fputs(message_help, stdout);
		return XPORT_OK;
	}
	status = parse_command_line(&command, argc, argv);
	if (status == XPORT_OK)
		status = open_file(&command);
	if (status == XPORT_OK)
		status = find_correspondent(&command.peer, &command.peers);
	if (status != XPORT_OK)
		return status;
	if (interrupt_watch() != XPORT_OK)
		return XPORT_FAILED;
	if (run_counted(command.uncounted ? NULL : "send", &command.segment, send_main, &command) !=
	    XPORT_OK)
		command.status = XPORT_FAILED;
	return command.status;
}
