#ifndef XPORT_LISTENER_H
#define XPORT_LISTENER_H

#include "tdi/stream.h"

/*
 * Reads what the peer says, to know when it stops. A receive is always outstanding, so the stream's
 * queue stays empty, and also an end that this side made is told, of which there is no event. An
 * error ends the stream's window, for a sender that waits for room, and makes `stop_fd` readable,
 * for one that waits for its source. The buffer is pool memory, because callbacks use it.
 */
struct listener {
	struct tdi_stream *stream;
	struct kevent ended;
	ntstatus status; /* why, once `ended` is set */
	void *buffer;
	int stop_fd; /* an eventfd, the caller's */
};

/*
 * Begins to read; false when there is no memory. When the stream has been deleted, the buffer is
 * the caller's to free. System thread.
 */
bool listener_start(struct listener *listener, struct tdi_stream *stream);

#endif
