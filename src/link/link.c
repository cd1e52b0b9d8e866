/*
 * The device, its addresses and its connections' beginning and end. What happens in between is told
 * in establish.c, transfer.c and circuit.c; which lock comes before which, in private.h.
 *
 * An address is in the device's list from its creation until its client closes it. A pointer to it
 * may be used by who holds a reference, or the device's lock while it is in the list. Connections
 * associated with it have a reference each, so it outlives every listener at it, but not the
 * callers, which come from elsewhere: those that still stand there when it is closed are refused.
 *
 * A connection is freed when its last user drops it. By then it is in no list, has no circuit and
 * none of its DPCs is queued, because each of these has a user.
 */
#include "link/private.h"

enum {
	DEFAULT_WINDOW_BYTES = 4 << 20,
	DEFAULT_SEGMENT_BYTES = 64 << 10,
	DEFAULT_CHAINED_BYTES = 4 << 10,
	MAXIMUM_SEGMENT_BYTES = 1 << 30, /* whose time on the line can be computed in 64 bits */
	FIRST_FREE_PORT = 49152,
	LAST_PORT = 65535,
};

/* ---- Addresses ----------------------------------------------------------------------------- */

struct link_address *link_find_address(struct link_device *device, uint16_t port)
{
	struct list_entry *entry;

	for (entry = device->addresses.next; entry != &device->addresses; entry = entry->next) {
		struct link_address *address = containing_record(entry, struct link_address, entry);

		if (address->tdi.local.port == port)
			return address;
	}
	return NULL;
}

/* A port that nobody has, or 0. They go round, so that one just given up is not had again at once.
 */
static uint16_t find_free_port(struct link_device *device)
{
	for (unsigned i = FIRST_FREE_PORT; i <= LAST_PORT; i++) {
		uint16_t port = device->next_port;

		device->next_port =
			port == LAST_PORT ? (uint16_t)FIRST_FREE_PORT : (uint16_t)(port + 1);
		if (link_find_address(device, port) == NULL)
			return port;
	}
	return 0;
}

/* Gives the address its port and enters it; false if that port, or every one, is taken. */
static bool bind_address(struct link_device *device, struct link_address *address)
{
	struct transport_address *local = &address->tdi.local;
	kirql irql = ke_acquire_spin_lock(&device->lock);
	bool bound;

	if (local->port == 0) {
		local->port = find_free_port(device);
		bound = local->port != 0;
	} else {
		bound = link_find_address(device, local->port) == NULL;
	}
	if (bound)
		insert_tail_list(&device->addresses, &address->entry);
	ke_release_spin_lock(&device->lock, irql);
	return bound;
}

static struct tdi_address *create_address(struct tdi_provider *provider,
					  const struct transport_address *local, ntstatus *status)
{
	struct link_device *device = containing_record(provider, struct link_device, provider);
	struct link_address *address = ex_allocate_pool(sizeof(*address));

	if (address == NULL) {
		*status = STATUS_INSUFFICIENT_RESOURCES;
		return NULL;
	}
	tdi_provider_initialize_address(&address->tdi, provider, local);
	initialize_list_head(&address->listeners);
	initialize_list_head(&address->callers);
	if (!bind_address(device, address)) {
		ex_free_pool(address);
		*status = STATUS_ADDRESS_ALREADY_EXISTS;
		return NULL;
	}
	return &address->tdi;
}

static struct link_connection *take_caller(struct link_device *device, struct link_address *address)
{
	kirql irql = ke_acquire_spin_lock(&device->lock);
	struct list_entry *entry = remove_head_list(&address->callers);

	ke_release_spin_lock(&device->lock, irql);
	return entry != NULL ? containing_record(entry, struct link_connection, waiting) : NULL;
}

/* From now on nobody finds the address: no caller comes any more, and its port is free. */
static void close_address(struct tdi_address *tdi_address)
{
	struct link_device *device =
		containing_record(tdi_address->provider, struct link_device, provider);
	struct link_address *address = containing_record(tdi_address, struct link_address, tdi);
	struct link_connection *caller;
	kirql irql = ke_acquire_spin_lock(&device->lock);

	remove_entry_list(&address->entry);
	ke_release_spin_lock(&device->lock, irql);
	while ((caller = take_caller(device, address)) != NULL)
		link_refuse(caller, STATUS_CONNECTION_REFUSED);
}

static void destroy_address(struct tdi_address *tdi_address)
{
	ex_free_pool(containing_record(tdi_address, struct link_address, tdi));
}

/* ---- Connections --------------------------------------------------------------------------- */

