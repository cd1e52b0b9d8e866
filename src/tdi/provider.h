/*
 * What all transports have in common: the objects behind the file objects, the dispatch of TDI
 * requests, and who may touch what when. A transport embeds these structures first in its own and
 * fills in struct tdi_provider_ops. Clients do not include this header.
 *
 * The life of a connection is the table of states.c. tdi_provider_end_establish ends CONNECTING and
 * LISTENING, either way; tdi_provider_fail and the close of the file end any state in DISCONNECTED,
 * where every queued request is completed with the reason (`failure`) and every new one is refused
 * with it. Within CONNECTED the two directions end separately: `send_ended` when the client's
 * release is on its way, `receive_ended` when the peer's last byte has been received.
 *
 * A new life. A connection that is DISCONNECTED is over when nobody uses it but its file and the
 * requests that wait for just that. Then, and when what it has lent is back, it can begin again: a
 * connect or listen that came before waits in `establishing` (`restarting`), and whoever drops the
 * last user starts it.
 *
 * One lock. `lock` guards everything in the structure and in what the transport adds to it. No
 * request is completed and no callback runs with it held.
 *
 * One pump a direction. Work on a direction is done by one context at a time. Who finds the pump
 * running leaves a note (`again`) and goes: the running one will look once more. So a submit may do
 * the work of a send itself, on the caller's thread and without a hop, and a callback that submits
 * the next send from within the pump's completions does not nest: it leaves a note. A pump that has
 * gone round PUMP_TURNS times leaves the rest to a DPC. When the connection fails, a running pump
 * also completes what waits in its queue, behind what it has in hand.
 *
 * Requests wait in the cancel-safe queues `sends` and `receives`; a step takes one out when work
 * on it begins. From then on it can't be cancelled, only failed with the connection.
 *
 * What comes. The receive step brings what has arrived to `unread`, as arrivals in the transport's
 * memory, or puts it right into a request, if nothing is unread. The pump then fills the requests
 * that wait and shows the rest to the client's handlers (indicate.c); it is the only one that does,
 * so events of a connection come one at a time, and a request that a handler makes is filled before
 * the next. Only SEND_POSSIBLE is the send pump's. Handlers are called through their address
 * (events.c), which counts the calls, so that its close can wait for them.
 *
 * References. `users` counts, under the lock, the file, each running pump, each queued DPC, each
 * request in a queue, and what the transport adds with tdi_provider_hold. Who drops the last has it
 * destroyed. Loans are not users: the client has to return them before it closes (RX-LOAN-MISUSE).
 */
#ifndef XPORT_TDI_PROVIDER_H
#define XPORT_TDI_PROVIDER_H

#include "tdi/tdi.h"

struct tdi_provider;
struct tdi_address;
struct tdi_connection;

/* ---- States: states.c ---------------------------------------------------------------------- */

enum tdi_connection_state {
	TDI_STATE_IDLE = 1,   /* opened */
	TDI_STATE_ASSOCIATED, /* has an address */
	TDI_STATE_CONNECTING, /* a TDI_CONNECT is under way */
	TDI_STATE_LISTENING,  /* a TDI_LISTEN waits for a peer */
	TDI_STATE_OFFERED,    /* has a peer, which its TDI_ACCEPT will accept */
	TDI_STATE_CONNECTED,
	TDI_STATE_DISCONNECTED,
	TDI_STATE_COUNT,
};

/* What is asked of a connection, or happens to it. */
enum tdi_input {
	TDI_ON_ASSOCIATE,
	TDI_ON_DISASSOCIATE,
	TDI_ON_CONNECT,
	TDI_ON_LISTEN,
	TDI_ON_OFFER,	    /* a peer for the accept that a connect event has given */
	TDI_ON_ACCEPT,	    /* that accept */
	TDI_ON_ESTABLISHED, /* the connect or listen has succeeded */
	TDI_ON_WAIT,
	TDI_ON_TRANSFER, /* a send, a receive or a release */
	TDI_ON_FAILURE,	 /* also an abort, and the close */
	TDI_INPUT_COUNT,
};

/*
 * The answer to an input in the connection's state; the second also moves it on, if that is
 * STATUS_SUCCESS. Lock held.
 */
