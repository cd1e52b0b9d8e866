/*
 * A wan, from coming up to being gone
 *
 * wan_up() forks. The child sheds all it has of its caller, takes the name, makes the sides and
 * becomes the relay; meanwhile the caller waits at a pipe for one NUL, which means that packets
 * flow, or for the line that says why not. For each side the child moves to a new network
 * namespace, tunes its TCP, makes the TUN device there and keeps a descriptor of both. Devices
 * that are not persistent and namespaces without a name live as long as descriptors of them; the
 * child holds the only ones. A user who may not make a network namespace first makes a user
 * namespace, in which everybody may; what is left to be permitted is opening /dev/net/tun.
 *
 *      caller's namespace         side a                     side b
 *                                +-----------------------+  +-----------------------+
 *      xport wan exec ...        | wan0 10.77.0.1  lo    |  | wan0 10.77.0.2  lo    |
 *          |                     +--|--------------------+  +--|--------------------+
 *          | socket "\0xport-wan/   | descriptors              |
 *          |          UID/NAME"   +-|--------------------------|-+
 *          +----------------------| relay                        |
 *                                 +------------------------------+
 *
 * The name is that of an abstract unix socket. It belongs to the network namespace in which it
 * was bound, therefore the child binds it before it moves anywhere, and binding also settles
 * which of two processes gets a name. Any user may bind or connect to any such name, so both ends
 * compare the uid that the kernel vouches for. A client that wants in receives descriptors of the
 * namespaces. (A process id and /proc would do as well, until the id is used again or /proc is
 * mounted to hide other processes.)
 */

#include "wan.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relay.h"
#include "sides.h"

enum {
	NAME_MAX_LENGTH = 32,
	ERROR_SIZE = 256,
	PATIENCE_SECONDS = 5,
};

const char *wan_address(char side)
{
	if (side == 'a')
		return "10.77.0.1";
	return side == 'b' ? "10.77.0.2" : NULL;
}

/* ---- The control socket ---- */

static int check_name(const char *name, struct report report)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t length = strlen(name);

	if (length == 0 || length > NAME_MAX_LENGTH || strspn(name, allowed) != length)
		return report_failure(
			report, "'%.40s' is no name for a wan; use 1 to %d of A-Z a-z 0-9 . _ -",
			name, NAME_MAX_LENGTH);
	return 0;
}

static socklen_t control_address(const char *name, struct sockaddr_un *address)
{
	int length;

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	length = snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1, "xport-wan/%u/%s",
			  (unsigned)geteuid(), name);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

static int open_listener(const char *name, struct report report)
{
	struct sockaddr_un address;
	socklen_t size = control_address(name, &address);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, 16) == 0)
		return fd;
	if (errno == EADDRINUSE)
		report_failure(
			report,
			"a wan named '%s' is up already; end it with 'xport wan down --name %s', "
			"or choose another --name",
			name, name);
	else
		report_failure(report, "cannot open the control socket: %s", strerror(errno));
	close_keeping_errno(fd);
	return -1;
}

/* A connection to the relay of the named wan, as whose user the kernel has confirmed ours. */
static int connect_to_relay(const char *name, struct report report)
{
	struct sockaddr_un address;
	socklen_t size = control_address(name, &address);
	struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
	struct ucred peer;
	socklen_t peer_size = sizeof(peer);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return report_failure(report, "cannot open a socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, size) < 0)
		report_failure(report,
			       "no wan named '%s' is up for this user; start it with "
			       "'xport wan up --name %s'",
			       name, name);
	else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) < 0 ||
		 peer.uid != geteuid())
		report_failure(report, "another user holds the name '%s'; choose another --name",
			       name);
	else
		return fd;
	close_keeping_errno(fd);
	return -1;
}

/* Receives the answer and up to `wanted` descriptors, the absent ones being -1. */
static int receive_answer(int fd, struct relay_answer *answer, int *descriptors, unsigned wanted)
{
	alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))];
	struct iovec vector = {answer, sizeof(*answer)};
	struct msghdr message = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header;
	size_t count = 0;
	ssize_t length;

	for (unsigned i = 0; i < wanted; i++)
		descriptors[i] = -1;
	do
		length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	while (length < 0 && errno == EINTR);
	if (length < 0)
		return -1;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
		count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	for (size_t i = 0; i < count; i++) {
		int received;

		memcpy(&received, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
		if (i < wanted)
			descriptors[i] = received;
		else
			close_keeping_errno(received);
	}
	errno = EPROTO;
	return length == sizeof(*answer) && answer->version == RELAY_VERSION ? 0 : -1;
}

/* Asks the relay. Returns the connection, or -1; descriptors are received only by RELAY_ENTER_*. */
static int ask(const char *name, char request, struct relay_answer *answer, int *descriptors,
	       unsigned wanted, struct report report)
{
	int fd;

	if (check_name(name, report) < 0)
		return -1;
	fd = connect_to_relay(name, report);
	if (fd < 0)
		return -1;
	if (send(fd, &request, 1, MSG_NOSIGNAL) == 1 &&
	    receive_answer(fd, answer, descriptors, wanted) == 0)
		return fd;
	report_failure(report,
		       "the relay of '%s' does not answer: %s; kill it and bring the wan up again",
		       name, strerror(errno));
	for (unsigned i = 0; i < wanted; i++)
		close_keeping_errno(descriptors[i]);
	close_keeping_errno(fd);
	return -1;
}

