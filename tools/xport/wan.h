#ifndef XPORT_WAN_H
#define XPORT_WAN_H

/*
 * A wide-area link between two network namespaces of this machine, so that the kernel's own TCP
 * sees a real round-trip time. The two namespaces are called the sides 'a' and 'b'; a relay
 * process delays what passes between them. relay.h has the relay, wan.c everything around it.
 *
 * A wan is known by a name: 1 to 32 of the characters [A-Za-z0-9._-], each user having names of
 * their own; NULL stands for WAN_DEFAULT_NAME. Nothing of it lives in the file system.
 *
 * Errors: a function returns -1 and puts one line without a newline, which says what failed and
 * what to do about it, into the caller's `error`, of `error_size` bytes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WAN_DEFAULT_NAME "wan"
#define WAN_DEFAULT_RTT_NS UINT64_C(10000000)
#define WAN_MAX_RTT_NS UINT64_C(10000000000)

/*
 * With a rate, a packet also takes the time that its own bytes need, and a queue of four times
 * rate * RTT, but 8 MiB at least, drops what finds it full. Without one the queue has 256 MiB.
 */
struct wan_options {
	uint64_t rtt_ns;	       /* half of it in each direction; at most WAN_MAX_RTT_NS */
	uint64_t rate_bits_per_second; /* of each direction; 0: no limit but the machine's */
	const char *name;
};

/* What has crossed the wan in one direction since it came up. */
struct wan_traffic {
	uint64_t packets; /* delivered; one may stand for up to 64 KiB of TCP segments */
	uint64_t bytes;	  /* delivered, IP headers included */
	uint64_t dropped; /* packets that found the queue full or the far device down */
	uint64_t queued;  /* bytes under way now */
};

struct wan_status {
	uint64_t rtt_ns;
	uint64_t rate_bits_per_second;
	int64_t relay_pid;
	struct wan_traffic a_to_b;
	struct wan_traffic b_to_a;
};

/*
 * Brings a wan up and returns the process id of its relay once packets can flow.
 *
 * The relay is a child of the caller, in a session of its own and holding none of the caller's
 * descriptors. With `die_with_parent` it ends when the calling process ends, however that
 * happens. Otherwise it stays until wan_down() or a signal; a caller that lives on has a child
 * to reap. Whenever and however the relay ends, both devices end with it, and so do the
 * namespaces as soon as no other process is inside.
 */
pid_t wan_up(const struct wan_options *options, bool die_with_parent, char *error,
	     size_t error_size);

/*
 * Moves the calling process, which must have a single thread, to side 'a' or 'b'. Where the wan
 * was brought up without privileges, this enters its user namespace too, in which the caller
 * appears as root. There is no way back: fork first. Sockets opened before stay where they were.
 */
int wan_enter(const char *name, char side, char *error, size_t error_size);

/* Ends a wan and returns when its devices have gone. A caller that started it then reaps it. */
int wan_down(const char *name, char *error, size_t error_size);

int wan_status(const char *name, struct wan_status *status, char *error, size_t error_size);

/* The IPv4 address of a side, in dots; NULL when `side` is neither 'a' nor 'b'. */
const char *wan_address(char side);

/* The verb `xport wan`; argv[0] is "wan". Returns the exit status. */
int cmd_wan(int argc, char **argv);

#endif
