/* Laws, percentiles and texts, see render.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "stat/render.h"

/* ---- What values say ----------------------------------------------------------------------- */

uint64_t stat_bucket_upper(uint32_t bucket)
{
	return bucket + 1 < STAT_BUCKETS ? (UINT64_C(1) << bucket) - 1 : UINT64_MAX;
}

uint64_t stat_percentile(const struct stat_counter_copy *histogram, unsigned percent)
{
	/* Divided first: counts are anything up to 2^64. */
	uint64_t rest = histogram->count % 100 * percent;
	uint64_t wanted = histogram->count / 100 * percent + rest / 100 + (rest % 100 != 0);
	uint64_t seen = 0;

	for (uint32_t i = 0; i < STAT_BUCKETS && histogram->count > 0; i++) {
		seen += histogram->buckets[i];
		if (histogram->buckets[i] > 0 && seen >= wanted)
			return stat_bucket_upper(i);
	}
	return 0;
}

enum stat_verdict stat_check_law(const struct stat_block_copy *block, uint32_t law, bool idle)
{
	const struct stat_law *said = &block->laws[law];
	uint64_t first = block->counters[said->first].count;
	uint64_t second = block->counters[said->second].count;

	if (!block->consistent)
		return STAT_LAW_UNKNOWN;
	if (first < second || (said->equal_at_end && (block->ended || idle) && first != second))
		return STAT_LAW_BROKEN;
	return STAT_LAW_HOLDS;
}

unsigned stat_check_laws(const struct stat_block_copy *block, bool idle, uint32_t *which)
{
	unsigned broken = 0;

	for (uint32_t i = block->law_count; i-- > 0;) {
		if (stat_check_law(block, i, idle) != STAT_LAW_BROKEN)
			continue;
		*which = i;
		broken++;
	}
	return broken;
}

/* ---- Text ---------------------------------------------------------------------------------- */

/* False when there is no more room to be had. */
static bool grow(struct stat_text *text, size_t wanted)
{
	size_t room = text->room < 512 ? 512 : text->room * 2;
	char *bytes;

	if (room < wanted)
		room = wanted;
	if (room > STAT_LARGEST_TEXT || (bytes = realloc(text->bytes, room)) == NULL) {
		text->failed = true;
		return false;
	}
	text->bytes = bytes;
	text->room = room;
	return true;
}

void stat_say(struct stat_text *text, const char *format, ...)
{
	for (;;) {
		size_t left = text->room - text->length;
		va_list arguments;
		int length;

		va_start(arguments, format);
		length = vsnprintf(left > 0 ? text->bytes + text->length : NULL, left, format,
				   arguments);
		va_end(arguments);
		if (length >= 0 && (size_t)length < left)
			text->length += (size_t)length;
		if (length < 0 || (size_t)length < left)
			return;
		if (text->failed || !grow(text, text->length + (size_t)length + 1))
			return;
	}
}

/* "_ns" of "latency_ns", when that is its unit; "" otherwise. */
static const char *unit_suffix(const struct stat_counter_copy *counter)
{
	size_t name = strlen(counter->name), unit = strlen(counter->unit);

	if (unit > 0 && name > unit + 1 && counter->name[name - unit - 1] == '_' &&
	    strcmp(counter->name + name - unit, counter->unit) == 0)
		return counter->name + name - unit - 1;
	return "";
}

void stat_counter_file(char name[32], const struct stat_counter_copy *counter)
{
	size_t length = strlen(counter->name);

	if (counter->kind == STAT_HISTOGRAM)
		length -= strlen(unit_suffix(counter));
	memcpy(name, counter->name, length);
	name[length] = '\0';
}

void stat_law_text(char text[80], const struct stat_block_copy *block, uint32_t law)
{
	snprintf(text, 80, "%s>=%s", block->counters[block->laws[law].first].name,
		 block->counters[block->laws[law].second].name);
}

const char *stat_verdict_text(enum stat_verdict verdict)
{
	return verdict == STAT_LAW_HOLDS ? "ok" : verdict == STAT_LAW_BROKEN ? "BROKEN" : "unknown";
}

