/*
 * Addresses, and the connections that wait at them.
 *
 * A connection that listens stands in its address's list until a peer connects, the client gives
 * up, or it is closed. The list is served by serve_waiting, which runs when a connection was added,
 * when the listening socket is readable, and when a listener has gone. It takes the listener's
 * request before it accepts a peer, so that a peer is never accepted for nobody; when there is no
 * peer the request goes back. With no listener, a peer is accepted if the client has a connect
 * event and gives an endpoint for it; without one, peers wait in the kernel's backlog.
 *
 * When the machine has no descriptor or memory for a peer, one listener is told, and nobody is
 * accepted for a while. As a peer that stays in the backlog is no news for the interrupt, a timer
 * sees to it that the other listeners have their turn.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tcp/private.h"

enum { BACKLOG = 128, RETRY_NS = 100000000 };

static struct tcp_address *tcp_address_of(struct tdi_address *base)
{
	return containing_record(base, struct tcp_address, base);
}

/* One served listener. */
struct served {
	struct tcp_connection *connection;
	struct irp *irp; /* NULL: it was given up or closed */
	int fd;		 /* -1: no peer, and `status` says why */
	ntstatus status;
	struct transport_address remote;
};

/* The machine has no room for a peer that waits: later. Address lock held. */
static void pause_accepting(struct tcp_address *address)
{
	address->pausing = true;
	ke_set_timer(&address->retry_timer, RETRY_NS, &address->retry_dpc);
}

/*
 * Takes the first listener off the list together with a peer for it, or with the reason why it
 * will have none. False when there is nothing to do. Address lock held.
 */
static bool take_waiting(struct tcp_address *address, struct served *served)
{
	const struct tcp_options *options = tcp_options_of(address->base.provider);
	bool peers = !address->pausing; /* as far as is known */
	struct list_entry *entry;

	for (entry = address->waiting.next; entry != &address->waiting; entry = entry->next) {
		struct tcp_connection *connection =
			containing_record(entry, struct tcp_connection, waiting);
		kirql irql = ke_acquire_spin_lock(&connection->base.lock);
		bool stays = false;

		*served = (struct served){.connection = connection, .fd = -1};
		served->irp = tdi_provider_begin_establish(&connection->base);
		if (served->irp != NULL) {
			served->status = STATUS_PENDING;
			if (peers)
				served->fd = tcp_accept_socket(address->fd, options,
							       &served->remote, &served->status);
			if (served->fd < 0 && served->status == STATUS_INSUFFICIENT_RESOURCES)
				pause_accepting(address);
			if (served->fd < 0 && served->status == STATUS_PENDING) {
				peers = false; /* but one behind it may be gone */
				stays = io_csq_return_irp(&connection->base.establishing,
							  served->irp);
				served->status = STATUS_CANCELLED;
			}
		}
		ke_release_spin_lock(&connection->base.lock, irql);
		if (stays)
			continue;
		remove_entry_list(&connection->waiting);
		return true;
	}
	return false;
}

static void finish_served(struct served *served)
{
	struct tcp_connection *connection = served->connection;

	if (served->irp != NULL && served->fd >= 0) {
		served->status = STATUS_SUCCESS;
		if (!tcp_attach(connection, served->fd)) {
			close(served->fd);
			served->status = STATUS_INSUFFICIENT_RESOURCES; /* unless it was closed */
		}
	}
	if (served->irp != NULL)
		tdi_provider_end_establish(&connection->base, served->irp, served->status,
					   served->fd >= 0 ? &served->remote : NULL);
	tdi_provider_drop(&connection->base); /* the list's */
}

/* Asks the client for an endpoint for the next peer; false when there is none, or no event. */
static bool offer_peer(struct tcp_address *address)
{
	struct transport_address remote;
	struct tdi_connection *connection;
	struct irp *accept_irp;
	ntstatus status = STATUS_PENDING;
	int fd = -1;
	kirql irql;

	if (!tdi_has_handler(&address->base, TDI_EVENT_CONNECT))
		return false;
	irql = ke_acquire_spin_lock(&address->lock);
	if (address->listening && !address->closed && !address->pausing &&
	    is_list_empty(&address->waiting))
		fd = tcp_accept_socket(address->fd, tcp_options_of(address->base.provider), &remote,
				       &status);
	if (fd < 0 && status == STATUS_INSUFFICIENT_RESOURCES)
		pause_accepting(address);
	ke_release_spin_lock(&address->lock, irql);
	if (fd < 0)
		return false;
	status = tdi_provider_offer(&address->base, &remote, &connection, &accept_irp);
	if (!nt_success(status)) {
		close(fd); /* which resets the peer */
		return true;
	}
	if (!tcp_attach(tcp_connection_of(connection), fd)) {
		close(fd);
		tdi_provider_fail(connection, STATUS_INSUFFICIENT_RESOURCES);
	}
	tdi_provider_accept(connection, accept_irp);
	return true;
}

static void serve_waiting(struct tcp_address *address)
{
	struct served served;
	bool found;

	do {
		kirql irql = ke_acquire_spin_lock(&address->lock);

		found = take_waiting(address, &served);
		ke_release_spin_lock(&address->lock, irql);
		if (found)
			finish_served(&served);
	} while (found || offer_peer(address));
}

static void accept_ready(struct kdpc *dpc, void *context)
{
	(void)dpc;
	serve_waiting(context);
}

