/*
 * How a transport answers requests: checks them, finds the object, queues what has to wait. Every
 * routine here owns the request that it is given and returns what became of it.
 */
#include <string.h>

#include "tdi/provider.h"

/* ---- Requests on a connection -------------------------------------------------------------- */

static ntstatus associate(struct tdi_connection *connection, struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	struct tdi_address *address =
		tdi_address_of(tdi_parameters(location, tdi_request_associate)->address);
	ntstatus status;
	kirql irql;

	if (address == NULL || address->provider != connection->provider)
		return io_finish_request(irp, STATUS_INVALID_PARAMETER, 0);
	irql = ke_acquire_spin_lock(&connection->lock);
	status = tdi_move_state(connection, TDI_ON_ASSOCIATE);
	if (nt_success(status)) {
		ob_reference(&address->references); /* the connection's, until it is destroyed */
		connection->address = address;
	}
	ke_release_spin_lock(&connection->lock, irql);
	return io_finish_request(irp, status, 0);
}

static ntstatus disassociate(struct tdi_connection *connection, struct irp *irp)
{
	struct tdi_address *address = NULL;
	kirql irql = ke_acquire_spin_lock(&connection->lock);
	ntstatus status = STATUS_CONNECTION_ACTIVE;

	if (tdi_provider_can_begin(connection)) {
		tdi_provider_renew(connection);
		status = tdi_move_state(connection, TDI_ON_DISASSOCIATE);
	}
	if (nt_success(status)) {
		address = connection->address;
		connection->address = NULL;
	}
	ke_release_spin_lock(&connection->lock, irql);
	if (address != NULL && ob_dereference(&address->references))
		address->provider->ops->destroy_address(address);
	return io_finish_request(irp, status, 0);
}

/* Connects or listens, now or when the life before is over. */
static ntstatus establish(struct tdi_connection *connection, struct irp *irp, enum tdi_input input)
{
	kirql irql = ke_acquire_spin_lock(&connection->lock);
	ntstatus status = tdi_check_state(connection, input);

	/* One that waits for the end of the old life; it may have been given up since. */
	if (nt_success(status) && !is_list_empty(&connection->establishing.irps))
		status = STATUS_CONNECTION_ACTIVE;
	if (!nt_success(status)) {
		ke_release_spin_lock(&connection->lock, irql);
		return io_finish_request(irp, status, 0);
	}
	if (io_csq_insert_irp(&connection->establishing, irp)) {
		tdi_provider_start_and_unlock(connection, irql);
	} else {
		ke_release_spin_lock(&connection->lock, irql);
		io_finish_request(irp, STATUS_CANCELLED, 0);
	}
	return STATUS_PENDING; /* it is marked, also if it was cancelled before it was queued */
}

static ntstatus connect(struct tdi_connection *connection, struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);

	if (!tdi_is_known_address(tdi_parameters(location, tdi_request_connect)->remote))
		return io_finish_request(irp, STATUS_INVALID_PARAMETER, 0);
	return establish(connection, irp, TDI_ON_CONNECT);
}

static ntstatus listen(struct tdi_connection *connection, struct irp *irp)
{
	return establish(connection, irp, TDI_ON_LISTEN);
}

/* The answer to a connect event; tdi_provider_accept has sent it. */
static ntstatus accept(struct tdi_connection *connection, struct irp *irp)
{
	kirql irql = ke_acquire_spin_lock(&connection->lock);
	ntstatus status = tdi_check_state(connection, TDI_ON_ACCEPT);

	if (nt_success(status) && irp != connection->accept_irp)
		status = STATUS_CONNECTION_ACTIVE; /* the client's own, or for another peer */
	if (nt_success(status))
		tdi_provider_stand(connection, TDI_ON_ACCEPT);
	else if (connection->state == TDI_STATE_DISCONNECTED)
		status = connection->failure;
	ke_release_spin_lock(&connection->lock, irql);
	return io_finish_request(irp, status, 0);
}

static ntstatus check_send(const struct tdi_connection *connection)
{
	ntstatus status = tdi_check_state(connection, TDI_ON_TRANSFER);

	return nt_success(status) && connection->release_wanted ? STATUS_CONNECTION_INVALID
								: status;
}

