/*
 * measure-peer-nng: messages through nng over TCP. See peer_run.h.
 *
 * What gave nng the most, of what was tried: PAIR1 sockets, one a connection, and at the receiver
 * one that takes from all ("poly"). PUSH and PULL bring a quarter of that in messages of 64 bytes,
 * as each message wakes the sender; with 1 MiB they are alike. Queues of 128 messages, or of 64 MiB
 * for all connections together, but at least 2; longer ones bring nothing. Messages are allocated
 * by nng, filled no further than their head, and handed over without a copy. A ping-pong goes
 * between two PAIR1 sockets, too: REQ and REP take longer.
 */
#include <arpa/inet.h>
#include <nng/nng.h>
#include <nng/protocol/pair1/pair.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer_run.h"

enum { QUEUED_BYTES = 64 << 20, LEAST_QUEUED = 2, MOST_QUEUED = 128 };

static void check(struct peer_run *run, int error, const char *what)
{
	char words[128];

	if (error == 0)
		return;
	snprintf(words, sizeof(words), "%s: %s", what, nng_strerror(error));
	errno = 0;
	peer_fail(run, words);
}

static void queue_messages(struct peer_run *run, nng_socket socket)
{
	uint64_t fit = (uint64_t)QUEUED_BYTES / run->message_bytes / run->connections;
	int queued = fit < LEAST_QUEUED ? LEAST_QUEUED : fit > MOST_QUEUED ? MOST_QUEUED : (int)fit;

	check(run, nng_socket_set_int(socket, NNG_OPT_SENDBUF, queued), "send queue");
	check(run, nng_socket_set_int(socket, NNG_OPT_RECVBUF, queued), "receive queue");
	check(run, nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, 0), "messages of any size");
}

static void listen_and_tell(struct peer_run *run, nng_socket socket)
{
	nng_listener listener;
	nng_sockaddr address;

	queue_messages(run, socket);
	check(run, nng_listener_create(&listener, socket, "tcp://127.0.0.1:0"), "listener");
	check(run, nng_listener_start(listener, 0), "listen");
	check(run, nng_listener_get_addr(listener, NNG_OPT_LOCADDR, &address), "port");
	peer_tell_port(run, ntohs(address.s_in.sa_port));
}

static nng_socket call(struct peer_run *run)
{
	nng_socket socket;
	char url[64];

	check(run, nng_pair1_open(&socket), "socket");
	queue_messages(run, socket);
	snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", run->port);
	check(run, nng_dial(socket, url, NULL, 0), "dial");
	return socket;
}

static nng_msg *receive(struct peer_run *run, nng_socket socket)
{
	nng_msg *message;

	check(run, nng_recvmsg(socket, &message, 0), "receive");
	errno = 0;
	if (nng_msg_len(message) != run->message_bytes)
		peer_fail(run, "a message of another size");
	return message;
}

/* ---- A stream -------------------------------------------------------------------------------- */

static void turn(struct peer_run *run, uint32_t connection, uint32_t messages)
{
	const nng_socket *sockets = run->state;

	for (; messages > 0; messages--) {
		nng_msg *message;

		check(run, nng_msg_alloc(&message, run->message_bytes), "message");
		peer_stamp(run, connection, nng_msg_body(message));
		check(run, nng_sendmsg(sockets[connection], message, 0), "send");
	}
}

static void send_all(struct peer_run *run)
{
	nng_socket *sockets = peer_allocate(run, run->connections * sizeof(sockets[0]));

	for (uint32_t i = 0; i < run->connections; i++)
		sockets[i] = call(run);
	run->state = sockets;
	peer_take_turns(run, turn);
	peer_wait_until_complete(run); /* what is queued dies with its socket */
	for (uint32_t i = 0; i < run->connections; i++)
		nng_close(sockets[i]);
	free(sockets);
}

static void receive_all(struct peer_run *run)
{
	nng_socket socket;

	check(run, nng_pair1_open_poly(&socket), "socket");
	listen_and_tell(run, socket);
	while (run->open > 0) {
		nng_msg *message = receive(run, socket);

		peer_received(run, nng_msg_body(message));
		nng_msg_free(message);
	}
	nng_close(socket);
}

/* ---- Ping-pong ------------------------------------------------------------------------------- */

static void ask(struct peer_run *run, void *bytes)
{
	const nng_socket *socket = run->state;
	nng_msg *message;

	check(run, nng_msg_alloc(&message, run->message_bytes), "message");
	memcpy(nng_msg_body(message), bytes, run->message_bytes);
	check(run, nng_sendmsg(*socket, message, 0), "send");
	message = receive(run, *socket);
	memcpy(bytes, nng_msg_body(message), run->message_bytes);
	nng_msg_free(message);
}

static void ping(struct peer_run *run)
{
	nng_socket socket;

	check(run, nng_pair1_open(&socket), "socket");
	listen_and_tell(run, socket);
	run->state = &socket;
	peer_ask_rounds(run, ask);
	nng_close(socket);
}

static void echo(struct peer_run *run)
{
	nng_socket socket = call(run);
	bool last = false;

	while (!last) {
		nng_msg *message = receive(run, socket);

		last = ((const struct peer_head *)nng_msg_body(message))->last;
		check(run, nng_sendmsg(socket, message, 0), "send");
	}
	peer_wait_until_complete(run);
	nng_close(socket);
}

int main(int argc, char **argv)
{
	static const struct peer_tool tools[] = {{"nng", receive_all, send_all, ping, echo}};

	return peer_main(argc, argv, tools, 1);
}
