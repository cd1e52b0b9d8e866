/* Stage 04 against a scripted transport, see room.h. */
#include <string.h>

#include "executive.h"
#include "room.h"
#include "suites.h"
#include "transport_client.h"

/* ---- Sends --------------------------------------------------------------------------------- */

struct one {
	struct tdi_window_send send;
	struct client *client;
	uint8_t *buffer;
	uint32_t length;
	int32_t calls;
	int32_t order; /* its callback was the how-manieth, from 1 */
	ntstatus status;
	uint32_t bytes;
};

enum { MANY = 40, LONGEST = 100 };

/* Gives sends to the first window, whose bytes together are one pattern. */
struct client {
	struct port *port;
	struct one ones[MANY];
	uint32_t count;
	uint64_t length;
	int32_t called; /* sends */
	int32_t depth;	/* of callbacks in each other */
	int32_t deepest;
};

static void note_call(void *context, ntstatus status, uint32_t bytes)
{
	struct one *one = context;
	struct client *client = one->client;
	int32_t depth = interlocked_increment(&client->depth);

	if (depth > client->deepest)
		client->deepest = depth;
	one->status = status;
	one->bytes = bytes;
	one->calls++;
	one->order = interlocked_increment(&client->called);
	if (one->length > 0)
		memset(one->buffer, '?', one->length); /* it is ours again */
	interlocked_decrement(&client->depth);
	ke_set_event(&client->port->room->changed);
}

static struct one *give(struct client *client, uint32_t length)
{
	struct one *one = &client->ones[client->count++];
	uint32_t stream = (uint32_t)(client->port - client->port->room->ports);

	*one = (struct one){.client = client, .length = length, .buffer = need_pool(length + 1)};
	fill_pattern(one->buffer, stream, client->length, length);
	client->length += length;
	tdi_window_send(&client->port->window, &one->send, one->buffer, length, note_call, one);
	return one;
}

/* Announces room to who wants it until all callbacks have run. */
static void serve(struct client *client)
{
	struct port *port = client->port;

	while ((uint32_t)read_count(&client->called) < client->count) {
		if (owes_news(port))
			tdi_window_send_possible(&port->window);
		else if (ke_wait_for_single_object(&port->room->changed, SOON) != STATUS_SUCCESS)
			break;
	}
	ke_flush_queued_dpcs();
	CU_ASSERT_EQUAL((uint32_t)client->called, client->count);
}

static void end_client(struct client *client)
{
	CU_ASSERT(client->deepest <= 1);
	for (uint32_t i = 0; i < client->count; i++) {
		CU_ASSERT_EQUAL(client->ones[i].calls, 1);
		CU_ASSERT_EQUAL(client->ones[i].order, (int32_t)i + 1);
		ex_free_pool(client->ones[i].buffer);
	}
}

/* Everything was sent: what the transport has is what was given, each byte once. */
static void expect_stream(struct client *client)
{
	uint32_t stream = (uint32_t)(client->port - client->port->room->ports);

	CU_ASSERT_EQUAL(client->port->kept_bytes, client->length);
	CU_ASSERT(is_pattern(client->port->kept, stream, 0, client->port->kept_bytes));
	for (uint32_t i = 0; i < client->count; i++) {
		CU_ASSERT_EQUAL(client->ones[i].status, STATUS_SUCCESS);
		CU_ASSERT_EQUAL(client->ones[i].bytes, client->ones[i].length);
	}
	end_client(client);
}

/* ---- Answers ------------------------------------------------------------------------------- */

static const struct answer mixed[] = {
	{STATUS_SUCCESS, 3, false},	     /* a part */
	{STATUS_DEVICE_NOT_READY, 0, false}, /* nothing */
	{STATUS_DEVICE_NOT_READY, 0, true},  /* nothing, and the news overtakes the answer */
	{STATUS_SUCCESS, 2, true},	     /* a part, likewise */
	{STATUS_SUCCESS, ALL, false},	     /* all */
	{STATUS_SUCCESS, ALL, true},	     /* all, and news that nobody waits for */
	{STATUS_DEVICE_NOT_READY, 0, false}, /* nothing */
	{STATUS_SUCCESS, 0, false},	     /* a part, of no bytes */
	{STATUS_SUCCESS, 1, false},	     /* a part */
};

