/* A run as a chart of lanes, and as a trace for a viewer; see chart.h. */
#include "chart.h"

#include <string.h>

enum { MOST_COLUMNS = 5, WIDTH = 26 };

static const char *file_name(const struct ke_sim_event *event)
{
	const char *slash = event->file != NULL ? strrchr(event->file, '/') : NULL;

	if (event->file == NULL)
		return "begins";
	return slash != NULL ? slash + 1 : event->file;
}

/* ---- The chart ------------------------------------------------------------------------------- */

struct columns {
	unsigned count;
	uint16_t lane[MOST_COLUMNS];
	const char *kind[MOST_COLUMNS];
};

/* The lane's column; a lane that finds none stands in the last. */
static unsigned column_of(struct columns *columns, const struct ke_sim_event *event)
{
	for (unsigned i = 0; i < columns->count; i++)
		if (columns->lane[i] == event->lane)
			return i;
	if (columns->count == MOST_COLUMNS)
		return MOST_COLUMNS - 1;
	columns->lane[columns->count] = event->lane;
	columns->kind[columns->count] = event->kind;
	return columns->count++;
}

static void print_head(FILE *stream, const struct columns *columns)
{
	fputs("   step  ", stream);
	for (unsigned i = 0; i < columns->count; i++) {
		char title[WIDTH];

		if (columns->lane[i] == 0)
			snprintf(title, sizeof(title), "main");
		else
			snprintf(title, sizeof(title), "%u: %s", columns->lane[i],
				 columns->kind[i]);
		fprintf(stream, "%-*s", i + 1 < columns->count ? WIDTH : 0, title);
	}
	putc('\n', stream);
}

static void print_event(FILE *stream, unsigned column, uint32_t number,
			const struct ke_sim_event *event)
{
	char place[64];

	if (event->file == NULL)
		snprintf(place, sizeof(place), "begins");
	else
		snprintf(place, sizeof(place), "%s, %s:%d", event->what, file_name(event),
			 event->line);
	fprintf(stream, "%7u %c%*s%*s%s\n", number,
		event->preempted  ? '!'
		: event->switched ? '>'
				  : ' ',
		(int)(column * WIDTH), "", event->irql, "", place);
}

/*
 * Which steps are shown: of a long stretch of one lane only both ends, for what matters is where
 * another goes on.
 */
static bool is_shown(const struct ke_sim_event *events, uint32_t count, uint32_t index)
{
	enum { END = 3 };
	uint32_t first = index, last = index;

	while (first > 0 && !events[first].switched && index - first <= END)
		first--;
	while (last + 1 < count && !events[last + 1].switched && last - index <= END)
		last++;
	return index - first < END || last - index < END;
}

/* The first step such that those shown from it on fit into the lines. */
static uint32_t find_first(const struct ke_sim_event *events, uint32_t count)
{
	uint32_t first = count, lines = 2;

	while (first > 0 && lines < CHART_LINES) {
		first--;
		/* A gap takes a line of its own. */
		lines += is_shown(events, count, first) ||
			 (first + 1 < count && is_shown(events, count, first + 1));
	}
	return lines < CHART_LINES ? first : first + 1;
}

void print_chart(FILE *stream, const struct ke_sim_event *events, uint32_t count, uint32_t total)
{
	uint32_t first = find_first(events, count);
	struct columns columns = {0};
	bool shown = true;

	for (uint32_t i = first; i < count; i++)
		column_of(&columns, &events[i]);
	print_head(stream, &columns);
	if (first > 0)
		fprintf(stream, "         ... %u steps before\n", first);
	for (uint32_t i = first; i < count; i++) {
		bool before = shown;

		shown = is_shown(events, count, i);
		if (shown)
			print_event(stream, column_of(&columns, &events[i]), i + 1, &events[i]);
		else if (before)
			fputs("         ...\n", stream);
	}
	if (total > count)
		fprintf(stream, "         ... and %u steps that were not kept\n", total - count);
}

/* ---- The trace ------------------------------------------------------------------------------- */

static void write_event(FILE *file, const struct ke_sim_event *event, uint64_t end_ns)
{
	fprintf(file,
		",\n{\"ph\":\"X\",\"pid\":1,\"tid\":%u,\"ts\":%.3f,\"dur\":%.3f,\"name\":\"%s\","
		"\"args\":{\"at\":\"%s:%d\",\"irql\":%u,\"preempts\":%s}}",
		event->lane, (double)event->time_ns / 1e3, (double)(end_ns - event->time_ns) / 1e3,
		event->what, file_name(event), event->line, event->irql,
		event->preempted ? "true" : "false");
}

bool write_trace(const char *path, const char *scenario, const struct ke_sim_event *events,
		 uint32_t count)
{
	FILE *file = fopen(path, "we");
	bool named[UINT16_MAX + 1] = {false};
	bool failed;

	if (file == NULL)
		return false;
	fprintf(file,
		"{\"traceEvents\":[{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":"
		"{\"name\":\"%s\"}}",
		scenario);
	for (uint32_t i = 0; i < count; i++) {
		if (!named[events[i].lane])
			fprintf(file,
				",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%u,\"name\":\"thread_name\","
				"\"args\":{\"name\":\"%s %u\"}}",
				events[i].lane, events[i].kind, events[i].lane);
		named[events[i].lane] = true;
		write_event(file, &events[i],
			    i + 1 < count ? events[i + 1].time_ns : events[i].time_ns + 10);
	}
	fputs("\n]}\n", file);
	failed = ferror(file) != 0;
	return fclose(file) == 0 && !failed;
}
