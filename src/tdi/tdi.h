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
 * Sends on a connection go out in the order in which they were requested; expedited ones, in their
 * order, ahead of the normal ones that have not gone out yet. A send completes with STATUS_SUCCESS
 * and its length when the transport needs its buffer no more: a transport that buffers has copied
 * it, one that does not has seen it acknowledged by the peer. A send that completes with an error
 * may have reached the peer in part.
 *
 * TDI_SEND_NON_BLOCKING means: take what there is room for now. STATUS_SUCCESS then says how much
 * that was, perhaps less than all; STATUS_DEVICE_NOT_READY that it was nothing. Either way the rest
 * is the client's again, and when there is room TDI_EVENT_SEND_POSSIBLE says so, once, perhaps even
 * before the answer has reached the client; it promises nothing, for another send may be there
 * first. Such a send may pend for a moment, like any other,
 * and STATUS_PENDING never means that it should be repeated. On a transport that does not buffer
 * (TDI_QUERY_PROVIDER_INFO tells) there is no room to speak of, and the flag means nothing.
 *
 * Receives complete in order, each with what has arrived, at least one byte and at most its length;
 * after the peer's last byte with STATUS_GRACEFUL_DISCONNECT. Normal and expedited data are two
 * streams, each in order. A receive completes before an event shows what comes behind its data.
 *
 * Events. The client sets handlers at an address, for all connections associated with it, before
 * they connect. A handler is called at DISPATCH_LEVEL or below, on any processor, must not wait,
 * and may make any request that does not wait. Those of one connection come one at a time, except
 * that SEND_POSSIBLE may come beside the others; DISCONNECT is the last of all. After the close of
 * a connection or an address has completed no event of it is running or will come.
 *
 *   CONNECT            a peer has called and nobody listens. With an endpoint for it, the handler
 *                      gives a TDI_ACCEPT request for that endpoint and returns
 *                      STATUS_MORE_PROCESSING_REQUIRED; any other status refuses the peer. Data of
 *                      the new connection may be shown before the accept has completed; of one
 *                      whose accept fails nothing is ever shown
 *   RECEIVE            data has come and no TDI_RECEIVE waits for it. See tdi_ind_receive
 *   CHAINED_RECEIVE    the same, in the transport's own memory. See tdi_ind_chained_receive. Data
 *                      is shown to one of the two: to the chained handler when there is much of it,
 *                      or no other
 *   *_EXPEDITED        the same two for expedited data
 *   SEND_POSSIBLE      there is room again, for a client that was told that there is not enough
 *   DISCONNECT         all that the peer has sent was received (TDI_DISCONNECT_RELEASE), or the
 *                      connection is broken and what was unread is lost (TDI_DISCONNECT_ABORT).
 *                      After a release this side may go on sending; as no event can follow, its
 *                      sends are then taken as if without TDI_SEND_NON_BLOCKING. Not for what the
 *                      client has ended itself
 *
 * The life of an endpoint: associated with an address it connects, listens, or is given a peer by
 * TDI_ACCEPT; it is connected until both directions have ended or it is broken; and then it can
 * begin again. states.c has the table.
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

/* An extended attribute of an open. */
struct tdi_ea {
	const char *name;
	const void *value; /* struct transport_address, or a void * */
	uint16_t value_length;
};

/*
 * IRP_MJ_CREATE's parameters: none, or one of the two attributes. STATUS_INVALID_EA_NAME for any
 * other, STATUS_EA_LIST_INCONSISTENT for a value of another length, STATUS_INVALID_PARAMETER for
 * more than one attribute or an address type that is not known.
 */
struct tdi_create {
	const struct tdi_ea *eas;
	uint32_t ea_count;
};

/* ---- Events -------------------------------------------------------------------------------- */

/* The numbers are NT's; those that are missing are about datagrams, or refused. */
enum tdi_event_type {
	TDI_EVENT_CONNECT = 0,
	TDI_EVENT_DISCONNECT = 1,
	TDI_EVENT_RECEIVE = 3,
	TDI_EVENT_RECEIVE_EXPEDITED = 5,
	TDI_EVENT_SEND_POSSIBLE = 6,
	TDI_EVENT_CHAINED_RECEIVE = 7,
	TDI_EVENT_CHAINED_RECEIVE_EXPEDITED = 9,
	TDI_EVENT_COUNT = 11,
};

/* One of those below. Each is given the context of its setting first, then the endpoint's. */
typedef void tdi_event_handler(void);

