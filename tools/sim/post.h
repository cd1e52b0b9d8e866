/*
 * Stages 07 and 08 in the simulator: two nodes on a link, and messages between them. Each message
 * has match bits of its own, so that both sides can say what has become of it. What is never called
 * back leaves its giver waiting, which is a deadlock.
 */
#ifndef XPORT_SIM_POST_H
#define XPORT_SIM_POST_H

#include "link/link.h"
#include "nal/lnet.h"
#include "scenarios.h"

enum {
	PORTAL = 1,
	MOST = 8, /* messages */
	BYTES = 5,
	BULK_BYTES = 1024,
	TIMEOUT = 1000000000,
};

#define SERVER_NID UINT64_C(0x000200000a000002)
#define CLIENT_NID UINT64_C(0x000200000a000001) /* and the next */

/* A message, at both ends. */
struct parcel {
	struct ksock_tx tx;
	struct kevent over;
	struct lnet_iov out[2], in[2];
	struct lnet_payload from, into;
	char *sent, *got; /* pool */
	int32_t callbacks;
	int32_t puts, dones, failed; /* at the server's portal */
	ntstatus status;
	uint32_t length;
};

struct post {
	struct device_object *device;
	struct lnet_options options; /* of both nodes */
	struct lnet_portal portals[PORTAL + 1];
	struct lnet_node *server, *client;
	struct transport_address place;
	uint64_t client_nids[2];
	struct ksock_peer *peers[2]; /* the server, as the client's interfaces see it */
	struct parcel parcels[MOST];
	uint32_t bytes; /* of each payload */
	int32_t holds;	/* so many questions are answered with STATUS_PENDING */
	struct lnet_incoming *held;
	struct kevent holding; /* something is held, or nothing will be any more */
};

extern const struct transport_address post_any;

/* False, and all that it lacks is missing, when there is no pool; close it in any case. */
bool open_post(struct post *post, const struct link_options *link,
	       const struct lnet_options *options, uint32_t bytes);
void close_post(struct post *post);

/* Ends and beginnings of one node; `listen` may be NULL. */
void start_server(struct post *post, const struct transport_address *listen);
void start_client(struct post *post, const struct transport_address *listen);
void stop_client(struct post *post);
void stop_server(void *context);

/* Whether both nodes and their peers are there. */
bool is_complete(const struct post *post);

/* A PUT to the server, or a GET from it, of one of the parcels; those of even number from one. */
void start_put(struct post *post, int number, uint32_t flags);
void start_get(struct post *post, int number);
void wait_for(struct post *post, int number);

/* The callback of a message whose context is a parcel. */
void parcel_over(void *context, ntstatus status, uint32_t length);

/* What is acknowledged was received, and all of it; and what was asked for has come. */
void expect_received(struct post *post, int number);
void expect_reply(struct post *post, int number);

/* How many messages the setting asks for. */
int count_of(const void *context);

/* ---- What is run as schedulers, and as threads ---------------------------------------------- */

/* PUTs with ACK, and GETs. */
void put_and_get(const void *context, const struct link_options *link,
		 const struct lnet_options *options, uint32_t bytes);

/* An owner who answers later, and a peer that may be closed meanwhile. */
void held_while_closed(void *context, bool threads);

#endif
