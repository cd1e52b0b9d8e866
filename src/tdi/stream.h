/*
 * Stages 04 to 06: the client's end of a connection, as a stream that nobody waits in.
 *
 *   send_window.c       04  sends that take only what room there is, and go on when there is more
 *   stream.c, daemon.c  05  streams and how they begin: by calling a peer, or at a daemon's door
 *   receive.c, tsdu.c   06  what comes is taken in by event handlers, into a bounded queue
 *
 * A stream is the ConnectionContext of its endpoint: so it is what the event handlers are given,
 * which tdi_open_stream_address has set at the address. It can be given data as soon as its
 * endpoint is associated, before an accept has completed.
 *
 * Memory. Of what a peer has sent and nobody has read, a stream holds up to `limit` bytes of each
 * kind in copies, those between two loans rounded up to whole slabs, and besides what the transport
 * lends, which is bounded by the transport (tcp: 256 KiB; link: its window). After that the peer
 * has to stop.
 *
 * Sources: the Tdinal design (objects, daemon and client mode, the four handlers, TSDU queue,
 * sends), the first seed thread (TDI_SEND_NON_BLOCKING, ClientEventSendPossible).
 */
#ifndef XPORT_TDI_STREAM_H
#define XPORT_TDI_STREAM_H

#include "tdi/tdi.h"

/* ---- Stage 04: sending as far as there is room --------------------------------------------- */

/* A send that waits for room, in the caller's memory, until its callback has been called. */
struct tdi_window_send {
	struct list_entry entry;
	const char *buffer;
	uint32_t length;
	uint32_t sent;	 /* of it; never sent again */
	ntstatus status; /* once it is done */
	tdi_completion_callback *callback;
	void *context;
};

struct tdi_send_window {
	struct kspin_lock lock;
	struct file_object *connection;
	bool buffers;		   /* the transport, so that there is such a thing as room */
	bool sending;		   /* a piece is with the transport: no other may be */
	bool possible;		   /* there may be room: no news is awaited, or it has come */
	bool running;		   /* somebody starts pieces and calls back */
	ntstatus ended;		   /* STATUS_SUCCESS, or why nothing is sent any more */
	struct list_entry waiting; /* sends; only the first can have been sent in part */
	struct list_entry done;	   /* sends whose callbacks are due */
	struct stat_block counters;
};

/*
 * A window over a connection, which must stay. `buffers`: whether the transport buffers, by its
 * TDI_SERVICE_INTERNAL_BUFFERING; if not, a send of the window is one of tdi_start_send_buffer.
 * Any IRQL up to DISPATCH.
 */
void tdi_initialize_send_window(struct tdi_send_window *window, struct file_object *connection,
				bool buffers);

/*
 * Sends all of the buffer, behind what was given to the window before, by pieces, as room allows.
 * `send` and the buffer are the window's until the callback, which is called once, as that of
 * tdi_start_send_buffer: with `length` bytes and STATUS_SUCCESS, or with the error and how many
 * bytes were taken before it. Callbacks come in order, one at a time. The buffer is pool memory:
 * what is left of it goes out at DISPATCH_LEVEL. Up to DISPATCH.
 */
void tdi_window_send(struct tdi_send_window *window, struct tdi_window_send *send,
		     const void *buffer, uint32_t length, tdi_completion_callback *callback,
		     void *context);

/*
 * ClientEventSendPossible: goes on, if anything waits. Also for the time after the peer's release,
 * which no such event can follow: what waits is then taken. Up to DISPATCH.
 */
void tdi_window_send_possible(struct tdi_send_window *window);

/*
 * The connection is broken, or will be closed: what waits ends with this reason, and so does all
 * that is given later. A piece that is with the transport ends when that is done. Up to DISPATCH.
 */
void tdi_end_send_window(struct tdi_send_window *window, ntstatus reason);

/*
 * Every send has been called back and no call into the window is under way, the transport's
 * included: tdi_close has waited for those. Up to DISPATCH.
 */
void tdi_remove_send_window(struct tdi_send_window *window);

/* ---- Stage 06: a bounded queue of what has come -------------------------------------------- */

enum tdi_tsdu_kind {
	TDI_TSDU_DAT, /* bytes copied into the slab behind the header, which can take more */
	TDI_TSDU_BUF, /* bytes in a buffer of their own, for what fits no slab */
	TDI_TSDU_MDL, /* the transport's memory, on loan */
};

enum {
	TDI_SLAB_BYTES = 16 * 1024,   /* of a DAT, with its header */
	TDI_QUEUE_BYTES = 256 * 1024, /* the usual limit */
};