/*
 * A peer calls. To accept, *accept_irp is a request built with tdi_build_accept, whose completion
 * tells whether the connection stands: the transport sends it. It is the transport's from the
 * return on; with any other status than STATUS_MORE_PROCESSING_REQUIRED it is not looked at. The
 * endpoint that it is for must not be closed before the request has completed.
 */
typedef ntstatus tdi_ind_connect(void *event_context, const struct transport_address *remote,
				 struct irp **accept_irp);

/* One of TDI_DISCONNECT_RELEASE and TDI_DISCONNECT_ABORT, and what the matter is. */
typedef void tdi_ind_disconnect(void *event_context, void *connection_context, uint32_t flags,
				ntstatus reason);

/*
 * bytes_available bytes have come, of which the first bytes_indicated stand at `tsdu`, and no more
 * than these can be looked at, and no longer than until the handler returns. It sets *bytes_taken,
 * at most bytes_indicated, to how many it has copied (0 when called), and returns
 *
 *   STATUS_SUCCESS            the rest is shown again, at once
 *   STATUS_MORE_PROCESSING_REQUIRED
 *                             the rest goes into the TDI_RECEIVE request *receive_irp, which is the
 *                             transport's now and completes before anything more is shown
 *   STATUS_DATA_NOT_ACCEPTED  if there is a rest it stays with the transport, and nothing more is
 *                             shown until the client makes a TDI_RECEIVE; in the end the peer has
 *                             to stop sending. If there is none, new data is shown as ever
 */
typedef ntstatus tdi_ind_receive(void *event_context, void *connection_context,
				 uint32_t receive_flags, uint32_t bytes_indicated,
				 uint32_t bytes_available, uint32_t *bytes_taken, const void *tsdu,
				 struct irp **receive_irp);

/*
 * receive_length bytes have come. They stand in the chain of MDLs at `tsdu`, from the byte
 * starting_offset on, in the transport's memory: to be read, not written. The handler returns
 *
 *   STATUS_PENDING            they are lent to the client until it gives tsdu_descriptor to
 *                             tdi_return_chained_receives, once, and before it closes the endpoint.
 *                             A transport lends only so much: then the peer has to stop sending
 *   any other                 the client is done with them: the transport forgets them
 *
 * They are never shown to the other handler, too.
 */
typedef ntstatus tdi_ind_chained_receive(void *event_context, void *connection_context,
					 uint32_t receive_flags, uint32_t receive_length,
					 uint32_t starting_offset, const struct mdl *tsdu,
					 void *tsdu_descriptor);

/* There is room for bytes_available bytes, or was a moment ago. */
typedef void tdi_ind_send_possible(void *event_context, void *connection_context,
				   uint32_t bytes_available);

/* Gives back what was lent, in any order, also in a handler. Up to DISPATCH. */
void tdi_return_chained_receives(void *const *tsdu_descriptors, uint32_t count);

/* ---- Requests ------------------------------------------------------------------------------ */

enum tdi_minor_function {
	TDI_ASSOCIATE_ADDRESS = 0x01,
	TDI_DISASSOCIATE_ADDRESS = 0x02,
	TDI_CONNECT = 0x03,
	TDI_LISTEN = 0x04,
	TDI_ACCEPT = 0x05,
	TDI_DISCONNECT = 0x06,
	TDI_SEND = 0x07,
	TDI_RECEIVE = 0x08,
	TDI_SET_EVENT_HANDLER = 0x0b,
	TDI_QUERY_INFORMATION = 0x0c,
	TDI_SET_INFORMATION = 0x0d,
	TDI_MAXIMUM_FUNCTION = 0x10,
};

/* TDI_DISCONNECT: one of them. */
enum {
	TDI_DISCONNECT_WAIT = 0x01,  /* completes when the connection is over; see tdi_disconnect */
	TDI_DISCONNECT_ABORT = 0x02, /* throws away what is under way, resets the peer */
	TDI_DISCONNECT_RELEASE = 0x04, /* no more will be sent */
};

/* TDI_SEND: any of them. Another is refused with STATUS_NOT_SUPPORTED. */
enum {
	TDI_SEND_EXPEDITED = 0x20,   /* needs TDI_SERVICE_EXPEDITED_DATA */
	TDI_SEND_PARTIAL = 0x40,     /* more of the message follows; a stream has no messages */
	TDI_SEND_NO_RESPONSE = 0x80, /* no answer follows; a hint */
	TDI_SEND_NON_BLOCKING = 0x100,
};

/* TDI_RECEIVE: one of them, or 0 for the first; and what kind of data an event shows. */
enum {
	TDI_RECEIVE_NORMAL = 0x20,
	TDI_RECEIVE_EXPEDITED = 0x40,
};

