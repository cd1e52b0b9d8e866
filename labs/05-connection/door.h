/*
 * A transport for the exercises of lab 05: a door at which peers knock as an exercise tells them.
 *
 * It looks after what a transport may rely on: that an accept request comes back for an endpoint of
 * its own that has no peer, that loans come back before the close, that no endpoint is open when
 * the address is closed. An endpoint's close waits for whoever is at it.
 */
#ifndef XPORT_LABS_DOOR_H
#define XPORT_LABS_DOOR_H

#include "lab.h"
#include "tdi/stream.h"

/* The rules of the handout. */
enum {
	RULE_EARLY = 1,
	RULE_UNREAD,
	RULE_RELEASE,
	RULE_ABORT,
	RULE_NOT_FREED,
	RULE_GIVEN_ONCE,
	RULE_REFUSED,
	RULE_COMES_BACK,
	RULE_REQUEST_KEPT,
	RULE_LETS_GO,
	RULE_STANDING,
	RULE_IN_ORDER,
	RULE_DELETE,
	RULE_STOP,
};

enum { DOOR_ENDPOINTS = 16 };

struct door;
struct peer;

struct endpoint {
	struct door *door;
	bool open;
	void *context;
	struct peer *peer;
	uint32_t users; /* the file, and who shows events */
	uint32_t loans;
	struct irp *close_irp;
};

struct door {
	struct device_object device;
	struct kspin_lock lock;
	tdi_event_handler *handlers[TDI_EVENT_COUNT];
	void *contexts[TDI_EVENT_COUNT];
	struct endpoint endpoints[DOOR_ENDPOINTS];
	uint32_t opened;    /* endpoints that are open */
	uint32_t creations; /* of endpoints, so far */
	uint32_t refuses;   /* creations of endpoints that will find no memory */
	uint32_t resets;    /* peers whose endpoint was closed */
	bool address_open;
	uint32_t calling;      /* connect events that are running */
	struct irp *close_irp; /* of the address, when none is running any more */
	bool no_room;	       /* for sends that are not to wait */
	uint64_t sent;	       /* bytes */
	uint32_t refusals;     /* of sends, for want of room */
};

/* A caller. What it does is told by its fields, which the exercise sets before it calls. */
struct peer {
	struct door *door;
	const char *early; /* shown before the accept completes */
	ntstatus outcome;  /* of the accept */
	bool later;	   /* it completes from another DPC */
	uint16_t port;	   /* that it calls from */

	struct kdpc call;
	struct kdpc settle;
	struct kevent done; /* it was refused, or its accept has completed */
	ntstatus answer;    /* the handler's, if it refused, or the accept's status */
	struct endpoint *endpoint;
	struct irp *accept_irp;
};

void open_door(struct door *door);

/* The address is closed, and nobody has been forgotten. */
void check_closed(struct door *door);

/* A peer that will be accepted; and its call, from a DPC. */
void prepare_peer(struct peer *peer, struct door *door, uint16_t port);
void start_call(struct peer *peer);

/* The call, until it was answered. */
void call_door(struct peer *peer);

/* Events at the peer's endpoint. */
void show_data(struct peer *peer, const char *text);
void lend_data(struct peer *peer, const char *text);
void show_end(struct peer *peer, uint32_t flags, ntstatus reason);

#endif