enum { MIXED = sizeof(mixed) / sizeof(mixed[0]) };

static void every_answer(void *context)
{
	struct counted counted;
	struct room room;

	(void)context;
	for (int when = 0; when < WHEN_COUNT; when++) {
		struct client client = {.port = &room.ports[0]};

		open_room(&room, &counted, (enum when)when, true);
		room.script = mixed;
		room.script_length = MIXED;
		for (int i = 0; i < 6; i++)
			give(&client, i == 3 ? 0 : 10);
		serve(&client);
		expect_stream(&client);
		CU_ASSERT_EQUAL(room.most_owned, 1);
		CU_ASSERT_EQUAL(room.pieces, 6 + 3 + 4); /* each end, and refused, and short */
		CU_ASSERT_EQUAL(sum_of(&counted, "flow-control", "refused"), 3);
		CU_ASSERT_EQUAL(sum_of(&counted, "flow-control", "short"), 4);
		CU_ASSERT_EQUAL(sum_of(&counted, "flow-control", "sent_bytes"), 50);
		close_room(&room, &counted);
	}
}

static void test_every_answer(void)
{
	in_executive(every_answer, NULL);
}

static void errors(void *context)
{
	static const struct answer script[] = {{STATUS_SUCCESS, 4, false},
					       {STATUS_CONNECTION_RESET, 0, false},
					       {STATUS_IO_TIMEOUT, 0, true}};
	struct counted counted;
	struct room room;

	(void)context;
	for (int when = 0; when < WHEN_COUNT; when++) {
		struct client client = {.port = &room.ports[0]};

		open_room(&room, &counted, (enum when)when, true);
		room.script = script;
		room.script_length = 3;
		for (int i = 0; i < 3; i++)
			give(&client, 10);
		serve(&client);
		CU_ASSERT_EQUAL(client.ones[0].status, STATUS_CONNECTION_RESET);
		CU_ASSERT_EQUAL(client.ones[0].bytes, 4);
		CU_ASSERT_EQUAL(client.ones[1].status, STATUS_IO_TIMEOUT);
		CU_ASSERT_EQUAL(client.ones[1].bytes, 0);
		CU_ASSERT_EQUAL(client.ones[2].status, STATUS_SUCCESS);
		CU_ASSERT_EQUAL(client.ones[2].bytes, 10);
		CU_ASSERT_EQUAL(sum_of(&counted, "flow-control", "failed"), 2);
		end_client(&client);
		close_room(&room, &counted);
	}
}

static void test_errors(void)
{
	in_executive(errors, NULL);
}

/* A piece that can't even be started is answered within the start. */
static void cannot_start(void *context)
{
	struct counted counted;
	struct room room;
	struct client client = {.port = &room.ports[0]};
	struct one lost = {.client = &client};

	(void)context;
	open_room(&room, &counted, AT_ONCE, true);
	tdi_window_send(&room.ports[0].window, &lost.send, NULL, 10, note_call, &lost);
	CU_ASSERT_EQUAL(lost.status, STATUS_INVALID_USER_BUFFER);
	CU_ASSERT_EQUAL(lost.calls, 1);
	CU_ASSERT_EQUAL(room.pieces, 0);
	client.called = 0;
	give(&client, 10);
	serve(&client);
	expect_stream(&client);
	close_room(&room, &counted);
}

static void test_cannot_start(void)
{
	in_executive(cannot_start, NULL);
}

/* ---- Room and the news of it --------------------------------------------------------------- */

