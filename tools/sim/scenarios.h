/* The scenarios that there are, stage by stage; each list ends with one without a name. */
#ifndef XPORT_SIM_SCENARIOS_H
#define XPORT_SIM_SCENARIOS_H

#include "explore.h"

extern const struct sim_scenario request_scenarios[];
extern const struct sim_scenario send_scenarios[];
extern const struct sim_scenario flow_scenarios[];
extern const struct sim_scenario connection_scenarios[];
extern const struct sim_scenario receive_scenarios[];
extern const struct sim_scenario message_scenarios[];
extern const struct sim_scenario scheduler_scenarios[];
extern const struct sim_scenario link_scenarios[];
extern const struct sim_scenario delivery_scenarios[];
extern const struct sim_scenario canary_scenarios[];

/* The scenario of this name, or NULL. */
const struct sim_scenario *find_scenario(const char *name);

/* The next one of all, in order; the first after NULL, NULL after the last. */
const struct sim_scenario *next_scenario(const struct sim_scenario *scenario);

/* What a scenario says of itself when something did not hold; ends the run. */
#define scenario_expect(holds, ...)                                                                \
	do {                                                                                       \
		if (!(holds))                                                                      \
			ke_bug_check("SCENARIO", __VA_ARGS__);                                     \
	} while (0)

#endif
