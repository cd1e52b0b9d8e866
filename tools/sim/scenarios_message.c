/*
 * Stage 07 on the link: two nodes, and messages between them, while connections are made, break and
 * are closed in every order that the link's choices and the scheduler allow.
 */
#include "post.h"

static void transfer(void *context)
{
	const struct link_options link = {
		.buffered = true, .cut = true, .window_bytes = 200, .chained_bytes = 30};

	put_and_get(context, &link, &(struct lnet_options){.checksums = true}, BYTES);
}

static void typed_transfer(void *context)
{
	const struct link_options link = {.buffered = true};

	put_and_get(context, &link,
		    &(struct lnet_options){.typed = true, .zero_copy_bytes = BULK_BYTES},
		    BULK_BYTES);
}

static void faults(void *context)
{
	const struct link_options link = {.buffered = true, .faults = true};

	put_and_get(context, &link,
		    &(struct lnet_options){.timeout_ns = TIMEOUT, .reconnect_ns = 1}, BYTES);
}
static void held(void *context)
{
	held_while_closed(context, false);
}

/* ---- Message: two that call each other, and one that begins anew ---------------------------- */

/* The server's messages to the first of the client's interfaces: each calls the other. */
static void call_each_other(struct post *post, int count)
{
	struct transport_address place;
	struct ksock_peer *back;

	if (!nt_success(lnet_query_listener(post->client, &place)))
		return;
	back = ksocknal_find_peer(lnet_find_ni(post->server, SERVER_NID), CLIENT_NID, &place);
	if (back == NULL)
		return;
	for (int i = 0; i < count; i++) {
		const struct lnet_put put = {.ptl_index = PORTAL, .match_bits = 2 * i + 1};
		struct parcel *parcel = &post->parcels[2 * i + 1];

		start_put(post, 2 * i, LNET_ACK_WANTED);
		lnet_put(back, &parcel->tx, &put, &parcel->from, LNET_ACK_WANTED, parcel_over,
			 parcel);
	}
	for (int i = 0; i < 2 * count; i++) {
		wait_for(post, i);
		expect_received(post, i);
	}
	ksocknal_put_peer(back);
}

static void crossing(void *context)
{
	const struct link_options link = {.buffered = true};
	/* An ACK need not come by the connection of its PUT, and can be lost with another. */
	const struct lnet_options options = {.timeout_ns = TIMEOUT};
	struct post *post = ex_allocate_pool(sizeof(*post));

	if (post == NULL)
		return;
	if (open_post(post, &link, &options, BYTES)) {
		stop_client(post);
		start_client(post, &post_any);
		if (is_complete(post))
			call_each_other(post, count_of(context) / 2);
	}
	close_post(post);
	ex_free_pool(post);
}

/* A server that ends and begins anew, while messages for it are given. */
static void restart(void *context)
{
	const struct link_options link = {.buffered = true};
	const struct lnet_options options = {.timeout_ns = TIMEOUT, .reconnect_ns = 1};
	struct post *post = ex_allocate_pool(sizeof(*post));
	int count = count_of(context);

	if (post == NULL)
		return;
	if (open_post(post, &link, &options, BYTES)) {
		struct transport_address place = post->place;

		for (int i = 0; i < count; i++)
			start_put(post, 2 * i, LNET_ACK_WANTED);
		if (ke_choose(2, "whether the first arrives") == 1)
			wait_for(post, 0);
		stop_server(post);
		start_server(post, &place);
		start_put(post, 1, LNET_ACK_WANTED);
		for (int i = 0; i < count; i++) {
			wait_for(post, 2 * i);
			expect_received(post, 2 * i);
		}
		wait_for(post, 1);
		expect_received(post, 1);
	}
	close_post(post);
	ex_free_pool(post);
}

const struct sim_scenario message_scenarios[] = {
	{"message/transfer", "PUTs with ACK and GETs, over a link that cuts them anywhere",
	 transfer, 3, true},
	{"message/typed", "the same on connections of three types, with zero-copy ACKs",
	 typed_transfer, 2, true},
	{"message/faults", "the same over a link that refuses calls and breaks connections", faults,
	 3, true},
	{"message/held", "an owner who answers later, and a peer that may be closed meanwhile",
	 held, 2, true},
	{"message/crossing", "two nodes that call each other at the same time", crossing, 2, true},
	{"message/restart", "a node that ends and begins anew, with messages for it", restart, 2,
	 true},
	{0},
};