static void retry_accept(struct kdpc *dpc, void *context)
{
	struct tcp_address *address = context;
	kirql irql = ke_acquire_spin_lock(&address->lock);

	(void)dpc;
	address->pausing = false;
	ke_release_spin_lock(&address->lock, irql);
	serve_waiting(address);
}

static bool listener_interrupted(struct kinterrupt *interrupt, void *context)
{
	struct tcp_address *address = context;

	interrupt->events = 0;
	ke_insert_queue_dpc(&address->accept_dpc);
	return true;
}

/*
 * Address lock held, or nobody else knows the address yet. The socket is watched before it listens,
 * because a peer that it lets in must be served.
 */
static ntstatus start_listening(struct tcp_address *address)
{
	ntstatus status = STATUS_SUCCESS;

	if (address->closed)
		return STATUS_INVALID_ADDRESS_COMPONENT;
	if (!address->watched)
		status = ke_host_watch_descriptor(&address->interrupt, address->fd);
	if (!nt_success(status))
		return status;
	address->watched = true;
	if (!address->listening)
		status = tcp_listen_socket(address->fd, BACKLOG);
	address->listening = nt_success(status);
	return status;
}

static void refuse_listener(struct tcp_connection *connection, ntstatus status)
{
	kirql irql = ke_acquire_spin_lock(&connection->base.lock);
	struct irp *irp = tdi_provider_begin_establish(&connection->base);

	ke_release_spin_lock(&connection->base.lock, irql);
	if (irp != NULL)
		tdi_provider_end_establish(&connection->base, irp, status, NULL);
}

void tcp_listen(struct tdi_connection *base)
{
	struct tcp_connection *connection = tcp_connection_of(base);
	struct tcp_address *address = tcp_address_of(base->address);
	kirql irql = ke_acquire_spin_lock(&address->lock);
	ntstatus status = start_listening(address);

	if (nt_success(status)) {
		kirql inner = ke_acquire_spin_lock(&base->lock);

		tdi_provider_hold(base); /* the list's */
		ke_release_spin_lock(&base->lock, inner);
		insert_tail_list(&address->waiting, &connection->waiting);
	}
	ke_release_spin_lock(&address->lock, irql);
	if (nt_success(status))
		serve_waiting(address);
	else
		refuse_listener(connection, status);
}

ntstatus tcp_serve(struct tdi_address *base)
{
	struct tcp_address *address = tcp_address_of(base);
	kirql irql = ke_acquire_spin_lock(&address->lock);
	ntstatus status = start_listening(address);

	ke_release_spin_lock(&address->lock, irql);
	if (nt_success(status))
		serve_waiting(address);
	return status;
}

static void free_address(struct kdpc *dpc, void *context)
{
	struct tcp_address *address = context;

	(void)dpc;
	if (address->fd >= 0)
		close(address->fd);
	ex_free_pool(address);
}

struct tdi_address *tcp_create_address(struct tdi_provider *provider,
				       const struct transport_address *local, ntstatus *status)
{
	struct tcp_address *address = ex_allocate_pool(sizeof(*address));

	if (address == NULL)
		return NULL;
	*address = (struct tcp_address){.fd = -1};
	tdi_provider_initialize_address(&address->base, provider, local);
	ke_initialize_spin_lock(&address->lock);
	initialize_list_head(&address->waiting);
	ke_initialize_dpc(&address->accept_dpc, accept_ready, address, KE_ANY_PROCESSOR);
	ke_initialize_dpc(&address->disconnected, free_address, address,
			  address->accept_dpc.processor);
	ke_initialize_timer(&address->retry_timer);
	ke_initialize_dpc(&address->retry_dpc, retry_accept, address,
			  address->accept_dpc.processor);
	ke_connect_interrupt(&address->interrupt, listener_interrupted, address,
			     address->accept_dpc.processor);
	address->fd = tcp_open_socket(tcp_options_of(provider), local->address_type, status);
	if (address->fd >= 0) {
		*status = tcp_bind_socket(address->fd, local, false);
		if (nt_success(*status) && local->port != 0)
			*status = start_listening(address);
		if (nt_success(*status)) {
			tcp_local_address(address->fd, &address->base.local);
			return &address->base;
		}
	}
	ke_disconnect_interrupt(&address->interrupt, &address->disconnected);
	return NULL;
}

/*
 * Peers that wait in the kernel's backlog are reset and no more are let in: they would send to
 * nobody and think that it had arrived. Connections that listen here fail when they are served.
 */
void tcp_close_address(struct tdi_address *base)
{
	struct tcp_address *address = tcp_address_of(base);
	kirql irql = ke_acquire_spin_lock(&address->lock);

	address->closed = true;
	if (address->watched) {
		(void)shutdown(address->fd, SHUT_RDWR);
		ke_insert_queue_dpc(&address->accept_dpc);
	} else { /* nobody uses the socket, so its port can be free at once */
		close(address->fd);
		address->fd = -1;
	}
	ke_release_spin_lock(&address->lock, irql);
}

/* A queued accept_dpc, which an aborted listener leaves, and a queued retry_dpc run before
 * `disconnected`: all are for one processor. */
void tcp_destroy_address(struct tdi_address *base)
{
	struct tcp_address *address = tcp_address_of(base);

	ke_cancel_timer(&address->retry_timer);
	ke_disconnect_interrupt(&address->interrupt, &address->disconnected);
}
