/*
 * Objects, references, pumps and failure: the part of a transport that is the same for all. The
 * rules are at the head of provider.h; the dispatch of requests is in dispatch.c.
 */
#include "tdi/provider.h"

enum { PUMP_TURNS = 16 };

void tdi_provider_finish(struct list_entry *completed, struct irp *irp, ntstatus status,
			 uintptr_t information)
{
	irp->io_status.status = status;
	irp->io_status.information = information;
	insert_tail_list(completed, &irp->list_entry);
}

void tdi_provider_complete(struct list_entry *completed)
{
	struct list_entry *entry;

	while ((entry = remove_head_list(completed)) != NULL)
		io_complete_request(containing_record(entry, struct irp, list_entry));
}

/* ---- References ---------------------------------------------------------------------------- */

void tdi_provider_hold(struct tdi_connection *connection)
{
	connection->users++;
}

static unsigned count_requests(const struct io_csq *csq)
{
	unsigned count = 0;

	for (const struct list_entry *entry = csq->irps.next; entry != &csq->irps;
	     entry = entry->next)
		count++;
	return count;
}

/* Whether only the file is left of a life, and those who wait for that. Lock held. */
static bool is_over(const struct tdi_connection *connection)
{
	return connection->state == TDI_STATE_DISCONNECTED &&
	       connection->users == 1 + count_requests(&connection->establishing) +
					    count_requests(&connection->waiting) +
					    connection->telling;
}

/* And nothing of it is lent, which would be credited to the next. */
static bool can_renew(const struct tdi_connection *connection)
{
	return is_over(connection) && connection->loans == 0;
}

/* Begins the connect or listen that is queued, unless it has been given up. Gives the lock back. */
static void start_and_unlock(struct tdi_connection *connection, kirql irql)
{
	const struct tdi_provider_ops *ops = connection->provider->ops;
	struct list_entry *entry = connection->establishing.irps.next;
	struct irp *irp = containing_record(entry, struct irp, list_entry);
	struct io_stack_location *location;
	struct transport_address remote;
	bool connects;

	connection->restarting = false;
	if (is_list_empty(&connection->establishing.irps)) {
		ke_release_spin_lock(&connection->lock, irql);
		return;
	}
	location = io_get_current_irp_stack_location(irp);
	connects = location->minor_function == TDI_CONNECT;
	if (connects)
		remote = *tdi_parameters(location, tdi_request_connect)->remote;
	tdi_provider_renew(connection);
	tdi_move_state(connection, connects ? TDI_ON_CONNECT : TDI_ON_LISTEN);
	tdi_provider_hold(connection);
	ke_release_spin_lock(&connection->lock, irql);
	if (connects)
		ops->connect(connection, &remote);
	else
		ops->listen(connection);
	tdi_provider_drop(connection);
}

void tdi_provider_start_and_unlock(struct tdi_connection *connection, kirql irql)
{
	if (connection->state == TDI_STATE_DISCONNECTED && !can_renew(connection)) {
		connection->restarting = true; /* who drops the last user of the life goes on */
		ke_release_spin_lock(&connection->lock, irql);
	} else {
		start_and_unlock(connection, irql);
	}
}

bool tdi_provider_can_begin(const struct tdi_connection *connection)
{
	return connection->state != TDI_STATE_DISCONNECTED ||
	       (can_renew(connection) && is_list_empty(&connection->establishing.irps));
}

static void drop_and_unlock(struct tdi_connection *connection, kirql irql);

/* A life is over: tells those who wait for it, then begins the next if one was asked for. */
static void finish_life_and_unlock(struct tdi_connection *connection, kirql irql)
{
	ntstatus reason = connection->failure;
	struct list_entry completed;
	struct irp *irp;

	initialize_list_head(&completed);
	while ((irp = io_csq_remove_next_irp(&connection->waiting)) != NULL)
		tdi_provider_finish(&completed, irp,
				    reason == STATUS_GRACEFUL_DISCONNECT ? STATUS_SUCCESS : reason,
				    0);
	if (!is_list_empty(&completed)) {
		/* The client may close as soon as it is told, or begin: so it is held, but no user.
		 */
		tdi_provider_hold(connection);
		connection->telling++;
		ke_release_spin_lock(&connection->lock, irql);
		tdi_provider_complete(&completed);
		irql = ke_acquire_spin_lock(&connection->lock);
		connection->telling--;
		drop_and_unlock(connection, irql); /* and comes here again */
	} else if (connection->restarting && can_renew(connection)) {
		start_and_unlock(connection, irql);
	} else {
		ke_release_spin_lock(&connection->lock, irql);
	}
}

