/*
 * tdi - the transport driver interface: what a client may ask of a transport, and how.
 *
 * A transport (a provider: link, tcp) is a device. Its client opens three kinds of file objects on
 * it, told apart by the extended attribute of the open:
 *
 *   TransportAddress     a local address
 *   ConnectionContext    an endpoint that can be connected; the value is the client's own context
 *   (none)               a control channel
 *
 * and sends them IRP_MJ_INTERNAL_DEVICE_CONTROL requests whose minor function says what to do. The
 * builders below fill such a request in; the functions after them do whole jobs.
 *
 * Buffers. What an MDL describes belongs to the transport from io_call_driver until the completion
 * routine runs, whatever io_call_driver returned.
 *
 * Sends on a connection go out in the order in which they were requested. A send completes with
 * STATUS_SUCCESS and its length when the transport needs its buffer no more: a transport that
 * buffers has copied it, one that does not has seen it acknowledged by the peer. A send that
 * completes with an error may have reached the peer in part.
 *
 * Receives complete in order, each with what has arrived, at least one byte and at most its length;
 * after the peer's last byte with STATUS_GRACEFUL_DISCONNECT.
 *
 * Ending. tdi_disconnect with TDI_DISCONNECT_RELEASE says that no more will be sent and lets all
 * that was sent arrive. It completes when the end of the stream is on its way; a transport that
 * sends from the client's buffers may complete it behind the sends before it. The other direction
 * stays open. When a release has completed, closing loses nothing of what was sent, also when what
 * the peer has sent is left unread; but a peer that goes on sending to a closed connection is
 * reset, which may cost it what it has not got yet. TDI_DISCONNECT_ABORT, and closing a connection
 * whose release has not completed, throws away what is under way and resets the peer. Closing
 * completes everything outstanding before it returns.
 *
 * Sources: the first seed thread and the Tdinal design (sends, the two references, receive); the
 * public TDI documentation for codes, flags and object kinds.
 */
#ifndef XPORT_TDI_TDI_H
#define XPORT_TDI_TDI_H

#include "io/io.h"

/* ---- Addresses ----------------------------------------------------------------------------- */

enum { TDI_ADDRESS_TYPE_IP = 2, TDI_ADDRESS_TYPE_IP6 = 23 };

/* An IP address and a port, of one of the two types. All zero but that: any address, any port. */
struct transport_address {
	uint16_t address_type;
	uint16_t port;	     /* host byte order */
	uint32_t scope_id;   /* IP6 only */
	uint8_t address[16]; /* network byte order; IP uses the first four */
};

/* ---- Opening ------------------------------------------------------------------------------- */

#define TDI_TRANSPORT_ADDRESS "TransportAddress"
#define TDI_CONNECTION_CONTEXT "ConnectionContext"

/* IRP_MJ_CREATE's parameters. */
struct tdi_create {
	const char *ea_name;  /* one of the two above, or NULL */
	const void *ea_value; /* struct transport_address, or a void * */
	uint16_t ea_value_length;
};

/* ---- Requests ------------------------------------------------------------------------------ */

enum tdi_minor_function {
	TDI_ASSOCIATE_ADDRESS = 0x01,
	TDI_DISASSOCIATE_ADDRESS = 0x02,
	TDI_CONNECT = 0x03,
	TDI_LISTEN = 0x04,
	TDI_DISCONNECT = 0x06,
	TDI_SEND = 0x07,
	TDI_RECEIVE = 0x08,
	TDI_QUERY_INFORMATION = 0x0c,
	TDI_MAXIMUM_FUNCTION = 0x10,
};

enum {
	TDI_DISCONNECT_ABORT = 0x02,
	TDI_DISCONNECT_RELEASE = 0x04,
};

enum tdi_query_type {
	TDI_QUERY_ADDRESS_INFO = 3,    /* struct transport_address: the local address */
	TDI_QUERY_CONNECTION_INFO = 4, /* struct tdi_connection_info */
};

/* What a connection has done so far. Counts only grow. */
struct tdi_connection_info {
	uint64_t sent_bytes;	     /* handed to the wire, or to the transport's own buffer */
	uint64_t acknowledged_bytes; /* of these, known to have reached the peer's transport */
	uint64_t received_bytes;
	uint64_t copied_sends;	/* direct sends that the machine copied after all */
	uint64_t delayed_sends; /* times a direct send was put off for want of locked memory */
};

struct tdi_request_associate {
	struct file_object *address;
};

struct tdi_request_connect {
	const struct transport_address *remote;
};

/* On completion *remote says who connected. */
struct tdi_request_listen {
	struct transport_address *remote;
};

struct tdi_request_disconnect {
	uint32_t flags;
};

struct tdi_request_send {
	uint32_t send_length;
	uint32_t send_flags;
};

struct tdi_request_receive {
	uint32_t receive_length;
	uint32_t receive_flags;
};

struct tdi_request_query {
	enum tdi_query_type query_type;
	void *buffer;
	uint32_t length;
};

/* The parameters of a location, as the request's own type. */
#define tdi_parameters(location, type) ((struct type *)(void *)(location)->parameters)

/*
 * Builders. Each fills in the next stack location of `irp` for `connection`'s device, and when
 * `routine` is not NULL sets it to run in every case. The request is then ready for io_call_driver.
 * Any IRQL.
 */
