/*
 * xport demo - why a synchronous send is slow, measured, and its cure.
 *
 * Brings a link with a real round trip up, sends one file over it once for each way of sending, and
 * shows for each what it reached beside what the law predicts:
 *
 *      bytes per second = depth x block / round trip, up to the rate of the link
 *
 * Nothing is left behind: the file that it makes has no name, the relay dies with this process, and
 * the processes of a row do too.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "demo.h"
#include "sender.h"
#include "quantity.h"
#include "wan.h"
#include "xport.h"

enum {
	ROW_SECONDS = 8, /* a row that would take longer sends the first part of the file */
	ROWS = 6,
	TRIES = 3,		/* of a row during which the machine was stopped */
	TRY_UNTIL_SECONDS = 40, /* but none is begun later than this */
};

static const uint64_t DEFAULT_RTT_NS = 10000000;
static const uint32_t DEFAULT_BLOCK_BYTES = 64 * 1024;

struct demo_options {
	struct demo demo;
	const char *path; /* NULL: make a file */
	bool json;
	bool link;
};

static const char help[] =
	"usage: xport demo [--rtt 10ms] [--rate 1gbit] [--block 64K] [--link] [--json] [FILE]\n"
	"\n"
	"Sends FILE (or one that it makes) over a link with a real round trip, once for each way "
	"of\n"
	"sending, and compares each with the law: depth x block / round trip.\n"
	"\n"
	"  --rtt DURATION   the round trip of the link, such as 500us or 10ms\n"
	"  --rate RATE      the rate of the link, such as 1gbit; without it the machine is the "
	"limit\n"
	"  --block BYTES    the length of a send\n"
	"  --link           use the simulated link even where a real one is possible\n"
	"  --json           print an array with an object a row instead of the table\n";

void demo_take_report(struct demo_row *row, const struct send_report *report)
{
	row->bytes = report->bytes;
	row->total_seconds = (double)(report->last_completion_ns - report->first_start_ns) / 1e9;
	row->seconds = report->seconds;
	row->bytes_per_second = report->bytes_per_second;
	row->effective_depth = report->effective_depth;
	row->window_too_short = report->window_too_short;
}

uint64_t demo_warm_up_blocks(const struct demo_row *row)
{
	return (uint64_t)SEND_WARM_UP_ROUNDS * row->depth;
}

/* ---- The command line ---------------------------------------------------------------------- */

static int take_option(struct demo_options *options, int option)
{
	uint64_t value;

	switch (option) {
	case 't':
		if (parse_duration(optarg, &options->demo.rtt_asked_ns) == 0 &&
		    options->demo.rtt_asked_ns > 0 &&
		    options->demo.rtt_asked_ns <= UINT64_C(1000000000))
			return XPORT_OK;
		return usage("--rtt %s: not a duration up to 1s, such as 10ms", optarg);
	case 'r':
		if (parse_rate(optarg, &options->demo.rate_bits_per_second) == 0 &&
		    options->demo.rate_bits_per_second > 0)
			return XPORT_OK;
		return usage("--rate %s: not a rate, such as 1gbit", optarg);
	case 'b':
		if (parse_size("--block", optarg, 1, 16 << 20, &value) != XPORT_OK)
			return XPORT_USAGE;
		options->demo.block_bytes = (uint32_t)value;
		return XPORT_OK;
	case 'l':
		options->link = true;
		return XPORT_OK;
	case 'j':
		options->json = true;
		return XPORT_OK;
	default:
		return XPORT_USAGE;
	}
}

static int parse_options(int argc, char **argv, struct demo_options *options)
{
	static const struct option table[] = {
		{"rtt", required_argument, NULL, 't'},	 {"rate", required_argument, NULL, 'r'},
		{"block", required_argument, NULL, 'b'}, {"link", no_argument, NULL, 'l'},
		{"json", no_argument, NULL, 'j'},	 {NULL, 0, NULL, 0}};
	bool first = true;
	int option;

	while ((option = next_option(argc, argv, ":", table, first)) != -1) {
		first = false;
		if (take_option(options, option) != XPORT_OK)
			return XPORT_USAGE;
	}
	if (argc - optind > 1)
		return usage("one file at most, not %d", argc - optind);
	options->path = optind < argc ? argv[optind] : NULL;
	return XPORT_OK;
}

/* ---- The file ------------------------------------------------------------------------------ */

static int write_random(int fd, uint64_t bytes)
{
	static uint64_t words[8192];
	uint64_t state = 0x9e3779b97f4a7c15u;

	while (bytes > 0) {
		size_t count = bytes < sizeof(words) ? (size_t)bytes : sizeof(words);
		ssize_t wrote;

		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
			state ^= state << 13; /* xorshift64 */
			state ^= state >> 7;
			state ^= state << 17;
			words[i] = state;
		}
		wrote = write(fd, words, count);
		if (wrote <= 0)
			return -1;
		bytes -= (uint64_t)wrote;
	}
	return 0;
}

