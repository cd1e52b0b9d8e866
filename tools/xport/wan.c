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
#include <net/if.h>
#include <arpa/inet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relay.h"

#define DEVICE "wan0"
#define NETMASK "255.255.255.0"

enum {
	MTU = 1500,
	QUEUE_PACKETS = 10000, /* between the stack and the relay, where a drop would distort TCP */
	NAME_MAX_LENGTH = 32,
	ERROR_SIZE = 256,
	PATIENCE_SECONDS = 5,
};

/* Where the line goes that says why something failed. */
struct report {
	char *line;
	size_t size;
};

__attribute__((format(printf, 2, 3))) static int fail(struct report report, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(report.line, report.size, format, arguments);
	va_end(arguments);
	return -1;
}

static void close_quietly(int fd)
{
	int error = errno;

	if (fd >= 0)
		close(fd);
	errno = error;
}

const char *wan_address(char side)
{
	if (side == 'a')
		return "10.77.0.1";
	return side == 'b' ? "10.77.0.2" : NULL;
}

/* ---- Making the two sides; all of this runs in the child ---- */

struct setting {
	const char *path;
	const char *value;
	bool required;
};

/*
 * With these, throughput follows depth * block / RTT. Reno does not pace; BBR, where it is the
 * default, reaches 0.7 of the law. Buffers large from the start make the depth of the sender the
 * only window. A connection must not begin with what an earlier one has measured, nor lose its
 * window while it pauses. IPv6 would only send solicitations.
 */
static const struct setting settings[] = {
        {"net/ipv4/tcp_congestion_control", "reno", true},
        {"net/ipv4/tcp_rmem", "4096 16777216 33554432", true},
        {"net/ipv4/tcp_wmem", "4096 16777216 33554432", true},
        {"net/ipv4/tcp_no_metrics_save", "1", true},
        {"net/ipv4/tcp_slow_start_after_idle", "0", true},
        {"net/ipv6/conf/default/disable_ipv6", "1", false},
};

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t written;

	if (fd < 0)
		return -1;
	written = write(fd, text, strlen(text));
	close_quietly(fd);
	return written < 0 ? -1 : 0;
}

static int tune_tcp(struct report report)
{
	char path[128];

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		snprintf(path, sizeof(path), "/proc/sys/%s", settings[i].path);
		if (write_file(path, settings[i].value) < 0 && settings[i].required)
			return fail(report, "cannot set %s: %s; /proc/sys must be writable here",
			            path, strerror(errno));
	}
	return 0;
}

static int set_address(int control, unsigned long request, const char *text)
{
	struct ifreq interface = {.ifr_name = DEVICE};
	struct sockaddr_in address = {.sin_family = AF_INET};

	inet_pton(AF_INET, text, &address.sin_addr);
	memcpy(&interface.ifr_addr, &address, sizeof(address));
	return ioctl(control, request, &interface);
}

struct link_request {
	struct nlmsghdr header;
	struct ifinfomsg link;
	struct rtattr attribute;
	uint32_t queue_packets;
};

/* By netlink, as the older ioctl() lets nobody but the real root set the length of the queue. */
static int bring_up(const char *device)
{
	struct link_request request = {0};
	struct {
		struct nlmsghdr header;
		struct nlmsgerr result;
		char rest[256]; /* where the kernel repeats a refused request */
	} answer = {0};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	bool answered;

	request.header.nlmsg_len = sizeof(request);
	request.header.nlmsg_type = RTM_NEWLINK;
	request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	request.link.ifi_index = (int)if_nametoindex(device);
	request.link.ifi_flags = request.link.ifi_change = IFF_UP;
	request.attribute.rta_type = IFLA_TXQLEN;
	request.attribute.rta_len = RTA_LENGTH(sizeof(request.queue_packets));
	request.queue_packets = QUEUE_PACKETS;

	answered = fd >= 0 && send(fd, &request, sizeof(request), 0) == sizeof(request) &&
	           recv(fd, &answer, sizeof(answer), 0) >= (ssize_t)NLMSG_LENGTH(sizeof(int));
	close_quietly(fd);
	if (answered)
		errno = -answer.result.error;
	return answered && answer.result.error == 0 ? 0 : -1;
}

static int configure_device(const char *address, struct report report)
{
	struct ifreq mtu = {.ifr_name = DEVICE, .ifr_mtu = MTU};
	int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int result = 0;

	if (control < 0 || ioctl(control, SIOCSIFMTU, &mtu) < 0 ||
	    set_address(control, SIOCSIFADDR, address) < 0 ||
	    set_address(control, SIOCSIFNETMASK, NETMASK) < 0 || bring_up("lo") < 0 ||
	    bring_up(DEVICE) < 0)
		result = fail(report, "cannot configure a TUN device: %s", strerror(errno));
	close_quietly(control);
	return result;
}

/* A TUN device in the current namespace, to which its descriptor stays bound. */
static int open_tun(struct report report)
{
	struct ifreq interface = {
	        .ifr_name = DEVICE,
	        .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR,
	};
	int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (tun < 0)
		return fail(report, "cannot open /dev/net/tun: %s; %s", strerror(errno),
		            errno == EACCES
		                    ? "run as root, or let this user open it"
		                    : "have the kernel module tun loaded, and the device here");
	if (ioctl(tun, TUNSETIFF, &interface) < 0 ||
	    ioctl(tun, TUNSETOFFLOAD, (unsigned long)(TUN_F_CSUM | TUN_F_TSO4)) < 0) {
		fail(report, "cannot make a TUN device: %s; run as root", strerror(errno));
		close_quietly(tun);
		return -1;
	}
	return tun;
}

