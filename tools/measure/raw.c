/*
 * measure-raw: what the kernel gives a program that does nothing but move bytes.
 *
 *   measure-raw receive           prints the port it listens on, takes one connection, throws away
 *                                 what comes, and prints how many bytes a second that were, from
 *                                 the first byte to the end of the stream
 *   measure-raw send PORT BLOCK FILE
 *                                 sends the file over loopback: read() a block, send() it
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { RECEIVE_BYTES = 1 << 20 };

static int fail(const char *what)
{
	fprintf(stderr, "measure-raw: %s: %s\n", what, strerror(errno));
	return 1;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listen_and_tell(void)
{
	struct sockaddr_in in = loopback(0);
	socklen_t length = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof(in)) != 0 || listen(fd, 1) != 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &length) != 0)
		return -1;
	printf("%u\n", ntohs(in.sin_port));
	fflush(stdout);
	return accept(fd, NULL, NULL);
}

static int receive(void)
{
	char *buffer = malloc(RECEIVE_BYTES);
	int fd = listen_and_tell();
	uint64_t bytes = 0, first_bytes = 0;
	double first = 0;
	ssize_t got;

	if (fd < 0 || buffer == NULL)
		return fail("receive");
	while ((got = recv(fd, buffer, RECEIVE_BYTES, 0)) > 0) {
		if (bytes == 0) {
			first = now();
			first_bytes = (uint64_t)got;
		}
		bytes += (uint64_t)got;
	}
	if (got < 0 || bytes == first_bytes)
		return fail("receive");
	printf("%.0f\n", (double)(bytes - first_bytes) / (now() - first));
	free(buffer);
	return 0;
}

static int send_block(int fd, const char *block, size_t count)
{
	while (count > 0) {
		ssize_t sent = send(fd, block, count, MSG_NOSIGNAL);

		if (sent < 0)
			return -1;
		block += sent;
		count -= (size_t)sent;
	}
	return 0;
}

static int send_file(uint16_t port, size_t block_bytes, const char *path)
{
	struct sockaddr_in in = loopback(port);
	int file = open(path, O_RDONLY), fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	char *block = malloc(block_bytes), end;
	ssize_t got;

	if (file < 0 || fd < 0 || block == NULL)
		return fail(path);
	if (connect(fd, (struct sockaddr *)&in, sizeof(in)) != 0)
		return fail("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	while ((got = read(file, block, block_bytes)) > 0)
		if (send_block(fd, block, (size_t)got) != 0)
			return fail("send");
	shutdown(fd, SHUT_WR);
	if (recv(fd, &end, 1, 0) != 0)
		return fail("the end");
	free(block);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "receive") == 0)
		return receive();
	if (argc == 5 && strcmp(argv[1], "send") == 0 && atol(argv[3]) > 0)
		return send_file((uint16_t)atoi(argv[2]), (size_t)atol(argv[3]), argv[4]);
	fputs("usage: measure-raw receive | measure-raw send PORT BLOCK FILE\n", stderr);
	return 2;
}
