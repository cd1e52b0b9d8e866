/* What is printed of a row of the demo, and the law that it is held against. */
#include <stdio.h>

#include "demo.h"

double demo_predict(const struct demo *demo, const struct demo_row *row)
{
	double rate = (double)demo->rate_bits_per_second / 8;
	double law = (double)row->depth * demo->block_bytes / ((double)demo->rtt_ns / 1e9);

	if (row->mode == DEMO_SOCKET)
		return rate;
	return rate > 0 && rate < law ? rate : law;
}

static const char *mode_name(enum demo_mode mode)
{
	static const char *const names[] = {"socket", "sync", "async"};

	return names[mode];
}

static void print_json_row(const struct demo *demo, const struct demo_row *row,
			   const struct demo_printer *printer, bool match)
{
	double predicted = demo_predict(demo, row);

	printf("%s\n  {\"mode\": \"%s\", \"depth\": ", printer->begun ? "," : "[",
	       mode_name(row->mode));
	if (row->mode == DEMO_SOCKET)
		printf("null");
	else
		printf("%u", row->depth);
	printf(", \"block_bytes\": %u, \"rtt_ns\": %llu, \"bytes\": %llu, \"seconds\": %.6f, "
	       "\"total_seconds\": %.6f, \"bytes_per_second\": %.0f, ",
	       demo->block_bytes, (unsigned long long)demo->rtt_ns, (unsigned long long)row->bytes,
	       row->seconds, row->total_seconds, row->bytes_per_second);
	if (predicted > 0)
		printf("\"predicted_bytes_per_second\": %.0f, ", predicted);
	else
		printf("\"predicted_bytes_per_second\": null, ");
	printf("\"ratio_to_sync\": %.3f, \"effective_depth\": %.3f, \"sha256_match\": %s, "
	       "\"transport\": \"%s\", \"window_too_short\": %s, \"stolen_seconds\": %.2f}",
	       row->bytes_per_second / printer->sync_rate, row->effective_depth,
	       match ? "true" : "false", printer->transport,
	       row->window_too_short ? "true" : "false", row->stolen_seconds);
}

static void print_table_row(const struct demo *demo, const struct demo_row *row,
			    const struct demo_printer *printer, bool match)
{
	double predicted = demo_predict(demo, row), rate = row->bytes_per_second;
	char name[32], law[32] = "-", of_law[32] = "-", each[32] = "-";

	if (!printer->begun)
		printf("%-16s %9s %10s %10s %8s %9s  %s\n", "", "MB/s", "ms a send", "the law",
		       "of it", "to sync", "SHA-256");
	if (row->mode == DEMO_ASYNC)
		snprintf(name, sizeof(name), "async, depth %u", row->depth);
	else
		snprintf(name, sizeof(name), "%s",
			 row->mode == DEMO_SYNC ? "sync" : "plain socket");
	if (predicted > 0) {
		snprintf(law, sizeof(law), "%.1f", predicted / 1e6);
		snprintf(of_law, sizeof(of_law), "%.2f", rate / predicted);
	}
	/* How long a send is under way, by Little's law. */
	if (row->mode != DEMO_SOCKET && rate > 0)
		snprintf(each, sizeof(each), "%.2f",
			 row->effective_depth * demo->block_bytes / rate * 1e3);
	printf("%-16s %9.1f %10s %10s %8s %8.1fx  %s%s\n", name, rate / 1e6, each, law, of_law,
	       rate / printer->sync_rate, match ? "equal" : "DIFFERENT",
	       row->window_too_short	       ? "  (file too short for a steady window)"
	       : row->bytes < demo->file_bytes ? "  (the file's first part)"
					       : "");
}

void demo_print_row(struct demo_printer *printer, const struct demo *demo,
		    const struct demo_row *row, bool sha256_match)
{
	if (printer->json)
		print_json_row(demo, row, printer, sha256_match);
	else
		print_table_row(demo, row, printer, sha256_match);
	fflush(stdout);
	printer->begun = true;
}

void demo_print_end(const struct demo_printer *printer)
{
	if (printer->json)
		printf("\n]\n");
}