void tdi_build_associate_address(struct irp *irp, struct file_object *connection,
				 io_completion_routine *routine, void *context,
				 struct file_object *address);
void tdi_build_connect(struct irp *irp, struct file_object *connection,
		       io_completion_routine *routine, void *context,
		       const struct transport_address *remote);
void tdi_build_listen(struct irp *irp, struct file_object *connection,
		      io_completion_routine *routine, void *context,
		      struct transport_address *remote);
void tdi_build_disconnect(struct irp *irp, struct file_object *connection,
			  io_completion_routine *routine, void *context, uint32_t flags);
void tdi_build_send(struct irp *irp, struct file_object *connection, io_completion_routine *routine,
		    void *context, struct mdl *mdl, uint32_t flags, uint32_t length);
void tdi_build_receive(struct irp *irp, struct file_object *connection,
		       io_completion_routine *routine, void *context, struct mdl *mdl,
		       uint32_t flags, uint32_t length);
void tdi_build_query_information(struct irp *irp, struct file_object *file,
				 io_completion_routine *routine, void *context,
				 enum tdi_query_type type, void *buffer, uint32_t length);

/*
 * A request for a thread that will wait on `event` (a macro in NT; the IRP is freed by itself, and
 * synchronous use is the only use). NULL when there is no pool. PASSIVE_LEVEL.
 */
struct irp *tdi_build_internal_device_control_irp(struct file_object *file, struct kevent *event,
						  struct io_status_block *iosb);

/* ---- Whole jobs, each waiting for its request: system threads at PASSIVE_LEVEL only --------- */

/*
 * Opens fill *file in; tdi_close ends it. Errors: STATUS_INSUFFICIENT_RESOURCES,
 * STATUS_INVALID_ADDRESS_COMPONENT (not a local address), STATUS_ADDRESS_ALREADY_EXISTS,
 * STATUS_ACCESS_DENIED, STATUS_INVALID_PARAMETER.
 */
ntstatus tdi_open_transport_address(struct device_object *device,
				    const struct transport_address *address,
				    struct file_object *file);
ntstatus tdi_open_connection_endpoint(struct device_object *device, void *connection_context,
				      struct file_object *file);
void tdi_close(struct file_object *file);

/* The endpoint will use this address. Needed before connect and listen. */
ntstatus tdi_associate_address(struct file_object *connection, struct file_object *address);

/*
 * Connects, for at most timeout_ns. A connect or listen that fails, is cancelled or takes too long
 * ends the endpoint, which can then only be closed; a peer that it had reached is reset. Errors:
 * STATUS_CONNECTION_REFUSED, STATUS_IO_TIMEOUT, STATUS_NETWORK_UNREACHABLE,
 * STATUS_HOST_UNREACHABLE, STATUS_CONNECTION_ACTIVE, STATUS_INVALID_PARAMETER, ...
 */
ntstatus tdi_connect(struct file_object *connection, const struct transport_address *remote,
		     int64_t timeout_ns);

/* Waits until a peer connects to the associated address; *remote (may be NULL) says who. */
ntstatus tdi_listen(struct file_object *connection, struct transport_address *remote,
		    int64_t timeout_ns);

/* Flags are one of TDI_DISCONNECT_ABORT and TDI_DISCONNECT_RELEASE. */
ntstatus tdi_disconnect(struct file_object *connection, uint32_t flags);

ntstatus tdi_query_information(struct file_object *file, enum tdi_query_type type, void *buffer,
			       uint32_t length);

/* Waits for some bytes: how many (at least 1, at most length), or a negative status. */
int64_t tdi_receive_stream(struct file_object *connection, void *buffer, uint32_t length);

/* ---- Stage 02 and 03: sending -------------------------------------------------------------- */

/*
 * Stage 02, send_sync.c: sends and waits until the transport is done with the buffer. Returns how
 * many bytes were sent (`length`), or a negative status. A system thread at PASSIVE_LEVEL.
 */
int64_t tdi_send_stream(struct file_object *connection, const void *buffer, uint32_t length,
			uint32_t flags);

/*
 * Runs once for each request that was started, however it ended: `bytes` were transferred. The
 * buffer is the caller's again. At up to DISPATCH_LEVEL, on any processor, possibly before the
 * start call has returned. It may start other requests, but must not wait. A request that can't
 * even be started calls back within the start; so a callback that starts another after every
 * failure never ends.
 */
typedef void tdi_completion_callback(void *context, ntstatus status, uint32_t bytes);

/*
 * Stage 03, send_async.c: starts a send and returns. The buffer belongs to the transport until the
 * callback runs. At PASSIVE_LEVEL any memory will do; at DISPATCH_LEVEL it must be pool memory or
 * otherwise locked. Any number may be outstanding.
 * Returns STATUS_PENDING, or the status that the callback has been given already. Every failure
 * comes through the callback too, so that there is one place to clean up.
 */
ntstatus tdi_start_send_buffer(struct file_object *connection, const void *buffer, uint32_t length,
			       uint32_t flags, tdi_completion_callback *callback, void *context);

/* The same for a receive (receive.c); how it went, only the callback says. */
void tdi_start_receive_buffer(struct file_object *connection, void *buffer, uint32_t length,
			      tdi_completion_callback *callback, void *context);

#endif
