#ifndef XPORT_INTERRUPT_H
#define XPORT_INTERRUPT_H

/*
 * What happens on SIGINT, SIGTERM and SIGHUP: partial files go, one line says so, and the
 * process exits with 128 and the signal's number.
 */

#include <stdbool.h>

/*
 * Blocks the three in the calling thread and starts a thread that waits for them, once in a process
 * and before ke_run, so that every thread made later has them blocked too. One that was ignored
 * when the program began (nohup, a shell's background job) stays so. Also ignores SIGPIPE.
 * XPORT_OK, or XPORT_FAILED with a line printed.
 */
int interrupt_watch(void);

/*
 * Does not return when one of the signals has come, however short ago. For the moment before a
 * transfer is declared whole: Ctrl-C ends all of a pipeline, and a source that was killed must not
 * be taken for one that has come to its end.
 */
void interrupt_check(void);

/*
 * For a job that can be ended in good order: from now on the first signal ends nothing, but is told
 * by interrupt_asked, and the next is as above.
 */
void interrupt_ask_first(void);
bool interrupt_asked(void);

#endif