ntstatus tdi_check_state(const struct tdi_connection *connection, enum tdi_input input);
ntstatus tdi_move_state(struct tdi_connection *connection, enum tdi_input input);

/* ---- What a transport provides ------------------------------------------------------------- */

/* What a client can be lent: who gets its descriptor back calls this. */
struct tdi_loan {
	void (*returned)(struct tdi_loan *loan);
};

enum { TDI_NORMAL, TDI_EXPEDITED, TDI_KINDS };

/* Bytes that have arrived, in the transport's memory, part of its own structure. */
struct tdi_arrival {
	struct list_entry entry; /* in the connection's `unread` */
	struct mdl mdl;		 /* all its bytes */
	uint32_t taken;		 /* of them, from the front */

	/* Of the head of a chain that is lent. */
	struct tdi_loan loan;
	struct tdi_connection *lender;
	struct list_entry chain; /* the others */
};

/* Does what it can for one direction, with the lock held; may drop and retake it. Requests that are
 * done go to `completed`, by list_entry, with io_status set. */
typedef void tdi_pump_step(struct tdi_connection *connection, struct list_entry *completed);

struct tdi_provider_ops {
	/* Binds; fills address->local in as bound. NULL and *status on failure. PASSIVE. */
	struct tdi_address *(*create_address)(struct tdi_provider *provider,
					      const struct transport_address *local,
					      ntstatus *status);
	/* The client has closed its address: nobody may connect there any more. Up to DISPATCH. */
	void (*close_address)(struct tdi_address *address);
	/* The last reference to an address is gone. Up to DISPATCH. */
	void (*destroy_address)(struct tdi_address *address);

	/* PASSIVE. NULL when there is no pool. */
	struct tdi_connection *(*create_connection)(struct tdi_provider *provider);
	/* No user is left: frees. Up to DISPATCH. */
	void (*destroy_connection)(struct tdi_connection *connection);
	/* It is over, and begins a new life: as created. Lock held. */
	void (*renew_connection)(struct tdi_connection *connection);

	/*
	 * Begins to connect, or to listen at connection->address. The outcome comes through
	 * tdi_provider_end_establish, at once or later. Lock not held.
	 */
	void (*connect)(struct tdi_connection *connection, const struct transport_address *remote);
	void (*listen)(struct tdi_connection *connection);
	/* The address has a connect event now: lets peers call, and serves those that have. */
	ntstatus (*serve)(struct tdi_address *address);

	/*
	 * The steps of the two pumps. When `send` finds nothing left to send and release_wanted
	 * set, it tells the peer that this was all, and sets send_ended, at once or in a later
	 * step; from then on a close resets nobody.
	 */
	tdi_pump_step *send;
	tdi_pump_step *receive;

	/*
	 * The state has just become DISCONNECTED, from `was`: reset the peer if there is one, and
	 * see to it that every request that is out of the queues gets finished. Lock held.
	 */
	void (*abort)(struct tdi_connection *connection, enum tdi_connection_state was,
		      struct list_entry *completed);

	/* All of an arrival has been taken or given back, perhaps long after the end. Lock held. */
	void (*free_arrival)(struct tdi_connection *connection, struct tdi_arrival *arrival);

	/* Lock held. */
	void (*query)(struct tdi_connection *connection, struct tdi_connection_info *info);
	/* The connection's, now and in lives to come. NULL: there is no such thing. Lock held. */
	void (*set_nagle)(struct tdi_connection *connection, bool nagle);
};

struct tdi_provider {
	const struct tdi_provider_ops *ops;
	struct tdi_provider_info info;
	struct device_object device;
};

struct tdi_event {
	tdi_event_handler *handler; /* NULL: none */
	void *context;
};

struct tdi_address {
	struct tdi_provider *provider;
	struct ob_reference references; /* the file's and each associated connection's */
	struct transport_address local;
	struct ob_reference calls; /* the open file's, and each handler's that has not returned */
	struct irp *close_irp;	   /* IRP_MJ_CLOSE, completed by who drops the last of these */

	struct kspin_lock events_lock; /* the last to be taken; guards the rest */
	struct tdi_event events[TDI_EVENT_COUNT];
	int32_t handled; /* a bit for each type that has a handler; read without the lock */
	bool closed;
};

