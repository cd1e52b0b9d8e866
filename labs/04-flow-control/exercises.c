/* Lab 04: a window of sends, over a transport with as much room as the exercise says. */
#include <string.h>

#include "lab.h"
#include "room.h"

enum { MANY = 24 };

struct one {
	struct tdi_window_send send;
	struct client *client;
	uint32_t index;
	char *buffer;
	ntstatus status;
	uint32_t bytes;
};

/* Gives sends of BLOCK bytes to the room's window. */
struct client {
	struct room room;
	struct one ones[MANY];
	uint32_t given;
	bool passive; /* everything happens on the exercise's own thread */
	int32_t called;
	int32_t inside; /* callbacks that run */
	uint32_t again; /* sends that callbacks have to give */
	struct kevent all;
	uint32_t wanted; /* callbacks until the event is set */
};

static void give(struct client *client);

static void note_call(void *context, ntstatus status, uint32_t bytes)
{
	struct one *one = context;
	struct client *client = one->client;

	expect_number(RULE_ONE_CALL, "callbacks that are running when one is called", 0,
		      client->inside);
	expect_number(RULE_ONE_CALL, "the send that is called back next", client->called,
		      one->index);
	client->inside++;
	client->called++;
	expect_true(RULE_NO_LOCK, !client->passive || ke_get_current_irql() == PASSIVE_LEVEL,
		    "a callback of a send that ended on a thread runs at PASSIVE_LEVEL",
		    "it runs at DISPATCH_LEVEL, as with a lock held");
	one->status = status;
	one->bytes = bytes;
	memset(one->buffer, '?', BLOCK); /* a transport that sends it after this would show it */
	if (client->again > 0) {
		client->again--;
		give(client);
	}
	client->inside--;
	if ((uint32_t)client->called == client->wanted)
		ke_set_event(&client->all);
}

static void open_client(struct client *client, enum when when, bool buffers)
{
	*client = (struct client){.passive = when != FROM_DPC && when != FROM_TIMER};
	ke_initialize_event(&client->all, NOTIFICATION_EVENT, false);
	open_room(&client->room, when, buffers);
}

static void give(struct client *client)
{
	struct one *one = &client->ones[client->given];

	*one = (struct one){
		.client = client, .index = client->given++, .buffer = lab_allocate(BLOCK)};
	fill_stream(one->buffer, one->index * BLOCK, BLOCK);
	tdi_window_send(&client->room.window, &one->send, one->buffer, BLOCK, note_call, one);
}

static void close_client(struct client *client)
{
	close_room(&client->room);
	expect_number(RULE_ONE_CALL, "callbacks in all", client->given, client->called);
	for (uint32_t i = 0; i < client->given; i++)
		ex_free_pool(client->ones[i].buffer);
}

static void expect_pieces(int rule, const struct client *client, int32_t pieces)
{
	expect_number(rule, "pieces that have come to the transport", pieces, client->room.pieces);
}

static void expect_called(int rule, const struct client *client, int32_t called)
{
	expect_number(rule, "callbacks that have run", called, client->called);
}

static void expect_end(int rule, const struct client *client, uint32_t send, ntstatus status,
		       uint32_t bytes)
{
	expect_status(rule, "the status that the callback is given", status,
		      client->ones[send].status);
	expect_number(rule, "the bytes that the callback is told", bytes, client->ones[send].bytes);
}

static void expect_all_sent(const struct client *client)
{
	for (uint32_t i = 0; i < client->given; i++)
		expect_end(RULE_ONE_CALL, client, i, STATUS_SUCCESS, BLOCK);
}

static void news(struct client *client, const char *then)
{
	step(RULE_NEWS_COUNTS, "there is news of room, and %s", then);
	tell_news(&client->room);
}

/* ---- Room for all -------------------------------------------------------------------------- */

