/*
 * The device, and the life of a connection's socket: connected or accepted, watched, ended.
 *
 * The service routine only notes what is ready; its DPC does the work. Both are for the interrupt's
 * processor, so that when the interrupt is taken away, its `disconnected` DPC is behind any
 * ready_dpc in the queue and is the last to run.
 *
 * Ending (tcp_abort) has two parts. The peer is reset at once, unless a release has completed: then
 * the kernel has all that was sent, and goes on delivering it when the socket is closed. The
 * interrupt goes when no page of a direct send is out any more, because the socket's error queue is
 * where they come back.
 *
 * A released socket is closed when what the peer has sent meanwhile was discarded, since unread
 * data makes the kernel reset the peer. A peer that sends even later is reset, as it is with TCP:
 * nobody is there for its data.
 */
#include <unistd.h>

#include "tcp/private.h"

enum { DEFAULT_CHAINED_BYTES = 4096 };

static bool connection_interrupted(struct kinterrupt *interrupt, void *context)
{
	struct tcp_connection *connection = context;

	connection->ready |= interrupt->events;
	interrupt->events = 0;
	ke_insert_queue_dpc(&connection->ready_dpc);
	return true;
}

struct taken {
	struct tcp_connection *connection;
	uint32_t ready;
};

static bool take_ready(void *context)
{
	struct taken *taken = context;

	taken->ready = taken->connection->ready;
	taken->connection->ready = 0;
	return true;
}

/* The kernel has decided on a connect. Lock held, taken at `irql`; it is given back meanwhile. */
static void end_connect(struct tcp_connection *connection, kirql irql)
{
	struct irp *irp = tdi_provider_begin_establish(&connection->base);

	connection->acknowledged_base = tcp_acknowledged_bytes(connection->fd);
	ke_release_spin_lock(&connection->base.lock, irql);
	if (irp != NULL)
		tdi_provider_end_establish(&connection->base, irp, tcp_socket_error(connection->fd),
					   NULL);
	else
		tdi_provider_fail(&connection->base, STATUS_CANCELLED); /* the client gave up */
	ke_acquire_spin_lock(&connection->base.lock);
}

/* An error, or news on the error queue, which the send pump is run for next. Lock as above. */
static void attend_errors(struct tcp_connection *connection, kirql irql)
{
	struct list_entry completed;
	ntstatus status;

	initialize_list_head(&completed);
	tcp_reap(connection);
	if (connection->base.state == TDI_STATE_CONNECTED ||
	    connection->base.state == TDI_STATE_OFFERED) {
		status = tcp_socket_error(connection->fd);
		if (!nt_success(status))
			tdi_provider_fail_locked(&connection->base, status, &completed);
	}
	ke_release_spin_lock(&connection->base.lock, irql);
	tdi_provider_complete(&completed);
	ke_acquire_spin_lock(&connection->base.lock);
}

/*
 * The interrupt's user keeps the connection. Room that was known of is no news, though the kernel
 * tells of it with everything else: who was refused would have found out.
 */
static void connection_ready(struct kdpc *dpc, void *context)
{
	struct tcp_connection *connection = context;
	struct tdi_connection *base = &connection->base;
	struct taken taken = {connection, 0};
	bool room;
	kirql irql;

	(void)dpc;
	ke_synchronize_execution(&connection->interrupt, take_ready, &taken);
	irql = ke_acquire_spin_lock(&base->lock);
	if (base->state == TDI_STATE_CONNECTING) {
		end_connect(connection, irql);
		taken.ready &= ~(uint32_t)KE_HOST_ERROR; /* that was told */
	} else if (taken.ready & KE_HOST_ERROR) {
		attend_errors(connection, irql);
	}
	/* News of returned pages lets a send that was put off go on, as room does. */
	room = (taken.ready & KE_HOST_ERROR) != 0 ||
	       ((taken.ready & KE_HOST_WRITABLE) != 0 && !connection->writable);
	connection->writable |= (taken.ready & KE_HOST_WRITABLE) != 0;
	connection->readable |= (taken.ready & KE_HOST_READABLE) != 0;
	connection->hung_up |= (taken.ready & KE_HOST_HANGUP) != 0;
	if (taken.ready & KE_HOST_READABLE)
		tdi_provider_run_pump_and_unlock(base, &base->receive_pump, irql);
	else
		ke_release_spin_lock(&base->lock, irql);
	if (room)
		tdi_provider_run_pump(base, &base->send_pump);
}

static void interrupt_gone(struct kdpc *dpc, void *context)
{
	struct tcp_connection *connection = context;

	(void)dpc;
	tdi_provider_drop(&connection->base); /* the interrupt's */
}

