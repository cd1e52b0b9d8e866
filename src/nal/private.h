/*
 * Stages 07 and 08, inside: what a node consists of, who holds it, and which lock guards what.
 *
 *      node ── interfaces ── peers ── connections ── scheduler
 *
 * Locks, in the order in which they nest; none is held while anything outside is called.
 *
 *      ni->lock        the interface's peers, and how often each is held
 *      peer->lock      its connections, queues and messages; of a connection what is under "out"
 *      sched->lock     the lists of what is ready; of a connection what is under "ready"
 *      node->lock      the node's lists
 *
 * A connection's references. One is that it is alive; ksocknal_close_conn takes it away. One for
 * each list of its scheduler that it is in, or turn it has. One for an owner of a portal that has
 * not called lnet_resume. With the last it goes to the node's thread, which deletes its stream, and
 * then nobody else can know it: what was under way is called back, and the memory goes.
 *
 * A peer is held by its connections, its messages that wait for something, and whoever has found
 * it. It is in its interface's table as long as it is held.
 */
#ifndef XPORT_NAL_PRIVATE_H
#define XPORT_NAL_PRIVATE_H

#include "nal/counters.h"
#include "nal/lnet.h"

enum {
	KSOCK_STAGING_BYTES = 64 * 1024,
	KSOCK_COPY_BYTES = 16 * 1024, /* payloads up to so many bytes are copied into the staging */
	KSOCK_BATCH_BYTES = 1024 * 1024,
	KSOCK_BATCH_PIECES = 64,
	KSOCK_MIN_BULK = 1024, /* payloads from so many bytes on go out on a bulk connection */
	KSOCK_ZC_ACKS = 32,
};

#define KSOCK_HANDLE_NONE UINT64_MAX /* interface_cookie of a handle that is none */

/* What a message still waits for. */
enum {
	KSOCK_TX_SENT = 1,     /* to be taken by the transport */
	KSOCK_TX_ZC = 2,       /* the peer's word that it has the payload */
	KSOCK_TX_ANSWERED = 4, /* its ACK or REPLY */
	KSOCK_TX_REPLIED = 8,  /* the rest of its REPLY, which is coming in */
};

/* ---- Batches: what one TDI_SEND carries ----------------------------------------------------- */

struct ksock_batch {
	struct list_entry entry; /* of its scheduler's idle ones, or its connection's open ones */
	struct ob_reference references; /* the submitter's and the completion routine's */
	struct ksock_conn *conn;
	struct irp *irp;
	struct list_entry txs; /* those whose last byte is in it */
	ntstatus status;       /* written before the completion routine drops its reference */
	uint32_t bytes;
	uint32_t staged;
	uint32_t piece_count;
	uint32_t messages;	  /* whose last byte is in it */
	bool staging;		  /* the last piece is staging, and can grow */
	struct ksock_tx *partial; /* that has begun in it, and goes on in the next; or NULL */
	struct mdl pieces[KSOCK_BATCH_PIECES];
	char bytes_staged[KSOCK_STAGING_BYTES];
};

/* A message of the room's own: an ACK or a REPLY. */
struct ksock_answer {
	struct ksock_tx tx;
	struct ksock_sched *sched;	  /* among whose idle ones it is kept */
	const struct lnet_portal *portal; /* whose payload it carries; or NULL */
};

/* ---- Schedulers ---------------------------------------------------------------------------- */

struct ksock_sched {
	struct kspin_lock lock;
	struct list_entry rx_conns; /* connections with something to read */
	struct list_entry tx_conns; /* and to send */
	struct list_entry starved;  /* that found no batch */
	struct list_entry batches;  /* idle ones; the last that was used first, for the cache */
	struct list_entry answers;  /* idle ones */
	uint32_t idle_answers;
	bool busy; /* the work item runs, or will, and looks at the lists again */
	bool stopping;
	struct kevent idle; /* synchronization: the work item does not run, and it is stopping */
	struct ex_work_item work;
	struct stat_block counters; /* all under the lock */
	struct stat_block messages;
};