static ntstatus check_receive(const struct tdi_connection *connection)
{
	ntstatus status = tdi_check_state(connection, TDI_ON_TRANSFER);

	return nt_success(status) && connection->receive_ended ? STATUS_GRACEFUL_DISCONNECT
							       : status;
}

/* Completes when the end of the stream is on its way behind all that was sent. */
static ntstatus release(struct tdi_connection *connection, struct irp *irp)
{
	kirql irql = ke_acquire_spin_lock(&connection->lock);
	ntstatus status = check_send(connection);

	if (nt_success(status)) {
		io_mark_irp_pending(irp);
		connection->release_irp = irp;
		connection->release_wanted = true;
		tdi_provider_run_pump_and_unlock(connection, &connection->send_pump, irql);
		return STATUS_PENDING;
	}
	ke_release_spin_lock(&connection->lock, irql);
	return io_finish_request(irp, status, 0);
}

/* Also takes back a release that is under way: the peer is reset. */
static ntstatus abort_connection(struct tdi_connection *connection, struct irp *irp)
{
	struct list_entry completed;
	kirql irql;

	initialize_list_head(&completed);
	irql = ke_acquire_spin_lock(&connection->lock);
	/* A close may come meanwhile, and must wait for all of these. */
	tdi_provider_hold(connection);
	connection->send_ended = false;
	connection->told = true; /* who ends it needs no event */
	tdi_provider_fail_locked(connection, STATUS_LOCAL_DISCONNECT, &completed);
	tdi_provider_give_up_restart(connection, &completed);
	ke_release_spin_lock(&connection->lock, irql);
	tdi_provider_complete(&completed);
	tdi_provider_drop(connection);
	return io_finish_request(irp, STATUS_SUCCESS, 0);
}

/* Completes when the connection is over: whoever drops the last user of its life looks. */
static ntstatus wait(struct tdi_connection *connection, struct irp *irp)
{
	kirql irql = ke_acquire_spin_lock(&connection->lock);
	ntstatus status = tdi_check_state(connection, TDI_ON_WAIT);

	if (nt_success(status) && !is_list_empty(&connection->waiting.irps))
		status = STATUS_INVALID_DEVICE_REQUEST; /* one waits already */
	if (!nt_success(status)) {
		ke_release_spin_lock(&connection->lock, irql);
		return io_finish_request(irp, status, 0);
	}
	if (io_csq_insert_irp(&connection->waiting, irp)) {
		/* The pump ends a connection that has ended in both directions. */
		tdi_provider_run_pump_and_unlock(connection, &connection->receive_pump, irql);
	} else {
		ke_release_spin_lock(&connection->lock, irql);
		io_finish_request(irp, STATUS_CANCELLED, 0);
	}
	return STATUS_PENDING;
}

static ntstatus disconnect(struct tdi_connection *connection, struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);

	switch (tdi_parameters(location, tdi_request_disconnect)->flags) {
	case TDI_DISCONNECT_WAIT:
		return wait(connection, irp);
	case TDI_DISCONNECT_RELEASE:
		return release(connection, irp);
	case TDI_DISCONNECT_ABORT:
		return abort_connection(connection, irp);
	default:
		return io_finish_request(irp, STATUS_INVALID_PARAMETER, 0);
	}
}

static uint64_t described_bytes(const struct irp *irp)
{
	uint64_t bytes = 0;

	for (const struct mdl *mdl = irp->mdl_address; mdl != NULL; mdl = mdl->next)
		bytes += mm_get_mdl_byte_count(mdl);
	return bytes;
}

/*
 * Queues a transfer and runs its pump, under one hold of the lock: once that is given up the
 * request may be completed and the connection closed.
 */
static ntstatus transfer(struct tdi_connection *connection, struct irp *irp, uint32_t length,
			 struct io_csq *csq, struct tdi_pump *pump,
			 ntstatus (*check)(const struct tdi_connection *))
{
	ntstatus status;
	kirql irql;

	if (length > described_bytes(irp))
		return io_finish_request(irp, STATUS_INVALID_PARAMETER, 0);
	irql = ke_acquire_spin_lock(&connection->lock);
	status = check(connection);
	if (!nt_success(status)) {
		ke_release_spin_lock(&connection->lock, irql);
		return io_finish_request(irp, status, 0);
	}
	if (io_csq_insert_irp(csq, irp)) {
		tdi_provider_run_pump_and_unlock(connection, pump, irql);
	} else { /* cancelled before, but marked by now */
		ke_release_spin_lock(&connection->lock, irql);
		io_finish_request(irp, STATUS_CANCELLED, 0);
	}
	return STATUS_PENDING;
}

