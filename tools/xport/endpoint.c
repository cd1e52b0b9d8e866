/*
 * Opening and closing a connection with its device and address, see endpoint.h.
 */
#include "endpoint.h"

/* The device goes last, when no DPC of its files can run any more. */
static void delete_device(struct device_object *device)
{
	ke_flush_queued_dpcs();
	tcp_delete_device(device);
}

/* ---- Endpoints ----------------------------------------------------------------------------- */

static ntstatus open_connection(struct endpoint *endpoint)
{
	ntstatus status =
		tdi_open_connection_endpoint(endpoint->device, endpoint, &endpoint->connection);

	if (!nt_success(status))
		return status;
	status = tdi_associate_address(&endpoint->connection, &endpoint->address);
	if (!nt_success(status))
		tdi_close(&endpoint->connection);
	return status;
}

ntstatus endpoint_open(struct endpoint *endpoint, const struct tcp_options *options,
		       const struct transport_address *local)
{
	ntstatus status;

	endpoint->device = tcp_create_device(options);
	if (endpoint->device == NULL)
		return STATUS_INSUFFICIENT_RESOURCES;
	status = tdi_open_transport_address(endpoint->device, local, &endpoint->address);
	endpoint->address_open = nt_success(status);
	if (nt_success(status)) {
		status = open_connection(endpoint);
		if (!nt_success(status))
			endpoint_close_address(endpoint);
	}
	if (!nt_success(status))
		delete_device(endpoint->device);
	return status;
}

void endpoint_close_address(struct endpoint *endpoint)
{
	if (endpoint->address_open)
		tdi_close(&endpoint->address);
	endpoint->address_open = false;
}

void endpoint_close(struct endpoint *endpoint)
{
	tdi_close(&endpoint->connection);
	endpoint_close_address(endpoint);
	delete_device(endpoint->device);
}

/* ---- Callers ------------------------------------------------------------------------------- */

static ntstatus call_peer(struct caller *caller, const struct transport_address *remote,
			  int64_t timeout_ns)
{
	ntstatus status;

	caller->stream = tdi_create_stream(&caller->address, 0, &status);
	if (caller->stream == NULL)
		return status;
	status = tdi_connect_peer(caller->stream, remote, timeout_ns);
	if (!nt_success(status))
		tdi_delete_stream(caller->stream);
	return status;
}

ntstatus caller_connect(struct caller *caller, const struct tcp_options *options,
			const struct transport_address *remote, int64_t timeout_ns)
{
	const struct transport_address any = {.address_type = remote->address_type};
	ntstatus status;

	caller->device = tcp_create_device(options);
	if (caller->device == NULL)
		return STATUS_INSUFFICIENT_RESOURCES;
	status = tdi_open_stream_address(caller->device, &any, &caller->address);
	if (nt_success(status)) {
		status = call_peer(caller, remote, timeout_ns);
		if (!nt_success(status))
			tdi_close(&caller->address);
	}
	if (!nt_success(status))
		delete_device(caller->device);
	return status;
}

void caller_close(struct caller *caller)
{
	tdi_delete_stream(caller->stream);
	tdi_close(&caller->address);
	delete_device(caller->device);
}
