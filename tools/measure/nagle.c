/*
 * measure-nagle: what Nagle's algorithm costs, over loopback, where the line itself takes nothing.
 * Prints a row for each pattern of small sends: the median time of one round, with the algorithm
 * and without.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tcp/tcp.h"

enum { HEADER = 16, BODY = 84, REQUEST = HEADER + BODY, WARM_UP = 30, ROUNDS = 101 };

struct pattern {
	const char *says;
	bool direct;	/* a send is over when it is acknowledged */
	uint32_t first; /* bytes of the first send; the rest is the second */
	bool answers;	/* the peer, to every request */
};

static const struct pattern patterns[] = {
	{"header and body in two sends, then the answer", false, HEADER, true},
	{"header and body in one send, then the answer", false, REQUEST, true},
	{"sends of which each waits to be acknowledged", true, REQUEST, false},
};

struct line {
	const struct pattern *pattern;
	struct device_object *device;
	struct file_object address, connection;
	struct kthread peer;
	int listener;
};

static void be_peer(void *context)
{
	struct line *line = context;
	int fd = accept(line->listener, NULL, NULL);
	char buffer[REQUEST];
	size_t have = 0;
	ssize_t got;

	while (fd >= 0 && (got = read(fd, buffer, sizeof(buffer) - have)) > 0) {
		have += (size_t)got;
		if (have < sizeof(buffer))
			continue;
		have = 0;
		if (line->pattern->answers && write(fd, buffer, 1) != 1)
			break;
	}
	close(fd);
}

static bool open_line(struct line *line, const struct pattern *pattern, bool nagle)
{
	const struct tcp_options options = {.direct = pattern->direct, .nagle = nagle};
	struct transport_address any = {.address_type = TDI_ADDRESS_TYPE_IP};
	struct transport_address remote = {.address_type = TDI_ADDRESS_TYPE_IP,
					   .address = {127, 0, 0, 1}};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(in);

	line->pattern = pattern;
	line->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (line->listener < 0 || bind(line->listener, (struct sockaddr *)&in, sizeof(in)) != 0 ||
	    listen(line->listener, 1) != 0 ||
	    getsockname(line->listener, (struct sockaddr *)&in, &length) != 0)
		return false;
	remote.port = ntohs(in.sin_port);
	line->device = tcp_create_device(&options);
	return line->device != NULL &&
	       nt_success(ps_create_system_thread(&line->peer, be_peer, line)) &&
	       nt_success(tdi_open_transport_address(line->device, &any, &line->address)) &&
	       nt_success(tdi_open_connection_endpoint(line->device, NULL, &line->connection)) &&
	       nt_success(tdi_associate_address(&line->connection, &line->address)) &&
	       nt_success(tdi_connect(&line->connection, &remote, KE_WAIT_FOREVER));
}

static void close_line(struct line *line)
{
	tdi_disconnect(&line->connection, TDI_DISCONNECT_RELEASE);
	ke_wait_for_thread(&line->peer);
	tdi_close(&line->connection);
	tdi_close(&line->address);
	ke_flush_queued_dpcs();
	tcp_delete_device(line->device);
	close(line->listener);
}

static bool do_round(struct line *line)
{
	uint32_t first = line->pattern->first;
	char request[REQUEST] = "", answer;

	if (tdi_send_stream(&line->connection, request, first, 0) != first)
		return false;
	if (first < REQUEST && tdi_send_stream(&line->connection, request + first, REQUEST - first,
					       0) != REQUEST - first)
		return false;
	return !line->pattern->answers || tdi_receive_stream(&line->connection, &answer, 1) == 1;
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

/* Microseconds of a round; negative when there was none. */
static double measure(const struct pattern *pattern, bool nagle)
{
	static double rounds[ROUNDS];
	struct line line;

	if (!open_line(&line, pattern, nagle))
		return -1;
	for (int i = -WARM_UP; i < ROUNDS; i++) {
		uint64_t begun = ke_query_interrupt_time();

		if (!do_round(&line))
			return -1;
		if (i >= 0)
			rounds[i] = (double)(ke_query_interrupt_time() - begun) / 1000;
	}
	close_line(&line);
	qsort(rounds, ROUNDS, sizeof(rounds[0]), compare);
	return rounds[ROUNDS / 2];
}

static void measure_all(void *context)
{
	printf("%-48s %12s %12s\n", "one round, in microseconds", "with Nagle", "without");
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		double with = measure(&patterns[i], true), without = measure(&patterns[i], false);

		if (with < 0 || without < 0)
			exit(1);
		printf("%-48s %12.0f %12.0f\n", patterns[i].says, with, without);
	}
	*(int *)context = 0;
}

int main(void)
{
	struct ke_options options = {.processors = 1};
	int status = 1;

	ke_run(&options, measure_all, &status);
	return status;
}