/* ---- The keys of a block --------------------------------------------------------------------- */

typedef void take_line(void *context, const struct stat_line *line);

static const unsigned percents[] = {50, 90, 99};
enum { PERCENTS = sizeof(percents) / sizeof(percents[0]) };

static void each_of_histogram(const struct stat_counter_copy *counter, take_line *take,
			      void *context)
{
	const char *suffix = unit_suffix(counter);
	struct stat_line line = {.value = counter->count, .unit = "samples", .help = counter->help};
	char name[32];

	stat_counter_file(name, counter);
	snprintf(line.key, sizeof(line.key), "%s_count", name);
	take(context, &line);
	line.unit = counter->unit;
	line.value = counter->sum;
	snprintf(line.key, sizeof(line.key), "%s_sum%s", name, suffix);
	take(context, &line);
	for (int i = 0; i < PERCENTS; i++) {
		line.value = stat_percentile(counter, percents[i]);
		snprintf(line.key, sizeof(line.key), "%s_p%u%s", name, percents[i], suffix);
		take(context, &line);
	}
}

static bool has_in_flight(const struct stat_block_copy *block, uint32_t law)
{
	return block->laws[law].equal_at_end &&
	       block->counters[block->laws[law].first].kind != STAT_HISTOGRAM &&
	       block->counters[block->laws[law].second].kind != STAT_HISTOGRAM;
}

void stat_each_line(const struct stat_block_copy *block, take_line *take, void *context)
{
	uint32_t in_flight = 0;

	for (uint32_t i = 0; i < block->counter_count; i++) {
		const struct stat_counter_copy *counter = &block->counters[i];
		struct stat_line line = {
			.value = counter->count, .unit = counter->unit, .help = counter->help};

		if (counter->kind == STAT_HISTOGRAM) {
			each_of_histogram(counter, take, context);
			continue;
		}
		snprintf(line.key, sizeof(line.key), "%s", counter->name);
		take(context, &line);
	}
	for (uint32_t i = 0; i < block->law_count; i++)
		in_flight += has_in_flight(block, i);
	for (uint32_t i = 0; i < block->law_count; i++) {
		const struct stat_counter_copy *first = &block->counters[block->laws[i].first];
		const struct stat_counter_copy *second = &block->counters[block->laws[i].second];
		struct stat_line line = {.unit = first->unit, .help = ""};

		if (!has_in_flight(block, i))
			continue;
		/* None, rather than 2^64 - 1, when the law is broken: its own line says that. */
		line.value = first->count > second->count ? first->count - second->count : 0;
		snprintf(line.key, sizeof(line.key), "in_flight%s%s", in_flight > 1 ? "_" : "",
			 in_flight > 1 ? first->name : "");
		take(context, &line);
	}
}

/* ---- The files ------------------------------------------------------------------------------- */

struct printing {
	struct stat_text *text;
	const struct stat_block_copy *block; /* NULL: keys stand alone */
};

static void print_line(void *context, const struct stat_line *line)
{
	const struct printing *printing = context;
	const struct stat_block_copy *block = printing->block;

	/* In one piece, so that a text that is cut ends with a line. */
	if (block != NULL)
		stat_say(printing->text, "%s/%s.%" PRIu32 "/%s %" PRIu64 "\n", block->room,
			 block->object, block->instance, line->key, line->value);
	else
		stat_say(printing->text, "%s %" PRIu64 "\n", line->key, line->value);
}

void stat_render_block(struct stat_text *text, const struct stat_block_copy *block)
{
	struct printing printing = {.text = text};

	stat_say(text, "time_ns %" PRIu64 "\nstate %s\nconsistent %d\n", block->time_ns,
		 block->ended ? "ended" : "live", block->consistent);
	stat_each_line(block, print_line, &printing);
	for (uint32_t i = 0; i < block->law_count; i++) {
		char law[80];

		stat_law_text(law, block, i);
		stat_say(text, "law %s %s\n", law,
			 stat_verdict_text(stat_check_law(block, i, false)));
	}
}

