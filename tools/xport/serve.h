#ifndef XPORT_SERVE_H
#define XPORT_SERVE_H

/* Many senders at once, each into a file of its own, see directory.h. */

#include "xport.h"

struct serve_options {
	const struct transport_address *local;
	const char *directory; /* prepared */
	uint32_t backlog;      /* senders that can call at the same moment */
	uint64_t count;	       /* connections, then it ends; 0: when it is interrupted */
	uint64_t timeout_ns;   /* a sender's silence, then it is given up; 0: never */
	uint64_t dead_peer_ns; /* the same of a machine that does not even acknowledge */
	bool sha256;
	bool json;
	struct stat_segment *segment;
};

/*
 * Serves. One sender's failure is a line on standard error, and the others go on. Returns XPORT_OK,
 * or XPORT_FAILED when any has failed. Uses interrupt_ask_first. System thread, PASSIVE_LEVEL.
 */
int serve(const struct serve_options *options);

#endif
