/*
 * The conformance suite: what every transport has to do, checked through tdi.h alone.
 *
 * A transport describes itself by a struct conformance_provider. add_conformance_suite makes two
 * suites of it, one with buffered sends and one with direct sends. Each case has an executive, a
 * device and a segment of its own; at its end all counters must obey their laws.
 */
#ifndef XPORT_TESTS_TRANSPORT_CONFORMANCE_H
#define XPORT_TESTS_TRANSPORT_CONFORMANCE_H

#include "tdi/tdi.h"

/* What a case wants of the device. */
struct conformance_options {
	bool direct;	    /* a send completes when the peer has it, not when it is copied */
	bool small_buffers; /* some 64 KiB, so that 4 MiB can't be on the way unread */
	struct stat_segment *segment; /* where it counts */
};

struct conformance_provider {
	const char *name; /* of the suites; static */
	struct device_object *(*create)(const struct conformance_options *options);
	void (*destroy)(struct device_object *device);
	struct transport_address (*any_address)(void); /* a local one that opens, with port 0 */
	bool direct_acknowledges; /* a direct send's success means that the peer has its bytes */
	bool slow;		  /* a round trip takes milliseconds */
};

/* `provider` must stay. */
void add_conformance_suite(const struct conformance_provider *provider);

#endif
