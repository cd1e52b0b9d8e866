/*
 * What the files of tcp share.
 *
 * A connection's socket is opened or accepted, watched, and closed only when the last user of the
 * connection has gone: a pump may be in a system call on it at any moment. To end it earlier is to
 * reset it (tcp_reset_socket), which leaves the descriptor.
 *
 * Users of a connection that tcp adds: the interrupt, from attach until its `disconnected` DPC; the
 * place in an address's list of waiting listeners; the acknowledgement timer while it is armed.
 */
#ifndef XPORT_TCP_PRIVATE_H
#define XPORT_TCP_PRIVATE_H

#include "ke/host/host.h"
#include "tcp/tcp.h"
#include "tdi/provider.h"

struct tcp_device {
	struct tdi_provider provider;
	struct tcp_options options;
};

/*
 * A local address: a bound socket. With a port of the client's choice it listens from the start, as
 * this is what makes the port its own; with a free port from the first TDI_LISTEN on.
 */
struct tcp_address {
	struct tdi_address base;
	struct kspin_lock lock; /* taken before a connection's, never after */
	int fd;
	bool watched; /* by the interrupt, which is connected from creation to destruction */
	bool listening;
	bool closed;		   /* by the client, though connections may still refer to it */
	bool pausing;		   /* the last accept failed; until retry_dpc has run */
	struct list_entry waiting; /* connections in LISTENING, by their `waiting` */
	struct ktimer retry_timer;
	struct kdpc retry_dpc;
	struct kinterrupt interrupt;
	struct kdpc accept_dpc;
	struct kdpc disconnected;
};

/* How far a send has come, kept in its IRP's driver_context[0..2]. */
struct tcp_send {
	uint64_t end_offset;  /* of its last byte in the stream, once all are handed over */
	uint32_t accepted;    /* bytes that the kernel has taken */
	uint32_t first_call;  /* of its direct system calls, by the kernel's count */
	uint32_t calls;	      /* how many these were */
	uint32_t outstanding; /* of these, whose pages are not returned */
};

_Static_assert(sizeof(struct tcp_send) <= 3 * sizeof(void *), "must fit driver_context[0..2]");

/* The values of a connection's counters, counters.c. */
enum {
	TCP_SENT_BYTES,
	TCP_ACKNOWLEDGED_BYTES,
	TCP_RECEIVED_BYTES,
	TCP_SEND_CALLS,
	TCP_RECEIVE_CALLS,
	TCP_COPIED_SENDS,
	TCP_DELAYED_SENDS,
	TCP_VALUES,
};

extern const struct stat_table tcp_connection_table;

enum {
	TCP_CHUNK_BYTES =
		64 * 1024 - sizeof(struct tdi_arrival), /* the two are a block of the pool */
	TCP_MAXIMUM_CHUNKS = 4,
};

/*
 * Memory for what has come and no request waits for. It goes back to the pool as soon as it is
 * used: so the next connection is given the one that is still in the cache.
 */
struct tcp_chunk {
	struct tdi_arrival arrival;
	char bytes[TCP_CHUNK_BYTES];
};

struct tcp_connection {
	struct tdi_connection base;
	int fd; /* -1 before there is one */
	struct kinterrupt interrupt;
	struct kdpc ready_dpc;
	struct kdpc disconnected;
	uint32_t ready; /* events taken by the service routine; guarded by the interrupt's lock */

	/* Sending; guarded by the connection's lock. */
	struct list_entry unsent; /* out of the queue, not wholly accepted; the send pump's */
	uint32_t unsent_count;
	struct list_entry inflight; /* direct: accepted, not settled, in order */
	uint64_t sent_bytes;
	uint64_t acknowledged_base;  /* what the kernel counted before the first byte */
	uint64_t acknowledged_bytes; /* as last looked up */
	uint32_t next_call;
	bool copy_once;	 /* the next direct send must do without locked pages */
	bool head_alone; /* the next system call is for the head of `unsent` alone */
	bool zerocopy; /* the kernel can: else direct sends are copied, and wait for their bytes */
	bool end_sent; /* the end of the stream is behind all that the kernel has taken */
	bool watched;
	bool writable; /* as far as is known: the kernel has not refused since it said so */
	bool readable; /* likewise: no read has found the kernel empty since */
	bool hung_up;  /* the end of the stream has come: reads go on until they find it */
	bool nagle;
	bool ack_timer_armed;
	struct ktimer ack_timer;
	struct kdpc ack_dpc;