/*
 * A non-blocking send behind one that waits for room has none. Room is owed before it is answered,
 * or the last event could come in between and forget the client; and the hold is for a client that
 * closes when it is answered.
 */
static bool refuse_for_room(struct tdi_connection *connection, struct irp *irp,
			    const struct io_csq *csq)
{
	kirql irql = ke_acquire_spin_lock(&connection->lock);
	bool refused = nt_success(check_send(connection)) &&
		       (connection->backlogged || !is_list_empty(&csq->irps)) &&
		       tdi_provider_is_non_blocking(connection, irp);

	if (refused) {
		connection->room_owed = true;
		tdi_provider_hold(connection);
	}
	ke_release_spin_lock(&connection->lock, irql);
	if (!refused)
		return false;
	io_finish_request(irp, STATUS_DEVICE_NOT_READY, 0);
	tdi_provider_run_pump(connection, &connection->send_pump);
	tdi_provider_drop(connection);
	return true;
}

static ntstatus send(struct tdi_connection *connection, struct irp *irp)
{
	enum {
		KNOWN = TDI_SEND_EXPEDITED | TDI_SEND_PARTIAL | TDI_SEND_NO_RESPONSE |
			TDI_SEND_NON_BLOCKING
	};
	const struct tdi_request_send *send =
		tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_send);
	bool expedited = (send->send_flags & TDI_SEND_EXPEDITED) != 0;
	struct io_csq *csq = expedited ? &connection->expedited_sends : &connection->sends;

	if ((send->send_flags & ~(uint32_t)KNOWN) != 0 ||
	    (expedited &&
	     (connection->provider->info.service_flags & TDI_SERVICE_EXPEDITED_DATA) == 0))
		return io_finish_request(irp, STATUS_NOT_SUPPORTED, 0);
	if ((send->send_flags & TDI_SEND_NON_BLOCKING) != 0 &&
	    refuse_for_room(connection, irp, csq))
		return STATUS_DEVICE_NOT_READY;
	return transfer(connection, irp, send->send_length, csq, &connection->send_pump,
			check_send);
}

static ntstatus receive(struct tdi_connection *connection, struct irp *irp)
{
	const struct tdi_request_receive *receive =
		tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_receive);
	unsigned kind =
		receive->receive_flags == TDI_RECEIVE_EXPEDITED ? TDI_EXPEDITED : TDI_NORMAL;

	if (receive->receive_length == 0 ||
	    (receive->receive_flags & ~(uint32_t)TDI_RECEIVE_NORMAL) !=
		    (kind == TDI_EXPEDITED ? TDI_RECEIVE_EXPEDITED : 0))
		return io_finish_request(irp, STATUS_INVALID_PARAMETER, 0);
	return transfer(connection, irp, receive->receive_length, &connection->receives[kind],
			&connection->receive_pump, check_receive);
}

/* ---- Questions and settings ---------------------------------------------------------------- */

static ntstatus answer(struct irp *irp, const struct tdi_request_query *query, const void *value,
		       uint32_t size)
{
	if (query->length != size)
		return io_finish_request(irp, STATUS_INVALID_PARAMETER, 0);
	memcpy(query->buffer, value, size);
	return io_finish_request(irp, STATUS_SUCCESS, size);
}

static ntstatus query_connection(struct tdi_connection *connection, struct irp *irp,
				 const struct tdi_request_query *query)
{
	struct tdi_connection_info info = {0};
	kirql irql = ke_acquire_spin_lock(&connection->lock);

	connection->provider->ops->query(connection, &info);
	ke_release_spin_lock(&connection->lock, irql);
	return answer(irp, query, &info, sizeof(info));
}

