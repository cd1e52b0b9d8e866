/* A run, drawn. */
#ifndef XPORT_SIM_CHART_H
#define XPORT_SIM_CHART_H

#include <stdio.h>

#include "explore.h"

enum { CHART_LINES = 40 };

/*
 * The last steps of a run, at most CHART_LINES lines: a column a lane, the IRQL as indent, and in
 * front of a step '>' where another lane goes on than before, '!' where the one before could have
 * gone on itself.
 */
void print_chart(FILE *stream, const struct ke_sim_event *events, uint32_t count, uint32_t total);

/* All of them, in the JSON of Chrome's and Perfetto's trace viewers. False when it can't be
 * written. */
bool write_trace(const char *path, const char *scenario, const struct ke_sim_event *events,
		 uint32_t count);

#endif