/* Connecting, the kernel counts the opening as a byte; accepting, it does not: hence the base. */
void tcp_look_up_acknowledged(struct tcp_connection *connection)
{
	uint64_t counted = tcp_acknowledged_bytes(connection->fd);

	if (counted > connection->acknowledged_base + connection->acknowledged_bytes)
		connection->acknowledged_bytes = counted - connection->acknowledged_base;
	/* The kernel counts the end of the stream as a byte. */
	stat_set(&connection->counters, TCP_ACKNOWLEDGED_BYTES,
		 connection->acknowledged_bytes < connection->sent_bytes
			 ? connection->acknowledged_bytes
			 : connection->sent_bytes);
}

bool tcp_attach(struct tcp_connection *connection, int fd)
{
	kirql irql = ke_acquire_spin_lock(&connection->base.lock);
	bool attached = connection->base.state != TDI_STATE_DISCONNECTED;

	if (attached) {
		connection->fd = fd;
		connection->zerocopy = tcp_socket_is_direct(fd);
		connection->acknowledged_base = tcp_acknowledged_bytes(fd);
		connection->writable = connection->readable = true;
		connection->hung_up = false;
		tcp_set_nagle(fd, connection->nagle);
		ke_connect_interrupt(&connection->interrupt, connection_interrupted, connection,
				     connection->ready_dpc.processor);
		tdi_provider_hold(&connection->base); /* the interrupt's */
		connection->watched = true;
		/* A socket that can't be watched would hang for ever. */
		if (!nt_success(ke_host_watch_descriptor(&connection->interrupt, fd))) {
			connection->fd = -1;
			tcp_detach(connection);
			attached = false;
		}
	}
	ke_release_spin_lock(&connection->base.lock, irql);
	return attached;
}

void tcp_detach(struct tcp_connection *connection)
{
	if (!connection->watched)
		return;
	connection->watched = false;
	ke_disconnect_interrupt(&connection->interrupt, &connection->disconnected);
}

static void tcp_connect(struct tdi_connection *base, const struct transport_address *remote)
{
	struct tcp_connection *connection = tcp_connection_of(base);
	struct transport_address local = base->address->local;
	ntstatus status = STATUS_SUCCESS;
	struct irp *irp;
	kirql irql;
	int fd;

	fd = tcp_open_socket(tcp_options_of(base->provider), remote->address_type, &status);
	if (fd >= 0) {
		local.port = 0; /* the address's own port is for those who listen */
		if (local.address_type == remote->address_type)
			status = tcp_bind_socket(fd, &local, true);
		if (nt_success(status))
			status = tcp_connect_socket(fd, remote);
		if (nt_success(status)) { /* done or under way: the interrupt tells */
			if (tcp_attach(connection, fd))
				return;
			status = STATUS_INSUFFICIENT_RESOURCES;
		}
		close(fd);
	}
	irql = ke_acquire_spin_lock(&base->lock);
	irp = tdi_provider_begin_establish(base);
	ke_release_spin_lock(&base->lock, irql);
	if (irp != NULL)
		tdi_provider_end_establish(base, irp, status, NULL);
}

static void tcp_abort(struct tdi_connection *base, enum tdi_connection_state was,
		      struct list_entry *completed)
{
	struct tcp_connection *connection = tcp_connection_of(base);

	if (was == TDI_STATE_LISTENING) {
		struct tcp_address *address =
			containing_record(base->address, struct tcp_address, base);

		/* To take it off the list; not here, for the address's lock comes first. */
		ke_insert_queue_dpc(&address->accept_dpc);
	}
	if (connection->fd < 0)
		return;
	tcp_look_up_acknowledged(connection); /* before a reset, with which the kernel forgets it */
	if (!base->send_ended || !is_list_empty(&connection->unsent) ||
	    !is_list_empty(&connection->inflight))
		tcp_reset_socket(connection->fd);
	tcp_reap(connection);
	if (base->send_pump.running) {
		base->send_pump.again = true; /* what is not settled is in its hands */
	} else {
		tcp_fail_unsent(connection, completed);
		tcp_settle(connection, completed);
	}
	if (base->receive_pump.running)
		base->receive_pump.again = true;
}