/* ---- Connections --------------------------------------------------------------------------- */

enum ksock_rx_state {
	SOCKNAL_RX_ACCEPTOR,
	SOCKNAL_RX_HELLO,
	SOCKNAL_RX_ADDRESSES,
	SOCKNAL_RX_KSM_HEADER,
	SOCKNAL_RX_LNET_HEADER,
	SOCKNAL_RX_PARSE, /* the header is there; perhaps it waits for the portal's owner */
	SOCKNAL_RX_LNET_PAYLOAD,
	SOCKNAL_RX_SLOP,
	SOCKNAL_RX_DONE, /* all is there; likewise */
};

struct ksock_zc_range {
	uint64_t first, last;
};

/* Where the payload that comes in goes. */
enum ksock_place {
	KSOCK_PLACE_NOWHERE,
	KSOCK_PLACE_COPIED, /* by the cursor */
	KSOCK_PLACE_SHOWN,  /* to the portal's owner */
};

/* What a turn has read, to be counted at its end. */
struct ksock_tally {
	uint32_t messages[LNET_MSG_REPLY + 1];
	uint32_t noops;
	uint32_t dropped;
	uint64_t bytes; /* of all kinds */
	uint64_t payload_bytes;
	uint64_t slop_bytes;
};

/* What a turn has sent, likewise. */
struct ksock_sent {
	uint32_t messages;
	uint32_t batches;
	uint32_t again;
	uint32_t activations;
	uint64_t bytes;
};

/* What the clock's watch knows of one direction. */
struct ksock_watch {
	uint64_t progress;
	bool wanted;
	uint64_t since_ns;
};

struct ksock_conn {
	struct lnet_node *node;
	struct list_entry node_entry; /* among all; then among those to be deleted */
	bool dead;		      /* it is among those. Under the node's lock, like its place */
	struct tdi_stream *stream;
	struct ksock_sched *sched;
	struct ksock_peer *peer; /* held; NULL until an accepted one's HELLO has come */
	struct list_entry entry; /* in peer->conns, once it stands */
	struct kthread thread;	 /* with options.threads */
	bool threaded;		 /* it has been started */
	struct kevent work;
	uint64_t number;
	uint32_t type; /* SOCKLND_CONN_..., as this side sees it */
	uint32_t version;
	bool active; /* this side has called */
	bool swapped;
	ntstatus reason; /* why it has ended; written once */
	struct irp *connect_irp;

	/* Ready: under the scheduler's lock. */
	uint32_t references;
	struct list_entry rx_entry, tx_entry, starved_entry;
	bool rx_ready, rx_scheduled;
	bool starved; /* it is in that list; a thread tries again, all the same */
	bool resumed; /* lnet_resume has been called */
	bool closing;
	bool rx_midst;	   /* it waits for the rest of something */
	uint64_t rx_bytes; /* that were read */
	struct ksock_watch rx_watch;

	/* Coming in: the turn's. */
	enum ksock_rx_state state;
	bool held;  /* by an owner who will call lnet_resume */
	bool stood; /* its HELLO has come */
	struct ksock_hello hello;
	uint32_t rx_have;
	uint32_t rx_wanted; /* of a header: all of it; of anything else: what is left */
	unsigned char rx_header[LNET_HEADER_BYTES];
	struct ksock_message_header message;
	uint32_t sum;
	uint64_t target_nid;
	struct lnet_incoming incoming;
	enum ksock_place place;
	const struct lnet_portal
		*portal;	  /* whose owner is to be told; NULL: none, or he has been */
	struct ksock_tx *replied; /* the GET whose REPLY comes in */
	struct lnet_cursor cursor;
	uint32_t kept; /* bytes of its payload that went there */
	bool dropped;  /* nobody wants it */
	bool ack_owed;
	struct ksock_tally tally;

