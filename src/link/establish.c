/*
 * How a call finds a listener.
 *
 * A call takes one round trip to be answered: that long its timer runs. Then it goes to the address
 * that it is for, and stands among its `callers`, as a listen stands among its `listeners`; whoever
 * comes second finds the first. A call to a port that nobody has opened, or where too many stand
 * already, is refused; otherwise it stands there until a listener comes or the caller gives it up.
 * Where nobody listens and the address has a connect event, the client is asked instead, and the
 * endpoint that it offers is joined like a listener.
 *
 * A connection that stands somewhere, or whose timer runs, has one user for that, which goes from
 * hand to hand:
 *
 *      timer, its DPC ──▶ the address's list ──▶ whoever took it off: match ──▶ its circuit
 *
 * and is dropped where the way ends early. Both the client's cancelling its request and its closing
 * the connection can happen at any point of the way, and both fail the connection. That must not
 * have to wait for somebody to look: link_give_up_call takes the connection away from the timer or
 * the list, and gives its user to the DPC to be dropped. When it finds it in neither, somebody has
 * it in hand, who will see the state and drop it. A cancelled request is gone a moment before the
 * state says so: whoever misses it in between (claim) drops the user, too.
 */
#include "link/private.h"

enum { MAXIMUM_CALLERS = 128 };

static ke_deferred_routine call_arrived;

void link_initialize_call(struct link_connection *link)
{
	initialize_list_head(&link->waiting);
	ke_initialize_timer(&link->call_timer);
	ke_initialize_dpc(&link->call_dpc, call_arrived, link, KE_ANY_PROCESSOR);
}

/* ---- Joining two --------------------------------------------------------------------------- */

/* Takes the connection's request, so that nobody else ends it. NULL: it was given up. */
static struct irp *claim(struct link_connection *link)
{
	kirql irql = ke_acquire_spin_lock(&link->tdi.lock);
	struct irp *irp = tdi_provider_begin_establish(&link->tdi);

	ke_release_spin_lock(&link->tdi.lock, irql);
	return irp;
}

void link_refuse(struct link_connection *caller, ntstatus status)
{
	struct irp *irp = claim(caller);

	if (irp != NULL)
		tdi_provider_end_establish(&caller->tdi, irp, status, NULL);
	tdi_provider_drop(&caller->tdi);
}

/* Makes the connection an end of the circuit, which has its user; unless it was closed meanwhile.
 */
static void attach(struct link_connection *link, struct circuit *circuit, unsigned end)
{
	kirql irql = ke_acquire_spin_lock(&link->tdi.lock);

	tdi_provider_hold(&link->tdi); /* for end_establish: the circuit's may go at any time now */
	if (link->tdi.state == TDI_STATE_DISCONNECTED) {
		circuit_leave(circuit, end, false);
	} else {
		link->circuit = circuit;
		link->end = end;
	}
	ke_release_spin_lock(&link->tdi.lock, irql);
}

static void establish(struct link_connection *link, struct irp *irp,
		      const struct transport_address *remote)
{
	tdi_provider_end_establish(&link->tdi, irp, STATUS_SUCCESS, remote);
	tdi_provider_drop(&link->tdi); /* attach's */
}

static void join(struct link_connection *caller, struct irp *caller_irp,
		 struct link_connection *listener, struct irp *listener_irp)
{
	struct transport_address remote = caller->tdi.address->local;
	struct circuit *circuit = caller->reserved;

	caller->reserved = NULL;
	circuit_join(circuit, caller, listener); /* with the users in our hand */
	attach(caller, circuit, 0);
	attach(listener, circuit, 1);
	establish(listener, listener_irp, &remote);
	establish(caller, caller_irp, NULL);
}

/*
 * Lets the connection stand at the address with this port, first or last, and gives its user to the
 * list. False, and the user is still the caller's, if it has been closed or there is no such place.
 * With the connection's lock held.
 */