/*
 * A file without a name, twice as large as the deepest row needs: at its speed a window of the
 * least length is so short that one hiccup of the machine would show.
 */
static int make_file(struct demo *demo)
{
	const char *directory = getenv("TMPDIR");

	if (directory == NULL || directory[0] == '\0')
		directory = "/tmp";
	demo->file_bytes = (uint64_t)4 * SEND_WARM_UP_ROUNDS * DEMO_DEEPEST * demo->block_bytes;
	demo->fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (demo->fd < 0)
		demo->fd = memfd_create("xport-demo", MFD_CLOEXEC);
	if (demo->fd < 0)
		return fail("cannot make a file in %s: %s", directory, strerror(errno));
	if (write_random(demo->fd, demo->file_bytes) != 0)
		return fail("cannot write %s to a file in %s: %s; name one with FILE",
			    format_bytes(demo->file_bytes).text, directory, strerror(errno));
	return XPORT_OK;
}

static int open_file(struct demo_options *options)
{
	struct stat info;

	if (options->path == NULL)
		return make_file(&options->demo);
	options->demo.fd = open(options->path, O_RDONLY | O_CLOEXEC);
	if (options->demo.fd < 0 || fstat(options->demo.fd, &info) != 0)
		return fail("%s: %s", options->path, strerror(errno));
	if (!S_ISREG(info.st_mode))
		return fail("%s: not a regular file, which the demo could read again for each row",
			    options->path);
	if (info.st_size == 0)
		return fail("%s: the file is empty, so there is nothing to measure", options->path);
	options->demo.file_bytes = (uint64_t)info.st_size;
	return XPORT_OK;
}

/* The digest of the file's first bytes, to compare with what arrived. */
static int digest_file(const struct demo *demo, uint64_t bytes, uint8_t *digest)
{
	struct sha256_ctx sha256;
	uint8_t buffer[64 * 1024];

	sha256_init(&sha256);
	for (uint64_t at = 0; at < bytes;) {
		uint64_t left = bytes - at;
		ssize_t got =
			pread(demo->fd, buffer,
			      left < sizeof(buffer) ? (size_t)left : sizeof(buffer), (off_t)at);

		if (got <= 0)
			return -1;
		sha256_update(&sha256, (size_t)got, buffer);
		at += (uint64_t)got;
	}
	sha256_digest(&sha256, SHA256_DIGEST_SIZE, digest);
	return 0;
}

/* ---- The law ------------------------------------------------------------------------------- */

/* How much of the file the row sends: all, or the part that its time is enough for. */
static uint64_t choose_bytes(const struct demo *demo, const struct demo_row *row)
{
	double predicted = demo_predict(demo, row);
	uint64_t window = 2 * demo_warm_up_blocks(row) * demo->block_bytes, part;

	if (predicted == 0 || (double)demo->file_bytes / predicted <= ROW_SECONDS)
		return demo->file_bytes;
	part = (uint64_t)(predicted * ROW_SECONDS) / demo->block_bytes * demo->block_bytes;
	if (part < window)
		part = window;
	return part < demo->file_bytes ? part : demo->file_bytes;
}

/* ---- The rows ------------------------------------------------------------------------------ */

typedef int run_row(const struct demo *demo, struct demo_row *row);

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/*
 * How long processors of this machine had work and were not let run it, because the hardware served
 * another virtual machine: since the machine started, in seconds; 0 where that is not known.
 */
static double stolen_seconds(void)
{
	unsigned long long stolen = 0;
	FILE *file = fopen("/proc/stat", "re");

	if (file == NULL)
		return 0;
	if (fscanf(file, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &stolen) != 1)
		stolen = 0;
	fclose(file);
	return (double)stolen / (double)sysconf(_SC_CLK_TCK);
}

/*
 * Runs a row; again when the machine was stopped meanwhile, which no way of sending can help, as
 * long as there is time. row->stolen_seconds says how long the last try was stopped.
 */
static int run_undisturbed(const struct demo *demo, struct demo_row *row, run_row *run,
			   double begun)
{
	const struct demo_row fresh = *row;

	for (int try = 1;; try++) {
		double start = seconds_now(), stolen = stolen_seconds(), took;

		*row = fresh;
		if (lseek(demo->fd, 0, SEEK_SET) != 0)
			return fail("the file could not be read: %s", strerror(errno));
		if (run(demo, row) != 0)
			return fail("%s", row->error);
		took = seconds_now() - start;
		row->stolen_seconds = stolen_seconds() - stolen;
		if (row->stolen_seconds <= took * DEMO_STOLEN_SHARE || try == TRIES ||
		    seconds_now() + took - begun > TRY_UNTIL_SECONDS)
			return XPORT_OK;
	}
}