	/* Receiving what no request waits for; guarded by the connection's lock. */
	uint32_t chunks; /* that there are: unread, lent, or being read into */

	struct stat_block counters; /* tcp_connection_table; guarded by the connection's lock */
	uint64_t received_bytes;
	uint64_t copied_sends;
	uint64_t delayed_sends;
	struct list_entry waiting; /* in the address's list */
};

static inline struct tcp_connection *tcp_connection_of(struct tdi_connection *base)
{
	return containing_record(base, struct tcp_connection, base);
}

static inline const struct tcp_options *tcp_options_of(const struct tdi_provider *provider)
{
	return &containing_record(provider, struct tcp_device, provider)->options;
}

static inline struct tcp_send *tcp_send_of(struct irp *irp)
{
	return (struct tcp_send *)(void *)irp->driver_context;
}

/* socket.c: system calls on sockets, in terms of status codes. */
ntstatus tcp_status_of(int error);
int tcp_open_socket(const struct tcp_options *options, uint16_t address_type, ntstatus *status);
ntstatus tcp_bind_socket(int fd, const struct transport_address *address, bool connecting);
ntstatus tcp_listen_socket(int fd, int backlog);
ntstatus tcp_connect_socket(int fd, const struct transport_address *remote);
/* The next connection that waits at a listening socket; -1 and *status, STATUS_PENDING for none. */
int tcp_accept_socket(int fd, const struct tcp_options *options, struct transport_address *remote,
		      ntstatus *status);
void tcp_local_address(int fd, struct transport_address *address);
ntstatus tcp_socket_error(int fd);
uint64_t tcp_acknowledged_bytes(int fd);
/* A reset that another system call has been told of: the kernel tells it once. */
bool tcp_socket_is_closed(int fd);
/* Whether the kernel sends from the caller's pages, and reports them back. */
bool tcp_socket_is_direct(int fd);
void tcp_set_nagle(int fd, bool nagle);
/* How many bytes the kernel would take now, by its own account; at least 1. */
uint32_t tcp_socket_room(int fd);
void tcp_reset_socket(int fd);
void tcp_release_socket(int fd);
void tcp_discard_input(int fd);

/* address.c */
struct tdi_address *tcp_create_address(struct tdi_provider *provider,
				       const struct transport_address *local, ntstatus *status);
void tcp_close_address(struct tdi_address *address);
void tcp_destroy_address(struct tdi_address *address);
void tcp_listen(struct tdi_connection *connection);
ntstatus tcp_serve(struct tdi_address *address);

/*
 * connection.c: gives the connection its socket and begins to watch it; false when the connection
 * was closed meanwhile, and the socket is still the caller's. Lock not held.
 */
bool tcp_attach(struct tcp_connection *connection, int fd);

/* Looks up how much the peer has acknowledged; the count only grows. Lock held. */
void tcp_look_up_acknowledged(struct tcp_connection *connection);

/* The connection's interrupt may go: nothing more is expected of the socket. Lock held. */
void tcp_detach(struct tcp_connection *connection);

/* send.c */
tdi_pump_step tcp_send_step;
void tcp_fail_unsent(struct tcp_connection *connection, struct list_entry *completed);
/* Reads what the error queue says about direct sends; the send pump settles them. Lock held. */
void tcp_reap(struct tcp_connection *connection);
void tcp_settle(struct tcp_connection *connection, struct list_entry *completed);
void tcp_ack_timer_expired(struct kdpc *dpc, void *context);
/* Both pumps will run soon. Lock held. */
void tcp_arm_timer(struct tcp_connection *connection);

/* receive.c */
tdi_pump_step tcp_receive_step;
void tcp_free_arrival(struct tdi_connection *connection, struct tdi_arrival *arrival);

#endif
