/*
 * Two nodes for the tests of messages, on any transport: one that listens and one that calls it,
 * each with portals whose owner does what the case says and remembers what he was told.
 */
#ifndef XPORT_TESTS_NAL_HOST_H
#define XPORT_TESTS_NAL_HOST_H

#include "nal/lnet.h"
#include "stream_client.h"

/* ---- Payloads ------------------------------------------------------------------------------ */

/* Memory in pieces that do not stand in order, of which a payload can use all or a part. */
struct sheet {
	uint8_t *bytes;
	struct lnet_iov *iov;
	struct lnet_kiov *kiov;
	struct lnet_payload payload;
};

/* `length` bytes in so many pieces of memory, or of pages, all zero. */
void make_sheet(struct sheet *sheet, uint32_t length, uint32_t count, bool pages);
void drop_sheet(struct sheet *sheet);

/* The pattern of a stream, from its beginning; whether the first `length` bytes are that. */
void fill_sheet(struct sheet *sheet, uint32_t stream);
bool sheet_is(const struct sheet *sheet, uint32_t stream, uint32_t length);

/* ---- Portals ------------------------------------------------------------------------------- */

enum {
	PORTAL_PLACED = 1, /* payloads go to their places */
	PORTAL_SHOWN,	   /* they are shown */
	PORTAL_SILENT,	   /* nobody is told that they have come */
	PORTAL_VACANT,	   /* nobody answers */
	PORTALS,
	SHELVES = 40,
};

/* What is at one value of the match bits. */
struct shelf {
	struct lnet_payload payload; /* where a PUT goes, and what a GET gets */
	ntstatus answer;	     /* to a PUT or GET that comes */
	ntstatus last_word;	     /* to one that is there */
	struct lnet_header header;   /* the last one's */
	uint64_t connection;
	int32_t puts, dones, failed, gets, gots;
	int32_t order; /* of the owner's `done`, the how-manieth was the last here */
	uint32_t shown;
	ntstatus status; /* with which the last PUT has ended */
};

struct owner {
	struct kspin_lock lock;
	struct shelf shelves[SHELVES];
	int32_t dones;
	int32_t holds_puts, holds_dones; /* so many are answered with STATUS_PENDING */
	bool resumes_at_once;		 /* before that */
	struct lnet_incoming *held;
	struct kevent holds; /* synchronization: `held` is there */
	struct kevent told;  /* synchronization: `dones` has grown */
};

/* Waits until the owner holds a message; and lets it go. */
void wait_for_held(struct owner *owner);
void let_held_go(struct owner *owner);

/* A look at a shelf, while others are at it. */
struct shelf look_at(struct owner *owner, unsigned shelf);

/* Waits until the owner was told of so many PUTs; false, and the test has failed, when not. */
bool wait_for_dones(struct owner *owner, int32_t dones);

/* ---- Nodes --------------------------------------------------------------------------------- */

#define SERVER_NID UINT64_C(0x000200000a000002) /* 10.0.0.2@tcp */
#define CLIENT_NID UINT64_C(0x000200000a000001)

struct host {
	struct lnet_node *node;
	struct lnet_portal portals[PORTALS];
	struct owner owner;
	uint64_t nid;
};

struct nodes {
	const struct ground *ground;
	struct counted counted;
	struct device_object *device;
	struct host server, client;
	struct transport_address place; /* of the server */
	struct ksock_peer *peer;	/* the server, as the client sees it */
	struct ksock_peer *back;	/* the client, as the server does: which does not call it */
};

/* Nodes as the options say; what they say of devices, addresses, NIDs and portals is filled in. */
void open_nodes(struct nodes *nodes, const struct ground *ground,
		const struct lnet_options *options);

/* Ends the nodes that there are; their counters can still be looked at. */
void stop_nodes(struct nodes *nodes);
void close_nodes(struct nodes *nodes);

/* Begins a host's node; ends the program when it can't be. `listen` may be NULL. */
void start_host(struct nodes *nodes, struct host *host, const struct lnet_options *options,
		const struct transport_address *listen);

/* The server's end, and its life anew at the same place. */
void restart_server(struct nodes *nodes, const struct lnet_options *options);

typedef void nodes_case(struct nodes *nodes);

/* Runs the case on every ground, as schedulers and as threads. */
void with_nodes(nodes_case *body, const struct lnet_options *options);

/* The same on the grounds of an array that ends with NULL. */
void with_nodes_on(const struct ground *const *where, nodes_case *body,
		   const struct lnet_options *options);

/* A link that buffers; one that buffers little, and cuts; kernel TCP, or NULL. */
extern const struct ground plain_link, cutting_link;
extern const struct ground *const tcp_or_null;

/* Both, and with kernel TCP; and without the one that is slow. Each ends with NULL. */
extern const struct ground *const all_grounds[];
extern const struct ground *const swift_grounds[];

/* ---- Messages ------------------------------------------------------------------------------ */

struct letter {
	struct ksock_tx tx;
	struct kevent over;
	int32_t callbacks;
	ntstatus status;
	uint32_t length;
	int32_t *counter; /* if not NULL: counts callbacks of several, ... */
	int32_t order;	  /* ... and this was the how-manieth, from 1 */
};

/* `shelf`: its match bits. */
void start_put(struct letter *letter, struct ksock_peer *peer, uint32_t portal, unsigned shelf,
	       const struct lnet_payload *payload, uint32_t flags);
void start_get(struct letter *letter, struct ksock_peer *peer, uint32_t portal, unsigned shelf,
	       const struct lnet_payload *payload);

/* Waits for the callback: the status. The test fails, and the program ends, if there is none. */
ntstatus wait_for_letter(struct letter *letter);

/* Both in one. */
ntstatus put(struct ksock_peer *peer, uint32_t portal, unsigned shelf,
	     const struct lnet_payload *payload, uint32_t flags, uint32_t *length);
ntstatus get(struct ksock_peer *peer, uint32_t portal, unsigned shelf,
	     const struct lnet_payload *payload, uint32_t *length);

/* Whether they are connected: an empty PUT has its ACK. */
bool knock(struct nodes *nodes);

#endif
