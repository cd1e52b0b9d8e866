/*
 * The progress line, see progress.h. One thread draws; a line that is about to be printed by
 * another is kept whole by stdio, and takes the place of the progress line.
 */
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "xport.h"

enum {
	DRAW_INTERVAL_MS = 100,
	FIGURES_WIDTH = 48, /* what stands beside the bar, at most */
	LONGEST_BAR = 40,
};

void progress_begin(struct progress *progress, uint64_t total_bytes)
{
	*progress =
		(struct progress){.shown = isatty(STDERR_FILENO) == 1, .total_bytes = total_bytes};
}

static int bar_width(void)
{
	struct winsize size;
	int width = 80;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		width = size.ws_col;
	width -= FIGURES_WIDTH;
	return width < 0 ? 0 : width > LONGEST_BAR ? LONGEST_BAR : width;
}

static void draw_bar(double done)
{
	char bar[LONGEST_BAR + 1];
	int width = bar_width();
	int full = (int)(done * width);

	memset(bar, '.', sizeof(bar));
	memset(bar, '#', (size_t)full);
	if (width > 0)
		fprintf(stderr, "[%.*s] ", width, bar);
	fprintf(stderr, "%3d%%  ", (int)(done * 100));
}

static void draw_time_left(double seconds)
{
	unsigned left = seconds < 359999 ? (unsigned)(seconds + 0.5) : 359999;

	if (left >= 3600)
		fprintf(stderr, "  %u:%02u:%02u left", left / 3600, left / 60 % 60, left % 60);
	else
		fprintf(stderr, "  %u:%02u left", left / 60, left % 60);
}

/* A file that grew has more bytes than its size was: then the bar stays full. */
static void draw(const struct progress *progress, uint64_t bytes)
{
	uint64_t total = progress->total_bytes;

	flockfile(stderr);
	fputs("\r\033[K", stderr);
	if (total > 0)
		draw_bar(bytes < total ? (double)bytes / (double)total : 1);
	fputs(format_bytes(bytes).text, stderr);
	if (progress->rate > 0)
		fprintf(stderr, "  %s", format_rate(progress->rate).text);
	if (progress->rate > 0 && bytes < total)
		draw_time_left((double)(total - bytes) / progress->rate);
	fflush(stderr);
	funlockfile(stderr);
}

void progress_update(struct progress *progress, uint64_t bytes)
{
	uint64_t now, elapsed;

	if (!progress->shown)
		return;
	now = ke_query_interrupt_time();
	elapsed = now - progress->drawn_ns;
	if (progress->drawn_ns != 0) {
		double rate = (double)(bytes - progress->drawn_bytes) / ((double)elapsed / 1e9);

		if (elapsed < UINT64_C(1000000) * DRAW_INTERVAL_MS)
			return;
		/* Half of what is shown is from the last second. */
		progress->rate += (rate - progress->rate) * (progress->rate > 0 ? 0.07 : 1);
	}
	progress->drawn_ns = now;
	progress->drawn_bytes = bytes;
	draw(progress, bytes);
}

void progress_end(struct progress *progress)
{
	if (progress->shown && progress->drawn_ns != 0) {
		fputs("\r\033[K", stderr);
		fflush(stderr);
	}
	progress->shown = false;
}