static ntstatus query_information(const struct tdi_provider *provider, struct file_object *file,
				  struct irp *irp)
{
	struct tdi_connection *connection = tdi_connection_of(file);
	struct tdi_address *address = tdi_address_of(file);
	const struct tdi_request_query *query =
		tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_query);

	if (query->query_type == TDI_QUERY_PROVIDER_INFO)
		return answer(irp, query, &provider->info, sizeof(provider->info));
	if (query->query_type == TDI_QUERY_ADDRESS_INFO && address != NULL)
		return answer(irp, query, &address->local, sizeof(address->local));
	if (query->query_type == TDI_QUERY_CONNECTION_INFO && connection != NULL)
		return query_connection(connection, irp, query);
	return io_finish_request(irp, STATUS_INVALID_PARAMETER, 0);
}

static ntstatus set_event_handler(struct file_object *file, struct irp *irp)
{
	struct tdi_address *address = tdi_address_of(file);

	if (address == NULL)
		return io_finish_request(irp, STATUS_INVALID_DEVICE_REQUEST, 0);
	return io_finish_request(
		irp,
		tdi_set_event(address, tdi_parameters(io_get_current_irp_stack_location(irp),
						      tdi_request_set_event)),
		0);
}

static ntstatus set_information(struct tdi_connection *connection, struct irp *irp)
{
	const struct tdi_request_set *set =
		tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_set);
	const struct tdi_provider_ops *ops = connection->provider->ops;
	kirql irql;

	if (set->set_type != TDI_SET_NAGLE || set->length != sizeof(bool))
		return io_finish_request(irp, STATUS_INVALID_PARAMETER, 0);
	if (ops->set_nagle == NULL)
		return io_finish_request(irp, STATUS_NOT_SUPPORTED, 0);
	irql = ke_acquire_spin_lock(&connection->lock);
	ops->set_nagle(connection, *(const bool *)set->value);
	ke_release_spin_lock(&connection->lock, irql);
	return io_finish_request(irp, STATUS_SUCCESS, 0);
}

/* ---- The table ----------------------------------------------------------------------------- */

typedef ntstatus connection_request(struct tdi_connection *connection, struct irp *irp);

static connection_request *const connection_requests[TDI_MAXIMUM_FUNCTION] = {
	[TDI_ASSOCIATE_ADDRESS] = associate,
	[TDI_DISASSOCIATE_ADDRESS] = disassociate,
	[TDI_CONNECT] = connect,
	[TDI_LISTEN] = listen,
	[TDI_ACCEPT] = accept,
	[TDI_DISCONNECT] = disconnect,
	[TDI_SEND] = send,
	[TDI_RECEIVE] = receive,
	[TDI_SET_INFORMATION] = set_information,
};

static ntstatus dispatch_internal_device_control(struct device_object *device, struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	struct tdi_connection *connection = tdi_connection_of(location->file_object);
	connection_request *request;

	if (location->minor_function == TDI_QUERY_INFORMATION)
		return query_information(device->device_extension, location->file_object, irp);
	if (location->minor_function == TDI_SET_EVENT_HANDLER)
		return set_event_handler(location->file_object, irp);
	if (location->minor_function >= TDI_MAXIMUM_FUNCTION)
		return io_finish_request(irp, STATUS_INVALID_DEVICE_REQUEST, 0);
	request = connection_requests[location->minor_function];
	if (request == NULL || connection == NULL)
		return io_finish_request(irp, STATUS_INVALID_DEVICE_REQUEST, 0);
	return request(connection, irp);
}

static const struct driver_object tdi_driver = {
	.driver_name = "tdi",
	.major_function = {[IRP_MJ_CREATE] = tdi_dispatch_create,
			   [IRP_MJ_CLEANUP] = tdi_dispatch_cleanup,
			   [IRP_MJ_CLOSE] = tdi_dispatch_close,
			   [IRP_MJ_INTERNAL_DEVICE_CONTROL] = dispatch_internal_device_control},
};

void tdi_provider_initialize(struct tdi_provider *provider, const struct tdi_provider_ops *ops,
			     const struct tdi_provider_info *info)
{
	provider->ops = ops;
	provider->info = *info;
	io_initialize_device(&provider->device, &tdi_driver, NULL, provider);
}
