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

/* The last user has gone: nobody else can reach the connection, so no lock is needed. */
static void destroy(struct tdi_connection *connection)
{
	const struct tdi_provider_ops *ops = connection->provider->ops;
	struct tdi_address *address = connection->address;
	struct irp *close_irp = connection->close_irp;

	ops->destroy_connection(connection);
	if (address != NULL && ob_dereference(&address->references))
		ops->destroy_address(address);
	io_finish_request(close_irp, STATUS_SUCCESS, 0);
}

static void drop_and_unlock(struct tdi_connection *connection, kirql irql)
{
	bool last = --connection->users == 0;

	ke_release_spin_lock(&connection->lock, irql);
	if (last)
		destroy(connection);
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
static void fail_waiting(struct tdi_connection *connection, struct tdi_pump *pump,
			 struct list_entry *completed)
{
	bool sends = pump == &connection->send_pump;

	fail_queue(sends ? &connection->sends : &connection->receives, connection->failure,
		   completed);
	if (!sends || connection->release_irp == NULL)
		return;
	tdi_provider_finish(completed, connection->release_irp, connection->failure, 0);
	connection->release_irp = NULL;
}

void tdi_provider_run_pump(struct tdi_connection *connection, struct tdi_pump *pump)
{
	tdi_provider_run_pump_and_unlock(connection, pump, ke_acquire_spin_lock(&connection->lock));
}

void tdi_provider_run_pump_and_unlock(struct tdi_connection *connection, struct tdi_pump *pump,
				      kirql irql)
{
	struct list_entry completed;
	unsigned turn = 0;

	if (pump->running) {
		pump->again = true; /* whoever runs it sees this before it stops */
		ke_release_spin_lock(&connection->lock, irql);
		return;
	}
	pump->running = true;
	connection->users++; /* the pump's */
	initialize_list_head(&completed);
	do {
		pump->again = false; /* before the step, which may set it: a later note counts */
		pump->step(connection, &completed);
		finish_release(connection, &completed);
		if (connection->state == TDI_STATE_DISCONNECTED)
			fail_waiting(connection, pump, &completed);
		if (is_list_empty(&completed))
			continue;
		ke_release_spin_lock(&connection->lock, irql);
		tdi_provider_complete(&completed);
		irql = ke_acquire_spin_lock(&connection->lock);
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
	initialize_queue(&connection->receives, connection, request_cancelled);
	initialize_queue(&connection->establishing, connection, establishing_cancelled);
	connection->send_pump.step = provider->ops->send;
	connection->receive_pump.step = provider->ops->receive;
	ke_initialize_dpc(&connection->send_pump.dpc, go_on_sending, connection, KE_ANY_PROCESSOR);
	ke_initialize_dpc(&connection->receive_pump.dpc, go_on_receiving, connection,
			  KE_ANY_PROCESSOR);
}

void tdi_provider_initialize_address(struct tdi_address *address, struct tdi_provider *provider)
{
	address->provider = provider;
	ob_initialize_reference(&address->references, 1); /* the file's */
}

struct irp *tdi_provider_begin_establish(struct tdi_connection *connection)
{
	return io_csq_remove_next_irp(&connection->establishing);
}

void tdi_provider_fail_locked(struct tdi_connection *connection, ntstatus reason,
			      struct list_entry *completed)
{
	enum tdi_connection_state was = connection->state;

	if (was == TDI_STATE_DISCONNECTED)
		return;
	connection->state = TDI_STATE_DISCONNECTED;
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
		connection->state = TDI_STATE_CONNECTED;
	else
		tdi_provider_fail_locked(connection, status, &completed);
	tdi_provider_finish(&completed, irp, status, 0);
	ke_release_spin_lock(&connection->lock, irql);
	tdi_provider_complete(&completed);
}
