#ifndef XPORT_LISTENER_H
#define XPORT_LISTENER_H

#include "tdi/tdi.h"

/*
 * Reads what the peer says, to know when it stops. The buffer is pool memory, because callbacks use
 * it. An error also makes `stop_fd` readable, for a sender that waits for its source.
 */
struct listener {
	struct file_object *connection;
	struct kevent ended;
	ntstatus status; /* why, once `ended` is set */
	void *buffer;
	int stop_fd; /* an eventfd, the caller's */
};

/*
 * Begins to read; false when there is no memory. When the connection has been closed, the buffer is
 * the caller's to free. System thread.
 */
bool listener_start(struct listener *listener, struct file_object *connection);

#endif
