/*
 * Both sides of a delivery, for tests and scenarios: a keeper, whose disks outlive it, and a
 * mailer, who starts again from nothing. Each life of either is a node; both can be killed at any
 * moment from any thread.
 *
 * Nothing here is an assertion: what should not have been is counted in `wrong`.
 */
#ifndef XPORT_TESTS_KEEPER_H
#define XPORT_TESTS_KEEPER_H

#include "nal/delivery.h"

enum { DISKS = 4, DELIVERY_PORTAL = 1 };

/* What is kept of one whole; its number is the whole's id. */
struct disk {
	char *bytes; /* the case's memory */
	uint64_t kept;
	uint64_t room; /* beyond that a write fails */
	bool finished;
	unsigned opened, closed;
};

struct keeper {
	struct device_object *device;
	struct transport_address place; /* where it listens, in all its lives */
	uint64_t timeout_ns;		/* of its nodes */
	uint32_t most;			/* transfers at a time */
	uint64_t idle_ns;		/* see struct lnet_receiver */
	bool in_hurry;			/* does its steps at once, in no thread of its own */

	struct kspin_lock lock;
	struct disk disks[DISKS];
	unsigned wrong; /* bytes that did not belong where they were to be written */
	bool dead;	/* what is to be done now is not done any more */

	/* Of one life. */
	uint64_t lives;
	uint64_t nid;
	struct lnet_node *node;
	struct lnet_portal portals[DELIVERY_PORTAL + 1];
	struct lnet_receiver receiver;
	struct kthread thread;
	struct kevent work; /* synchronization */
	struct list_entry steps;
	bool retiring;
	struct kevent gave_up; /* synchronization: a transfer that had failed was closed */
};

/* With no life yet, and nothing on its disks. */
void initialize_keeper(struct keeper *keeper, struct device_object *device,
		       const struct transport_address *place);

/* A life; false: there is no pool, or no address. A thread. */
bool begin_life(struct keeper *keeper);

/* Ends it, at whatever it is. A thread. */
void end_life(struct keeper *keeper);

struct mailer {
	struct keeper *keeper;
	uint64_t nid;
	uint32_t id; /* of the whole, and its disk */
	const char *bytes;
	struct lnet_delivery what; /* its numbers; the rest is filled in */
	uint64_t timeout_ns;
	bool typed;

	struct kspin_lock lock;
	struct ksock_peer *peer; /* NULL: it is not alive */
	bool killed;
	unsigned lives, wrong;
	ntstatus read_fails; /* from `fails_at` on */
	uint64_t fails_at;
	struct lnet_delivery_report report; /* of the last life */
};

void initialize_mailer(struct mailer *mailer, struct keeper *keeper, uint32_t id, const char *bytes,
		       uint64_t length);

/* Delivers, in as many lives as it takes. As lnet_deliver, or why there can be no node. A thread.
 */
ntstatus deliver(struct mailer *mailer);

/* Ends its life, if it has one. Up to DISPATCH. */
void kill_mailer(struct mailer *mailer);

/* Ends only its connections. */
void cut_connections(struct mailer *mailer);

#endif