struct tdi_pump {
	tdi_pump_step *step;
	struct kdpc dpc; /* goes on when a turn was too long */
	bool running;
	bool again;
};

struct tdi_connection {
	struct kspin_lock lock;
	enum tdi_connection_state state;
	bool send_ended;
	bool receive_ended;
	bool release_wanted; /* released while sends were still queued */
	bool backlogged;     /* by the transport: a send that has left the queue waits for room */
	uint32_t users;
	ntstatus failure;
	struct tdi_pump send_pump;
	struct tdi_pump receive_pump;
	struct io_csq sends;
	struct io_csq expedited_sends;
	struct io_csq receives[TDI_KINDS];

	/* What has arrived; the receive pump's. */
	struct list_entry unread[TDI_KINDS];
	uint32_t unread_bytes[TDI_KINDS];
	bool blocked[TDI_KINDS]; /* nothing is shown until a receive was filled */
	bool peer_ended;	 /* nothing more will arrive */

	/* Events. */
	bool told;	       /* the last one, or nobody is to be told: the state's end is known */
	bool room_owed;	       /* a non-blocking send was not taken whole */
	bool showing_room;     /* SEND_POSSIBLE is running */
	bool last_event_waits; /* for that */
	uint32_t room;	       /* the transport's, in bytes, when some is owed and there is some */
	uint32_t loans;	       /* chains that clients have not returned */

	/* Below here the path of a send or receive does not go. */
	struct tdi_provider *provider;
	struct tdi_address *address;
	struct io_csq establishing; /* the one TDI_CONNECT or TDI_LISTEN */
	struct io_csq waiting;	    /* the one TDI_DISCONNECT_WAIT */
	uint32_t telling;	    /* users that only tell those in `waiting` of the end */
	bool closing;		    /* no life begins any more */
	struct irp *accept_irp;	    /* while OFFERED: the one that a connect event has given */
	bool restarting;	    /* `establishing` waits for the end of the life before */
	struct irp *release_irp;    /* TDI_DISCONNECT_RELEASE, completed when send_ended is set */
	struct irp *close_irp;	    /* IRP_MJ_CLOSE, completed when the last user has gone */
	void *connection_context;
};

/* Fills the common part in; the provider's device then answers TDI requests. */
void tdi_provider_initialize(struct tdi_provider *provider, const struct tdi_provider_ops *ops,
			     const struct tdi_provider_info *info);
void tdi_provider_initialize_address(struct tdi_address *address, struct tdi_provider *provider,
				     const struct transport_address *local);
void tdi_provider_initialize_connection(struct tdi_connection *connection,
					struct tdi_provider *provider);

/* One more user (lock held), and one fewer (lock not held). Up to DISPATCH. */
void tdi_provider_hold(struct tdi_connection *connection);
void tdi_provider_drop(struct tdi_connection *connection);

/*
 * Takes the pending connect or listen, which can't be cancelled from then on; NULL when the client
 * has given it up, and the connection has failed or is about to. Lock held. It ends with
 * tdi_provider_end_establish (lock not held, with a user of the caller's): `status` says whether
 * the connection stands, `remote` who is at the other end (NULL: not to be told).
 */
struct irp *tdi_provider_begin_establish(struct tdi_connection *connection);
void tdi_provider_end_establish(struct tdi_connection *connection, struct irp *irp, ntstatus status,
				const struct transport_address *remote);

/*
 * The connection is broken: everything queued or under way completes with `reason`. Does nothing
 * when it was DISCONNECTED before. The first with the lock not held, the second from a step.
 */
void tdi_provider_fail(struct tdi_connection *connection, ntstatus reason);
void tdi_provider_fail_locked(struct tdi_connection *connection, ntstatus reason,
			      struct list_entry *completed);

/*
 * There may be work for the pump. Up to DISPATCH. The first with the lock not held; the second with
 * it held, taken at `irql`, and gives it back: then the connection may be gone.
 */
void tdi_provider_run_pump(struct tdi_connection *connection, struct tdi_pump *pump);
void tdi_provider_run_pump_and_unlock(struct tdi_connection *connection, struct tdi_pump *pump,
				      kirql irql);

