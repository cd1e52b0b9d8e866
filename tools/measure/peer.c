/*
 * measure-peer: messages over sockets, as a program without a library sends them. See peer_run.h.
 *
 *   raw-send    one send() a message; a ping-pong blocks in recv()
 *   raw-writev  one writev() for 64 messages, or for as many as a turn has
 *   raw-staged  copies messages into a buffer of 64 KiB, and sends that when it is full
 *   raw-epoll   a ping-pong of non-blocking sockets that waits in epoll_wait()
 *   raw-poll    the same, but asks epoll_wait() again and again
 *
 * The sender blocks. The receiver of a stream reads whatever has come, up to 256 KiB, and finds the
 * messages in it; with more than one connection it asks epoll which.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "peer_run.h"

enum { RECEIVE_BYTES = 256 << 10, WRITEV_MESSAGES = 64, STAGED_BYTES = 64 << 10, EVENTS = 64 };

struct sender {
	int *fds;      /* by connection */
	char *message; /* writev: a turn of them */
	char *staged;
	uint32_t staged_bytes;
};

struct inlet {
	int fd;
	uint32_t at; /* where the next byte belongs in its message */
	struct peer_head head;
};

struct receiver {
	struct inlet *inlets;
	int epoll;
	char *buffer;
};

/* ---- Connections ----------------------------------------------------------------------------- */

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void do_not_delay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static int listen_and_tell(struct peer_run *run)
{
	struct sockaddr_in in = loopback(0);
	socklen_t length = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof(in)) != 0 ||
	    listen(fd, SOMAXCONN) != 0 || getsockname(fd, (struct sockaddr *)&in, &length) != 0)
		peer_fail(run, "listen");
	peer_tell_port(run, ntohs(in.sin_port));
	return fd;
}

static int take_one(struct peer_run *run, int listener)
{
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		peer_fail(run, "accept");
	do_not_delay(fd);
	return fd;
}

static int call(struct peer_run *run)
{
	struct sockaddr_in in = loopback(run->port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&in, sizeof(in)) != 0)
		peer_fail(run, "connect");
	do_not_delay(fd);
	return fd;
}

/* ---- Sending a stream ------------------------------------------------------------------------ */

static void send_whole(struct peer_run *run, int fd, const char *bytes, size_t count)
{
	while (count > 0) {
		ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);

		if (sent < 0)
			peer_fail(run, "send");
		bytes += sent;
		count -= (size_t)sent;
	}
}

static void turn_of_sends(struct peer_run *run, uint32_t connection, uint32_t messages)
{
	struct sender *sender = run->state;

	for (; messages > 0; messages--) {
		peer_stamp(run, connection, sender->message);
		send_whole(run, sender->fds[connection], sender->message, run->message_bytes);
	}
}

static void turn_of_writev(struct peer_run *run, uint32_t connection, uint32_t messages)
{
	struct sender *sender = run->state;
	struct iovec vector[WRITEV_MESSAGES];
	ssize_t whole, sent;

	while (messages > 0) {
		int count = 0;

		for (; count < WRITEV_MESSAGES && messages > 0; count++, messages--) {
			char *message = sender->message + (size_t)count * run->message_bytes;

			peer_stamp(run, connection, message);
			vector[count] = (struct iovec){message, run->message_bytes};
		}
		whole = (ssize_t)count * run->message_bytes;
		sent = writev(sender->fds[connection], vector, count);
		if (sent < 0)
			peer_fail(run, "writev");
		/* A signal may cut it short. The messages lie in a row. */
		send_whole(run, sender->fds[connection], sender->message + sent,
			   (size_t)(whole - sent));
	}
}

static void send_staged(struct peer_run *run, struct sender *sender, uint32_t connection)
{
	send_whole(run, sender->fds[connection], sender->staged, sender->staged_bytes);
	sender->staged_bytes = 0;
}