static void waits_for_news(void *context)
{
	static const struct answer script[] = {{STATUS_SUCCESS, 4, false},
					       {STATUS_DEVICE_NOT_READY, 0, false}};
	struct counted counted;
	struct room room;
	struct client client = {.port = &room.ports[0]};
	struct tdi_send_window *window = &room.ports[0].window;

	(void)context;
	open_room(&room, &counted, AT_ONCE, true);
	room.script = script;
	room.script_length = 2;
	tdi_window_send_possible(window); /* nobody waits for it */
	CU_ASSERT_EQUAL(room.pieces, 0);
	give(&client, 10); /* that news has not made it wait */
	CU_ASSERT_EQUAL(room.pieces, 1);
	give(&client, 10);
	CU_ASSERT_EQUAL(room.pieces, 1);
	tdi_window_send_possible(window); /* it is refused again */
	CU_ASSERT_EQUAL(room.pieces, 2);
	give(&client, 0);
	CU_ASSERT_EQUAL(room.pieces, 2);
	CU_ASSERT_EQUAL(client.called, 0);
	tdi_window_send_possible(window);
	CU_ASSERT_EQUAL(room.pieces, 5);
	expect_stream(&client);
	close_room(&room, &counted);
}

static void test_waits_for_news(void)
{
	in_executive(waits_for_news, NULL);
}

/* A piece is under way while news comes, perhaps of room that it has not seen. */
static void news_meanwhile(void *context)
{
	static const struct answer refused = {STATUS_DEVICE_NOT_READY, 0, false};
	struct counted counted;
	struct room room;
	struct client client = {.port = &room.ports[0]};

	(void)context;
	open_room(&room, &counted, HELD, true);
	room.script = &refused;
	room.script_length = 1;
	give(&client, 10);
	tdi_window_send_possible(&room.ports[0].window);
	tdi_window_send_possible(&room.ports[0].window);
	CU_ASSERT_EQUAL(room.pieces, 1); /* it is not sent twice for that */
	let_go(&room, 0);
	CU_ASSERT_EQUAL(room.pieces, 2);
	let_go(&room, 0);
	expect_stream(&client);
	close_room(&room, &counted);
}

static void test_news_meanwhile(void)
{
	in_executive(news_meanwhile, NULL);
}

/* ---- Streams ------------------------------------------------------------------------------- */

static void random_stream(void *context)
{
	struct counted counted;
	struct room room;

	(void)context;
	for (int when = 0; when < WHEN_COUNT; when++) {
		struct client client = {.port = &room.ports[0]};

		open_room(&room, &counted, (enum when)when, true);
		room.drains = true;
		room.space = 64;
		for (int i = 0; i < MANY; i++)
			give(&client, (uint32_t)(i * 37) % LONGEST);
		serve(&client);
		expect_stream(&client);
		CU_ASSERT_EQUAL(room.most_owned, 1);
		close_room(&room, &counted);
	}
}

static void test_random_stream(void)
{
	in_executive(random_stream, NULL);
}

static void give_some(void *context)
{
	struct client *client = context;

	for (int i = 0; i < MANY / 4; i++)
		give(client, 1 + (uint32_t)(i * 29) % LONGEST);
}

static void two_windows(void *context)
{
	struct counted counted;
	struct room room;
	struct client clients[WINDOWS] = {{.port = &room.ports[0]}, {.port = &room.ports[1]}};
	struct kthread thread;

	(void)context;
	open_room(&room, &counted, FROM_DPC, true);
	room.drains = true;
	room.space = 50;
	CU_ASSERT_EQUAL_FATAL(ps_create_system_thread(&thread, give_some, &clients[1]),
			      STATUS_SUCCESS);
	give_some(&clients[0]);
	ke_wait_for_thread(&thread);
	for (int i = 0; i < WINDOWS; i++)
		serve(&clients[i]);
	for (int i = 0; i < WINDOWS; i++)
		expect_stream(&clients[i]);
	close_room(&room, &counted);
}

static void test_two_windows(void)
{
	in_executive(two_windows, NULL);
}