	/* Going out: under the peer's lock, or the turn's alone while there is no peer. */
	struct list_entry open;	    /* batches that messages are packed into as they are given */
	struct list_entry tx_queue; /* what goes out behind them */
	bool tx_ready; /* nothing is with the transport, so that a turn can do something */
	bool tx_scheduled;
	bool hello_owed;
	bool keepalive_owed;
	uint32_t zc_count;
	struct ksock_zc_range zc_acks[KSOCK_ZC_ACKS];
	struct ksock_batch *batch; /* that is with the transport, or has just come back */
	bool pending;		   /* the turn's: it has ended with a batch under way */
	uint64_t tx_batches;	   /* that are done */
	struct ksock_watch tx_watch;
	struct ksock_sent sent;
};

/* ---- Peers --------------------------------------------------------------------------------- */

struct ksock_peer {
	struct list_entry entry; /* in the interface's table */
	struct lnet_ni *ni;
	uint32_t held; /* under the interface's lock */
	uint64_t nid;

	struct kspin_lock lock;
	struct transport_address address; /* no type: it is not called */
	uint64_t incarnation;
	struct list_entry conns;
	struct list_entry tx_queue; /* for connections that do not stand yet */
	struct list_entry awaiting; /* messages that wait for its word, oldest first */
	uint32_t connecting;	    /* types of connections that are being made, as bits */
	bool calling;		    /* it is in the node's list of those to be called */
	struct list_entry call_entry;
	uint64_t next_call_ns; /* not before then */
	ntstatus failure;      /* of the last call */
	uint64_t last_zc_cookie;
	uint64_t last_handle;
};

struct lnet_ni {
	struct lnet_node *node;
	uint64_t nid;
	struct kspin_lock lock;
	struct list_entry peers;
};

struct lnet_node {
	struct lnet_options options;
	uint64_t incarnation;
	struct file_object callers; /* the address that it calls from */
	struct tdi_daemon daemon;   /* if options.listen */
	struct kthread acceptor;    /* likewise */
	struct kthread thread;
	struct kevent wake; /* synchronization: there is something for the thread */
	bool refusing;	    /* the thread's: no connection begins any more */
	uint32_t turn;	    /* the thread's: of the processors */
	uint32_t sched_count;
	struct ksock_sched *scheds;
	struct lnet_payload ping; /* what a ping's REPLY carries */
	struct lnet_iov ping_piece;
	char ping_bytes[LNET_PING_MOST_BYTES];

	struct kspin_lock lock;
	struct list_entry conns; /* those that somebody holds, by number */
	struct list_entry dead;	 /* to be deleted */
	struct list_entry calls; /* peers to be called */
	uint32_t conn_count;	 /* in `conns` or `dead`, or on the way */
	uint64_t last_conn;
	bool stopping;
	struct stat_block counters;

	struct lnet_ni nis[]; /* options.nid_count */
};

/* ---- connection.c -------------------------------------------------------------------------- */

/* A connection on a stream that somebody has called; it takes the stream. A thread, PASSIVE. */
void ksocknal_accept(struct lnet_node *node, struct tdi_stream *stream);

/* Calls the peer, with a connection of this type. An error: it is not even begun. Likewise. */
ntstatus ksocknal_connect(struct ksock_peer *peer, uint32_t type);

/* Ends it, unless that has been done. Up to DISPATCH. */
void ksocknal_close_conn(struct ksock_conn *conn, ntstatus reason);

/* The same, because of what the peer has sent, which is counted. */
void ksocknal_refuse(struct ksock_conn *conn, enum lnet_wire_reason reason);

/* A reference more, or less; the second with the scheduler's lock held. Up to DISPATCH. */
void ksocknal_conn_addref(struct ksock_conn *conn);
void ksocknal_conn_decref_locked(struct ksock_conn *conn);
void ksocknal_conn_decref(struct ksock_conn *conn);

/* The node's thread: nobody else knows the connection any more. */
void ksocknal_destroy_conn(struct ksock_conn *conn);

/* Whether the HELLO that has come fits who the peer must be. */
enum lnet_wire_reason ksocknal_judge_hello(const struct ksock_conn *conn);