static void turn_of_staged(struct peer_run *run, uint32_t connection, uint32_t messages)
{
	struct sender *sender = run->state;

	for (; messages > 0; messages--) {
		uint32_t done = 0;

		peer_stamp(run, connection, sender->message);
		while (done < run->message_bytes) {
			uint32_t part = run->message_bytes - done;

			if (part > STAGED_BYTES - sender->staged_bytes)
				part = STAGED_BYTES - sender->staged_bytes;
			memcpy(sender->staged + sender->staged_bytes, sender->message + done, part);
			done += part;
			sender->staged_bytes += part;
			if (sender->staged_bytes == STAGED_BYTES)
				send_staged(run, sender, connection);
		}
	}
	send_staged(run, sender, connection); /* a turn is a full buffer, or nearly */
}

static void send_turns(struct peer_run *run, peer_turn *turn)
{
	struct sender sender = {
		.fds = peer_allocate(run, run->connections * sizeof(int)),
		.message = peer_allocate_messages(run, PEER_TURN_BYTES),
		.staged = peer_allocate(run, STAGED_BYTES),
	};

	run->state = &sender;
	for (uint32_t i = 0; i < run->connections; i++)
		sender.fds[i] = call(run);
	peer_take_turns(run, turn);
	for (uint32_t i = 0; i < run->connections; i++)
		close(sender.fds[i]);
	free(sender.staged);
	free(sender.message);
	free(sender.fds);
}

static void send_each(struct peer_run *run)
{
	send_turns(run, turn_of_sends);
}

static void send_vectors(struct peer_run *run)
{
	send_turns(run, turn_of_writev);
}

static void send_from_stage(struct peer_run *run)
{
	send_turns(run, turn_of_staged);
}

/* ---- Receiving a stream ---------------------------------------------------------------------- */

static void find_messages(struct peer_run *run, struct inlet *inlet, const char *bytes,
			  size_t count)
{
	while (count > 0) {
		size_t part = run->message_bytes - inlet->at;

		if (part > count)
			part = count;
		if (inlet->at == 0 && part >= sizeof(inlet->head)) {
			memcpy(&inlet->head, bytes, sizeof(inlet->head));
		} else if (inlet->at < sizeof(inlet->head)) { /* the head came in pieces */
			size_t rest = sizeof(inlet->head) - inlet->at;

			memcpy((char *)&inlet->head + inlet->at, bytes, part < rest ? part : rest);
		}
		bytes += part;
		count -= part;
		inlet->at += (uint32_t)part;
		if (inlet->at == run->message_bytes) {
			peer_received(run, &inlet->head);
			inlet->at = 0;
		}
	}
}

static void read_inlet(struct peer_run *run, struct receiver *receiver, struct inlet *inlet)
{
	ssize_t got = recv(inlet->fd, receiver->buffer, RECEIVE_BYTES, 0);

	if (got > 0)
		find_messages(run, inlet, receiver->buffer, (size_t)got);
	else if (got == 0 && inlet->head.last == 1 && inlet->at == 0)
		epoll_ctl(receiver->epoll, EPOLL_CTL_DEL, inlet->fd, NULL);
	else
		peer_fail(run, "recv");
}

static void read_ready_inlets(struct peer_run *run, struct receiver *receiver)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(receiver->epoll, events, EVENTS, -1);

	if (count < 0)
		peer_fail(run, "epoll_wait");
	for (int i = 0; i < count; i++)
		read_inlet(run, receiver, events[i].data.ptr);
}

static void receive_all(struct peer_run *run)
{
	struct receiver receiver = {
		.inlets = peer_allocate(run, run->connections * sizeof(struct inlet)),
		.buffer = peer_allocate(run, RECEIVE_BYTES),
		.epoll = epoll_create1(0),
	};
	int listener = listen_and_tell(run);

	for (uint32_t i = 0; i < run->connections; i++) {
		struct inlet *inlet = &receiver.inlets[i];
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = inlet};

		inlet->fd = take_one(run, listener);
		if (epoll_ctl(receiver.epoll, EPOLL_CTL_ADD, inlet->fd, &event) != 0)
			peer_fail(run, "epoll_ctl");
	}
	while (run->open > 0)
		if (run->connections == 1)
			read_inlet(run, &receiver, &receiver.inlets[0]);
		else
			read_ready_inlets(run, &receiver);
	for (uint32_t i = 0; i < run->connections; i++)
		close(receiver.inlets[i].fd);
	close(listener);
	close(receiver.epoll);
	free(receiver.buffer);
	free(receiver.inlets);
}