/* A piece of what has come: bytes behind this header, or the transport's, which it names. */
struct tdi_tsdu {
	struct list_entry entry;
	enum tdi_tsdu_kind kind;
	uint32_t offset;       /* of the first unread byte, behind the header or in `mdl` */
	uint32_t length;       /* unread bytes */
	uint32_t capacity;     /* DAT, BUF: bytes behind the header */
	const struct mdl *mdl; /* MDL: the first that has unread bytes; more may follow it */
	void *descriptor;      /* MDL: for tdi_return_chained_receives */
};

/* Called when something has come, or the end, at up to DISPATCH; must not wait. */
typedef void tdi_queue_changed(void *context);

struct tdi_receive_queue {
	struct kspin_lock lock;
	struct file_object *connection;
	uint32_t kind;	 /* TDI_RECEIVE_NORMAL or _EXPEDITED */
	uint32_t limit;	 /* of copied bytes */
	uint32_t copied; /* bytes in DAT and BUF, not consumed; with those of `receiving` */
	uint32_t lent;	 /* bytes in MDL, not consumed */
	bool refused;	 /* the transport keeps a rest until it gets a TDI_RECEIVE */
	bool closed;	 /* takes nothing any more */
	ntstatus end;	 /* STATUS_SUCCESS, or why nothing more will come */
	struct list_entry tsdus;
	struct tdi_tsdu *receiving; /* that a TDI_RECEIVE of the queue's fills, or NULL */
	struct tdi_tsdu spare;	    /* for a loan when there is no pool */
	bool spare_used;
	bool retried;	     /* the timer was set, once at least */
	struct ktimer retry; /* for a TDI_RECEIVE when there was no pool */
	struct kdpc retry_dpc;
	tdi_queue_changed *changed;
	void *context;
	struct stat_block counters;
};

/* An empty queue, for one kind of a connection's data. `limit` at least 1. Up to DISPATCH. */
void tdi_initialize_receive_queue(struct tdi_receive_queue *queue, struct file_object *connection,
				  uint32_t kind, uint32_t limit, tdi_queue_changed *changed,
				  void *context);

/*
 * The first bytes that have come: where they stand, and *length how many stand there together. NULL
 * when there are none: then *status is STATUS_PENDING, or, after the last byte, why no more will
 * come, STATUS_GRACEFUL_DISCONNECT if that is right. They stay until they are consumed. One reader
 * at a time. Up to DISPATCH.
 */
const void *tdi_queue_peek(struct tdi_receive_queue *queue, uint32_t *length, ntstatus *status);

/* The reader is done with the first `length` bytes, at most as many as it was shown. */
void tdi_queue_consume(struct tdi_receive_queue *queue, uint32_t length);

/* Copies and consumes up to `length` bytes: how many, or the negative status of peek; 0: none. */
int64_t tdi_queue_read(struct tdi_receive_queue *queue, void *buffer, uint32_t length);

/*
 * The four handlers' work, for the queue that the data is for: see tdi_ind_receive and _chained_.
 * Want of pool delays data, and loses none but in one case, which is told: if there is none for
 * two loans at the same time, the queue ends with STATUS_INSUFFICIENT_RESOURCES.
 */
ntstatus tdi_queue_receive(struct tdi_receive_queue *queue, uint32_t bytes_indicated,
			   uint32_t bytes_available, uint32_t *bytes_taken, const void *tsdu);
ntstatus tdi_queue_chained_receive(struct tdi_receive_queue *queue, uint32_t receive_length,
				   uint32_t starting_offset, const struct mdl *tsdu,
				   void *tsdu_descriptor);

/* Nothing more will come, for this reason: it is told behind what is unread. Up to DISPATCH. */
void tdi_end_receive_queue(struct tdi_receive_queue *queue, ntstatus reason);

/*
 * Throws away what is unread, gives back what was lent, and takes nothing any more. Once the
 * connection's events have ended and no TDI_RECEIVE of the queue's is under way nobody uses the
 * queue, and its counters go. PASSIVE_LEVEL.
 */
void tdi_close_receive_queue(struct tdi_receive_queue *queue);

/* Sets the four handlers at an address whose endpoints' contexts are streams. PASSIVE_LEVEL. */
ntstatus tdi_set_receive_handlers(struct file_object *address);

/* ---- Stage 05: streams, client mode, daemon mode ------------------------------------------- */

struct tdi_daemon;

/* How much is left of a wait that has begun then. Any IRQL. */
static inline int64_t tdi_time_left(uint64_t begun_ns, int64_t timeout_ns)
{
	if (timeout_ns == KE_WAIT_FOREVER)
		return KE_WAIT_FOREVER;
	return timeout_ns - (int64_t)(ke_query_interrupt_time() - begun_ns);
}