/* Sends one row's part; `match` says whether it arrived as it is. */
static int do_row(const struct demo *demo, struct demo_row *row, run_row *run, double begun,
		  bool *match)
{
	uint8_t digest[SHA256_DIGEST_SIZE];

	row->limit_bytes = choose_bytes(demo, row);
	if (digest_file(demo, row->limit_bytes, digest) != 0)
		return fail("the file could not be read: %s", strerror(errno));
	if (run_undisturbed(demo, row, run, begun) != XPORT_OK)
		return XPORT_FAILED;
	*match = memcmp(digest, row->sha256, sizeof(digest)) == 0;
	return XPORT_OK;
}

/* The first row can only be printed after the second, to which all are compared. */
static int do_rows(const struct demo *demo, run_row *run, struct demo_printer *printer)
{
	struct demo_row rows[ROWS] = {
		{.mode = DEMO_SOCKET, .depth = DEMO_DEEPEST},
		{.mode = DEMO_SYNC, .depth = 1},
		{.mode = DEMO_ASYNC, .depth = 1},
		{.mode = DEMO_ASYNC, .depth = 4},
		{.mode = DEMO_ASYNC, .depth = 16},
		{.mode = DEMO_ASYNC, .depth = 64},
	};
	bool match[ROWS], all = true;
	double begun = seconds_now();

	for (int i = 0; i < ROWS; i++) {
		if (do_row(demo, &rows[i], run, begun, &match[i]) != XPORT_OK)
			return XPORT_FAILED;
		all = all && match[i];
		if (rows[i].mode == DEMO_SOCKET)
			continue;
		if (rows[i].mode == DEMO_SYNC) {
			printer->sync_rate = rows[i].bytes_per_second;
			demo_print_row(printer, demo, &rows[0], match[0]);
		}
		demo_print_row(printer, demo, &rows[i], match[i]);
	}
	demo_print_end(printer);
	return all ? XPORT_OK : fail("what arrived is not what was sent");
}

static void explain_beginning(const struct demo *demo, bool wan)
{
	printf("%s of file, %s a send, over %s with a round trip of %.2f ms",
	       format_bytes(demo->file_bytes).text, format_size(demo->block_bytes).text,
	       wan ? "kernel TCP between two network namespaces" : "the simulated link",
	       (double)demo->rtt_ns / 1e6);
	if (demo->rate_bits_per_second > 0)
		printf(" and %s", format_rate((double)demo->rate_bits_per_second / 8).text);
	printf(".\n");
	fflush(stdout);
}

static void explain_end(void)
{
	printf("\nA synchronous send waits for the acknowledgement: one block a round trip. With "
	       "more\n"
	       "sends under way the same line carries as many blocks in each round trip.\n");
}

/* ---- The link ------------------------------------------------------------------------------ */

static int run_on(struct demo_options *options, bool wan)
{
	struct demo_printer printer = {.json = options->json, .transport = wan ? "tcp" : "link"};
	struct demo *demo = &options->demo;
	char error[160];
	pid_t watch = -1;
	int result;

	if ((wan ? demo_wan_measure_rtt : demo_link_measure_rtt)(demo, &demo->rtt_ns, error,
								 sizeof(error)) != 0)
		return fail("%s", error);
	if (!options->json) {
		explain_beginning(demo, wan);
		watch = demo_watch_begin();
		puts("");
	}
	result = do_rows(demo, wan ? demo_wan_row : demo_link_row, &printer);
	demo_watch_end(watch);
	if (result == XPORT_OK && !options->json)
		explain_end();
	return result;
}

int cmd_demo(int argc, char **argv)
{
	struct demo_options options = {.demo = {.fd = -1,
						.block_bytes = DEFAULT_BLOCK_BYTES,
						.rtt_asked_ns = DEFAULT_RTT_NS}};
	struct demo *demo = &options.demo;
	char error[160];
	pid_t relay = -1;
	int result;

	if (wants_help(argc, argv)) {
		fputs(help, stdout);
		return XPORT_OK;
	}
	result = parse_options(argc, argv, &options);
	if (result == XPORT_OK)
		result = open_file(&options);
	if (result != XPORT_OK)
		return result;
	snprintf(demo->wan_name, sizeof(demo->wan_name), "demo-%d", (int)getpid());
	if (!options.link) {
		struct wan_options wan = {demo->rtt_asked_ns, demo->rate_bits_per_second,
					  demo->wan_name};

		relay = wan_up(&wan, true, error, sizeof(error));
		if (relay < 0)
			fprintf(stderr, "xport demo: no real link (%s): using the simulated one\n",
				error);
	}
	result = run_on(&options, relay >= 0);
	if (relay >= 0) {
		wan_down(demo->wan_name, error, sizeof(error));
		waitpid(relay, NULL, 0);
	}
	close(demo->fd);
	return result;
}