/* ---- Ping-pong ------------------------------------------------------------------------------- */

/* The one connection of a ping-pong. Without epoll it blocks. */
struct line {
	int fd;
	int epoll; /* or -1 */
	bool polls;
};

static void wait_for_line(struct peer_run *run, const struct line *line)
{
	struct epoll_event event;
	int count;

	do
		count = epoll_wait(line->epoll, &event, 1, line->polls ? 0 : -1);
	while (count == 0);
	if (count < 0)
		peer_fail(run, "epoll_wait");
}

static void put(struct peer_run *run, const struct line *line, const char *bytes)
{
	size_t left = run->message_bytes;

	while (left > 0) {
		ssize_t sent = send(line->fd, bytes, left, MSG_NOSIGNAL);

		if (sent >= 0) {
			bytes += sent;
			left -= (size_t)sent;
		} else if (errno == EAGAIN && line->epoll >= 0) {
			wait_for_line(run, line);
		} else {
			peer_fail(run, "send");
		}
	}
}

/* What put() waits for is never this message's edge: the far end answers only whole messages. */
static void get(struct peer_run *run, const struct line *line, char *bytes)
{
	size_t left = run->message_bytes;

	if (line->epoll >= 0)
		wait_for_line(run, line);
	while (left > 0) {
		ssize_t got = recv(line->fd, bytes, left, 0);

		if (got > 0) {
			bytes += got;
			left -= (size_t)got;
		} else if (got < 0 && errno == EAGAIN && line->epoll >= 0) {
			wait_for_line(run, line);
		} else {
			peer_fail(run, "recv");
		}
	}
}

static void ask(struct peer_run *run, void *message)
{
	put(run, run->state, message);
	get(run, run->state, message);
}

static void watch(struct peer_run *run, struct line *line)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};

	line->epoll = epoll_create1(0);
	if (fcntl(line->fd, F_SETFL, O_NONBLOCK) != 0 || line->epoll < 0 ||
	    epoll_ctl(line->epoll, EPOLL_CTL_ADD, line->fd, &event) != 0)
		peer_fail(run, "epoll");
}

static void open_line(struct peer_run *run, struct line *line, int fd)
{
	*line = (struct line){.fd = fd, .epoll = -1, .polls = peer_is(run, "raw-poll")};
	if (!peer_is(run, "raw-send"))
		watch(run, line);
}

static void ping(struct peer_run *run)
{
	int listener = listen_and_tell(run);
	struct line line;

	open_line(run, &line, take_one(run, listener));
	run->state = &line;
	peer_ask_rounds(run, ask);
	close(line.fd);
	close(listener);
}

static void echo(struct peer_run *run)
{
	struct peer_head *message = peer_allocate(run, run->message_bytes);
	struct line line;

	open_line(run, &line, call(run));
	do {
		get(run, &line, (char *)message);
		put(run, &line, (const char *)message);
	} while (message->last == 0);
	close(line.fd);
	free(message);
}

int main(int argc, char **argv)
{
	static const struct peer_tool tools[] = {
		{"raw-send", receive_all, send_each, ping, echo},
		{"raw-writev", receive_all, send_vectors, NULL, NULL},
		{"raw-staged", receive_all, send_from_stage, NULL, NULL},
		{"raw-epoll", NULL, NULL, ping, echo},
		{"raw-poll", NULL, NULL, ping, echo},
	};

	return peer_main(argc, argv, tools, sizeof(tools) / sizeof(tools[0]));
}