static int open_namespace(const char *kind, struct report report)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail(report, "cannot open %s: %s; mount /proc", path, strerror(errno));
	return fd;
}

/* Makes this process root of a user namespace of its own. Returns a descriptor of that. */
static int make_user_namespace(struct report report)
{
	unsigned uid = geteuid();
	unsigned gid = getegid();
	char uid_map[32];
	char gid_map[32];

	snprintf(uid_map, sizeof(uid_map), "0 %u 1", uid);
	snprintf(gid_map, sizeof(gid_map), "0 %u 1", gid);
	if (unshare(CLONE_NEWUSER) < 0)
		return fail(report,
		            "cannot make a user namespace: %s; run as root, or allow user "
		            "namespaces (sysctl user.max_user_namespaces)",
		            strerror(errno));
	/* The kernel lets a user map the own group only once groups can no longer be dropped. */
	if (write_file("/proc/self/setgroups", "deny") < 0 ||
	    write_file("/proc/self/uid_map", uid_map) < 0 ||
	    write_file("/proc/self/gid_map", gid_map) < 0)
		return fail(report, "cannot map this user to root: %s; run as root",
		            strerror(errno));
	return open_namespace("user", report);
}

static int make_side(struct relay_setup *setup, int side, struct report report)
{
	if (unshare(CLONE_NEWNET) < 0)
		return fail(report,
		            "cannot make a network namespace: %s; run as root, or allow user "
		            "namespaces",
		            strerror(errno));
	if (tune_tcp(report) < 0)
		return -1;
	setup->net_namespace[side] = open_namespace("net", report);
	if (setup->net_namespace[side] < 0)
		return -1;
	setup->tun[side] = open_tun(report);
	if (setup->tun[side] < 0)
		return -1;
	return configure_device(wan_address(side == RELAY_A ? 'a' : 'b'), report);
}

static int make_sides(struct relay_setup *setup, struct report report)
{
	int probe = open_namespace("net", report);
	bool permitted;

	if (probe < 0)
		return -1;
	/* Entering the namespace one is in changes nothing and needs the right to make one. */
	permitted = setns(probe, CLONE_NEWNET) == 0;
	close_quietly(probe);
	if (!permitted) {
		setup->user_namespace = make_user_namespace(report);
		if (setup->user_namespace < 0)
			return -1;
	}
	for (int side = 0; side < RELAY_SIDES; side++)
		if (make_side(setup, side, report) < 0)
			return -1;
	return 0;
}

/* ---- The control socket ---- */

static int check_name(const char *name, struct report report)
{
	static const char allowed[] =
	        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t length = strlen(name);

	if (length == 0 || length > NAME_MAX_LENGTH || strspn(name, allowed) != length)
		return fail(report,
		            "'%.40s' is no name for a wan; use 1 to %d of A-Z a-z 0-9 . _ -", name,
		            NAME_MAX_LENGTH);
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
		fail(report,
		     "a wan named '%s' is up already; end it with 'xport wan down --name %s', "
		     "or choose another --name",
		     name, name);
	else
		fail(report, "cannot open the control socket: %s", strerror(errno));
	close_quietly(fd);
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
		return fail(report, "cannot open a socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, size) < 0)
		fail(report,
		     "no wan named '%s' is up for this user; start it with "
		     "'xport wan up --name %s'",
		     name, name);
	else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) < 0 ||
	         peer.uid != geteuid())
		fail(report, "another user holds the name '%s'; choose another --name", name);
	else
		return fd;
	close_quietly(fd);
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
			close_quietly(received);
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
	fail(report, "the relay of '%s' does not answer: %s; kill it and bring the wan up again",
	     name, strerror(errno));
	for (unsigned i = 0; i < wanted; i++)
		close_quietly(descriptors[i]);
	close_quietly(fd);
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
		return fail(report, "a wan has the sides a and b");
	fd = ask(name ? name : WAN_DEFAULT_NAME, side, &answer, namespaces, 2, report);
	if (fd < 0)
		return -1;
	/* The user namespace first: it gives the right to enter the other one. */
	if ((namespaces[1] >= 0 && setns(namespaces[1], CLONE_NEWUSER) < 0) ||
	    setns(namespaces[0], CLONE_NEWNET) < 0)
		result = fail(report, "cannot enter side %c: %s", side, strerror(errno));
	close_quietly(namespaces[0]);
	close_quietly(namespaces[1]);
	close_quietly(fd);
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
	close_quietly(fd);
	if (length < 0 && errno != ECONNRESET)
		return fail(report, "the relay, process %lld, does not end; kill it",
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
	close_quietly(fd);
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
		return fail(report, "cannot start the relay: %s", strerror(errno));
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
	return chdir("/") < 0 ? fail(report, "cannot enter /: %s", strerror(errno)) : 0;
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
		up = setup.listener >= 0 && make_sides(&setup, report) == 0;
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
	return fail(report, "%s", length > 0 ? text : "the relay died while it started");
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
		return fail(report, "a round trip is at most 10s");
	/* Opened here, not by the child, so that it is this process even if that dies at once. */
	if (die_with_parent)
		parent = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if ((die_with_parent && parent < 0) || pipe2(ready, O_CLOEXEC) < 0 || (child = fork()) < 0)
		fail(report, "cannot start the relay: %s", strerror(errno));
	if (child == 0)
		relay_process(&chosen, ready[1], parent);
	close_quietly(parent);
	close_quietly(ready[1]);
	if (child > 0 && await_relay(child, ready[0], report) < 0)
		child = -1;
	close_quietly(ready[0]);
	return child;
}
