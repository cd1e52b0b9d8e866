#ifndef XPORT_RELAY_H
#define XPORT_RELAY_H

/* The process in the middle of a wan: two delay lines and a control socket. Private to wan.c. */

#include <stdbool.h>
#include <stdint.h>

#include "wan.h"

enum { RELAY_A, RELAY_B, RELAY_SIDES };

/* What a client of the control socket asks for, in one message of one byte. */
enum relay_request {
	RELAY_ENTER_A = 'a',
	RELAY_ENTER_B = 'b',
	RELAY_STATUS = 's',
	RELAY_DOWN = 'd',
};

/*
 * The answer to every request. To RELAY_ENTER_* it carries descriptors: the side's network
 * namespace and then, if there is one, the user namespace that owns it. After RELAY_DOWN the
 * connection closes once the devices have gone.
 */
struct relay_answer {
	uint32_t version;
	uint32_t descriptors;
	struct wan_status status;
};

enum { RELAY_VERSION = 1 };

/* All that a relay works on. An absent descriptor is -1. */
struct relay_setup {
	uint64_t rtt_ns;
	uint64_t rate_bits_per_second;
	int tun[RELAY_SIDES];		/* with IFF_VNET_HDR and IFF_NO_PI, non-blocking */
	int net_namespace[RELAY_SIDES]; /* each outlives its device here */
	int user_namespace;		/* where the relay made one for itself */
	int listener;			/* SOCK_SEQPACKET, non-blocking */
	int parent;			/* a pidfd: the relay ends with this process */
};

/*
 * Relays until a client asks it to end, the parent is gone, or a device is lost. Owns the
 * descriptors of `setup` from the call on and has closed them all when it returns.
 */
void relay_run(const struct relay_setup *setup);

#endif