enum tdi_query_type {
	TDI_QUERY_PROVIDER_INFO = 2,   /* struct tdi_provider_info; of any file */
	TDI_QUERY_ADDRESS_INFO = 3,    /* struct transport_address: the local address */
	TDI_QUERY_CONNECTION_INFO = 4, /* struct tdi_connection_info */
};

enum tdi_set_type {
	TDI_SET_NAGLE = 1, /* of a connection, a bool: small sends wait for each other. tcp only */
};

/* What a transport can do. */
enum {
	TDI_SERVICE_CONNECTION_MODE = 0x01,
	TDI_SERVICE_ORDERLY_RELEASE = 0x02,
	TDI_SERVICE_EXPEDITED_DATA = 0x100,
	TDI_SERVICE_INTERNAL_BUFFERING = 0x200, /* sends are copied: there is room, or not */
};

enum { TDI_LOOKAHEAD = 128 }; /* of what there is, an event shows so many bytes at least */

struct tdi_provider_info {
	uint32_t service_flags;
	uint32_t chained_bytes; /* so much is shown to the chained handler, where there is one */
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

struct tdi_request_set_event {
	enum tdi_event_type type;
	tdi_event_handler *handler;
	void *context;
};

struct tdi_request_query {
	enum tdi_query_type query_type;
	void *buffer;
	uint32_t length;
};

struct tdi_request_set {
	enum tdi_set_type set_type;
	const void *value;
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
void tdi_build_disassociate_address(struct irp *irp, struct file_object *connection,
				    io_completion_routine *routine, void *context);
void tdi_build_connect(struct irp *irp, struct file_object *connection,
		       io_completion_routine *routine, void *context,
		       const struct transport_address *remote);
void tdi_build_listen(struct irp *irp, struct file_object *connection,
		      io_completion_routine *routine, void *context,
		      struct transport_address *remote);
void tdi_build_accept(struct irp *irp, struct file_object *connection,
		      io_completion_routine *routine, void *context);
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
void tdi_build_set_information(struct irp *irp, struct file_object *file,
			       io_completion_routine *routine, void *context,
			       enum tdi_set_type type, const void *value, uint32_t length);
void tdi_build_set_event_handler(struct irp *irp, struct file_object *address,
				 io_completion_routine *routine, void *context,
				 enum tdi_event_type type, tdi_event_handler *handler,
				 void *handler_context);

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
ntstatus tdi_open_control_channel(struct device_object *device, struct file_object *file);
void tdi_close(struct file_object *file);

/* A handler, of the type's own signature cast to tdi_event_handler, or NULL for none. */
ntstatus tdi_set_event_handler(struct file_object *address, enum tdi_event_type type,
			       tdi_event_handler *handler, void *context);

/*
 * The endpoint will use this address. Needed before connect, listen and accept. Disassociating ends
 * that, for an endpoint that is not connected: else STATUS_CONNECTION_ACTIVE.
 */
ntstatus tdi_associate_address(struct file_object *connection, struct file_object *address);
ntstatus tdi_disassociate_address(struct file_object *connection);

/*
 * Connects, for at most timeout_ns. After a connect or listen that fails, is cancelled or takes too
 * long, receives tell why, and the endpoint can connect or listen again, which then may have to
 * wait for the rest of the old connection; a peer that it had reached is reset. Errors:
 * STATUS_CONNECTION_REFUSED, STATUS_IO_TIMEOUT, STATUS_NETWORK_UNREACHABLE,
 * STATUS_HOST_UNREACHABLE, STATUS_CONNECTION_ACTIVE, STATUS_INVALID_PARAMETER, ...
 */
ntstatus tdi_connect(struct file_object *connection, const struct transport_address *remote,
		     int64_t timeout_ns);

/* Waits until a peer connects to the associated address; *remote (may be NULL) says who. */
ntstatus tdi_listen(struct file_object *connection, struct transport_address *remote,
		    int64_t timeout_ns);

/*
 * One of the three flags. TDI_DISCONNECT_WAIT waits until the connection is over: both directions
 * have ended (STATUS_SUCCESS), or it has failed (the reason); and until no event or callback of it
 * runs any more. From then on the endpoint can begin again.
 */
ntstatus tdi_disconnect(struct file_object *connection, uint32_t flags);

ntstatus tdi_query_information(struct file_object *file, enum tdi_query_type type, void *buffer,
			       uint32_t length);

ntstatus tdi_set_information(struct file_object *file, enum tdi_set_type type, const void *value,
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
			      uint32_t flags, tdi_completion_callback *callback, void *context);

#endif
