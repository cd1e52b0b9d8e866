/*
 * measure-peer-zeromq: messages through libzmq over TCP. See peer_run.h.
 *
 * What gave libzmq the most, of what was tried: a PUSH socket a connection and one PULL socket that
 * takes from all; messages that zmq_msg_init_size allocates and that are neither filled nor copied
 * beyond their head (with 1 MiB it makes half as much again as zmq_send, which copies; buffers of
 * our own with zmq_msg_init_data are slower, as each is handed back across threads); one I/O thread
 * a process; the kernel's own socket buffers. Queues of 10,000 messages, or of 64 MiB for all
 * connections together: longer ones leave the cache. Where they would be shorter than 2 messages
 * they may be larger. A ping-pong goes between two DEALER sockets, which add no envelope: REQ and
 * REP take as long or longer, PAIR the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "peer_run.h"

enum { QUEUED_BYTES = 64 << 20, LEAST_QUEUED = 2, MOST_QUEUED = 10000, SPARE_SOCKETS = 8 };

static void *open_context(struct peer_run *run)
{
	void *context = zmq_ctx_new();

	if (context == NULL ||
	    zmq_ctx_set(context, ZMQ_MAX_SOCKETS, (int)run->connections + SPARE_SOCKETS) != 0)
		peer_fail(run, "zmq_ctx_new");
	return context;
}

static void *open_socket(struct peer_run *run, void *context, int type)
{
	uint64_t fit = (uint64_t)QUEUED_BYTES / run->message_bytes / run->connections;
	int queued = fit < LEAST_QUEUED ? LEAST_QUEUED : fit > MOST_QUEUED ? MOST_QUEUED : (int)fit;
	void *socket = zmq_socket(context, type);

	if (socket == NULL || zmq_setsockopt(socket, ZMQ_SNDHWM, &queued, sizeof(queued)) != 0 ||
	    zmq_setsockopt(socket, ZMQ_RCVHWM, &queued, sizeof(queued)) != 0)
		peer_fail(run, "zmq_socket");
	return socket;
}

static void *listen_and_tell(struct peer_run *run, void *context, int type)
{
	void *socket = open_socket(run, context, type);
	char endpoint[64];
	size_t length = sizeof(endpoint);

	if (zmq_bind(socket, "tcp://127.0.0.1:*") != 0 ||
	    zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &length) != 0)
		peer_fail(run, "zmq_bind");
	peer_tell_port(run, (uint16_t)atoi(strrchr(endpoint, ':') + 1));
	return socket;
}

static void *call(struct peer_run *run, void *context, int type)
{
	void *socket = open_socket(run, context, type);
	char endpoint[64];

	snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", run->port);
	if (zmq_connect(socket, endpoint) != 0)
		peer_fail(run, "zmq_connect");
	return socket;
}

static void receive(struct peer_run *run, void *socket, zmq_msg_t *message)
{
	if (zmq_msg_recv(message, socket, 0) != (int)run->message_bytes)
		peer_fail(run, "zmq_msg_recv");
}

/* ---- A stream -------------------------------------------------------------------------------- */

static void turn(struct peer_run *run, uint32_t connection, uint32_t messages)
{
	void **sockets = run->state;

	for (; messages > 0; messages--) {
		zmq_msg_t message;

		if (zmq_msg_init_size(&message, run->message_bytes) != 0)
			peer_fail(run, "zmq_msg_init_size");
		peer_stamp(run, connection, zmq_msg_data(&message));
		if (zmq_msg_send(&message, sockets[connection], 0) < 0)
			peer_fail(run, "zmq_msg_send");
	}
}

static void send_all(struct peer_run *run)
{
	void *context = open_context(run);
	void **sockets = peer_allocate(run, run->connections * sizeof(sockets[0]));

	for (uint32_t i = 0; i < run->connections; i++)
		sockets[i] = call(run, context, ZMQ_PUSH);
	run->state = sockets;
	peer_take_turns(run, turn);
	for (uint32_t i = 0; i < run->connections; i++)
		zmq_close(sockets[i]);
	zmq_ctx_term(context); /* waits until all is sent */
	free(sockets);
}

static void receive_all(struct peer_run *run)
{
	void *context = open_context(run);
	void *socket = listen_and_tell(run, context, ZMQ_PULL);
	zmq_msg_t message;

	zmq_msg_init(&message);
	while (run->open > 0) {
		receive(run, socket, &message);
		peer_received(run, zmq_msg_data(&message));
	}
	zmq_msg_close(&message);
	zmq_close(socket);
	zmq_ctx_term(context);
}

/* ---- Ping-pong ------------------------------------------------------------------------------- */

static void ask(struct peer_run *run, void *message)
{
	int size = (int)run->message_bytes;

	if (zmq_send(run->state, message, run->message_bytes, 0) != size ||
	    zmq_recv(run->state, message, run->message_bytes, 0) != size)
		peer_fail(run, "ask");
}

static void ping(struct peer_run *run)
{
	void *context = open_context(run);
	void *socket = listen_and_tell(run, context, ZMQ_DEALER);

	run->state = socket;
	peer_ask_rounds(run, ask);
	zmq_close(socket);
	zmq_ctx_term(context);
}

static void echo(struct peer_run *run)
{
	void *context = open_context(run);
	void *socket = call(run, context, ZMQ_DEALER);
	bool last = false;
	zmq_msg_t message;

	zmq_msg_init(&message);
	while (!last) {
		receive(run, socket, &message);
		last = ((const struct peer_head *)zmq_msg_data(&message))->last;
		if (zmq_msg_send(&message, socket, 0) < 0)
			peer_fail(run, "zmq_msg_send");
	}
	zmq_msg_close(&message);
	zmq_close(socket);
	zmq_ctx_term(context);
}

int main(int argc, char **argv)
{
	static const struct peer_tool tools[] = {{"zeromq", receive_all, send_all, ping, echo}};

	return peer_main(argc, argv, tools, 1);
}
