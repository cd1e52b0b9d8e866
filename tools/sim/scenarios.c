/* All scenarios, as one list. */
#include <string.h>

#include "scenarios.h"

static const struct sim_scenario *const lists[] = {
	request_scenarios, send_scenarios,    flow_scenarios,	   connection_scenarios,
	receive_scenarios, message_scenarios, scheduler_scenarios, delivery_scenarios,
	link_scenarios,	   canary_scenarios};

const struct sim_scenario *next_scenario(const struct sim_scenario *scenario)
{
	bool next = scenario == NULL;

	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		for (const struct sim_scenario *s = lists[i]; s->name != NULL; s++) {
			if (next)
				return s;
			next = s == scenario;
		}
	return NULL;
}

const struct sim_scenario *find_scenario(const char *name)
{
	const struct sim_scenario *scenario = NULL;

	while ((scenario = next_scenario(scenario)) != NULL)
		if (strcmp(scenario->name, name) == 0)
			return scenario;
	return NULL;
}
