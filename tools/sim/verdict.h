/* What a search came to, in words and as JSON. */
#ifndef XPORT_SIM_VERDICT_H
#define XPORT_SIM_VERDICT_H

#include <stdio.h>

#include "explore.h"

/* How far the search came, and what that guarantees. */
void print_verdict(FILE *stream, const struct sim_search *search, const struct sim_board *board);
void print_verdict_json(FILE *stream, const struct sim_search *search,
			const struct sim_board *board);

/*
 * Runs the board's schedule once more, with its steps recorded, and tells what happens: the chart,
 * the report, the token. False, and nothing is told, when it ends well.
 */
bool tell_failure(FILE *stream, const struct sim_scenario *scenario, struct sim_board *board,
		  struct ke_sim_event *events, uint32_t event_room);

#endif
