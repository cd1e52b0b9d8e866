/*
 * A row of the demo over the wan.
 *
 * For each row this process starts two: one enters side b and receives, one enters side a and
 * sends. Each writes its half of the row to a pipe and ends. Both die with this process, and this
 * process has a single thread, so an interrupt ends everything by its default action.
 */
#include "demo.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "counters.h"
#include "endpoint.h"
#include "monitor.h"
#include "receiver.h"
#include "sender.h"
#include "wan.h"
#include "xport.h"

enum { DEMO_PORT = 4000 };

static const int64_t CONNECT_TIMEOUT_NS = 10000000000;

/* What one side has to do and what it tells. */
struct side {
	const struct demo *demo;
	struct demo_row row;
	uint64_t rtt_ns;
	struct stat_segment *segment; /* where its process counts */
	bool failed;
};

/* Does a side's work; `ready_fd` gets a byte when the other side may come. */
typedef void side_work(struct side *side, int ready_fd);

static void side_failed(struct side *side, const char *what, const char *why)
{
	if (!side->failed)
		snprintf(side->row.error, sizeof(side->row.error), "%s: %s", what, why);
	side->failed = true;
}

/* ---- Two processes ------------------------------------------------------------------------- */

struct child {
	pid_t pid;
	int result_fd;
	int ready_fd;
};

static _Noreturn void be_child(struct side *side, char name, side_work *work, pid_t parent,
			       int result_fd, int ready_fd)
{
	char error[120];

	/* Before it enters the side, where it may have another user's name. */
	side->segment = counters_publish(name == 'a' ? "demo" : "demo-recv");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	if (wan_enter(side->demo->wan_name, name, error, sizeof(error)) != 0)
		side_failed(side, "wan", error);
	else
		work(side, ready_fd);
	counters_withdraw();
	if (write(result_fd, side, sizeof(*side)) != (ssize_t)sizeof(*side))
		_exit(1);
	_exit(0);
}

static int start_child(struct child *child, struct side *side, char name, side_work *work)
{
	int result[2], ready[2];
	pid_t parent = getpid();

	if (pipe(result) != 0)
		return -1;
	if (pipe(ready) != 0) {
		close(result[0]);
		close(result[1]);
		return -1;
	}
	fflush(NULL);
	child->pid = fork();
	if (child->pid == 0)
		be_child(side, name, work, parent, result[1], ready[1]);
	close(result[1]);
	close(ready[1]);
	child->result_fd = result[0];
	child->ready_fd = ready[0];
	return child->pid < 0 ? -1 : 0;
}