/*
 * A new life: at first, or after one that is over. Lock held. can_begin says whether that is now;
 * renew makes a connection whose life is over as good as new; stand: it is connected. The third
 * begins the connect or listen that waits in `establishing`, now or when the life before is over,
 * and gives back the lock, which was taken at `irql`.
 */
bool tdi_provider_can_begin(const struct tdi_connection *connection);
void tdi_provider_renew(struct tdi_connection *connection);
void tdi_provider_start_and_unlock(struct tdi_connection *connection, kirql irql);
void tdi_provider_stand(struct tdi_connection *connection, enum tdi_input input);

/* The client itself ends the connect or listen that waits for the life before, if any. Lock held.
 */
void tdi_provider_give_up_restart(struct tdi_connection *connection, struct list_entry *completed);

/* The file will be closed: all that is outstanding ends. Lock not held. */
void tdi_provider_end(struct tdi_connection *connection);

/* ---- A peer that calls where nobody listens ------------------------------------------------- */

/*
 * Asks the client, through the connect event of the address, which the caller holds a reference to.
 * STATUS_SUCCESS: *connection is the endpoint that it has chosen, in state OFFERED, with a user
 * that is the caller's; the transport joins it to its peer, in whatever way fails the connection if
 * that can't be, and then calls tdi_provider_accept with *accept_irp, which says whether it stands.
 * Otherwise the peer is to be refused. No lock held, up to DISPATCH.
 */
ntstatus tdi_provider_offer(struct tdi_address *address, const struct transport_address *remote,
			    struct tdi_connection **connection, struct irp **accept_irp);

/* Sends the client's accept, drops the user. STATUS_SUCCESS: the connection stands. */
ntstatus tdi_provider_accept(struct tdi_connection *connection, struct irp *accept_irp);

/* ---- Files: open.c ------------------------------------------------------------------------- */

/* The object behind a file, NULL if it is of another kind. */
struct tdi_connection *tdi_connection_of(const struct file_object *file);
struct tdi_address *tdi_address_of(const struct file_object *file);
bool tdi_is_known_address(const struct transport_address *address);

driver_dispatch tdi_dispatch_create;
driver_dispatch tdi_dispatch_cleanup;
driver_dispatch tdi_dispatch_close;

/* ---- Events: events.c, indicate.c ---------------------------------------------------------- */

bool tdi_has_handler(struct tdi_address *address, enum tdi_event_type type);

/*
 * A call of a handler: false when there is none or the address was closed; otherwise the caller
 * calls event->handler and leaves. The address must stay until then. Up to DISPATCH.
 */
bool tdi_enter_event(struct tdi_address *address, enum tdi_event_type type,
		     struct tdi_event *event);
void tdi_leave_event(struct tdi_address *address);
ntstatus tdi_set_event(struct tdi_address *address, const struct tdi_request_set_event *set);

/* No more calls begin. Then, once: the close completes when those that have begun are over. */
void tdi_end_events(struct tdi_address *address);
ntstatus tdi_close_events(struct tdi_address *address, struct irp *close_irp);

/* All that follows: lock held. What has arrived is the receive pump's from then on. */
void tdi_provider_add_arrival(struct tdi_connection *connection, unsigned kind,
			      struct tdi_arrival *arrival);
/* Whether it is of use to bring more than the requests ask for: handlers would take it. */
bool tdi_provider_wants_arrivals(struct tdi_connection *connection);

/*
 * Whether the send is to be taken only as far as there is room. A transport that then does not take
 * it whole sets room_owed, and, whenever there is room and some is owed, room.
 */
bool tdi_provider_is_non_blocking(const struct tdi_connection *connection, struct irp *irp);

/* The pumps' own. */
void tdi_fill_receives(struct tdi_connection *connection, struct list_entry *completed);
bool tdi_show_arrivals(struct tdi_connection *connection); /* drops and retakes the lock */
bool tdi_show_room(struct tdi_connection *connection);	   /* likewise */
void tdi_free_unread(struct tdi_connection *connection);

/* Puts a request that is done on the list; and completes all of a list, with the lock not held. */
void tdi_provider_finish(struct list_entry *completed, struct irp *irp, ntstatus status,
			 uintptr_t information);
void tdi_provider_complete(struct list_entry *completed);

#endif
