/*
 * Streams in tests: a town, which is a daemon and an address to call it from, on any transport; and
 * words that its streams exchange.
 */
#ifndef XPORT_TESTS_STREAM_CLIENT_H
#define XPORT_TESTS_STREAM_CLIENT_H

#include "executive.h"
#include "laws.h"
#include "tdi/stream.h"

/* A transport to run the cases on; `any` is a local address to open. */
struct ground {
	const char *name;
	struct device_object *(*create)(struct stat_segment *segment);
	void (*destroy)(struct device_object *device);
	struct transport_address (*any)(void);
};

extern const struct ground tcp_ground; /* host only */

struct town {
	const struct ground *ground;
	struct counted counted;
	struct device_object *device;
	struct tdi_daemon daemon;
	struct transport_address place; /* of the daemon */
	struct file_object callers;	/* the address of those who call */
	bool stopped;			/* the daemon, by the case */
};

/* Ends the test program when there is no town to be had. At the end all laws hold. */
void open_town(struct town *town, const struct ground *ground, uint32_t backlog);
void close_town(struct town *town);

/* A stream that can call; fails the test and ends the program when there is none. */
struct tdi_stream *new_caller(struct town *town);

/* A caller and the daemon's stream for it, connected; false, with nothing left, when that fails. */
struct talk {
	struct tdi_stream *caller;
	struct tdi_stream *called;
};

bool begin_talk(struct town *town, struct talk *talk);
void end_talk(struct talk *talk);

/* Sends the text through the window and waits until it is sent. Returns the status. Any thread. */
ntstatus say(struct tdi_stream *stream, const char *text);

/* Whether exactly this text comes next; an end or an error before it prints what came. */
bool hears(struct tdi_stream *stream, const char *text);

/* What comes next, when that is the end. */
ntstatus hear_end(struct tdi_stream *stream);

/* No more will be said. */
void release(struct tdi_stream *stream);

#endif