static bool stand_at(struct link_connection *link, uint16_t port, bool first)
{
	struct link_device *device = link_device_of(&link->tdi);
	bool calls = link->tdi.state == TDI_STATE_CONNECTING;
	struct link_address *address;
	unsigned standing = 0;
	kirql irql;

	if (link->tdi.state == TDI_STATE_DISCONNECTED)
		return false;
	irql = ke_acquire_spin_lock(&device->lock);
	address = link_find_address(device, port);
	if (address != NULL && !calls && &address->tdi != link->tdi.address)
		address = NULL; /* its own was closed, and the port is another's now */
	if (address != NULL) {
		struct list_entry *list = calls ? &address->callers : &address->listeners;

		for (struct list_entry *entry = list->next; entry != list; entry = entry->next)
			standing++;
		if (calls && standing >= MAXIMUM_CALLERS)
			address = NULL;
		else
			insert_list_after(first ? list : list->prev, &link->waiting);
	}
	ke_release_spin_lock(&device->lock, irql);
	return address != NULL;
}

/* One of the two that match took has been given up: puts the other, if it is the one, back. */
static void put_back(struct link_connection *link, struct irp *irp, uint16_t port)
{
	ntstatus status = STATUS_CONNECTION_REFUSED;
	bool stands = false;
	kirql irql;

	if (irp == NULL) {
		tdi_provider_drop(&link->tdi);
		return;
	}
	irql = ke_acquire_spin_lock(&link->tdi.lock);
	if (!io_csq_return_irp(&link->tdi.establishing, irp)) {
		status = STATUS_CANCELLED;
	} else {
		stands = stand_at(link, port, true);
		irp = stands ? NULL : tdi_provider_begin_establish(&link->tdi);
	}
	ke_release_spin_lock(&link->tdi.lock, irql);
	if (stands)
		return;
	if (irp != NULL)
		tdi_provider_end_establish(&link->tdi, irp, status, NULL);
	tdi_provider_drop(&link->tdi);
}

static struct link_connection *take_first(struct list_entry *list)
{
	return containing_record(remove_head_list(list), struct link_connection, waiting);
}

/* A caller and a listener at the port, with their users; false when there are not both. */
static bool take_pair(struct link_device *device, uint16_t port, struct link_connection **caller,
		      struct link_connection **listener)
{
	kirql irql = ke_acquire_spin_lock(&device->lock);
	struct link_address *address = link_find_address(device, port);
	bool both = address != NULL && !is_list_empty(&address->callers) &&
		    !is_list_empty(&address->listeners);

	if (both) {
		*caller = take_first(&address->callers);
		*listener = take_first(&address->listeners);
	}
	ke_release_spin_lock(&device->lock, irql);
	return both;
}

/*
 * A caller for whom nobody listens, with its user, and the address that has a connect event for it,
 * with a reference. False when there are not both.
 */
static bool take_event_caller(struct link_device *device, uint16_t port,
			      struct link_connection **caller, struct link_address **address)
{
	kirql irql = ke_acquire_spin_lock(&device->lock);
	bool found;

	*address = link_find_address(device, port);
	found = *address != NULL && !is_list_empty(&(*address)->callers) &&
		is_list_empty(&(*address)->listeners) &&
		tdi_has_handler(&(*address)->tdi, TDI_EVENT_CONNECT);
	if (found) {
		*caller = take_first(&(*address)->callers);
		ob_reference(&(*address)->tdi.references);
	}
	ke_release_spin_lock(&device->lock, irql);
	return found;
}

/* The caller is established first, as with TCP: what it sends may come before the accept. */
static void join_offered(struct link_connection *caller, struct irp *caller_irp,
			 struct tdi_connection *offered, struct irp *accept_irp)
{
	struct link_connection *listener = link_connection_of(offered);
	struct circuit *circuit = caller->reserved;
	kirql irql;

	caller->reserved = NULL;
	irql = ke_acquire_spin_lock(&offered->lock);
	tdi_provider_hold(offered); /* the circuit's; the one that we have is the accept's */
	ke_release_spin_lock(&offered->lock, irql);
	circuit_join(circuit, caller, listener);
	attach(caller, circuit, 0);
	attach(listener, circuit, 1);
	establish(caller, caller_irp, NULL);
	tdi_provider_accept(offered, accept_irp);
	tdi_provider_drop(offered); /* attach's */
}

