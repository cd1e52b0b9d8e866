/*
 * What one would write without xport: a loop of read() and send() on a blocking socket. The kernel
 * copies every block into its socket buffer, and keeps the line full from there.
 */
#include "demo.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PINGS = 20 };

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static struct sockaddr_in address_of(const char *address, uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};

	inet_pton(AF_INET, address, &in.sin_addr);
	return in;
}

static void send_at_once(int socket_fd)
{
	int one = 1;

	setsockopt(socket_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

int demo_socket_listen(const char *address, uint16_t port)
{
	struct sockaddr_in in = address_of(address, port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0 && listen(fd, 1) == 0)
		return fd;
	close(fd);
	return -1;
}

int demo_socket_connect(const char *address, uint16_t port)
{
	struct sockaddr_in in = address_of(address, port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&in, sizeof(in)) != 0) {
		close(fd);
		return -1;
	}
	send_at_once(fd);
	return fd;
}

static int send_all(int socket_fd, const char *bytes, size_t count)
{
	while (count > 0) {
		ssize_t sent = send(socket_fd, bytes, count, MSG_NOSIGNAL);

		if (sent < 0 && errno != EINTR)
			return -1;
		if (sent > 0) {
			bytes += sent;
			count -= (size_t)sent;
		}
	}
	return 0;
}

int demo_socket_send(int socket_fd, const struct demo *demo, struct demo_row *row)
{
	char *block = malloc(demo->block_bytes);
	uint64_t left = row->limit_bytes;
	char end;

	if (block == NULL)
		return -1;
	while (left > 0) {
		size_t wanted = left < demo->block_bytes ? (size_t)left : demo->block_bytes;
		ssize_t got = read(demo->fd, block, wanted);

		if (got <= 0 || send_all(socket_fd, block, (size_t)got) != 0)
			break;
		left -= (uint64_t)got;
	}
	free(block);
	/* The peer closes when it has everything. */
	shutdown(socket_fd, SHUT_WR);
	return left == 0 && recv(socket_fd, &end, 1, 0) == 0 ? 0 : -1;
}

int demo_socket_receive(int socket_fd, const struct demo *demo, struct demo_row *row)
{
	uint64_t warm_up = demo_warm_up_blocks(row) * demo->block_bytes;
	uint64_t first = 0, window = 0, window_bytes = 0, last = 0;
	size_t room = 256 * 1024;
	char *buffer = malloc(room);
	struct sha256_ctx sha256;
	ssize_t got = -1;

	sha256_init(&sha256);
	while (buffer != NULL && (got = recv(socket_fd, buffer, room, 0)) > 0) {
		last = now_ns();
		row->bytes += (uint64_t)got;
		sha256_update(&sha256, (size_t)got, (uint8_t *)buffer);
		if (first == 0)
			first = last;
		if (window == 0 && row->bytes >= warm_up) {
			window = last;
			window_bytes = row->bytes;
		}
	}
	free(buffer);
	if (got < 0)
		return -1;
	sha256_digest(&sha256, sizeof(row->sha256), row->sha256);
	row->window_too_short = window == 0 || row->bytes < 2 * warm_up;
	if (row->window_too_short) {
		window = first;
		window_bytes = 0;
	}
	row->total_seconds =
		(double)(last - first + demo->rtt_ns) / 1e9; /* the first took one way */
	row->seconds = (double)(last - window) / 1e9;
	if (last > window)
		row->bytes_per_second = (double)(row->bytes - window_bytes) / row->seconds;
	/* By Little's law: what is on the line, in blocks. */
	row->effective_depth =
		row->bytes_per_second * (double)demo->rtt_ns / 1e9 / (double)demo->block_bytes;
	return 0;
}

int demo_socket_ping(int socket_fd, uint64_t *rtt_ns)
{
	*rtt_ns = UINT64_MAX;
	for (int i = 0; i < PINGS; i++) {
		uint64_t start = now_ns(), took;
		char byte = 'x';

		if (send_all(socket_fd, &byte, 1) != 0 || recv(socket_fd, &byte, 1, 0) != 1)
			return -1;
		took = now_ns() - start;
		if (took < *rtt_ns)
			*rtt_ns = took;
	}
	return 0;
}

void demo_socket_echo(int socket_fd)
{
	char byte;

	send_at_once(socket_fd);
	while (recv(socket_fd, &byte, 1, 0) == 1)
		if (send_all(socket_fd, &byte, 1) != 0)
			return;
}
