/*
 * How a transport answers requests: checks them, finds the object, queues what has to wait. Every
 * routine here owns the request that it is given and returns what became of it.
 */
#include <string.h>

#include "tdi/provider.h"

/* What a file object stands for, kept in fs_context2; fs_context is the object. */
enum { KIND_ADDRESS = 1, KIND_CONNECTION, KIND_CONTROL };

static struct tdi_connection *connection_of(const struct file_object *file)
{
	return file != NULL && (uintptr_t)file->fs_context2 == KIND_CONNECTION ? file->fs_context
									       : NULL;
}

static struct tdi_address *address_of(const struct file_object *file)
{
	return file != NULL && (uintptr_t)file->fs_context2 == KIND_ADDRESS ? file->fs_context
									    : NULL;
}

static bool is_known_address(const struct transport_address *address)
{
	return address->address_type == TDI_ADDRESS_TYPE_IP ||
	       address->address_type == TDI_ADDRESS_TYPE_IP6;
}

/* ---- Opening and closing ------------------------------------------------------------------- */

static ntstatus open_address(struct tdi_provider *provider, const struct tdi_ea *ea,
			     struct file_object *file)
{
	ntstatus status = STATUS_INSUFFICIENT_RESOURCES;

	if (ea->value_length != sizeof(struct transport_address))
		return STATUS_EA_LIST_INCONSISTENT;
	if (!is_known_address(ea->value))
		return STATUS_INVALID_PARAMETER;
	file->fs_context = provider->ops->create_address(provider, ea->value, &status);
	file->fs_context2 = (void *)KIND_ADDRESS;
	return file->fs_context != NULL ? STATUS_SUCCESS : status;
}

static ntstatus open_connection(struct tdi_provider *provider, const struct tdi_ea *ea,
				struct file_object *file)
{
	struct tdi_connection *connection;

	if (ea->value_length != sizeof(void *))
		return STATUS_EA_LIST_INCONSISTENT;
	connection = provider->ops->create_connection(provider);
	if (connection == NULL)
		return STATUS_INSUFFICIENT_RESOURCES;
	memcpy(&connection->connection_context, ea->value, sizeof(void *));
	file->fs_context = connection;
	file->fs_context2 = (void *)KIND_CONNECTION;
	return STATUS_SUCCESS;
}

static ntstatus open_file(struct tdi_provider *provider, const struct tdi_create *create,
			  struct file_object *file)
{
	if (create->ea_count > 1)
		return STATUS_INVALID_PARAMETER; /* an address and an endpoint at once */
	if (create->ea_count == 0) {
		file->fs_context2 = (void *)KIND_CONTROL;
		return STATUS_SUCCESS;
	}
	if (strcmp(create->eas[0].name, TDI_TRANSPORT_ADDRESS) == 0)
		return open_address(provider, &create->eas[0], file);
	if (strcmp(create->eas[0].name, TDI_CONNECTION_CONTEXT) == 0)
		return open_connection(provider, &create->eas[0], file);
	return STATUS_INVALID_EA_NAME;
}

static ntstatus dispatch_create(struct device_object *device, struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	ntstatus status = open_file(device->device_extension, tdi_parameters(location, tdi_create),
				    location->file_object);

	return io_finish_request(irp, status, 0);
}

/* No more requests will come: end those that are there. */
static ntstatus dispatch_cleanup(struct device_object *device, struct irp *irp)
{
	struct file_object *file = io_get_current_irp_stack_location(irp)->file_object;
	struct tdi_connection *connection = connection_of(file);
	struct tdi_address *address = address_of(file);

	(void)device;
	if (connection != NULL)
		tdi_provider_fail(connection, STATUS_LOCAL_DISCONNECT);
	if (address != NULL)
		address->provider->ops->close_address(address);
	return io_finish_request(irp, STATUS_SUCCESS, 0);
}