/* The last user has gone: nobody else can reach the connection, so no lock is needed. */
static void destroy(struct tdi_connection *connection)
{
	const struct tdi_provider_ops *ops = connection->provider->ops;
	struct tdi_address *address = connection->address;
	struct irp *close_irp = connection->close_irp;

	/* Not before: a handler that was running during the close may have been shown a chain. */
	if (connection->loans > 0)
		ke_bug_check("RX-LOAN-MISUSE",
			     "an endpoint is closed while its client has not returned %u chained "
			     "receives",
			     connection->loans);
	ops->destroy_connection(connection);
	if (address != NULL && ob_dereference(&address->references))
		ops->destroy_address(address);
	io_finish_request(close_irp, STATUS_SUCCESS, 0);
}

static void drop_and_unlock(struct tdi_connection *connection, kirql irql)
{
	if (--connection->users == 0) {
		ke_release_spin_lock(&connection->lock, irql);
		destroy(connection);
	} else if (is_over(connection)) {
		finish_life_and_unlock(connection, irql);
	} else {
		ke_release_spin_lock(&connection->lock, irql);
	}
}

void tdi_provider_drop(struct tdi_connection *connection)
{
	drop_and_unlock(connection, ke_acquire_spin_lock(&connection->lock));
}

/* ---- Pumps --------------------------------------------------------------------------------- */

/* The client may close as soon as it knows of the release, so it is told when that is a fact. */
static void finish_release(struct tdi_connection *connection, struct list_entry *completed)
{
	if (!connection->send_ended || connection->release_irp == NULL)
		return;
	tdi_provider_finish(completed, connection->release_irp, STATUS_SUCCESS, 0);
	connection->release_irp = NULL;
}

static void fail_queue(struct io_csq *csq, ntstatus reason, struct list_entry *completed)
{
	struct irp *irp;

	while ((irp = io_csq_remove_next_irp(csq)) != NULL)
		tdi_provider_finish(completed, irp, reason, 0);
}

/*
 * What waits in one direction of a broken connection, after what the pump has in hand: so if it
 * runs, this is its own work.
 */
static void fail_sends(struct tdi_connection *connection, struct list_entry *completed)
{
	fail_queue(&connection->expedited_sends, connection->failure, completed);
	fail_queue(&connection->sends, connection->failure, completed);
	if (connection->release_irp == NULL)
		return;
	tdi_provider_finish(completed, connection->release_irp, connection->failure, 0);
	connection->release_irp = NULL;
}

static void fail_receives(struct tdi_connection *connection, struct list_entry *completed)
{
	tdi_free_unread(connection);
	for (unsigned kind = 0; kind < TDI_KINDS; kind++)
		fail_queue(&connection->receives[kind], connection->failure, completed);
}

static void fail_waiting(struct tdi_connection *connection, struct tdi_pump *pump,
			 struct list_entry *completed)
{
	if (pump == &connection->send_pump)
		fail_sends(connection, completed);
	else
		fail_receives(connection, completed);
}

/* Somebody waits for the end of a connection that has ended in both directions. */
static void end_if_waited_for(struct tdi_connection *connection, struct list_entry *completed)
{
	if (connection->send_ended && connection->receive_ended && connection->told &&
	    !is_list_empty(&connection->waiting.irps))
		tdi_provider_fail_locked(connection, STATUS_GRACEFUL_DISCONNECT, completed);
}

/* One turn of a pump. Completes, then shows: a handler may rely on what was completed before. */
static void turn_pump(struct tdi_connection *connection, struct tdi_pump *pump, kirql *irql)
{
	bool receives = pump == &connection->receive_pump;
	struct list_entry completed;

	initialize_list_head(&completed);
	pump->step(connection, &completed);
	if (receives)
		tdi_fill_receives(connection, &completed);
	finish_release(connection, &completed);
	if (connection->state == TDI_STATE_DISCONNECTED)
		fail_waiting(connection, pump, &completed);
	end_if_waited_for(connection, &completed);
	if (!is_list_empty(&completed)) {
		ke_release_spin_lock(&connection->lock, *irql);
		tdi_provider_complete(&completed);
		*irql = ke_acquire_spin_lock(&connection->lock);
	}
	if (receives ? tdi_show_arrivals(connection) : tdi_show_room(connection))
		pump->again = true;
}

