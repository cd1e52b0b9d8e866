/*
 * What the files of link share.
 *
 *   link.c        the device, its addresses, and the table of operations
 *   establish.c   calls and listens, and how they find each other
 *   transfer.c    the steps of the two pumps: from requests to segments and back
 *   circuit.c     two connections joined: the clock, resets, and who lets go of whom when
 *   pipe.c        one direction of a circuit: bytes on the way, unread, acknowledged
 *
 * Locks. A connection has one (tdi_connection.lock), the device has one, over its addresses and who
 * waits at them, and each circuit has one, over its two pipes. A connection's lock may be held when
 * one of the other two is taken, and nothing else: nobody holds two connections' locks, nor takes
 * any lock while holding the device's or a circuit's, but an address's events_lock. So the two ends
 * of a circuit meet in the circuit only, and neither can wait for the other.
 */
#ifndef XPORT_LINK_PRIVATE_H
#define XPORT_LINK_PRIVATE_H

#include "link/link.h"
#include "tdi/provider.h"

#define LINK_NEVER UINT64_MAX

struct circuit;

struct link_device {
	struct tdi_provider provider;
	struct link_options options; /* without zeros that stand for a default; never changes */
	struct kspin_lock lock;
	struct list_entry addresses;
	uint16_t next_port; /* the first to try for one who does not care */
};

struct link_address {
	struct tdi_address tdi;
	/* The device's lock guards the rest. */
	struct list_entry entry;
	struct list_entry listeners; /* connections, each holding a user of itself */
	struct list_entry callers;   /* the same: the backlog */
};

/* The values of a connection's counters. */
enum { LINK_SENT_BYTES, LINK_ACKNOWLEDGED_BYTES, LINK_RECEIVED_BYTES, LINK_VALUES };

struct link_connection {
	struct tdi_connection tdi;

	/* The connection's lock guards all but `waiting`. */
	struct circuit *circuit; /* while connected; held by the connection's being an end of it */
	unsigned end;		 /* which of the two */

	struct irp *current[TDI_KINDS];	  /* the sends that are being cut into segments, or NULL */
	uint32_t accepted[TDI_KINDS];	  /* bytes of them that are in segments */
	struct list_entry unacknowledged; /* sends whose bytes are all in segments */
	struct list_entry deferred;	  /* sends that are done, until deferred_dpc has run */
	bool deferred_due;		  /* it has */
	struct kdpc deferred_dpc;
	uint64_t sent_bytes;
	uint64_t acknowledged_bytes; /* a copy of the circuit's; final when that is gone */

	struct stat_block counters; /* link_connection_table */
	uint64_t received_bytes;

	/* Below here the path of a send or receive does not go. */
	struct list_entry waiting; /* in an address's listeners or callers; the device's lock */
	uint16_t remote_port;
	struct circuit *reserved; /* for a call, so that being answered needs no memory */
	struct ktimer call_timer;
	struct kdpc call_dpc;
};

static inline struct link_device *link_device_of(const struct tdi_connection *connection)
{
	return containing_record(connection->provider, struct link_device, provider);
}

static inline struct link_connection *link_connection_of(struct tdi_connection *connection)
{
	return containing_record(connection, struct link_connection, tdi);
}

/* ---- link.c -------------------------------------------------------------------------------- */

/* With the device's lock held: the address with this port, or NULL. */
struct link_address *link_find_address(struct link_device *device, uint16_t port);

/* ---- establish.c --------------------------------------------------------------------------- */

void link_initialize_call(struct link_connection *link);
void link_connect(struct tdi_connection *connection, const struct transport_address *remote);
void link_listen(struct tdi_connection *connection);
ntstatus link_serve(struct tdi_address *address);

/* With the connection's lock held and its state DISCONNECTED: nobody shall find it any more. */
void link_give_up_call(struct link_connection *link);

/* Ends a call that nobody will answer, and drops the user that the caller has been given. */
void link_refuse(struct link_connection *caller, ntstatus status);

/* ---- transfer.c ---------------------------------------------------------------------------- */

void link_initialize_transfer(struct link_connection *link);
tdi_pump_step link_send;
tdi_pump_step link_receive;

/* With the connection's lock held: leaves its circuit, and finishes what was out of the queues. */
void link_abort_transfer(struct link_connection *link, struct list_entry *completed);

/* The client has had all of a segment: room for the peer. */
void link_free_arrival(struct tdi_connection *connection, struct tdi_arrival *arrival);

