/* The system calls of the tcp room that are not transfers, and what their errors mean. */
#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tcp/private.h"

ntstatus tcp_status_of(int error)
{
	switch (error) {
	case 0:
		return STATUS_SUCCESS;
	case EAGAIN:
	case EINPROGRESS:
	case EINTR:
		return STATUS_PENDING;
	case EADDRINUSE:
		return STATUS_ADDRESS_ALREADY_EXISTS;
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
		return STATUS_INVALID_ADDRESS_COMPONENT;
	case EACCES:
	case EPERM:
		return STATUS_ACCESS_DENIED;
	case ECONNREFUSED:
		return STATUS_CONNECTION_REFUSED;
	case ETIMEDOUT:
		return STATUS_IO_TIMEOUT;
	case ENETUNREACH:
		return STATUS_NETWORK_UNREACHABLE;
	case EHOSTUNREACH:
		return STATUS_HOST_UNREACHABLE;
	case ECONNRESET:
	case EPIPE:
		return STATUS_CONNECTION_RESET;
	case EFAULT:
		return STATUS_INVALID_USER_BUFFER;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return STATUS_INSUFFICIENT_RESOURCES;
	default:
		return STATUS_CONNECTION_ABORTED;
	}
}

/* ---- Addresses ----------------------------------------------------------------------------- */

static socklen_t to_sockaddr(const struct transport_address *address,
			     struct sockaddr_storage *storage)
{
	memset(storage, 0, sizeof(*storage));
	if (address->address_type == TDI_ADDRESS_TYPE_IP6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)storage;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(address->port);
		in6->sin6_scope_id = address->scope_id;
		memcpy(&in6->sin6_addr, address->address, sizeof(in6->sin6_addr));
		return sizeof(*in6);
	}
	struct sockaddr_in *in = (struct sockaddr_in *)storage;

	in->sin_family = AF_INET;
	in->sin_port = htons(address->port);
	memcpy(&in->sin_addr, address->address, sizeof(in->sin_addr));
	return sizeof(*in);
}

static void from_sockaddr(const struct sockaddr_storage *storage, struct transport_address *address)
{
	memset(address, 0, sizeof(*address));
	if (storage->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)storage;

		address->address_type = TDI_ADDRESS_TYPE_IP6;
		address->port = ntohs(in6->sin6_port);
		address->scope_id = in6->sin6_scope_id;
		memcpy(address->address, &in6->sin6_addr, sizeof(in6->sin6_addr));
	} else {
		const struct sockaddr_in *in = (const struct sockaddr_in *)storage;

		address->address_type = TDI_ADDRESS_TYPE_IP;
		address->port = ntohs(in->sin_port);
		memcpy(address->address, &in->sin_addr, sizeof(in->sin_addr));
	}
}

/* ---- Options ------------------------------------------------------------------------------- */

static void set_option(int fd, int level, int name, int value)
{
	/* A kernel without one is served without it; see tcp_socket_is_direct for the one that
	 * counts. */
	(void)setsockopt(fd, level, name, &value, sizeof(value));
}

static int clamp_int(uint64_t value)
{
	return value < INT32_MAX ? (int)value : INT32_MAX;
}

/* A silent peer: unacknowledged data, and nothing to send at all, both end after `timeout_ns`. */
static void set_timeout(int fd, uint64_t timeout_ns)
{
	uint64_t seconds = timeout_ns / 1000000000u;

	set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, clamp_int(timeout_ns / 1000000u));
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, clamp_int(seconds / 2 > 0 ? seconds / 2 : 1));
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, clamp_int(seconds / 6 > 0 ? seconds / 6 : 1));
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

/* Until the client releases, close() and the death of the process reset the peer. */
static void set_linger(int fd, bool reset)
{
	struct linger linger = {.l_onoff = reset, .l_linger = 0};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void set_options(int fd, const struct tcp_options *options)
{
	set_linger(fd, true);
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, !options->nagle);
	if (options->direct)
		set_option(fd, SOL_SOCKET, SO_ZEROCOPY, 1);
	if (options->send_buffer_bytes != 0)
		set_option(fd, SOL_SOCKET, SO_SNDBUF, clamp_int(options->send_buffer_bytes));
	if (options->receive_buffer_bytes != 0)
		set_option(fd, SOL_SOCKET, SO_RCVBUF, clamp_int(options->receive_buffer_bytes));
	if (options->timeout_ns != 0)
		set_timeout(fd, options->timeout_ns);
}

/* ---- Sockets ------------------------------------------------------------------------------- */

int tcp_open_socket(const struct tcp_options *options, uint16_t address_type, ntstatus *status)
{
	int family = address_type == TDI_ADDRESS_TYPE_IP6 ? AF_INET6 : AF_INET;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);

	if (fd < 0) {
		*status = tcp_status_of(errno);
		return -1;
	}
	set_options(fd, options);
	return fd;
}

/*
 * A given port is for a server, which may use it again while old connections of it still linger in
 * the kernel. Port 0 picks a free one; for a connecting socket only when it connects.
 */
