/*
 * Tokens: a schedule as one word that can be pasted into a command line.
 *
 *      request/cancel@5f3a09c1:p2r1:0.3.0-2,0.5.0-1
 *
 * the scenario, the program that found it, its processors and requests (and aN: the allocation that
 * failed), and the deviations, each by lane, the lane's yield point, the choice there, and what was
 * chosen.
 */
#include "token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t program_hash(void)
{
	FILE *file = fopen("/proc/self/exe", "re");
	uint32_t hash = 0x811c9dc5;
	unsigned char block[1 << 16];
	size_t got;

	while (file != NULL && (got = fread(block, 1, sizeof(block), file)) > 0)
		for (size_t i = 0; i < got; i++)
			hash = (hash ^ block[i]) * 0x01000193;
	if (file != NULL)
		fclose(file);
	return hash;
}

void print_token(FILE *stream, const char *scenario, uint32_t program,
		 const struct sim_schedule *schedule)
{
	fprintf(stream, "%s@%08x:p%ur%u", scenario, program, schedule->processors,
		schedule->requests);
	if (schedule->fail_allocation != 0)
		fprintf(stream, "a%llu", (unsigned long long)schedule->fail_allocation);
	for (uint32_t i = 0; i < schedule->deviation_count && i < SIM_DEVIATIONS; i++) {
		const struct ke_sim_deviation *deviation = &schedule->deviations[i];

		fprintf(stream, "%c%u.%u.%u-%u", i == 0 ? ':' : ',', deviation->lane,
			deviation->turn, deviation->nth, deviation->index);
	}
}

/* Reads "<letter><number>" and moves on; the number must be in the range. */
static bool take_number(const char **text, char letter, uint64_t minimum, uint64_t maximum,
			uint64_t *value)
{
	char *end;

	if (**text != letter || (*text)[1] < '0' || (*text)[1] > '9')
		return false;
	*value = strtoull(*text + 1, &end, 10);
	*text = end;
	return *value >= minimum && *value <= maximum;
}

static bool take_deviation(const char **text, char before, struct ke_sim_deviation *deviation)
{
	uint64_t lane, turn, nth, index;

	if (!take_number(text, before, 0, UINT16_MAX, &lane) ||
	    !take_number(text, '.', 0, UINT32_MAX, &turn) ||
	    !take_number(text, '.', 0, UINT16_MAX, &nth) ||
	    !take_number(text, '-', 1, UINT32_MAX, &index))
		return false;
	*deviation = (struct ke_sim_deviation){.lane = (uint16_t)lane,
					       .turn = (uint32_t)turn,
					       .nth = (uint16_t)nth,
					       .index = (uint32_t)index};
	return true;
}

static bool take_hash(const char **text, bool *other_program)
{
	char *end;
	unsigned long hash = strtoul(*text + 1, &end, 16);

	if (**text != '@' || end != *text + 9)
		return false;
	*other_program = hash != 0 && hash != program_hash();
	*text = end;
	return true;
}

bool parse_token(const char *text, char *scenario, size_t room, struct sim_schedule *schedule,
		 bool *other_program)
{
	size_t name = strcspn(text, "@");
	uint64_t processors, requests;

	*schedule = (struct sim_schedule){.processors = 0};
	if (name == 0 || name >= room)
		return false;
	snprintf(scenario, room, "%.*s", (int)name, text);
	text += name;
	if (!take_hash(&text, other_program) || *text != ':')
		return false;
	text++;
	if (!take_number(&text, 'p', 1, KE_MAXIMUM_PROCESSORS, &processors) ||
	    !take_number(&text, 'r', 1, UINT32_MAX, &requests))
		return false;
	schedule->processors = (unsigned)processors;
	schedule->requests = (unsigned)requests;
	if (*text == 'a' && !take_number(&text, 'a', 1, UINT64_MAX, &schedule->fail_allocation))
		return false;
	for (char before = ':'; *text != '\0'; before = ',') {
		if (schedule->deviation_count == SIM_DEVIATIONS ||
		    !take_deviation(&text, before,
				    &schedule->deviations[schedule->deviation_count]))
			return false;
		schedule->deviation_count++;
	}
	return true;
}