static void offer(struct link_connection *caller, struct link_address *address)
{
	struct transport_address remote = caller->tdi.address->local;
	struct irp *caller_irp = claim(caller);
	struct tdi_connection *offered;
	struct irp *accept_irp;

	if (caller_irp == NULL) {
		tdi_provider_drop(&caller->tdi);
	} else if (nt_success(tdi_provider_offer(&address->tdi, &remote, &offered, &accept_irp))) {
		join_offered(caller, caller_irp, offered, accept_irp);
	} else {
		tdi_provider_end_establish(&caller->tdi, caller_irp, STATUS_CONNECTION_REFUSED,
					   NULL);
		tdi_provider_drop(&caller->tdi);
	}
	if (ob_dereference(&address->tdi.references))
		address->tdi.provider->ops->destroy_address(&address->tdi);
}

/* Joins those who stand at the port; ends, because each round takes off one at least. */
static void match(struct link_device *device, uint16_t port)
{
	struct link_connection *caller, *listener;
	struct link_address *address;

	while (take_pair(device, port, &caller, &listener)) {
		struct irp *caller_irp = claim(caller);
		struct irp *listener_irp = claim(listener);

		if (caller_irp != NULL && listener_irp != NULL) {
			join(caller, caller_irp, listener, listener_irp);
		} else {
			put_back(caller, caller_irp, port);
			put_back(listener, listener_irp, port);
		}
	}
	while (take_event_caller(device, port, &caller, &address))
		offer(caller, address);
}

ntstatus link_serve(struct tdi_address *address)
{
	match(containing_record(address->provider, struct link_device, provider),
	      address->local.port);
	return STATUS_SUCCESS;
}

/* ---- Requests ------------------------------------------------------------------------------ */

/* The DPC of call_timer, and of link_give_up_call; with the user of either. */
static void call_arrived(struct kdpc *dpc, void *context)
{
	struct link_connection *link = context;
	struct link_device *device = link_device_of(&link->tdi);
	uint16_t port = link->remote_port;
	bool refused = device->options.faults && ke_choose(2, "whether a call is refused") == 1;
	kirql irql = ke_acquire_spin_lock(&link->tdi.lock);
	bool stands = !refused && stand_at(link, port, false);

	(void)dpc;
	ke_release_spin_lock(&link->tdi.lock, irql);
	if (!stands)
		link_refuse(link, STATUS_CONNECTION_REFUSED);
	else
		match(device, port);
}

void link_connect(struct tdi_connection *connection, const struct transport_address *remote)
{
	struct link_connection *link = link_connection_of(connection);
	const struct link_options *options = &link_device_of(connection)->options;
	struct circuit *circuit = circuit_create(options);
	kirql irql = ke_acquire_spin_lock(&connection->lock);

	tdi_provider_hold(connection); /* the timer's, or link_refuse's */
	link->reserved = circuit;
	link->remote_port = remote->port;
	if (circuit == NULL || connection->state == TDI_STATE_DISCONNECTED) {
		ke_release_spin_lock(&connection->lock, irql);
		link_refuse(link, STATUS_INSUFFICIENT_RESOURCES);
		return;
	}
	if (options->rtt_ns == 0)
		ke_insert_queue_dpc(&link->call_dpc);
	else
		ke_set_timer(&link->call_timer, options->rtt_ns, &link->call_dpc);
	ke_release_spin_lock(&connection->lock, irql);
}

void link_listen(struct tdi_connection *connection)
{
	struct link_connection *link = link_connection_of(connection);
	struct link_device *device = link_device_of(connection);
	uint16_t port = connection->address->local.port;
	kirql irql = ke_acquire_spin_lock(&connection->lock);
	bool stands = stand_at(link, port, false);

	if (stands)
		tdi_provider_hold(connection); /* the list's */
	ke_release_spin_lock(&connection->lock, irql);
	if (stands)
		match(device, port);
}

void link_give_up_call(struct link_connection *link)
{
	struct link_device *device = link_device_of(&link->tdi);
	bool found = ke_cancel_timer(&link->call_timer);

	if (!found) {
		kirql irql = ke_acquire_spin_lock(&device->lock);

		found = !is_list_empty(&link->waiting);
		remove_entry_list(&link->waiting); /* linked to itself if in no list */
		ke_release_spin_lock(&device->lock, irql);
	}
	if (found)
		ke_insert_queue_dpc(&link->call_dpc); /* with the user that was found */
}