ntstatus tcp_bind_socket(int fd, const struct transport_address *address, bool connecting)
{
	struct sockaddr_storage storage;
	socklen_t length = to_sockaddr(address, &storage);

	if (address->port != 0)
		set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (connecting)
		set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	return bind(fd, (struct sockaddr *)&storage, length) == 0 ? STATUS_SUCCESS
								  : tcp_status_of(errno);
}

/*
 * What it accepts lingers on the port, for a minute after the last word was ours. Whoever asks for
 * the port by its number meanwhile, as the next life of a server does, gets it only if both say so:
 * what is accepted inherits this. bind does not say it of a port that the system chooses, which is
 * nobody else's until it is listened on.
 */
ntstatus tcp_listen_socket(int fd, int backlog)
{
	set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	return listen(fd, backlog) == 0 ? STATUS_SUCCESS : tcp_status_of(errno);
}

ntstatus tcp_connect_socket(int fd, const struct transport_address *remote)
{
	struct sockaddr_storage storage;
	socklen_t length = to_sockaddr(remote, &storage);

	if (connect(fd, (struct sockaddr *)&storage, length) == 0)
		return STATUS_SUCCESS;
	/* Here EAGAIN does not mean "under way": the kernel has no port or no room for it. */
	return errno == EAGAIN ? STATUS_INSUFFICIENT_RESOURCES : tcp_status_of(errno);
}

/* Linux passes on what has befallen a connection that was about to be accepted: on to the next. */
static bool is_peers_fault(int error)
{
	switch (error) {
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENONET:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
		return true;
	default:
		return false;
	}
}

int tcp_accept_socket(int fd, const struct tcp_options *options, struct transport_address *remote,
		      ntstatus *status)
{
	struct sockaddr_storage storage;
	socklen_t length = sizeof(storage);
	int accepted;

	do {
		accepted = accept4(fd, (struct sockaddr *)&storage, &length,
				   SOCK_CLOEXEC | SOCK_NONBLOCK);
	} while (accepted < 0 && is_peers_fault(errno));
	if (accepted < 0) {
		*status = tcp_status_of(errno);
		return -1;
	}
	set_options(accepted, options);
	from_sockaddr(&storage, remote);
	return accepted;
}

void tcp_local_address(int fd, struct transport_address *address)
{
	struct sockaddr_storage storage;
	socklen_t length = sizeof(storage);

	if (getsockname(fd, (struct sockaddr *)&storage, &length) == 0)
		from_sockaddr(&storage, address);
}

/* The error that the kernel keeps for the socket, which it forgets by telling it. */
ntstatus tcp_socket_error(int fd)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
		return tcp_status_of(errno);
	return tcp_status_of(error);
}

uint64_t tcp_acknowledged_bytes(int fd)
{
	struct tcp_info info;
	socklen_t length = sizeof(info);

	memset(&info, 0, sizeof(info));
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0)
		return 0;
	return info.tcpi_bytes_acked;
}

/*
 * Resets the peer at once, keeping the descriptor: what was unsent is thrown away and its pages
 * come back through the error queue. The kernel forgets its counts with it.
 */
void tcp_reset_socket(int fd)
{
	struct sockaddr unspecified = {.sa_family = AF_UNSPEC};

	/* Not through connect(), which ThreadSanitizer takes for the making of the descriptor. */
	(void)syscall(SYS_connect, fd, &unspecified, sizeof(unspecified));
}

/* All is sent: from now on a close lets it arrive. */
void tcp_release_socket(int fd)
{
	set_linger(fd, false);
	(void)shutdown(fd, SHUT_WR);
}

/*
 * What the peer has sent and nobody has read would make close() reset it, and so throw away what it
 * has not got yet. Not for ever, though: a peer that sends as fast as this reads is reset.
 */
void tcp_discard_input(int fd)
{
	enum { MOST_READS = 1024 };
	char piece[16384];

	for (int i = 0; i < MOST_READS; i++)
		if (recv(fd, piece, sizeof(piece), MSG_DONTWAIT | MSG_TRUNC /* no copy */) <= 0)
			return;
}

bool tcp_socket_is_closed(int fd)
{
	enum { CLOSED = 7 }; /* TCP_CLOSE of netinet/tcp.h, which can't be had beside linux/tcp.h */
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 &&
	       info.tcpi_state == CLOSED;
}

void tcp_set_nagle(int fd, bool nagle)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, !nagle);
}

uint32_t tcp_socket_room(int fd)
{
	uint32_t memory[SK_MEMINFO_VARS] = {0};
	socklen_t length = sizeof(memory);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &length) != 0 ||
	    memory[SK_MEMINFO_SNDBUF] <= memory[SK_MEMINFO_WMEM_QUEUED])
		return 1;
	return memory[SK_MEMINFO_SNDBUF] - memory[SK_MEMINFO_WMEM_QUEUED];
}

bool tcp_socket_is_direct(int fd)
{
	int value = 0;
	socklen_t length = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &value, &length) == 0 && value != 0;
}