static void tcp_query(struct tdi_connection *base, struct tdi_connection_info *info)
{
	struct tcp_connection *connection = tcp_connection_of(base);
	uint64_t acknowledged;

	if (base->state == TDI_STATE_CONNECTED)
		tcp_look_up_acknowledged(connection);
	/* The kernel counts the end of the stream as a byte; or a call that has sent is not back.
	 */
	acknowledged = connection->acknowledged_bytes;
	if (acknowledged > connection->sent_bytes)
		acknowledged = connection->sent_bytes;
	*info = (struct tdi_connection_info){.sent_bytes = connection->sent_bytes,
					     .acknowledged_bytes = acknowledged,
					     .received_bytes = connection->received_bytes,
					     .copied_sends = connection->copied_sends,
					     .delayed_sends = connection->delayed_sends};
}

static void tcp_set_connection_nagle(struct tdi_connection *base, bool nagle)
{
	struct tcp_connection *connection = tcp_connection_of(base);

	connection->nagle = nagle;
	if (connection->fd >= 0)
		tcp_set_nagle(connection->fd, nagle);
}

static struct tdi_connection *tcp_create_connection(struct tdi_provider *provider)
{
	struct tcp_connection *connection = ex_allocate_pool(sizeof(*connection));

	if (connection == NULL)
		return NULL;
	*connection = (struct tcp_connection){.fd = -1, .nagle = tcp_options_of(provider)->nagle};
	tdi_provider_initialize_connection(&connection->base, provider);
	stat_add_block(&connection->counters, provider->device.segment, &tcp_connection_table);
	initialize_list_head(&connection->unsent);
	initialize_list_head(&connection->inflight);
	initialize_list_head(&connection->waiting);
	ke_initialize_dpc(&connection->ready_dpc, connection_ready, connection, KE_ANY_PROCESSOR);
	ke_initialize_dpc(&connection->disconnected, interrupt_gone, connection,
			  connection->ready_dpc.processor);
	ke_initialize_timer(&connection->ack_timer);
	ke_initialize_dpc(&connection->ack_dpc, tcp_ack_timer_expired, connection,
			  KE_ANY_PROCESSOR);
	return &connection->base;
}

static void end_socket(struct tcp_connection *connection)
{
	if (connection->fd >= 0 && connection->base.send_ended)
		tcp_discard_input(connection->fd);
	if (connection->fd >= 0)
		close(connection->fd);
	connection->fd = -1;
	stat_remove_block(&connection->counters);
}

/* The lists are empty and the interrupt is gone, as the life before is over. */
static void tcp_renew_connection(struct tdi_connection *base)
{
	struct tcp_connection *connection = tcp_connection_of(base);

	end_socket(connection);
	stat_add_block(&connection->counters, base->provider->device.segment,
		       &tcp_connection_table);
	connection->ready = 0;
	connection->next_call = 0;
	connection->copy_once = connection->head_alone = connection->end_sent = false;
	connection->sent_bytes = connection->acknowledged_bytes = connection->received_bytes = 0;
	connection->copied_sends = connection->delayed_sends = 0;
}

static void tcp_destroy_connection(struct tdi_connection *base)
{
	struct tcp_connection *connection = tcp_connection_of(base);

	end_socket(connection);
	ex_free_pool(connection);
}

/* ---- The device ---------------------------------------------------------------------------- */

static const struct tdi_provider_ops tcp_ops = {
	.create_address = tcp_create_address,
	.close_address = tcp_close_address,
	.destroy_address = tcp_destroy_address,
	.create_connection = tcp_create_connection,
	.destroy_connection = tcp_destroy_connection,
	.renew_connection = tcp_renew_connection,
	.connect = tcp_connect,
	.listen = tcp_listen,
	.serve = tcp_serve,
	.send = tcp_send_step,
	.receive = tcp_receive_step,
	.abort = tcp_abort,
	.free_arrival = tcp_free_arrival,
	.set_nagle = tcp_set_connection_nagle,
	.query = tcp_query,
};

struct device_object *tcp_create_device(const struct tcp_options *options)
{
	const struct tdi_provider_info info = {
		.service_flags = TDI_SERVICE_CONNECTION_MODE | TDI_SERVICE_ORDERLY_RELEASE |
				 (options->direct ? 0 : TDI_SERVICE_INTERNAL_BUFFERING),
		.chained_bytes = options->chained_bytes != 0 ? options->chained_bytes
							     : DEFAULT_CHAINED_BYTES};
	struct tcp_device *device = ex_allocate_pool(sizeof(*device));

	if (device == NULL)
		return NULL;
	device->options = *options;
	tdi_provider_initialize(&device->provider, &tcp_ops, &info);
	device->provider.device.segment = options->segment;
	return &device->provider.device;
}

void tcp_delete_device(struct device_object *device)
{
	ex_free_pool(containing_record(device, struct tcp_device, provider.device));
}
