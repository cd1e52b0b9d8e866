/*
 * measure-peer-xport: messages through xport's message layer. See peer_run.h.
 *
 *   xport          schedulers
 *   xport-threads  a thread for each connection
 *   xport-parks    schedulers, whose processors never poll
 *
 * A message is a PUT without an ACK. The receiver is a node with one interface; the sender has an
 * interface for each connection, which makes them different peers. Each process has one virtual
 * processor, as others have one thread for their sockets.
 *
 * All is done where the layer calls back. A turn has its messages and the memory of their payloads,
 * and when the last of them is called back they are the next connection's turn: so there are never
 * more than TURNS turns under way, and what they consist of stays in the cache. For the same reason
 * the kernel keeps no more than SEND_BUFFER_BYTES of each connection: a sender that never blocks
 * would fill what it gives by itself, megabytes, and large messages would take twice as long. The
 * receiver has the head of each payload placed, and the rest of it thrown away.
 *
 * A ping-pong has one buffer at each end, which a message comes into and goes out of. While it goes
 * out the next one has to wait at the portal. The child's first PUT has no payload: the parent does
 * not call anybody.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nal/lnet.h"
#include "stat/publish.h"
#include "tcp/tcp.h"

#include "peer_run.h"

enum { TURNS = 2, SEND_BUFFER_BYTES = 128 << 10, PORTAL = 1, PORTALS };

#define NET lnet_make_net(SOCKLND, 0)
#define PARENT_NID lnet_make_nid(NET, 0x0a000001)
#define CHILD_NID lnet_make_nid(NET, 0x0a010000) /* of its first connection */

static noreturn void fail(struct peer_run *run, const char *what, ntstatus status)
{
	char words[128];

	snprintf(words, sizeof(words), "%s: %s", what, nt_status_name(status));
	errno = 0;
	peer_fail(run, words);
}

/* ---- A node, in an executive of its own ------------------------------------------------------ */

struct station {
	struct peer_run *run;
	struct device_object *device;
	struct lnet_node *node;
	uint64_t *nids;			 /* of its interfaces */
	struct transport_address listen; /* where it accepts */
	struct lnet_portal portals[PORTALS];
	bool threads;
	struct stat_publication counters;
	struct kspin_lock lock; /* guards the run, where several threads call */
	struct kevent over;
};

static void run_executive(struct peer_run *run, ke_thread_routine *main)
{
	const struct ke_options options = {.processors = 1,
					   .never_polls = peer_is(run, "xport-parks")};
	ntstatus status = ke_run(&options, main, run);

	if (!nt_success(status))
		fail(run, "ke_run", status);
}

static struct transport_address loopback(uint16_t port)
{
	return (struct transport_address){
		.address_type = TDI_ADDRESS_TYPE_IP, .port = port, .address = {127, 0, 0, 1}};
}

/* With `count` interfaces. */
static void open_station(struct station *station, struct peer_run *run,
			 const struct lnet_portal *portal, uint64_t nid, uint32_t count,
			 bool listens)
{
	const struct tcp_options tcp = {.send_buffer_bytes = SEND_BUFFER_BYTES};
	struct lnet_options options = {.listen = listens ? &station->listen : NULL,
				       .backlog = run->connections,
				       .nid_count = count,
				       .portals = station->portals,
				       .portal_count = PORTALS};
	ntstatus status;

	*station = (struct station){.run = run, .portals[PORTAL] = *portal, .listen = loopback(0)};
	station->threads = peer_is(run, "xport-threads");
	ke_initialize_spin_lock(&station->lock);
	ke_initialize_event(&station->over, NOTIFICATION_EVENT, false);
	station->nids = peer_allocate(run, count * sizeof(station->nids[0]));
	for (uint32_t i = 0; i < count; i++)
		station->nids[i] = nid + i;
	station->device = tcp_create_device(&tcp);
	if (station->device == NULL)
		fail(run, "a device", STATUS_INSUFFICIENT_RESOURCES);
	options.device = station->device;
	options.nids = station->nids;
	options.threads = station->threads;
	stat_publish(&station->counters, "messages"); /* what the layer counts, in every run */
	options.segment = station->counters.segment;
	station->node = lnet_startup(&options, &status);
	if (station->node == NULL)
		fail(run, "lnet_startup", status);
}