void stat_render_counter(struct stat_text *text, const struct stat_counter_copy *counter)
{
	const char *suffix = unit_suffix(counter);

	if (counter->kind != STAT_HISTOGRAM) {
		stat_say(text, "%" PRIu64 "\n", counter->count);
		return;
	}
	for (uint32_t i = 0; i < STAT_BUCKETS; i++)
		if (counter->buckets[i] > 0)
			stat_say(text, "%" PRIu64 " %" PRIu64 "\n", stat_bucket_upper(i),
				 counter->buckets[i]);
	stat_say(text, "count %" PRIu64 "\nsum%s %" PRIu64 "\n", counter->count, suffix,
		 counter->sum);
	for (int i = 0; i < PERCENTS; i++)
		stat_say(text, "p%u%s %" PRIu64 "\n", percents[i], suffix,
			 stat_percentile(counter, percents[i]));
}

uint64_t stat_calendar_ns(const struct stat_process *process, uint64_t time_ns)
{
	return process->begun_realtime_ns + (time_ns - process->begun_ns);
}

static uint64_t passed(uint64_t from_ns, uint64_t to_ns)
{
	return to_ns > from_ns ? to_ns - from_ns : 0;
}

int stat_render_info(struct stat_text *text, struct stat_reader *reader)
{
	struct stat_process process;
	struct stat_block_copy block;
	uint32_t blocks = 0, ended = 0, damaged = 0;
	uint64_t now = ke_query_interrupt_time();
	bool live = stat_is_live(reader);
	int error = stat_read_process(reader, &process);
	struct tm calendar;
	char begun[32];
	time_t seconds;

	if (error != 0)
		return error;
	for (uint32_t i = 0; i < process.slots; i++) {
		error = stat_read_block(reader, i, &block);
		blocks += error == 0;
		ended += error == 0 && block.ended;
		damaged += error != 0 && error != ENOENT;
	}
	seconds = (time_t)(process.begun_realtime_ns / 1000000000u);
	strftime(begun, sizeof(begun), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &calendar));
	stat_say(text, "name %s\npid %" PRIu32 "\nstate %s\nversion %" PRIu32 "\nbegun %s\n",
		 process.name, process.process, live ? "live" : "dead", process.version, begun);
	stat_say(text, "uptime_ns %" PRIu64 "\nheartbeat_age_ns %" PRIu64 "\nboot_id %s\n",
		 passed(process.begun_ns, live ? now : process.heartbeat_ns),
		 passed(process.heartbeat_ns, now), process.boot_id);
	stat_say(text, "blocks %" PRIu32 "\nblocks_ended %" PRIu32 "\nblocks_refused %" PRIu64 "\n",
		 blocks, ended, process.blocks_refused);
	stat_say(text, "damaged %" PRIu32 "\nconsistent %d\n", damaged, process.consistent);
	return 0;
}

/* One attempt; *consistent says whether all blocks are those of one moment. */
static int try_all(struct stat_text *text, struct stat_reader *reader, bool *consistent)
{
	struct stat_process before, after;
	struct stat_block_copy block;
	struct printing printing = {.text = text, .block = &block};
	int error = stat_read_process(reader, &before);

	if (error != 0)
		return error;
	*consistent = before.consistent;
	stat_say(text, "time_ns %" PRIu64 "\n", ke_query_interrupt_time());
	for (uint32_t i = 0; i < before.slots && !text->failed; i++) {
		if (stat_read_block(reader, i, &block) != 0)
			continue;
		*consistent = *consistent && block.consistent;
		stat_each_line(&block, print_line, &printing);
	}
	error = stat_read_process(reader, &after);
	*consistent = *consistent && !text->failed && before.epoch == after.epoch;
	return error;
}

int stat_render_all(struct stat_text *text, struct stat_reader *reader)
{
	enum { ATTEMPTS = 4 };
	size_t start = text->length;
	bool consistent = false;

	for (int i = 0; i < ATTEMPTS && !consistent && !text->failed; i++) {
		int error;

		text->length = start;
		error = try_all(text, reader, &consistent);
		if (error != 0)
			return error;
	}
	stat_say(text, "consistent %d\n", consistent);
	return 0;
}
