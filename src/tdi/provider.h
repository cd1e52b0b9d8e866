/*
 * What all transports have in common: the objects behind the file objects, the dispatch of TDI
 * requests, and who may touch what when. A transport embeds these structures first in its own and
 * fills in struct tdi_provider_ops. Clients do not include this header.
 *
 * The life of a connection
 *
 *   IDLE ──associate──> ASSOCIATED ──connect──> CONNECTING ──┐
 *                            └───────listen──> LISTENING ────┴──> CONNECTED ──> DISCONNECTED
 *
 * tdi_provider_end_establish ends CONNECTING and LISTENING, either way; a failed connect goes to
 * DISCONNECTED, as does a connect or listen that is cancelled. tdi_provider_fail and the close of
 * the file end any state in DISCONNECTED, where every queued request is completed with the reason
 * (`failure`) and every new one is refused with it. Within CONNECTED the two directions end
 * separately: `send_ended` when the client has released, `receive_ended` when the peer's last byte
 * has been received.
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
 * References. `users` counts, under the lock, the file, each running pump, each queued DPC, each
 * request in a queue, and what the transport adds with tdi_provider_hold. Who drops the last has it
 * destroyed.
 */
#ifndef XPORT_TDI_PROVIDER_H
#define XPORT_TDI_PROVIDER_H

#include "tdi/tdi.h"

struct tdi_provider;
struct tdi_address;
struct tdi_connection;

enum tdi_connection_state {
	TDI_STATE_IDLE,
	TDI_STATE_ASSOCIATED,
	TDI_STATE_CONNECTING,
	TDI_STATE_LISTENING,
	TDI_STATE_CONNECTED,
	TDI_STATE_DISCONNECTED,
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

	/*
	 * Begins to connect, or to listen at connection->address. The outcome comes through
	 * tdi_provider_end_establish, at once or later. Lock not held.
	 */
	void (*connect)(struct tdi_connection *connection, const struct transport_address *remote);
	void (*listen)(struct tdi_connection *connection);

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

	/* Lock held. */
	void (*query)(struct tdi_connection *connection, struct tdi_connection_info *info);
};

struct tdi_provider {
	const struct tdi_provider_ops *ops;
	struct device_object device;
};

/* What the tsdu_descriptor of a chained receive points to. */
struct tdi_loan {
	void (*returned)(struct tdi_loan *loan);
};

struct tdi_address {
	struct tdi_provider *provider;
	struct ob_reference references; /* the file's and each associated connection's */
	struct transport_address local;
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
	uint32_t users;
	ntstatus failure;
	struct tdi_pump send_pump;
	struct tdi_pump receive_pump;
	struct io_csq sends;
	struct io_csq receives;

	/* Below here the path of a send or receive does not go. */
	struct tdi_provider *provider;
	struct tdi_address *address;
	struct io_csq establishing; /* the one TDI_CONNECT or TDI_LISTEN */
	struct irp *release_irp;    /* TDI_DISCONNECT_RELEASE, completed when send_ended is set */
	struct irp *close_irp;	    /* IRP_MJ_CLOSE, completed when the last user has gone */
	void *connection_context;
};

/* Fills the common part in; the provider's device then answers TDI requests. */
void tdi_provider_initialize(struct tdi_provider *provider, const struct tdi_provider_ops *ops);
void tdi_provider_initialize_address(struct tdi_address *address, struct tdi_provider *provider);
void tdi_provider_initialize_connection(struct tdi_connection *connection,
					struct tdi_provider *provider);

/* One more user (lock held), and one fewer (lock not held). Up to DISPATCH. */
void tdi_provider_hold(struct tdi_connection *connection);
void tdi_provider_drop(struct tdi_connection *connection);

/*
 * Takes the pending connect or listen, which can't be cancelled from then on; NULL when the client
 * has given it up, and the connection has failed or is about to. Lock held. It ends with
 * tdi_provider_end_establish (lock not held): `status` says whether the connection stands, `remote`
 * who is at the other end (NULL: not to be told).
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

/* Puts a request that is done on the list; and completes all of a list, with the lock not held. */
void tdi_provider_finish(struct list_entry *completed, struct irp *irp, ntstatus status,
			 uintptr_t information);
void tdi_provider_complete(struct list_entry *completed);

#endif