static void all_at_once(void *context)
{
	struct client client;

	(void)context;
	open_client(&client, AT_ONCE, true);
	step(RULE_ONE_CALL, "a transport takes each piece whole, in its dispatch routine");
	for (int i = 1; i <= 3; i++) {
		give(&client);
		expect_called(RULE_ONE_CALL, &client, i);
	}
	expect_all_sent(&client);
	close_client(&client);
}

static void answered_later(void *context)
{
	struct client client;

	(void)context;
	open_client(&client, HELD, true);
	client.room.busy_rule = RULE_PENDING;
	step(RULE_PENDING, "a transport keeps a piece and returns STATUS_PENDING");
	give(&client);
	expect_pieces(RULE_PENDING, &client, 1);
	expect_called(RULE_PENDING, &client, 0);
	step(RULE_PENDING, "it takes all of it");
	let_go(&client.room);
	expect_pieces(RULE_PENDING, &client, 1);
	expect_called(RULE_ONE_CALL, &client, 1);
	expect_all_sent(&client);
	close_client(&client);
}

static void given_meanwhile(void *context)
{
	struct client client;

	(void)context;
	open_client(&client, HELD, true);
	step(RULE_ONE_PIECE, "a transport keeps a piece; meanwhile two more sends are given");
	for (int i = 0; i < 3; i++)
		give(&client);
	expect_pieces(RULE_ONE_PIECE, &client, 1);
	step(RULE_ONE_PIECE, "news of room comes, though nobody was told that there is none");
	tell_news(&client.room);
	expect_pieces(RULE_ONE_PIECE, &client, 1);
	for (int i = 1; i <= 3; i++) {
		step(RULE_ONE_PIECE, "it takes all of the piece");
		let_go(&client.room);
		expect_called(RULE_ONE_CALL, &client, i);
	}
	expect_all_sent(&client);
	close_client(&client);
}

/* ---- Less room ----------------------------------------------------------------------------- */

static void taken_in_part(void *context)
{
	static const struct answer script[] = {{STATUS_SUCCESS, 4}};
	struct client client;

	(void)context;
	open_client(&client, AT_ONCE, true);
	set_script(&client.room, script);
	step(RULE_SHORT, "a transport takes 4 bytes of 10 and completes with STATUS_SUCCESS");
	give(&client);
	expect_called(RULE_SHORT, &client, 0);
	news(&client, "it takes the rest");
	expect_pieces(RULE_SHORT, &client, 2);
	expect_called(RULE_SHORT, &client, 1);
	expect_all_sent(&client);
	close_client(&client);
}

static void no_room(void *context)
{
	static const struct answer script[] = {{STATUS_DEVICE_NOT_READY, 0}};
	struct client client;

	(void)context;
	open_client(&client, AT_ONCE, true);
	set_script(&client.room, script);
	step(RULE_REFUSED, "a transport has no room: STATUS_DEVICE_NOT_READY");
	give(&client);
	expect_called(RULE_REFUSED, &client, 0);
	step(RULE_WAITS, "another send is given");
	give(&client);
	expect_pieces(RULE_WAITS, &client, 1);
	news(&client, "it takes all");
	expect_pieces(RULE_REFUSED, &client, 3);
	expect_called(RULE_ONE_CALL, &client, 2);
	expect_all_sent(&client);
	close_client(&client);
}

