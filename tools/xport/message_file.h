#ifndef XPORT_MESSAGE_FILE_H
#define XPORT_MESSAGE_FILE_H

/*
 * The owner of a portal to which a file is delivered (nal/delivery.h). What comes goes into a
 * partial file that outlives the process; several can be under way, by their ids, and the first
 * that is whole gets the name.
 */

#include "nal/delivery.h"

struct message_file {
	const char *path;
	struct lnet_receiver receiver;
	struct kthread writer;
	struct kevent work;    /* synchronization: there are steps, or no more will come */
	struct kevent changed; /* synchronization: finished, failed, or at rest */

	struct kspin_lock lock;	 /* guards the rest */
	struct list_entry steps; /* transfers whose turn it is */
	bool leaving;
	uint64_t moved_ns; /* when something was kept last */
	uint64_t position; /* and how much */
	bool finished;	   /* a file has its name */
	int error;	   /* or the errno for which none can have it */
	bool at_rest;	   /* and the sender knows */

	/* Of what is finished. */
	uint64_t id, source;
	uint64_t bytes, began_at;
	uint64_t begin_ns, end_ns;
};

/*
 * Gives the portal its owner. STATUS_SUCCESS, or STATUS_INSUFFICIENT_RESOURCES: no thread. A
 * thread, as for all here.
 */
ntstatus message_file_open(struct message_file *kept, const char *path, struct lnet_portal *portal);

/* The node is gone. What is not whole stays for another time. */
void message_file_close(struct message_file *kept);

/* The sender knows: nobody will ask whether the file at `path` is his. Any thread at all. */
void message_file_forget(const char *path);

#endif