int wan_enter(const char *name, char side, char *error, size_t error_size)
{
	struct report report = {error, error_size};
	struct relay_answer answer;
	int namespaces[2] = {-1, -1};
	int result = 0;
	int fd;

	if (!wan_address(side))
		return report_failure(report, "a wan has the sides a and b");
	fd = ask(name ? name : WAN_DEFAULT_NAME, side, &answer, namespaces, 2, report);
	if (fd < 0)
		return -1;
	/* The user namespace first: it gives the right to enter the other one. */
	if ((namespaces[1] >= 0 && setns(namespaces[1], CLONE_NEWUSER) < 0) ||
	    setns(namespaces[0], CLONE_NEWNET) < 0)
		result = report_failure(report, "cannot enter side %c: %s", side, strerror(errno));
	close_keeping_errno(namespaces[0]);
	close_keeping_errno(namespaces[1]);
	close_keeping_errno(fd);
	return result;
}

int wan_down(const char *name, char *error, size_t error_size)
{
	struct report report = {error, error_size};
	struct relay_answer answer;
	ssize_t length;
	char end;
	int fd = ask(name ? name : WAN_DEFAULT_NAME, RELAY_DOWN, &answer, NULL, 0, report);

	if (fd < 0)
		return -1;
	do
		length = recv(fd, &end, sizeof(end), 0);
	while (length < 0 && errno == EINTR);
	close_keeping_errno(fd);
	if (length < 0 && errno != ECONNRESET)
		return report_failure(report, "the relay, process %lld, does not end; kill it",
				      (long long)answer.status.relay_pid);
	return 0;
}

int wan_status(const char *name, struct wan_status *status, char *error, size_t error_size)
{
	struct report report = {error, error_size};
	struct relay_answer answer;
	int fd = ask(name ? name : WAN_DEFAULT_NAME, RELAY_STATUS, &answer, NULL, 0, report);

	if (fd < 0)
		return -1;
	close_keeping_errno(fd);
	*status = answer.status;
	return 0;
}

/* ---- Coming up ---- */

/*
 * Leaves the caller's session, signal settings, directory and descriptors, except the two given,
 * which are replaced. A descriptor kept by accident would keep somebody's pipe or socket open.
 */
static int leave_caller(int *ready, int *parent, struct report report)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int low = fcntl(*ready, F_DUPFD_CLOEXEC, 3);
	int high = *parent < 0 ? low : fcntl(*parent, F_DUPFD_CLOEXEC, low);
	sigset_t none;

	if (null < 0 || low < 0 || high < 0)
		return report_failure(report, "cannot start the relay: %s", strerror(errno));
	*ready = low;
	*parent = *parent < 0 ? -1 : high;
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	if (low > 3)
		syscall(SYS_close_range, 3u, (unsigned)low - 1, 0u);
	if (high > low + 1)
		syscall(SYS_close_range, (unsigned)low + 1, (unsigned)high - 1, 0u);
	syscall(SYS_close_range, (unsigned)high + 1, ~0u, 0u);

	setsid();
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	return chdir("/") < 0 ? report_failure(report, "cannot enter /: %s", strerror(errno)) : 0;
}

/* The child: becomes the relay, or tells the caller why not. */
__attribute__((noreturn)) static void relay_process(const struct wan_options *options, int ready,
						    int parent)
{
	char error[ERROR_SIZE] = "";
	struct report report = {error, sizeof(error)};
	struct relay_setup setup = {
		.rtt_ns = options->rtt_ns,
		.rate_bits_per_second = options->rate_bits_per_second,
		.tun = {-1, -1},
		.net_namespace = {-1, -1},
		.user_namespace = -1,
		.listener = -1,
	};
	bool up = false;

	if (leave_caller(&ready, &parent, report) == 0) {
		setup.parent = parent;
		setup.listener = open_listener(options->name, report);
		up = setup.listener >= 0 && wan_make_sides(&setup, report) == 0;
	}
	/* Nobody reads this if the caller has died; the relay then learns that from `parent`. */
	signal(SIGPIPE, SIG_IGN);
	if (write(ready, up ? "" : error, up ? 1 : strlen(error)) < 0 && parent < 0)
		up = false;
	close(ready);
	if (up)
		relay_run(&setup);
	_exit(up ? 0 : 1);
}

/* Waits for the child's NUL or line. */
static int await_relay(pid_t child, int ready, struct report report)
{
	char text[ERROR_SIZE];
	size_t length = 0;

	while (length < sizeof(text) - 1) {
		ssize_t got = read(ready, text + length, sizeof(text) - 1 - length);

		if (got == 0 || (got < 0 && errno != EINTR))
			break;
		if (got > 0)
			length += (size_t)got;
	}
	text[length] = '\0';
	if (length == 1 && text[0] == '\0')
		return 0;
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return report_failure(report, "%s", length > 0 ? text : "the relay died while it started");
}

pid_t wan_up(const struct wan_options *options, bool die_with_parent, char *error,
	     size_t error_size)
{
	struct report report = {error, error_size};
	struct wan_options chosen = *options;
	int ready[2] = {-1, -1};
	int parent = -1;
	pid_t child = -1;

	if (!chosen.name)
		chosen.name = WAN_DEFAULT_NAME;
	if (check_name(chosen.name, report) < 0)
		return -1;
	if (chosen.rtt_ns > WAN_MAX_RTT_NS)
		return report_failure(report, "a round trip is at most 10s");
	/* Opened here, not by the child, so that it is this process even if that dies at once. */
	if (die_with_parent)
		parent = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if ((die_with_parent && parent < 0) || pipe2(ready, O_CLOEXEC) < 0 || (child = fork()) < 0)
		report_failure(report, "cannot start the relay: %s", strerror(errno));
	if (child == 0)
		relay_process(&chosen, ready[1], parent);
	close_keeping_errno(parent);
	close_keeping_errno(ready[1]);
	if (child > 0 && await_relay(child, ready[0], report) < 0)
		child = -1;
	close_keeping_errno(ready[0]);
	return child;
}