void tdi_provider_run_pump(struct tdi_connection *connection, struct tdi_pump *pump)
{
	tdi_provider_run_pump_and_unlock(connection, pump, ke_acquire_spin_lock(&connection->lock));
}

void tdi_provider_run_pump_and_unlock(struct tdi_connection *connection, struct tdi_pump *pump,
				      kirql irql)
{
	unsigned turn = 0;

	if (pump->running) {
		pump->again = true; /* whoever runs it sees this before it stops */
		ke_release_spin_lock(&connection->lock, irql);
		return;
	}
	pump->running = true;
	connection->users++; /* the pump's */
	do {
		pump->again = false; /* before the turn, which may set it: a later note counts */
		turn_pump(connection, pump, &irql);
	} while (pump->again && ++turn < PUMP_TURNS);
	pump->running = false;
	if (pump->again && ke_insert_queue_dpc(&pump->dpc))
		connection->users++; /* the queued DPC's */
	drop_and_unlock(connection, irql);
}

static void go_on_sending(struct kdpc *dpc, void *context)
{
	struct tdi_connection *connection = context;

	(void)dpc;
	tdi_provider_run_pump(connection, &connection->send_pump);
	tdi_provider_drop(connection);
}

static void go_on_receiving(struct kdpc *dpc, void *context)
{
	struct tdi_connection *connection = context;

	(void)dpc;
	tdi_provider_run_pump(connection, &connection->receive_pump);
	tdi_provider_drop(connection);
}

/* ---- Connections --------------------------------------------------------------------------- */

static void request_cancelled(struct io_csq *csq, void *context)
{
	(void)csq;
	tdi_provider_drop(context); /* the request's */
}

/* What has come may be shown now, as nobody waits for it any more. */
static void receive_cancelled(struct io_csq *csq, void *context)
{
	struct tdi_connection *connection = context;

	(void)csq;
	tdi_provider_run_pump(connection, &connection->receive_pump);
	tdi_provider_drop(connection); /* the request's */
}

/* A connect or listen was given up: whatever goes on underneath for it has to end too. */
static void establishing_cancelled(struct io_csq *csq, void *context)
{
	(void)csq;
	tdi_provider_fail(context, STATUS_CANCELLED);
	tdi_provider_drop(context); /* the request's */
}

static void initialize_queue(struct io_csq *csq, struct tdi_connection *connection,
			     io_csq_cancelled *cancelled)
{
	io_csq_initialize(csq, &connection->lock, &connection->users, cancelled, connection);
}

void tdi_provider_initialize_connection(struct tdi_connection *connection,
					struct tdi_provider *provider)
{
	*connection = (struct tdi_connection){
		.state = TDI_STATE_IDLE, .users = 1, /* the file's */ .provider = provider};
	ke_initialize_spin_lock(&connection->lock);
	initialize_queue(&connection->sends, connection, request_cancelled);
	initialize_queue(&connection->expedited_sends, connection, request_cancelled);
	for (unsigned kind = 0; kind < TDI_KINDS; kind++) {
		initialize_queue(&connection->receives[kind], connection, receive_cancelled);
		initialize_list_head(&connection->unread[kind]);
	}
	initialize_queue(&connection->establishing, connection, establishing_cancelled);
	initialize_queue(&connection->waiting, connection, request_cancelled);
	connection->told = true; /* of nothing, so far */
	connection->send_pump.step = provider->ops->send;
	connection->receive_pump.step = provider->ops->receive;
	ke_initialize_dpc(&connection->send_pump.dpc, go_on_sending, connection, KE_ANY_PROCESSOR);
	ke_initialize_dpc(&connection->receive_pump.dpc, go_on_receiving, connection,
			  KE_ANY_PROCESSOR);
}

void tdi_provider_renew(struct tdi_connection *connection)
{
	if (connection->state != TDI_STATE_DISCONNECTED)
		return;
	connection->send_ended = connection->receive_ended = false;
	connection->release_wanted = connection->peer_ended = false;
	connection->room_owed = connection->backlogged = false;
	connection->room = 0;
	connection->told = true; /* of nothing again: the end before may have had no handler */
	for (unsigned kind = 0; kind < TDI_KINDS; kind++)
		connection->blocked[kind] = false;
	connection->provider->ops->renew_connection(connection);
}