/*
 * The HELLO has come: the connection stands, and its peer's messages go out. False: it does not,
 * and is closed.
 */
bool ksocknal_establish(struct ksock_conn *conn);

/* ---- peer.c -------------------------------------------------------------------------------- */

void ksocknal_hold_peer(struct ksock_peer *peer);

/*
 * Fills in a message to the peer, with a header of this type; the payload (NULL: none) goes out, or
 * a GET's comes in. It waits to be sent; what else, the caller adds.
 */
void ksocknal_begin_tx(struct ksock_tx *tx, struct ksock_peer *peer, uint32_t type,
		       const struct lnet_payload *payload, lnet_callback *callback, void *context);

/* For the verifier: the peer has no such message under way. */
void ksocknal_require_idle(struct ksock_peer *peer, const struct ksock_tx *tx);

/* Gives it to a connection, or lets it wait for one. Up to DISPATCH. */
void ksocknal_launch_packet(struct ksock_tx *tx);

/*
 * Some of what the message waits for has happened, or can't any more. If it was the last it goes to
 * `done`, for ksocknal_txlist_done. With its peer's lock held, and in no other list by `entry`.
 */
void ksocknal_tx_happened(struct ksock_tx *tx, uint8_t what, ntstatus status,
			  struct list_entry *done);

/* The PUT of this handle has its ACK. False: there is none. */
bool ksocknal_ack_put(struct ksock_peer *peer, uint64_t handle, uint32_t length);

/*
 * The GET of this handle, whose REPLY is coming in, or NULL. Whoever has it finishes it: its
 * payload is not its owner's before.
 */
struct ksock_tx *ksocknal_take_get(struct ksock_peer *peer, uint64_t handle);
void ksocknal_finish_get(struct ksock_tx *get, ntstatus status, uint32_t length);

/* Writes into the header how an answer will name the message. */
void ksocknal_give_handle(struct ksock_tx *tx, uint64_t handle);

/* The peer has the payloads of these messages. */
void ksocknal_zc_acked(struct ksock_peer *peer, uint64_t first, uint64_t last);

/* Calls back, with no lock held. */
void ksocknal_txlist_done(struct list_entry *done);

/* The messages of a connection that is gone. */
void ksocknal_fail_conn_txs(struct ksock_conn *conn);

/*
 * The connection can be used: what has waited for it goes out. False: it has been closed, or the
 * peer's node has begun anew.
 */
bool ksocknal_conn_stands(struct ksock_conn *conn);

/* A connection to the peer could not be made, or has ended before it stood. */
void ksocknal_call_failed(struct ksock_peer *peer, uint32_t type, ntstatus reason);

/* The node's thread: calls the peer with all that is missing. */
void ksocknal_call_peer(struct ksock_peer *peer);

/* Fails what has waited too long. */
void ksocknal_check_peer(struct ksock_peer *peer, uint64_t now);

/* ---- node.c -------------------------------------------------------------------------------- */

/* Puts the entry into one of the node's lists, and wakes its thread. Up to DISPATCH. */
void ksocknal_ask_thread(struct lnet_node *node, struct list_entry *list, struct list_entry *entry);

/* ---- message.c ----------------------------------------------------------------------------- */

/* What a turn of reading has come to. */
enum ksock_rx_result {
	KSOCK_RX_IDLE, /* nothing is left, or the connection is closed */
	KSOCK_RX_MORE, /* there may be more */
	KSOCK_RX_HELD, /* until lnet_resume */
};

enum ksock_rx_result ksocknal_process_receive(struct ksock_conn *conn);

/* The next message of the connection begins. */
void ksocknal_new_packet(struct ksock_conn *conn);

/* ---- portal.c ------------------------------------------------------------------------------ */

/*
 * What to do with the message whose header has come: STATUS_SUCCESS, and `incoming.into` or the
 * portal's `take` is where its payload goes; STATUS_PENDING: ask again after lnet_resume; any
 * other: nothing, the payload is slop.
 */