static const struct stat_counter counters[] = {
	{"sent_bytes", STAT_COUNTER, LINK_SENT_BYTES, "bytes", "bytes that are in segments"},
	{"acknowledged_bytes", STAT_COUNTER, LINK_ACKNOWLEDGED_BYTES, "bytes",
	 "of these, those known to have arrived"},
	{"received_bytes", STAT_COUNTER, LINK_RECEIVED_BYTES, "bytes", "bytes that have come in"},
};

static const struct stat_law laws[] = {{0, 1, false}};

static const struct stat_table connection_table = {
	.room = "link",
	.object = "connection",
	.counter_count = LINK_VALUES,
	.law_count = sizeof(laws) / sizeof(laws[0]),
	.value_count = LINK_VALUES,
	.counters = counters,
	.laws = laws,
};

static struct tdi_connection *create_connection(struct tdi_provider *provider)
{
	struct link_connection *link = ex_allocate_pool(sizeof(*link));

	if (link == NULL)
		return NULL;
	*link = (struct link_connection){.end = 0};
	tdi_provider_initialize_connection(&link->tdi, provider);
	stat_add_block(&link->counters, provider->device.segment, &connection_table);
	link_initialize_call(link);
	link_initialize_transfer(link);
	return &link->tdi;
}

static void destroy_connection(struct tdi_connection *connection)
{
	struct link_connection *link = link_connection_of(connection);

	circuit_free(link->reserved);
	stat_remove_block(&link->counters);
	ex_free_pool(link);
}

static void renew_connection(struct tdi_connection *connection)
{
	struct link_connection *link = link_connection_of(connection);

	circuit_free(link->reserved);
	link->reserved = NULL;
	link->sent_bytes = link->acknowledged_bytes = link->received_bytes = 0;
	stat_remove_block(&link->counters); /* counts never go back: a new block */
	stat_add_block(&link->counters, connection->provider->device.segment, &connection_table);
}

/* What it was does not matter: it has a circuit, or is on its way to one, or neither. */
static void abort_connection(struct tdi_connection *connection, enum tdi_connection_state was,
			     struct list_entry *completed)
{
	struct link_connection *link = link_connection_of(connection);

	(void)was;
	if (link->circuit != NULL)
		link_abort_transfer(link, completed);
	else
		link_give_up_call(link);
}

static void query(struct tdi_connection *connection, struct tdi_connection_info *info)
{
	struct link_connection *link = link_connection_of(connection);

	link_update_acknowledged(link);
	*info = (struct tdi_connection_info){.sent_bytes = link->sent_bytes,
					     .acknowledged_bytes = link->acknowledged_bytes,
					     .received_bytes = link->received_bytes};
}

/* ---- The device ---------------------------------------------------------------------------- */

static const struct tdi_provider_ops link_ops = {
	.create_address = create_address,
	.close_address = close_address,
	.destroy_address = destroy_address,
	.create_connection = create_connection,
	.destroy_connection = destroy_connection,
	.renew_connection = renew_connection,
	.connect = link_connect,
	.listen = link_listen,
	.serve = link_serve,
	.send = link_send,
	.receive = link_receive,
	.abort = abort_connection,
	.free_arrival = link_free_arrival,
	.query = query,
};

struct device_object *link_create_device(const struct link_options *options)
{
	struct link_device *device = ex_allocate_pool(sizeof(*device));
	struct tdi_provider_info info;

	if (device == NULL)
		return NULL;
	*device = (struct link_device){.next_port = FIRST_FREE_PORT};
	if (options != NULL)
		device->options = *options;
	if (device->options.window_bytes == 0)
		device->options.window_bytes = DEFAULT_WINDOW_BYTES;
	if (device->options.segment_bytes == 0)
		device->options.segment_bytes = DEFAULT_SEGMENT_BYTES;
	if (device->options.chained_bytes == 0)
		device->options.chained_bytes = DEFAULT_CHAINED_BYTES;
	if (device->options.segment_bytes > MAXIMUM_SEGMENT_BYTES)
		device->options.segment_bytes = MAXIMUM_SEGMENT_BYTES;
	ke_initialize_spin_lock(&device->lock);
	initialize_list_head(&device->addresses);
	info = (struct tdi_provider_info){
		.service_flags = TDI_SERVICE_CONNECTION_MODE | TDI_SERVICE_ORDERLY_RELEASE |
				 TDI_SERVICE_EXPEDITED_DATA |
				 (device->options.buffered ? TDI_SERVICE_INTERNAL_BUFFERING : 0),
		.chained_bytes = device->options.chained_bytes};
	tdi_provider_initialize(&device->provider, &link_ops, &info);
	device->provider.device.segment = device->options.segment;
	return &device->provider.device;
}

void link_delete_device(struct device_object *device)
{
	ex_free_pool(containing_record(device, struct link_device, provider.device));
}