static ntstatus dispatch_close(struct device_object *device, struct irp *irp)
{
	struct file_object *file = io_get_current_irp_stack_location(irp)->file_object;
	struct tdi_connection *connection = connection_of(file);
	struct tdi_address *address = address_of(file);

	(void)device;
	if (connection != NULL) {
		io_mark_irp_pending(irp); /* first: the drop may complete it */
		connection->close_irp = irp;
		tdi_provider_drop(connection); /* the file's */
		return STATUS_PENDING;
	}
	if (address != NULL && ob_dereference(&address->references)) /* the file's */
		address->provider->ops->destroy_address(address);
	return io_finish_request(irp, STATUS_SUCCESS, 0);
}

/* ---- Requests on a connection -------------------------------------------------------------- */

static ntstatus associate(struct tdi_connection *connection, struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	struct tdi_address *address =
		address_of(tdi_parameters(location, tdi_request_associate)->address);
	ntstatus status = STATUS_SUCCESS;
	kirql irql;

	if (address == NULL || address->provider != connection->provider)
		return io_finish_request(irp, STATUS_INVALID_PARAMETER, 0);
	irql = ke_acquire_spin_lock(&connection->lock);
	if (connection->state != TDI_STATE_IDLE) {
		status = STATUS_CONNECTION_ACTIVE;
	} else {
		ob_reference(&address->references); /* the connection's, until it is destroyed */
		connection->address = address;
		connection->state = TDI_STATE_ASSOCIATED;
	}
	ke_release_spin_lock(&connection->lock, irql);
	return io_finish_request(irp, status, 0);
}

/* Why an endpoint can't begin to connect or listen, or STATUS_SUCCESS. */
static ntstatus check_unconnected(const struct tdi_connection *connection)
{
	switch (connection->state) {
	case TDI_STATE_ASSOCIATED:
		return STATUS_SUCCESS;
	case TDI_STATE_IDLE:
		return STATUS_INVALID_DEVICE_REQUEST;
	default:
		return STATUS_CONNECTION_ACTIVE;
	}
}

/* Queues the request and moves the state; when it has begun the caller holds a user. */
static ntstatus begin_establishing(struct tdi_connection *connection, struct irp *irp,
				   enum tdi_connection_state state, bool *begun)
{
	kirql irql = ke_acquire_spin_lock(&connection->lock);
	ntstatus status = check_unconnected(connection);
	bool queued = false;

	if (nt_success(status)) {
		queued = io_csq_insert_irp(&connection->establishing, irp);
		if (queued) {
			connection->state = state;
			tdi_provider_hold(connection); /* the caller's */
		}
	}
	ke_release_spin_lock(&connection->lock, irql);
	if (!nt_success(status))
		return io_finish_request(irp, status, 0);
	if (!queued)
		io_finish_request(irp, STATUS_CANCELLED, 0);
	*begun = queued;
	return STATUS_PENDING; /* it is marked, also if it was cancelled before it was queued */
}

static ntstatus connect(struct tdi_connection *connection, struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	struct transport_address remote = *tdi_parameters(location, tdi_request_connect)->remote;
	bool begun = false;
	ntstatus status;

	if (!is_known_address(&remote))
		return io_finish_request(irp, STATUS_INVALID_PARAMETER, 0);
	status = begin_establishing(connection, irp, TDI_STATE_CONNECTING, &begun);
	if (begun) {
		connection->provider->ops->connect(connection, &remote);
		tdi_provider_drop(connection);
	}
	return status;
}

static ntstatus listen(struct tdi_connection *connection, struct irp *irp)
{
	bool begun = false;
	ntstatus status = begin_establishing(connection, irp, TDI_STATE_LISTENING, &begun);

	if (begun) {
		connection->provider->ops->listen(connection);
		tdi_provider_drop(connection);
	}
	return status;
}

/* Why nothing can be transferred, or STATUS_SUCCESS; `ended` is for a direction that is over. */
static ntstatus check_connected(const struct tdi_connection *connection, ntstatus ended)
{
	if (connection->state == TDI_STATE_DISCONNECTED)
		return connection->failure;
	return connection->state == TDI_STATE_CONNECTED ? ended : STATUS_CONNECTION_INVALID;
}