/* The parent's. */
static void open_listener(struct station *station, struct peer_run *run,
			  const struct lnet_portal *portal)
{
	struct transport_address address;
	ntstatus status;

	open_station(station, run, portal, PARENT_NID, 1, true);
	status = lnet_query_listener(station->node, &address);
	if (!nt_success(status))
		fail(run, "lnet_query_listener", status);
	peer_tell_port(run, address.port);
}

static struct ksock_peer *find_peer(struct station *station, uint64_t own, uint64_t nid,
				    const struct transport_address *address)
{
	struct ksock_peer *peer =
		ksocknal_find_peer(lnet_find_ni(station->node, own), nid, address);

	if (peer == NULL)
		fail(station->run, "a peer", STATUS_INSUFFICIENT_RESOURCES);
	return peer;
}

static void close_station(struct station *station)
{
	lnet_shutdown(station->node);
	stat_withdraw(&station->counters);
	ke_flush_queued_dpcs();
	tcp_delete_device(station->device);
	free(station->nids);
}

/* The parent, which has had everything, may be gone before the child is told what it has sent. */
static void require_sent(struct station *station, ntstatus status)
{
	if (!nt_success(status) && !atomic_load(&station->run->shared->complete))
		fail(station->run, "a PUT", status);
}

/* The parent has had the last of everything. */
static void complete(struct station *station)
{
	atomic_store(&station->run->shared->complete, true);
	ke_set_event(&station->over);
}

/* ---- Sending a stream ------------------------------------------------------------------------ */

struct message {
	struct ksock_tx tx;
	struct lnet_iov payload;
};

struct turn {
	struct sender *sender;
	struct message *messages;
	uint32_t under_way;
};

struct sender {
	struct station station;
	struct ksock_peer **peers; /* by connection */
	struct turn turns[TURNS];
	uint32_t turns_left;
};

static void take_next_turn(struct turn *turn);

static void sent(void *context, ntstatus status, uint32_t length)
{
	struct turn *turn = context;

	(void)length;
	require_sent(&turn->sender->station, status);
	if (--turn->under_way == 0)
		take_next_turn(turn);
}

static void put_message(struct turn *turn, struct message *message, uint32_t connection)
{
	struct sender *sender = turn->sender;
	const struct lnet_put put = {.ptl_index = PORTAL, .match_bits = connection};
	const struct lnet_payload payload = {
		.length = message->payload.length, .count = 1, .iov = &message->payload};

	peer_stamp(sender->station.run, connection, message->payload.base);
	lnet_put(sender->peers[connection], &message->tx, &put, &payload, 0, sent, turn);
}

/* Under the lock: two turns of a connection do not mix. */
static void take_next_turn(struct turn *turn)
{
	struct sender *sender = turn->sender;
	struct station *station = &sender->station;
	kirql irql = ke_acquire_spin_lock(&station->lock);
	uint32_t connection, count = peer_next_turn(station->run, &connection);
	bool over = count == 0 && --sender->turns_left == 0;

	turn->under_way = count;
	for (uint32_t i = 0; i < count; i++)
		put_message(turn, &turn->messages[i], connection);
	ke_release_spin_lock(&station->lock, irql);
	if (over)
		ke_set_event(&station->over);
}

static void open_turn(struct turn *turn, struct sender *sender)
{
	struct peer_run *run = sender->station.run;
	uint32_t count = PEER_TURN_BYTES / run->message_bytes;
	char *payloads = peer_allocate_messages(run, PEER_TURN_BYTES);

	count = count > 0 ? count : 1;
	turn->sender = sender;
	turn->messages = peer_allocate(run, count * sizeof(struct message));
	for (uint32_t i = 0; i < count; i++)
		turn->messages[i].payload = (struct lnet_iov){
			payloads + (size_t)i * run->message_bytes, run->message_bytes};
}

