/* Tokens, by which a failure can be had again; see token.c for what they look like. */
#ifndef XPORT_SIM_TOKEN_H
#define XPORT_SIM_TOKEN_H

#include <stdio.h>

#include "explore.h"

/* Of the program that runs, with all that it is linked from. */
uint32_t program_hash(void);

/* `program`: program_hash(), or 0 where what the token is tried on is meant to change. */
void print_token(FILE *stream, const char *scenario, uint32_t program,
		 const struct sim_schedule *schedule);

/*
 * Takes a token apart. False when it is none. *other_program tells that another build made it, so
 * that it may mean something else now.
 */
bool parse_token(const char *text, char *scenario, size_t room, struct sim_schedule *schedule,
		 bool *other_program);

#endif