static void no_promise(void *context)
{
	static const struct answer script[] = {{STATUS_DEVICE_NOT_READY, 0},
					       {STATUS_DEVICE_NOT_READY, 0},
					       {STATUS_SUCCESS, 3},
					       {STATUS_DEVICE_NOT_READY, 0}};
	struct client client;

	(void)context;
	open_client(&client, AT_ONCE, true);
	step(RULE_NO_PROMISE, "there is news of room, and nothing to send");
	tell_news(&client.room);
	expect_pieces(RULE_NO_PROMISE, &client, 0);
	set_script(&client.room, script);
	step(RULE_NO_PROMISE, "a transport has no room for a send");
	give(&client);
	expect_called(RULE_NO_PROMISE, &client, 0);
	news(&client, "another client was there first: no room again");
	expect_pieces(RULE_NEWS_COUNTS, &client, 2);
	expect_called(RULE_NO_PROMISE, &client, 0);
	news(&client, "there is room for 3 bytes");
	expect_called(RULE_NO_PROMISE, &client, 0);
	news(&client, "another client was there first: no room again");
	expect_called(RULE_NO_PROMISE, &client, 0);
	news(&client, "there is room for all");
	expect_called(RULE_NO_PROMISE, &client, 1);
	expect_all_sent(&client);
	close_client(&client);
}

static void news_meanwhile(void *context)
{
	static const struct answer script[] = {{STATUS_DEVICE_NOT_READY, 0}, {STATUS_SUCCESS, 4}};
	struct client client;

	(void)context;
	open_client(&client, HELD, true);
	set_script(&client.room, script);
	step(RULE_NEWS_COUNTS, "a transport has no room for a piece, but has not said so yet");
	give(&client);
	for (int i = 1; i <= 2; i++) {
		step(RULE_NEWS_COUNTS, "somebody frees room, and the news of it comes");
		tell_news(&client.room);
		expect_pieces(RULE_ONE_PIECE, &client, i);
		step(RULE_NEWS_COUNTS, "the answer comes: %s",
		     i == 1 ? "no room" : "4 bytes taken");
		let_go(&client.room);
		expect_pieces(RULE_NEWS_COUNTS, &client, i + 1);
	}
	step(RULE_ONE_CALL, "the rest is taken");
	let_go(&client.room);
	expect_all_sent(&client);
	close_client(&client);
}

/* Answers and news come from DPCs, which nobody orders. */
static void any_moment(void *context)
{
	static const struct answer script[] = {
		{STATUS_SUCCESS, 3}, {STATUS_DEVICE_NOT_READY, 0}, {STATUS_SUCCESS, BLOCK},
		{STATUS_SUCCESS, 1}, {STATUS_DEVICE_NOT_READY, 0}, {STATUS_SUCCESS, 5}};
	struct client client;

	(void)context;
	open_client(&client, FROM_DPC, true);
	client.room.tells = true;
	client.wanted = 3;
	set_script(&client.room, script);
	step(RULE_NEWS_COUNTS, "a transport answers when it likes, short or not at all, and frees "
			       "room at the same time");
	for (int i = 0; i < 3; i++)
		give(&client);
	expect_event(RULE_NEWS_COUNTS, &client.all, "all sends are called back");
	ke_flush_queued_dpcs();
	expect_all_sent(&client);
	close_client(&client);
}

/* ---- Callbacks ----------------------------------------------------------------------------- */

static void callbacks_send(void *context)
{
	struct client client;

	(void)context;
	open_client(&client, AT_ONCE, true);
	client.again = MANY - 1;
	step(RULE_ONE_CALL, "a send whose callback gives the next one, and so on");
	give(&client);
	expect_called(RULE_ONE_CALL, &client, MANY);
	expect_all_sent(&client);
	close_client(&client);
}

static void errors(void *context)
{
	static const struct answer script[] = {{STATUS_SUCCESS, 4}, {STATUS_CONNECTION_RESET, 0}};
	struct client client;

	(void)context;
	open_client(&client, AT_ONCE, true);
	set_script(&client.room, script);
	step(RULE_ONE_CALL, "a transport takes 4 bytes of a send; another send waits behind it");
	give(&client);
	give(&client);
	news(&client, "the rest of the first fails with STATUS_CONNECTION_RESET");
	expect_called(RULE_ONE_CALL, &client, 2);
	expect_end(RULE_ONE_CALL, &client, 0, STATUS_CONNECTION_RESET, 4);
	expect_end(RULE_ONE_CALL, &client, 1, STATUS_SUCCESS, BLOCK);
	close_client(&client);
}