/* With the connection's lock held: brings acknowledged_bytes up to date. */
void link_update_acknowledged(struct link_connection *link);

/* ---- circuit.c ----------------------------------------------------------------------------- */

struct segment;

/* A circuit without ends. NULL when there is no pool. */
struct circuit *circuit_create(const struct link_options *options);

/* For one that never got its ends. NULL may be given. */
void circuit_free(struct circuit *circuit);

/* Both users become the circuit's, which lives until both have left. No lock held. */
void circuit_join(struct circuit *circuit, struct link_connection *caller,
		  struct link_connection *listener);

/*
 * The end is not to be reached any more; its user is dropped soon. An end that has said that it
 * ended its sending does so quietly; otherwise the peer will be reset. Returns how many of its
 * bytes were acknowledged. From here on `circuit` may be gone when the connection's lock has been
 * released.
 */
uint64_t circuit_leave(struct circuit *circuit, unsigned end, bool sending_ended);

/* How many bytes the end may send. When it is 0, the send pump will run when that has changed. */
uint32_t circuit_room(struct circuit *circuit, unsigned end);

/* Sends a segment of no more than the room was, which becomes the circuit's. */
void circuit_send(struct circuit *circuit, unsigned end, struct segment *segment);

/* The end will send no more. Once. */
void circuit_send_end(struct circuit *circuit, unsigned end);

/* Runs the end's send pump after delay_ns. */
void circuit_send_later(struct circuit *circuit, unsigned end, uint64_t delay_ns);

/* How many bytes of what the end has sent are known to have arrived. */
uint64_t circuit_acknowledged(struct circuit *circuit, unsigned end);

/* Moves the segments that have arrived at the end to `arrived`; returns whether no more will come.
 */
bool circuit_fetch(struct circuit *circuit, unsigned end, struct list_entry *arrived);

/* The end has read this many of the bytes that it fetched: room for the peer. */
void circuit_read(struct circuit *circuit, unsigned end, uint64_t bytes);

/* ---- pipe.c: a circuit's lock guards its pipes --------------------------------------------- */

struct acknowledgement {
	struct list_entry entry;
	uint64_t due_ns;
	uint64_t end; /* how many bytes had arrived */
};

struct segment {
	struct list_entry entry;
	uint64_t due_ns;
	struct acknowledgement *acknowledgement; /* allocated with it, sent when it arrives */
	uint32_t length;
	unsigned kind;		    /* TDI_NORMAL or TDI_EXPEDITED */
	struct tdi_arrival arrival; /* the reader's */
	char bytes[];
};

struct pipe {
	const struct link_options *options;

	/* 0 <= acknowledged, read <= arrived <= sent <= read + window_bytes */
	uint64_t sent;
	uint64_t arrived;
	uint64_t read;
	uint64_t acknowledged;

	uint64_t line_free_ns; /* when the last byte sent has left the sender */
	uint64_t end_due_ns; /* when the end of the stream arrives; LINK_NEVER before it is sent */
	bool end_arrived;
	bool sender_waits; /* for room */
	struct list_entry in_flight;
	struct list_entry unread;
	struct list_entry acknowledgements;
};

/* What has happened in a pipe. */
enum {
	PIPE_ARRIVED = 0x1,	 /* bytes, or the end */
	PIPE_ACKNOWLEDGED = 0x2, /* bytes */
	PIPE_BROKEN = 0x4,	 /* reset_after_bytes bytes have arrived */
	PIPE_UNWANTED = 0x8,	 /* bytes came to an end that was left */
};

/* A segment for `length` bytes, without a pipe or a lock. NULL when there is no pool. */
struct segment *pipe_allocate_segment(uint32_t length);
void pipe_free_segment(struct segment *segment);
void pipe_free_segments(struct list_entry *segments);

void pipe_initialize(struct pipe *pipe, const struct link_options *options);
void pipe_destroy(struct pipe *pipe);
uint32_t pipe_room(const struct pipe *pipe);
void pipe_send(struct pipe *pipe, struct segment *segment, uint64_t now);
void pipe_send_end(struct pipe *pipe, uint64_t now);

/* Makes happen what is due; with `wanted` false there is nobody at the other end. */
unsigned pipe_advance(struct pipe *pipe, uint64_t now, bool wanted);

/* When to call that again, or LINK_NEVER. */
uint64_t pipe_due(const struct pipe *pipe);

#endif
