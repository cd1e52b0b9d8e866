/* Making the two sides of a wan, see sides.h. */
#include "sides.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay.h"
#include "wan.h"

#define DEVICE "wan0"
#define NETMASK "255.255.255.0"

enum {
	MTU = 1500,
	QUEUE_PACKETS = 10000, /* between the stack and the relay, where a drop would distort TCP */
};

int report_failure(struct report report, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(report.line, report.size, format, arguments);
	va_end(arguments);
	return -1;
}

void close_keeping_errno(int fd)
{
	int error = errno;

	if (fd >= 0)
		close(fd);
	errno = error;
}

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
	close_keeping_errno(fd);
	return written < 0 ? -1 : 0;
}

static int tune_tcp(struct report report)
{
	char path[128];

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		snprintf(path, sizeof(path), "/proc/sys/%s", settings[i].path);
		if (write_file(path, settings[i].value) < 0 && settings[i].required)
			return report_failure(report,
					      "cannot set %s: %s; /proc/sys must be writable here",
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
	close_keeping_errno(fd);
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
		result = report_failure(report, "cannot configure a TUN device: %s",
					strerror(errno));
	close_keeping_errno(control);
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
		return report_failure(
			report, "cannot open /dev/net/tun: %s; %s", strerror(errno),
			errno == EACCES ? "run as root, or let this user open it"
					: "have the kernel module tun loaded, and the device here");
	if (ioctl(tun, TUNSETIFF, &interface) < 0 ||
	    ioctl(tun, TUNSETOFFLOAD, (unsigned long)(TUN_F_CSUM | TUN_F_TSO4)) < 0) {
		report_failure(report, "cannot make a TUN device: %s; run as root",
			       strerror(errno));
		close_keeping_errno(tun);
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
		report_failure(report, "cannot open %s: %s; mount /proc", path, strerror(errno));
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
		return report_failure(
			report,
			"cannot make a user namespace: %s; run as root, or allow user "
			"namespaces (sysctl user.max_user_namespaces)",
			strerror(errno));
	/* The kernel lets a user map the own group only once groups can no longer be dropped. */
	if (write_file("/proc/self/setgroups", "deny") < 0 ||
	    write_file("/proc/self/uid_map", uid_map) < 0 ||
	    write_file("/proc/self/gid_map", gid_map) < 0)
		return report_failure(report, "cannot map this user to root: %s; run as root",
				      strerror(errno));
	return open_namespace("user", report);
}

static int make_side(struct relay_setup *setup, int side, struct report report)
{
	if (unshare(CLONE_NEWNET) < 0)
		return report_failure(
			report,
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

int wan_make_sides(struct relay_setup *setup, struct report report)
{
	int probe = open_namespace("net", report);
	bool permitted;

	if (probe < 0)
		return -1;
	/* Entering the namespace one is in changes nothing and needs the right to make one. */
	permitted = setns(probe, CLONE_NEWNET) == 0;
	close_keeping_errno(probe);
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