/* ---- The end ------------------------------------------------------------------------------- */

static void end_window(struct client *client)
{
	step(RULE_END, "the connection breaks: the window is ended with STATUS_CONNECTION_RESET");
	tdi_end_send_window(&client->room.window, STATUS_CONNECTION_RESET);
}

static void ends_while_waiting(void *context)
{
	static const struct answer script[] = {{STATUS_SUCCESS, 4}};
	struct client client;

	(void)context;
	open_client(&client, AT_ONCE, true);
	set_script(&client.room, script);
	step(RULE_SHORT, "a transport takes 4 bytes of a send; two others wait behind it");
	for (int i = 0; i < 3; i++)
		give(&client);
	end_window(&client);
	expect_called(RULE_END, &client, 3);
	step(RULE_END, "another send is given");
	give(&client);
	expect_called(RULE_END, &client, 4);
	for (uint32_t i = 0; i < 4; i++)
		expect_end(RULE_END, &client, i, STATUS_CONNECTION_RESET, i == 0 ? 4 : 0);
	expect_pieces(RULE_END, &client, 1);
	close_client(&client);
}

static void ends_under_way(void *context)
{
	struct client client;

	(void)context;
	open_client(&client, HELD, true);
	step(RULE_END, "a transport keeps a piece; another send waits behind it");
	give(&client);
	give(&client);
	end_window(&client);
	expect_called(RULE_END, &client, 0);
	step(RULE_END, "the transport takes all of the piece");
	let_go(&client.room);
	expect_pieces(RULE_END, &client, 1);
	expect_called(RULE_END, &client, 2);
	expect_end(RULE_END, &client, 0, STATUS_SUCCESS, BLOCK);
	expect_end(RULE_END, &client, 1, STATUS_CONNECTION_RESET, 0);
	close_client(&client);
}

/* ---- A transport that does not buffer -------------------------------------------------------- */

static void unbuffered(void *context)
{
	struct client client;

	(void)context;
	open_client(&client, HELD, false);
	step(RULE_UNBUFFERED, "three sends are given to a transport that does not buffer");
	for (int i = 0; i < 3; i++)
		give(&client);
	expect_pieces(RULE_UNBUFFERED, &client, 3);
	step(RULE_UNBUFFERED, "the peer acknowledges them, one after the other");
	for (int i = 1; i <= 3; i++) {
		let_go(&client.room);
		expect_called(RULE_UNBUFFERED, &client, i);
	}
	expect_all_sent(&client);
	end_window(&client);
	give(&client);
	expect_pieces(RULE_END, &client, 3);
	expect_called(RULE_END, &client, 4);
	expect_end(RULE_END, &client, 3, STATUS_CONNECTION_RESET, 0);
	close_client(&client);
}

static const struct lab_cause causes[] = {
	{"LOCK-MISUSE", RULE_NO_LOCK},
	{"REQ-COMPLETE-WITH-LOCK", RULE_NO_LOCK},
	{NULL, 0},
};

static const struct lab_exercise exercises[] = {
	{"room for all, at once", all_at_once},
	{"an answer that comes later", answered_later},
	{"sends that are given while a piece is under way", given_meanwhile},
	{"a piece that is taken in part", taken_in_part},
	{"no room at all", no_room},
	{"news that does not keep what it seems to promise", no_promise},
	{"news that comes while a piece is under way", news_meanwhile},
	{"answers and news at any moment", any_moment},
	{"callbacks that send", callbacks_send},
	{"an error after a part", errors},
	{"an end while sends wait", ends_while_waiting},
	{"an end while a piece is under way", ends_under_way},
	{"a transport that does not buffer", unbuffered},
	{NULL, NULL},
};

const struct lab lab_under_check = {
	.name = "04-flow-control", .causes = causes, .exercises = exercises};
