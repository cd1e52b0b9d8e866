#ifndef XPORT_COUNTERS_H
#define XPORT_COUNTERS_H

/*
 * The counters of this process, for others to watch while a verb works: one segment at a time. A
 * machine where it can't be published is no reason not to do the job: then nothing is counted.
 */

#include "stat/stat.h"

/*
 * Runs main(context) in the executive, with a segment published under this name, which *segment
 * names meanwhile; NULL for the name: uncounted. XPORT_OK, or XPORT_FAILED with a line printed:
 * then main has not run.
 */
int run_counted(const char *name, struct stat_segment **segment, ke_thread_routine *main,
		void *context);

/* Publishes a segment under this name; NULL when it can't be. The executive need not run. */
struct stat_segment *counters_publish(const char *name);

/* The work is done and the devices that counted are gone: the counters vanish. */
void counters_withdraw(void);

/* For a process about to exit, from any thread: they vanish, and none are published any more. */
void counters_withdraw_any(void);

#endif