/* The first takes the room that was announced to both. */
static void overtaken(void *context)
{
	struct counted counted;
	struct room room;
	struct client clients[WINDOWS] = {{.port = &room.ports[0]}, {.port = &room.ports[1]}};

	(void)context;
	open_room(&room, &counted, AT_ONCE, true);
	room.random = 0;
	room.space = room.buffered = 10;
	for (int i = 0; i < WINDOWS; i++)
		give(&clients[i], 10);
	CU_ASSERT_EQUAL(room.pieces, 2);
	for (int turn = 0; turn < 2; turn++) {
		room.buffered = 0;
		tdi_window_send_possible(&room.ports[0].window);
		tdi_window_send_possible(&room.ports[1].window);
		CU_ASSERT_EQUAL(clients[0].called, 1);
		CU_ASSERT_EQUAL(clients[1].called, turn);
		CU_ASSERT_EQUAL(room.pieces, 4 + turn);
	}
	for (int i = 0; i < WINDOWS; i++)
		expect_stream(&clients[i]);
	close_room(&room, &counted);
}

static void test_overtaken(void)
{
	in_executive(overtaken, NULL);
}

struct pusher {
	struct kthread thread;
	struct room *room;
	struct tdi_window_send sends[MANY];
	uint8_t *buffers[MANY];
	uint32_t index;
	int32_t called;
};

static uint32_t push_length(uint32_t send)
{
	return 1 + send * 7 % 20;
}

static void count_call(void *context, ntstatus status, uint32_t bytes)
{
	struct pusher *pusher = context;

	(void)status;
	(void)bytes;
	interlocked_increment(&pusher->called);
	ke_set_event(&pusher->room->changed);
}

static void push(void *context)
{
	struct pusher *pusher = context;

	for (uint32_t i = 0; i < MANY; i++) {
		pusher->buffers[i] = need_pool(push_length(i));
		memset(pusher->buffers[i], (int)(pusher->index * MANY + i), push_length(i));
		tdi_window_send(&pusher->room->ports[0].window, &pusher->sends[i],
				pusher->buffers[i], push_length(i), count_call, pusher);
	}
}

/* The sends of each pusher are in the stream in their order, each in one stretch. */
static void expect_stretches(const struct port *port)
{
	uint32_t next[2] = {0, 0}, at = 0;

	while (at < port->kept_bytes) {
		uint32_t pusher = port->kept[at] / MANY, send = port->kept[at] % MANY;
		uint32_t end = at + push_length(send);
		uint8_t byte = port->kept[at];

		CU_ASSERT_FATAL(pusher < 2 && end <= port->kept_bytes);
		CU_ASSERT_EQUAL(send, next[pusher]++);
		for (; at < end; at++)
			CU_ASSERT_EQUAL(port->kept[at], byte);
	}
	CU_ASSERT_EQUAL(next[0], MANY);
	CU_ASSERT_EQUAL(next[1], MANY);
}

static void two_pushers(void *context)
{
	struct counted counted;
	struct room room;
	struct pusher pushers[2] = {{.room = &room, .index = 0}, {.room = &room, .index = 1}};

	(void)context;
	open_room(&room, &counted, FROM_DPC, true);
	room.drains = true;
	room.space = 50;
	for (int i = 0; i < 2; i++)
		CU_ASSERT_EQUAL_FATAL(
			ps_create_system_thread(&pushers[i].thread, push, &pushers[i]),
			STATUS_SUCCESS);
	for (int i = 0; i < 2; i++)
		ke_wait_for_thread(&pushers[i].thread);
	while (read_count(&pushers[0].called) + read_count(&pushers[1].called) < 2 * MANY)
		if (ke_wait_for_single_object(&room.changed, SOON) != STATUS_SUCCESS)
			break;
	ke_flush_queued_dpcs();
	CU_ASSERT_EQUAL(pushers[0].called, MANY);
	CU_ASSERT_EQUAL(pushers[1].called, MANY);
	expect_stretches(&room.ports[0]);
	for (int i = 0; i < 2 * MANY; i++)
		ex_free_pool(pushers[i / MANY].buffers[i % MANY]);
	close_room(&room, &counted);
}