/*
 * TDI_DISCONNECT_WAIT, for at most timeout_ns. STATUS_SUCCESS: the endpoint's connection, if it had
 * any, is over, for whatever reason. STATUS_IO_TIMEOUT: it is not. STATUS_INVALID_DEVICE_REQUEST:
 * somebody waits already. PASSIVE_LEVEL, a thread.
 */
ntstatus tdi_wait_for_end(struct file_object *connection, int64_t timeout_ns);

struct tdi_stream {
	struct file_object file;
	struct tdi_send_window window;
	struct tdi_receive_queue normal;
	struct tdi_receive_queue expedited;
	struct transport_address remote; /* the last peer; none yet: all zero */
	unsigned processor;		 /* of whoever has created it; its events run there */
	struct kevent changed; /* synchronization: data or an end has come since the last wait */
	int32_t watched;       /* the next two are set, for ever */
	tdi_queue_changed *watcher;
	void *watcher_context;
	void *client; /* the client's own */

	/* The daemon's, until the stream is taken; see daemon.c. */
	struct tdi_daemon *daemon;
	struct list_entry entry;
	struct irp *accept_irp;
};

/* Opens a local address at the device, with all handlers set but that of CONNECT. PASSIVE_LEVEL. */
ntstatus tdi_open_stream_address(struct device_object *device,
				 const struct transport_address *local,
				 struct file_object *address);

/*
 * A new stream, whose endpoint is associated with the address, which must stay open as long as
 * events are wanted. `limit`: of unread bytes, 0 for the usual. NULL and *status when it can't be.
 * PASSIVE_LEVEL.
 */
struct tdi_stream *tdi_create_stream(struct file_object *address, uint32_t limit, ntstatus *status);

/* Closes it, which resets a peer that has not been released, and frees it. A thread, PASSIVE. */
void tdi_delete_stream(struct tdi_stream *stream);

/*
 * From now on `watcher` is called whenever data or an end has come, and once at once, perhaps
 * behind a call for news: so it must not free what it is given before this has returned.
 * Once in a stream's life, PASSIVE_LEVEL; before, the stream's event `changed` tells the same to a
 * thread that waits.
 */
void tdi_watch_stream(struct tdi_stream *stream, tdi_queue_changed *watcher, void *context);

/*
 * Waits for some bytes of normal data: how many, or a negative status. STATUS_IO_TIMEOUT. `length`
 * at least 1. PASSIVE_LEVEL, a thread, and only one.
 */
int64_t tdi_stream_read(struct tdi_stream *stream, void *buffer, uint32_t length,
			int64_t timeout_ns);

/*
 * Client mode: calls a peer. The errors of tdi_connect. A stream can call again when its connection
 * is over, for which this waits, too; what is still unread of that is thrown away. PASSIVE_LEVEL.
 */
ntstatus tdi_connect_peer(struct tdi_stream *stream, const struct transport_address *remote,
			  int64_t timeout_ns);

/*
 * Daemon mode: a local address that accepts who calls, into children that stand ready. The backlog
 * is how many peers can have been accepted and wait to be taken: it bounds what waits, not what
 * lives. A peer that finds it used up is refused.
 */
struct tdi_daemon {
	struct kspin_lock lock;
	struct device_object *device;
	struct file_object address;
	uint32_t backlog;
	uint32_t limit;	   /* of a child's unread bytes */
	uint32_t standing; /* children that are not taken: vacant, accepting or accepted */
	bool stopping;
	struct list_entry vacant;   /* children without a peer */
	struct list_entry accepted; /* children with one, to be taken in this order */
	struct kevent arrived;	    /* synchronization: `accepted` has grown, or stopping */
	struct stat_block counters;
};

/* Listens, and prepares the backlog (at least 1). The errors of tdi_open_transport_address. */
ntstatus tdi_start_daemon(struct tdi_daemon *daemon, struct device_object *device,
			  const struct transport_address *local, uint32_t backlog, uint32_t limit);

/*
 * Waits for a connection and takes it: the stream is the caller's, and the backlog is full again as
 * soon as there is memory for it. NULL and *status: STATUS_IO_TIMEOUT, or STATUS_CANCELLED when the
 * daemon is told to stop. PASSIVE_LEVEL, a thread; one at a time.
 */
struct tdi_stream *tdi_accept_stream(struct tdi_daemon *daemon, int64_t timeout_ns,
				     ntstatus *status);

/* Wakes a thread that waits in tdi_accept_stream, now and in future. Up to DISPATCH. */
void tdi_wake_daemon(struct tdi_daemon *daemon);

/*
 * Ends it: nobody is accepted any more, and who was and is not taken is reset. Streams that were
 * taken live on, but their events end with the address; delete them first. PASSIVE_LEVEL.
 */
void tdi_stop_daemon(struct tdi_daemon *daemon);

#endif