static void open_sender(struct sender *sender, struct peer_run *run)
{
	static const struct lnet_portal none;
	const struct transport_address remote = loopback(run->port);

	open_station(&sender->station, run, &none, CHILD_NID, run->connections, false);
	sender->peers = peer_allocate(run, run->connections * sizeof(sender->peers[0]));
	for (uint32_t i = 0; i < run->connections; i++)
		sender->peers[i] = find_peer(&sender->station, CHILD_NID + i, PARENT_NID, &remote);
	for (int i = 0; i < TURNS; i++)
		open_turn(&sender->turns[i], sender);
	sender->turns_left = TURNS;
}

static void close_sender(struct sender *sender)
{
	for (uint32_t i = 0; i < sender->station.run->connections; i++)
		ksocknal_put_peer(sender->peers[i]);
	close_station(&sender->station);
	for (int i = 0; i < TURNS; i++) {
		free(sender->turns[i].messages[0].payload.base);
		free(sender->turns[i].messages);
	}
	free(sender->peers);
}

static void send_turns(void *context)
{
	struct peer_run *run = context;
	struct sender sender;

	open_sender(&sender, run);
	for (int i = 0; i < TURNS; i++)
		take_next_turn(&sender.turns[i]);
	ke_wait_for_single_object(&sender.station.over, KE_WAIT_FOREVER);
	peer_wait_until_complete(run); /* a connection that is closed resets the peer */
	close_sender(&sender);
}

static void send_all(struct peer_run *run)
{
	run_executive(run, send_turns);
}

/* ---- Receiving a stream ---------------------------------------------------------------------- */

struct inlet {
	struct peer_head head;
	struct lnet_iov place; /* of the head */
};

struct receiver {
	struct station station;
	struct inlet *inlets; /* by connection */
};

static ntstatus place_head(void *owner, struct lnet_incoming *incoming)
{
	struct receiver *receiver = owner;
	struct peer_run *run = receiver->station.run;
	uint64_t connection = incoming->header.msg.put.match_bits;
	struct inlet *inlet = &receiver->inlets[connection];

	if (connection >= run->connections || incoming->header.payload_length != run->message_bytes)
		fail(run, "another PUT", STATUS_INVALID_PARAMETER);
	inlet->place = (struct lnet_iov){&inlet->head, sizeof(inlet->head)};
	incoming->context = inlet;
	incoming->into = (struct lnet_payload){
		.length = sizeof(inlet->head), .count = 1, .iov = &inlet->place};
	return STATUS_SUCCESS;
}

static ntstatus message_came(void *owner, struct lnet_incoming *incoming, ntstatus status)
{
	struct receiver *receiver = owner;
	struct station *station = &receiver->station;
	const struct inlet *inlet = incoming->context;
	kirql irql = PASSIVE_LEVEL;
	bool over;

	if (!nt_success(status))
		fail(station->run, "a message", status);
	if (station->threads)
		irql = ke_acquire_spin_lock(&station->lock);
	peer_received(station->run, &inlet->head);
	over = station->run->open == 0;
	if (station->threads)
		ke_release_spin_lock(&station->lock, irql);
	if (over)
		complete(station);
	return STATUS_SUCCESS;
}

static void receive_turns(void *context)
{
	struct peer_run *run = context;
	struct receiver receiver;
	const struct lnet_portal portal = {
		.put = place_head, .done = message_came, .owner = &receiver};

	receiver.inlets = peer_allocate(run, run->connections * sizeof(receiver.inlets[0]));
	open_listener(&receiver.station, run, &portal);
	ke_wait_for_single_object(&receiver.station.over, KE_WAIT_FOREVER);
	close_station(&receiver.station);
	free(receiver.inlets);
}

static void receive_all(struct peer_run *run)
{
	run_executive(run, receive_turns);
}

/* ---- Ping-pong ------------------------------------------------------------------------------- */

