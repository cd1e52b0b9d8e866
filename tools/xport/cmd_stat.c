/*
 * The verb `xport stat`: the counters of all xport processes of this user, as xportfs shows them,
 * without a mount. Each look opens the segments anew: processes come and go.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stat/render.h"
#include "xport.h"

static const char stat_help[] =
	"usage: xport stat [--json] [--watch[=SECONDS]] [--describe] [--check] "
	"[NAME|NAME.PID|PID]\n"
	"\n"
	"Prints the counters of all xport processes of this user, or of those of that name: each\n"
	"object with its counters, what is under way, and whether its laws hold. Processes that\n"
	"crashed are there for ten minutes more, as dead.\n"
	"\n"
	"  --json              print a JSON array with an object for each process\n"
	"  --watch[=SECONDS]   again and again, each second if not told otherwise\n"
	"  --describe          also say what each counter counts\n"
	"  --check             print only the laws that are broken; the exit status is 1 if any "
	"is\n";

struct look {
	const char *wanted; /* NULL: all */
	bool json;
	bool describe;
	bool check;
	unsigned processes; /* that were found */
	unsigned objects;
	unsigned broken; /* laws */
	unsigned lines;	 /* of the JSON list that is being printed */
};

/* NAME, NAME.PID or PID. */
static bool is_wanted(const struct look *look, const char *name)
{
	const char *dot = strrchr(name, '.');
	size_t length;

	if (look->wanted == NULL || strcmp(look->wanted, name) == 0 ||
	    strcmp(look->wanted, dot + 1) == 0)
		return true;
	length = strlen(look->wanted);
	return length == (size_t)(dot - name) && strncmp(look->wanted, name, length) == 0;
}

/* ---- In words ------------------------------------------------------------------------------ */

static void print_line(void *context, const struct stat_line *line)
{
	const struct look *look = context;

	printf("    %-24s %20" PRIu64 "  %s", line->key, line->value, line->unit);
	if (look->describe && line->help[0] != '\0')
		printf("%*s%s", (int)(12 - strnlen(line->unit, 11)), "", line->help);
	putchar('\n');
}

static void print_block(struct look *look, const struct stat_block_copy *block)
{
	printf("  %s/%s.%" PRIu32 "  %s%s\n", block->room, block->object, block->instance,
	       block->ended ? "ended" : "live", block->consistent ? "" : ", not consistent");
	stat_each_line(block, print_line, look);
	for (uint32_t i = 0; i < block->law_count; i++) {
		char law[80];

		stat_law_text(law, block, i);
		printf("    law %-20s %20s\n", law,
		       stat_verdict_text(stat_check_law(block, i, false)));
	}
}

static void print_process(const char *name, bool live, const struct stat_process *process)
{
	uint64_t now = ke_query_interrupt_time();
	uint64_t until = live && now > process->begun_ns ? now : process->heartbeat_ns;

	printf("%s  %s, %s", name, live ? "live" : "dead",
	       format_seconds((double)(until - process->begun_ns) / 1e9).text);
	if (process->blocks_refused > 0)
		printf(", %" PRIu64 " objects found no room", process->blocks_refused);
	puts(process->consistent ? "" : ", not consistent");
}

/* ---- In JSON ------------------------------------------------------------------------------- */

static void print_json_value(void *context, const struct stat_line *line)
{
	struct look *look = context;

	printf("%s\"%s\":%" PRIu64, look->lines++ > 0 ? "," : "", line->key, line->value);
}

static void print_json_block(struct look *look, const struct stat_block_copy *block, bool first)
{
	printf("%s\n  {\"room\":\"%s\",\"object\":\"%s\",\"instance\":%" PRIu32
	       ",\"state\":\"%s\",\"consistent\":%s,\"time_ns\":%" PRIu64 ",\"values\":{",
	       first ? "" : ",", block->room, block->object, block->instance,
	       block->ended ? "ended" : "live", block->consistent ? "true" : "false",
	       block->time_ns);
	look->lines = 0;
	stat_each_line(block, print_json_value, look);
	fputs("},\"laws\":{", stdout);
	for (uint32_t i = 0; i < block->law_count; i++) {
		char law[80];

		stat_law_text(law, block, i);
		printf("%s\"%s\":\"%s\"", i > 0 ? "," : "", law,
		       stat_verdict_text(stat_check_law(block, i, false)));
	}
	fputs("}}", stdout);
}

static void print_json_process(const struct look *look, const char *name, bool live,
			       const struct stat_process *process)
{
	printf("%s{\"name\":\"%s\",\"process\":%" PRIu32 ",\"state\":\"%s\",\"consistent\":%s,"
	       "\"begun_ns\":%" PRIu64 ",\"heartbeat_ns\":%" PRIu64 ",\"blocks_refused\":%" PRIu64
	       ",\"blocks\":[",
	       look->processes > 0 ? ",\n" : "[", name, process->process, live ? "live" : "dead",
	       process->consistent ? "true" : "false", process->begun_ns, process->heartbeat_ns,
	       process->blocks_refused);
}