void tdi_provider_initialize_address(struct tdi_address *address, struct tdi_provider *provider,
				     const struct transport_address *local)
{
	*address = (struct tdi_address){.provider = provider, .local = *local};
	ob_initialize_reference(&address->references, 1); /* the file's */
	ob_initialize_reference(&address->calls, 1);	  /* likewise */
	ke_initialize_spin_lock(&address->events_lock);
}

struct irp *tdi_provider_begin_establish(struct tdi_connection *connection)
{
	if (connection->restarting) /* it is the next life's */
		return NULL;
	return io_csq_remove_next_irp(&connection->establishing);
}

/* The end of a connection that stood is an event, behind all others: the receive pump's. */
static void show_end_later(struct tdi_connection *connection)
{
	if (!connection->told && !connection->receive_pump.running &&
	    tdi_has_handler(connection->address, TDI_EVENT_DISCONNECT) &&
	    ke_insert_queue_dpc(&connection->receive_pump.dpc))
		tdi_provider_hold(connection); /* the DPC's */
}

void tdi_provider_fail_locked(struct tdi_connection *connection, ntstatus reason,
			      struct list_entry *completed)
{
	enum tdi_connection_state was = connection->state;

	if (!nt_success(tdi_move_state(connection, TDI_ON_FAILURE)))
		return;
	connection->failure = reason;
	connection->provider->ops->abort(connection, was, completed);
	fail_queue(&connection->establishing, reason, completed);
	for (unsigned i = 0; i < 2; i++) {
		struct tdi_pump *pump = i == 0 ? &connection->send_pump : &connection->receive_pump;

		if (pump->running)
			pump->again = true;
		else
			fail_waiting(connection, pump, completed);
	}
	show_end_later(connection);
}

void tdi_provider_stand(struct tdi_connection *connection, enum tdi_input input)
{
	if (nt_success(tdi_move_state(connection, input)))
		connection->told = false;
}

void tdi_provider_fail(struct tdi_connection *connection, ntstatus reason)
{
	struct list_entry completed;
	kirql irql;

	initialize_list_head(&completed);
	irql = ke_acquire_spin_lock(&connection->lock);
	tdi_provider_fail_locked(connection, reason, &completed);
	ke_release_spin_lock(&connection->lock, irql);
	tdi_provider_complete(&completed);
}

void tdi_provider_give_up_restart(struct tdi_connection *connection, struct list_entry *completed)
{
	connection->restarting = false;
	fail_queue(&connection->establishing, STATUS_LOCAL_DISCONNECT, completed);
}

/* After this the file's is the only user but for what goes on, so `waiting` need not wait. */
void tdi_provider_end(struct tdi_connection *connection)
{
	struct list_entry completed;
	kirql irql;

	initialize_list_head(&completed);
	irql = ke_acquire_spin_lock(&connection->lock);
	connection->closing = true;
	connection->told = true; /* who closes needs no event */
	tdi_provider_fail_locked(connection, STATUS_LOCAL_DISCONNECT, &completed);
	tdi_provider_give_up_restart(connection, &completed);
	fail_queue(&connection->waiting, STATUS_LOCAL_DISCONNECT, &completed);
	ke_release_spin_lock(&connection->lock, irql);
	tdi_provider_complete(&completed);
}

void tdi_provider_end_establish(struct tdi_connection *connection, struct irp *irp, ntstatus status,
				const struct transport_address *remote)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	struct list_entry completed;
	kirql irql;

	if (location->minor_function == TDI_LISTEN && remote != NULL &&
	    tdi_parameters(location, tdi_request_listen)->remote != NULL)
		*tdi_parameters(location, tdi_request_listen)->remote = *remote;
	initialize_list_head(&completed);
	irql = ke_acquire_spin_lock(&connection->lock);
	if (connection->state == TDI_STATE_DISCONNECTED) /* closed meanwhile */
		status = connection->failure;
	else if (nt_success(status))
		tdi_provider_stand(connection, TDI_ON_ESTABLISHED);
	else
		tdi_provider_fail_locked(connection, status, &completed);
	tdi_provider_finish(&completed, irp, status, 0);
	ke_release_spin_lock(&connection->lock, irql);
	tdi_provider_complete(&completed);
	/* What the peer has sent and done meanwhile has passed the pump by. */
	if (nt_success(status))
		tdi_provider_run_pump(connection, &connection->receive_pump);
}