struct line {
	struct station station;
	struct ksock_peer *peer;
	struct ksock_tx tx;
	struct lnet_iov buffer;
	struct lnet_payload payload; /* in the buffer */
	bool sending;
	struct lnet_incoming *waiting; /* until the buffer has been sent */
	void (*came)(struct line *line, struct peer_head *message);
};

static void buffer_is_sent(void *context, ntstatus status, uint32_t length)
{
	struct line *line = context;
	struct lnet_incoming *waiting = line->waiting;

	(void)length;
	require_sent(&line->station, status);
	line->sending = false;
	line->waiting = NULL;
	if (waiting != NULL)
		lnet_resume(waiting);
}

static void send_buffer(struct line *line, const struct lnet_payload *payload)
{
	const struct lnet_put put = {.ptl_index = PORTAL};

	line->sending = true;
	lnet_put(line->peer, &line->tx, &put, payload, 0, buffer_is_sent, line);
}

static ntstatus place_message(void *owner, struct lnet_incoming *incoming)
{
	struct line *line = owner;

	if (line->sending) {
		line->waiting = incoming;
		return STATUS_PENDING;
	}
	incoming->into = line->payload;
	return STATUS_SUCCESS;
}

static ntstatus round_came(void *owner, struct lnet_incoming *incoming, ntstatus status)
{
	struct line *line = owner;

	(void)incoming;
	if (!nt_success(status))
		fail(line->station.run, "a message", status);
	line->came(line, line->buffer.base);
	return STATUS_SUCCESS;
}

/* An answer, or the child's first PUT. */
static void answer_came(struct line *line, struct peer_head *message)
{
	struct peer_run *run = line->station.run;

	if (run->messages > 0 && !peer_end_round(run, message)) {
		complete(&line->station);
		return;
	}
	peer_begin_round(run, message);
	send_buffer(line, &line->payload);
}

static void question_came(struct line *line, struct peer_head *message)
{
	bool last = message->last;

	send_buffer(line, &line->payload);
	if (last)
		ke_set_event(&line->station.over);
}

static void open_line(struct line *line, struct peer_run *run,
		      void (*came)(struct line *line, struct peer_head *message))
{
	*line = (struct line){.came = came,
			      .buffer = {peer_allocate_messages(run, 0), run->message_bytes}};
	line->payload = (struct lnet_payload){
		.length = run->message_bytes, .count = 1, .iov = &line->buffer};
}

static void close_line(struct line *line)
{
	ke_wait_for_single_object(&line->station.over, KE_WAIT_FOREVER);
	peer_wait_until_complete(line->station.run);
	ksocknal_put_peer(line->peer);
	close_station(&line->station);
	free(line->buffer.base);
}

static void ask_rounds(void *context)
{
	struct line line;
	const struct lnet_portal portal = {
		.put = place_message, .done = round_came, .owner = &line};

	open_line(&line, context, answer_came);
	open_listener(&line.station, context, &portal);
	line.peer = find_peer(&line.station, PARENT_NID, CHILD_NID, NULL);
	close_line(&line);
}

static void answer_rounds(void *context)
{
	struct peer_run *run = context;
	const struct transport_address remote = loopback(run->port);
	struct line line;
	const struct lnet_portal portal = {
		.put = place_message, .done = round_came, .owner = &line};

	open_line(&line, run, question_came);
	open_station(&line.station, run, &portal, CHILD_NID, 1, false);
	line.peer = find_peer(&line.station, CHILD_NID, PARENT_NID, &remote);
	send_buffer(&line, NULL);
	close_line(&line);
}

static void ping(struct peer_run *run)
{
	run_executive(run, ask_rounds);
}

static void echo(struct peer_run *run)
{
	run_executive(run, answer_rounds);
}

int main(int argc, char **argv)
{
	static const struct peer_tool tools[] = {
		{"xport", receive_all, send_all, ping, echo},
		{"xport-threads", receive_all, send_all, ping, echo},
		{"xport-parks", receive_all, send_all, ping, echo},
	};

	return peer_main(argc, argv, tools, sizeof(tools) / sizeof(tools[0]));
}