/* ---- Looking ------------------------------------------------------------------------------- */

static void check_block(struct look *look, const char *name, const struct stat_block_copy *block)
{
	for (uint32_t i = 0; i < block->law_count; i++) {
		char law[80];

		if (stat_check_law(block, i, false) != STAT_LAW_BROKEN)
			continue;
		look->broken++;
		stat_law_text(law, block, i);
		fail("%s/%s/%s.%" PRIu32 ": %s is broken: %" PRIu64 " and %" PRIu64 "%s", name,
		     block->room, block->object, block->instance, law,
		     block->counters[block->laws[i].first].count,
		     block->counters[block->laws[i].second].count,
		     block->ended ? ", at its end" : "");
	}
}

static void look_at_blocks(struct look *look, struct stat_reader *reader, const char *name,
			   uint32_t slots)
{
	struct stat_block_copy block;
	unsigned found = 0;

	for (uint32_t i = 0; i < slots; i++) {
		int error = stat_read_block(reader, i, &block);

		if (error != 0) {
			if (error != ENOENT)
				fail("%s: block %" PRIu32 " is damaged", name, i);
			continue;
		}
		if (look->check)
			check_block(look, name, &block);
		if (look->json)
			print_json_block(look, &block, found == 0);
		else if (!look->check)
			print_block(look, &block);
		found++;
	}
	look->objects += found;
}

static void look_at_process(void *context, const char *name)
{
	struct look *look = context;
	struct stat_process process;
	struct stat_reader *reader;
	int error;
	bool live;

	if (!is_wanted(look, name))
		return;
	error = stat_open_reader(&reader, name);
	if (error != 0) {
		if (error != ENOENT) /* it ended just now */
			fail("%s: %s", name, error == EBADMSG ? "damaged" : strerror(error));
		return;
	}
	error = stat_read_process(reader, &process);
	if (error == 0) {
		live = stat_is_live(reader);
		if (look->json)
			print_json_process(look, name, live, &process);
		else if (!look->check)
			print_process(name, live, &process);
		look_at_blocks(look, reader, name, process.slots);
		if (look->json)
			fputs("]}", stdout);
		look->processes++;
	}
	stat_close_reader(reader);
}

static int look_once(struct look *look)
{
	int error;

	look->processes = look->objects = look->broken = 0;
	error = stat_each_segment(look_at_process, look);
	if (error != 0)
		return fail("the directory of the segments: %s", strerror(error));
	if (look->json)
		puts(look->processes > 0 ? "]" : "[]");
	if (look->processes == 0 && look->wanted != NULL)
		return fail("no xport process is called '%s'", look->wanted);
	if (look->processes == 0 && !look->json)
		puts("no xport process of this user is running");
	else if (look->check && !look->json && look->broken == 0)
		printf("all laws hold, in %u objects of %u processes\n", look->objects,
		       look->processes);
	return look->check && look->broken > 0 ? XPORT_FAILED : XPORT_OK;
}

static int watch(struct look *look, unsigned seconds)
{
	bool terminal = isatty(STDOUT_FILENO) == 1;
	int status;

	for (;;) {
		if (terminal)
			fputs("\033[H\033[J", stdout);
		status = look_once(look);
		if (!terminal && !look->json)
			putchar('\n');
		if (status != XPORT_OK || fflush(stdout) != 0)
			return status;
		sleep(seconds);
	}
}

int cmd_stat(int argc, char **argv)
{
	static const struct option table[] = {{"json", no_argument, NULL, 'j'},
					      {"watch", optional_argument, NULL, 'w'},
					      {"describe", no_argument, NULL, 'd'},
					      {"check", no_argument, NULL, 'c'},
					      {NULL, 0, NULL, 0}};
	struct look look = {.wanted = NULL};
	uint64_t seconds = 1;
	bool is_watching = false, first = true;
	int option;

	if (wants_help(argc, argv)) {
		fputs(stat_help, stdout);
		return XPORT_OK;
	}
	for (; (option = next_option(argc, argv, ":", table, first)) != -1; first = false) {
		if (option == '?')
			return XPORT_USAGE;
		look.json = look.json || option == 'j';
		look.describe = look.describe || option == 'd';
		look.check = look.check || option == 'c';
		is_watching = is_watching || option == 'w';
		if (option == 'w' && optarg != NULL &&
		    parse_count("--watch", optarg, 1, 3600, &seconds) != XPORT_OK)
			return XPORT_USAGE;
	}
	if (argc - optind > 1)
		return usage("'%s' is too much", argv[optind + 1]);
	look.wanted = optind < argc ? argv[optind] : NULL;
	return is_watching ? watch(&look, (unsigned)seconds) : look_once(&look);
}