ntstatus lnet_parse(struct ksock_conn *conn);

/* All of it has come (or `status`: why not). STATUS_PENDING: call again after lnet_resume. */
ntstatus lnet_finalize(struct ksock_conn *conn, ntstatus status);

/* ---- pack.c -------------------------------------------------------------------------------- */

struct ksock_batch *ksocknal_create_batch(struct device_object *device);
void ksocknal_free_batch(struct ksock_batch *batch);

/* It is empty, and will be the connection's. */
void ksocknal_begin_batch(struct ksock_batch *batch, struct ksock_conn *conn);

/* The peer wants to know that its payload has come. False: it wants too much. */
bool ksocknal_queue_zc_ack(struct ksock_conn *conn, uint64_t cookie);

/* HELLO, the peer's pages, that this side is alive. With the peer's lock held, as what follows. */
void ksocknal_pack_owed(struct ksock_conn *conn, struct ksock_batch *batch);

/* As much of the message as there is room for. True: that is all that was left of it. */
bool ksocknal_pack_tx(struct ksock_tx *tx, struct ksock_batch *batch);

/* The connection has the message, behind all others. */
void ksocknal_queue_tx(struct ksock_conn *conn, struct ksock_tx *tx);

/* For the messages that begin in the batch. With no lock held. */
void ksocknal_add_checksums(struct ksock_batch *batch);

/* ---- transmit.c ---------------------------------------------------------------------------- */

/*
 * A turn of sending. False: the connection is not scheduled any more: there is nothing to send, or
 * the transport has something (socklnd's -EAGAIN), whose completion will bring the next turn; or it
 * has found no batch, and waits for one. *hand is an idle batch or NULL, before and after.
 */
bool ksocknal_process_transmit(struct ksock_conn *conn, struct ksock_batch **hand);

/* Whether a turn would send anything. With the peer's lock held. */
bool ksocknal_has_output(const struct ksock_conn *conn);

/* ---- scheduler.c --------------------------------------------------------------------------- */

ntstatus ksocknal_start_scheds(struct lnet_node *node);

/* There is no connection any more. A thread, PASSIVE. */
void ksocknal_stop_scheds(struct lnet_node *node);

bool ksocknal_is_closing(struct ksock_conn *conn);

/* A connection's turn; whether it needs another. With the scheduler's lock held, but for the work.
 */
bool ksocknal_rx_turn(struct ksock_conn *conn);
bool ksocknal_tx_turn(struct ksock_conn *conn, struct ksock_batch **hand);

/* Something has come for the connection to read. Up to DISPATCH. */
void ksocknal_schedule_rx(struct ksock_conn *conn);

/* It has something to send, and can. With the peer's lock held; up to DISPATCH. */
void ksocknal_schedule_tx(struct ksock_conn *conn);

/* An answer; NULL when there is no pool. */
struct ksock_answer *ksocknal_alloc_answer(struct ksock_sched *sched);
void ksocknal_free_answer(struct ksock_answer *answer);

/* A batch for the connection's turn; NULL: there is none, and it is told when one comes back. */
struct ksock_batch *ksocknal_take_batch(struct ksock_conn *conn);
void ksocknal_return_batch(struct ksock_sched *sched, struct ksock_batch *batch);

/*
 * One that is idle, to be opened, or NULL: also if the connection waits for a turn with one, which
 * it could otherwise keep from itself. Up to DISPATCH.
 */
struct ksock_batch *ksocknal_idle_batch(struct ksock_conn *conn);

/* ---- counters.c, with the scheduler's lock held ---------------------------------------------- */

/* Counts what a turn has done, and forgets it. */
void ksocknal_count_received(struct stat_block *block, struct ksock_tally *tally);
void ksocknal_count_sent(struct stat_block *block, struct ksock_sent *sent);

/* ---- thread.c ------------------------------------------------------------------------------ */

ntstatus ksocknal_start_conn_thread(struct ksock_conn *conn);

#endif