static ntstatus check_send(const struct tdi_connection *connection)
{
	return check_connected(connection, connection->release_wanted ? STATUS_CONNECTION_INVALID
								      : STATUS_SUCCESS);
}

static ntstatus check_receive(const struct tdi_connection *connection)
{
	return check_connected(connection, connection->receive_ended ? STATUS_GRACEFUL_DISCONNECT
								     : STATUS_SUCCESS);
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
	tdi_provider_hold(
		connection); /* a close may come meanwhile, and must wait for all of these */
	connection->send_ended = false;
	tdi_provider_fail_locked(connection, STATUS_LOCAL_DISCONNECT, &completed);
	ke_release_spin_lock(&connection->lock, irql);
	tdi_provider_complete(&completed);
	tdi_provider_drop(connection);
	return io_finish_request(irp, STATUS_SUCCESS, 0);
}

static ntstatus disconnect(struct tdi_connection *connection, struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);

	switch (tdi_parameters(location, tdi_request_disconnect)->flags) {
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

static ntstatus send(struct tdi_connection *connection, struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);

	return transfer(connection, irp, tdi_parameters(location, tdi_request_send)->send_length,
			&connection->sends, &connection->send_pump, check_send);
}

static ntstatus receive(struct tdi_connection *connection, struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	uint32_t length = tdi_parameters(location, tdi_request_receive)->receive_length;

	if (length == 0)
		return io_finish_request(irp, STATUS_INVALID_PARAMETER, 0);
	return transfer(connection, irp, length, &connection->receives, &connection->receive_pump,
			check_receive);
}

/* ---- Questions ----------------------------------------------------------------------------- */

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

static ntstatus query_information(struct file_object *file, struct irp *irp)
{
	struct tdi_connection *connection = connection_of(file);
	struct tdi_address *address = address_of(file);
	const struct tdi_request_query *query =
		tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_query);

	if (query->query_type == TDI_QUERY_ADDRESS_INFO && address != NULL)
		return answer(irp, query, &address->local, sizeof(address->local));
	if (query->query_type == TDI_QUERY_CONNECTION_INFO && connection != NULL)
		return query_connection(connection, irp, query);
	return io_finish_request(irp, STATUS_INVALID_PARAMETER, 0);
}

/* ---- The table ----------------------------------------------------------------------------- */

typedef ntstatus connection_request(struct tdi_connection *connection, struct irp *irp);

static connection_request *const connection_requests[TDI_MAXIMUM_FUNCTION] = {
	[TDI_ASSOCIATE_ADDRESS] = associate, [TDI_CONNECT] = connect, [TDI_LISTEN] = listen,
	[TDI_DISCONNECT] = disconnect,	     [TDI_SEND] = send,	      [TDI_RECEIVE] = receive,
};

static ntstatus dispatch_internal_device_control(struct device_object *device, struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	struct tdi_connection *connection = connection_of(location->file_object);
	connection_request *request;

	(void)device;
	if (location->minor_function == TDI_QUERY_INFORMATION)
		return query_information(location->file_object, irp);
	if (location->minor_function >= TDI_MAXIMUM_FUNCTION)
		return io_finish_request(irp, STATUS_INVALID_DEVICE_REQUEST, 0);
	request = connection_requests[location->minor_function];
	if (request == NULL || connection == NULL)
		return io_finish_request(irp, STATUS_INVALID_DEVICE_REQUEST, 0);
	return request(connection, irp);
}

static const struct driver_object tdi_driver = {
	.driver_name = "tdi",
	.major_function = {[IRP_MJ_CREATE] = dispatch_create,
			   [IRP_MJ_CLEANUP] = dispatch_cleanup,
			   [IRP_MJ_CLOSE] = dispatch_close,
			   [IRP_MJ_INTERNAL_DEVICE_CONTROL] = dispatch_internal_device_control},
};

void tdi_provider_initialize(struct tdi_provider *provider, const struct tdi_provider_ops *ops)
{
	provider->ops = ops;
	io_initialize_device(&provider->device, &tdi_driver, NULL, provider);
}