static void test_two_pushers(void)
{
	in_executive(two_pushers, NULL);
}

struct chain {
	struct tdi_send_window *window;
	struct tdi_window_send send;
	uint8_t *byte;
	int32_t left;
	int32_t depth;
	int32_t deepest;
};

static void send_next(void *context, ntstatus status, uint32_t bytes)
{
	struct chain *chain = context;

	(void)status;
	(void)bytes;
	if (++chain->depth > chain->deepest)
		chain->deepest = chain->depth;
	if (--chain->left > 0)
		tdi_window_send(chain->window, &chain->send, chain->byte, 1, send_next, chain);
	chain->depth--;
}

static void callbacks_send(void *context)
{
	struct counted counted;
	struct room room;
	struct chain chain = {.window = &room.ports[0].window,
			      .left = EXECUTIVE_HOST ? 100000 : 500,
			      .byte = need_pool(1)};

	(void)context;
	*chain.byte = 'x';
	open_room(&room, &counted, AT_ONCE, true);
	tdi_window_send(chain.window, &chain.send, chain.byte, 1, send_next, &chain);
	CU_ASSERT_EQUAL(chain.left, 0); /* the start returns when nothing is left to do */
	CU_ASSERT_EQUAL(chain.deepest, 1);
	close_room(&room, &counted);
	ex_free_pool(chain.byte);
}

static void test_callbacks_send(void)
{
	in_executive(callbacks_send, NULL);
}

/* ---- Ending -------------------------------------------------------------------------------- */

static void expect_end(const struct one *one, ntstatus status, uint32_t bytes)
{
	CU_ASSERT_EQUAL(one->calls, 1);
	CU_ASSERT_EQUAL(one->status, status);
	CU_ASSERT_EQUAL(one->bytes, bytes);
}

static void ends_while_waiting(void *context)
{
	static const struct answer script[] = {{STATUS_SUCCESS, 4, false}};
	struct counted counted;
	struct room room;
	struct client client = {.port = &room.ports[0]};
	struct tdi_send_window *window = &room.ports[0].window;

	(void)context;
	open_room(&room, &counted, AT_ONCE, true);
	room.script = script;
	room.script_length = 1;
	give(&client, 10);
	give(&client, 10);
	tdi_end_send_window(window, STATUS_CONNECTION_RESET);
	CU_ASSERT_EQUAL(client.called, 2);
	tdi_end_send_window(window, STATUS_CANCELLED); /* comes too late to be the reason */
	tdi_window_send_possible(window);
	give(&client, 10);
	CU_ASSERT_EQUAL(room.pieces, 1);
	for (int i = 0; i < 3; i++)
		expect_end(&client.ones[i], STATUS_CONNECTION_RESET, i == 0 ? 4 : 0);
	end_client(&client);
	close_room(&room, &counted);
}

static void test_ends_while_waiting(void)
{
	in_executive(ends_while_waiting, NULL);
}

/* The window ends while the transport has a piece, which it then answers. */
static void ends_under_way(void *context)
{
	static const struct answer answers[] = {{STATUS_SUCCESS, ALL, false},
						{STATUS_SUCCESS, 4, true},
						{STATUS_DEVICE_NOT_READY, 0, false},
						{STATUS_IO_TIMEOUT, 0, false}};
	struct counted counted;
	struct room room;

	(void)context;
	for (int i = 0; i < 4; i++) {
		struct client client = {.port = &room.ports[0]};
		bool own = i == 0 || i == 3; /* the send's own end, not the window's */

		open_room(&room, &counted, HELD, true);
		room.script = &answers[i];
		room.script_length = 1;
		give(&client, 10);
		give(&client, 10);
		tdi_end_send_window(&room.ports[0].window, STATUS_CONNECTION_RESET);
		CU_ASSERT_EQUAL(client.called, 0); /* the transport has the first one's buffer */
		let_go(&room, 0);
		expect_end(&client.ones[0], own ? answers[i].status : STATUS_CONNECTION_RESET,
			   i == 0   ? 10
			   : i == 1 ? 4
				    : 0);
		expect_end(&client.ones[1], STATUS_CONNECTION_RESET, 0);
		CU_ASSERT_EQUAL(room.pieces, 1);
		end_client(&client);
		close_room(&room, &counted);
	}
}