/* Waits for the child and takes what it told; a child that died told nothing. */
static void finish_child(struct child *child, struct side *side)
{
	const struct demo *demo = side->demo;
	ssize_t got;

	do
		got = read(child->result_fd, side, sizeof(*side));
	while (got < 0 && errno == EINTR);
	side->demo = demo;
	if (got != (ssize_t)sizeof(*side))
		side_failed(side, "demo", "a process of it died");
	close(child->result_fd);
	close(child->ready_fd);
	while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static bool wait_ready(const struct child *child)
{
	char byte;

	return read(child->ready_fd, &byte, 1) == 1;
}

static void tell_ready(int ready_fd)
{
	if (write(ready_fd, "r", 1) != 1)
		_exit(1); /* nobody waits for this process any more */
}

/* Runs the receiver on side b, then the sender on side a. On failure one of them says why. */
static int run_sides(struct side *receiver, side_work *receive, struct side *sender,
		     side_work *send, char *error, size_t error_size)
{
	struct child b, a;

	if (start_child(&b, receiver, 'b', receive) != 0) {
		snprintf(error, error_size, "cannot start a process: %s", strerror(errno));
		return -1;
	}
	if (wait_ready(&b)) {
		if (start_child(&a, sender, 'a', send) == 0) {
			finish_child(&a, sender);
			if (sender->failed)
				kill(b.pid, SIGTERM); /* it may wait for ever */
		} else {
			side_failed(sender, "cannot start a process", strerror(errno));
			kill(b.pid, SIGTERM);
		}
	}
	finish_child(&b, receiver);
	if (!receiver->failed && !sender->failed)
		return 0;
	snprintf(error, error_size, "%s", sender->failed ? sender->row.error : receiver->row.error);
	return -1;
}

/* ---- The plain socket program -------------------------------------------------------------- */

static int accept_one(struct side *side, int ready_fd)
{
	int listener = demo_socket_listen(wan_address('b'), DEMO_PORT), fd;

	if (listener < 0) {
		side_failed(side, "listen", strerror(errno));
		return -1;
	}
	tell_ready(ready_fd);
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		side_failed(side, "accept", strerror(errno));
	close(listener);
	return fd;
}

static int connect_one(struct side *side)
{
	int fd = demo_socket_connect(wan_address('b'), DEMO_PORT);

	if (fd < 0)
		side_failed(side, "connect", strerror(errno));
	return fd;
}

static void socket_receive(struct side *side, int ready_fd)
{
	int fd = accept_one(side, ready_fd);

	if (fd >= 0 && demo_socket_receive(fd, side->demo, &side->row) != 0)
		side_failed(side, "receive", strerror(errno));
}

static void socket_send(struct side *side, int ready_fd)
{
	int fd = connect_one(side);

	(void)ready_fd;
	if (fd >= 0 && demo_socket_send(fd, side->demo, &side->row) != 0)
		side_failed(side, "send", strerror(errno));
}

static void socket_echo(struct side *side, int ready_fd)
{
	int fd = accept_one(side, ready_fd);

	if (fd >= 0)
		demo_socket_echo(fd);
}

static void socket_ping(struct side *side, int ready_fd)
{
	int fd = connect_one(side);

	(void)ready_fd;
	if (fd >= 0 && demo_socket_ping(fd, &side->rtt_ns) != 0)
		side_failed(side, "ping", strerror(errno));
}

/* ---- xport --------------------------------------------------------------------------------- */

/* A side's work on an executive, which calls a routine with one argument. */
struct run {
	struct side *side;
	int ready_fd;
};

static void parse_side(char name, uint16_t port, struct transport_address *address)
{
	unsigned byte[4];

	*address = (struct transport_address){.address_type = TDI_ADDRESS_TYPE_IP, .port = port};
	if (sscanf(wan_address(name), "%u.%u.%u.%u", &byte[0], &byte[1], &byte[2], &byte[3]) == 4)
		for (int i = 0; i < 4; i++)
			address->address[i] = (uint8_t)byte[i];
}

static bool check(struct side *side, const char *what, ntstatus status)
{
	if (!nt_success(status))
		side_failed(side, what, nt_status_text(status));
	return nt_success(status);
}

static void receive_connected(struct side *side, struct endpoint *endpoint)
{
	struct sha256_ctx sha256;
	struct receive_options options = {.fd = -1, .sha256 = &sha256};
	struct receive_report report;

	sha256_init(&sha256);
	if (!check(side, "receive", receive_file(&endpoint->connection, &options, &report)))
		return;
	tdi_disconnect(&endpoint->connection, TDI_DISCONNECT_RELEASE);
	sha256_digest(&sha256, sizeof(side->row.sha256), side->row.sha256);
	side->row.bytes = report.bytes;
}

static void receive_main(void *context)
{
	struct run *run = context;
	struct tcp_options options = {.segment = run->side->segment};
	struct transport_address local;
	struct endpoint endpoint;

	parse_side('b', DEMO_PORT, &local);
	if (!check(run->side, "listen", endpoint_open(&endpoint, &options, &local)))
		return;
	tell_ready(run->ready_fd);
	if (check(run->side, "listen", tdi_listen(&endpoint.connection, NULL, CONNECT_TIMEOUT_NS)))
		receive_connected(run->side, &endpoint);
	endpoint_close(&endpoint);
}

/* From the first send to the end of the last, and the peer's word that it has everything. */
static void send_connected(struct side *side, struct endpoint *endpoint)
{
	struct demo_row *row = &side->row;
	struct send_options options = {.mode = row->mode == DEMO_SYNC ? SEND_SYNC : SEND_ASYNC,
				       .depth = row->depth,
				       .block_bytes = side->demo->block_bytes,
				       .limit_bytes = row->limit_bytes,
				       .fd = side->demo->fd};
	struct send_report report;
	struct monitor monitor;
	ntstatus status;
	char end;

	if (!check(side, "send",
		   monitor_start(&monitor, &endpoint->connection, MONITOR_SENDING, row->limit_bytes,
				 CONNECT_TIMEOUT_NS)))
		return;
	status = send_file(&endpoint->connection, &options, &report);
	monitor_stop(&monitor);
	if (!check(side, "send", status))
		return;
	tdi_disconnect(&endpoint->connection, TDI_DISCONNECT_RELEASE);
	status = (ntstatus)tdi_receive_stream(&endpoint->connection, &end, 1);
	if (status != STATUS_GRACEFUL_DISCONNECT)
		side_failed(side, "receiver", nt_status_text(status));
	demo_take_report(row, &report);
}

static void send_main(void *context)
{
	struct run *run = context;
	struct tcp_options options = {.direct = true, .segment = run->side->segment};
	struct transport_address local = {.address_type = TDI_ADDRESS_TYPE_IP}, remote;
	struct endpoint endpoint;

	parse_side('b', DEMO_PORT, &remote);
	if (!check(run->side, "connect", endpoint_open(&endpoint, &options, &local)))
		return;
	if (check(run->side, "connect",
		  tdi_connect(&endpoint.connection, &remote, CONNECT_TIMEOUT_NS)))
		send_connected(run->side, &endpoint);
	endpoint_close(&endpoint);
}

static void run_executive(struct side *side, int ready_fd, ke_thread_routine *main)
{
	struct ke_options options = {.processors = 1};
	struct run run = {side, ready_fd};

	check(side, "executive", ke_run(&options, main, &run));
}

static void xport_receive(struct side *side, int ready_fd)
{
	run_executive(side, ready_fd, receive_main);
}

static void xport_send(struct side *side, int ready_fd)
{
	run_executive(side, ready_fd, send_main);
}

/* ---- What the demo asks for ---------------------------------------------------------------- */

int demo_wan_measure_rtt(const struct demo *demo, uint64_t *rtt_ns, char *error, size_t size)
{
	struct side receiver = {.demo = demo}, sender = {.demo = demo};

	if (run_sides(&receiver, socket_echo, &sender, socket_ping, error, size) != 0)
		return -1;
	*rtt_ns = sender.rtt_ns;
	return 0;
}

int demo_wan_row(const struct demo *demo, struct demo_row *row)
{
	struct side receiver = {.demo = demo, .row = *row}, sender = receiver;
	bool plain = row->mode == DEMO_SOCKET;
	int result = run_sides(&receiver, plain ? socket_receive : xport_receive, &sender,
			       plain ? socket_send : xport_send, row->error, sizeof(row->error));

	if (result != 0)
		return -1;
	*row = plain ? receiver.row : sender.row;
	memcpy(row->sha256, receiver.row.sha256, sizeof(row->sha256));
	if (receiver.row.bytes == row->limit_bytes)
		return 0;
	snprintf(row->error, sizeof(row->error), "%llu of %llu bytes arrived",
		 (unsigned long long)receiver.row.bytes, (unsigned long long)row->limit_bytes);
	return -1;
}