static void test_ends_under_way(void)
{
	in_executive(ends_under_way, NULL);
}

static void end_it(void *context, ntstatus status, uint32_t bytes)
{
	struct one *one = context;

	tdi_end_send_window(&one->client->port->window, status);
	note_call(context, status, bytes);
}

/* A stream with a gap is of no use to this client: nothing goes out behind the error. */
static void callback_ends(void *context)
{
	static const struct answer script[] = {{STATUS_CONNECTION_RESET, 0, false}};
	struct counted counted;
	struct room room;
	struct client client = {.port = &room.ports[0]};

	(void)context;
	open_room(&room, &counted, HELD, true);
	room.script = script;
	room.script_length = 1;
	give(&client, 10)->send.callback = end_it;
	give(&client, 10);
	let_go(&room, 0);
	CU_ASSERT_EQUAL(room.pieces, 1);
	expect_end(&client.ones[0], STATUS_CONNECTION_RESET, 0);
	expect_end(&client.ones[1], STATUS_CONNECTION_RESET, 0);
	end_client(&client);
	close_room(&room, &counted);
}

static void test_callback_ends(void)
{
	in_executive(callback_ends, NULL);
}

/* ---- A transport that does not buffer -------------------------------------------------------- */

static void unbuffered(void *context)
{
	struct counted counted;
	struct room room;
	struct client client = {.port = &room.ports[0]};

	(void)context;
	open_room(&room, &counted, HELD, false);
	for (int i = 0; i < 4; i++)
		give(&client, 10);
	CU_ASSERT_EQUAL(room.pieces, 4); /* none waits for another */
	tdi_window_send_possible(&room.ports[0].window);
	CU_ASSERT_EQUAL(room.pieces, 4);
	for (int i = 0; i < 4; i++)
		let_go(&room, i);
	expect_stream(&client);
	client.count = 0;
	client.called = 0;
	tdi_end_send_window(&room.ports[0].window, STATUS_CONNECTION_RESET);
	give(&client, 10);
	expect_end(&client.ones[0], STATUS_CONNECTION_RESET, 0);
	CU_ASSERT_EQUAL(room.pieces, 4);
	end_client(&client);
	close_room(&room, &counted);
}

static void test_unbuffered(void)
{
	in_executive(unbuffered, NULL);
}

void register_window_suite(void)
{
	static const struct test_case cases[] = {
		{"whatever the answers to the pieces, and whenever they come, each byte goes out "
		 "once, in order",
		 test_every_answer},
		{"an error ends the send that it comes for, with the bytes taken before",
		 test_errors},
		{"a piece that cannot be started fails its send", test_cannot_start},
		{"after too little room nothing is tried before there is news, and news promises "
		 "nothing",
		 test_waits_for_news},
		{"news that comes while a piece is under way is not lost, and repeats nothing",
		 test_news_meanwhile},
		{"many sends through little room, taken by chance", test_random_stream},
		{"two windows share one room", test_two_windows},
		{"a window whose announced room is taken by another goes on waiting",
		 test_overtaken},
		{"two threads give sends to one window", test_two_pushers},
		{"callbacks that send again do not nest, however many", test_callbacks_send},
		{"what waits when the window ends is told so, and what comes later",
		 test_ends_while_waiting},
		{"a piece that is under way when the window ends is waited for",
		 test_ends_under_way},
		{"a callback that ends the window is in time for what waits behind it",
		 test_callback_ends},
		{"a transport that does not buffer gets every send at once, without the flag",
		 test_unbuffered},
		{NULL, NULL},
	};

	add_suite("04-flow-control", cases);
}
