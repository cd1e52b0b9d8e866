/*
 * Stage 05: daemon mode.
 *
 * Peers call while nobody listens, and the event that tells of it runs at DISPATCH_LEVEL: it can't
 * open an endpoint or wait for one. So endpoints stand ready: children, streams that are associated
 * with the daemon's address and have their accept request with them. A child is always in one hand:
 *
 *      vacant ──peer calls──▶ accepting ──accept completes──▶ accepted ──taken──▶ the client's
 *         ▲                       │
 *         └──────────it failed────┘
 *
 * `vacant` and `accepted` are lists; who is accepting is in the transport's hand, and comes back by
 * its accept request's completion routine. Once that has put the child into a list, and let go of
 * the lock, child and request may be used, or gone: it touches neither again. For the same reason
 * it sets the event before it lets go of the lock: behind it the daemon itself may be gone.
 *
 * The backlog counts those three, and not what was taken: it bounds how many peers can wait, not
 * how many can be served. Only the daemon's thread makes children and takes them, so `standing` is
 * its own. It makes up for each one that it takes before it gives it to the client; when there is
 * no memory for that the place stays owed, and it tries again.
 *
 * An accepted child is a whole stream: its peer may send, and leave again, before it is taken, and
 * whoever takes it finds it all in the queue.
 *
 * Stopping. From `stopping` on peers are refused. What stands is deleted, which resets its peer,
 * and who is accepting is waited for. Then nobody is left at the address, and it is closed.
 *
 * Sources: the Tdinal design (2.2.1: the daemon thread, backlog children, accepted queue;
 * NAL_CMD_START_DAEMON), whose code counted live connections, too, when it replenished, so that the
 * backlog was a limit on connections.
 */
#include "tdi/counters.h"
#include "tdi/stream.h"

/* How long a thread waits before it looks for memory for the missing children again. */
enum { RETRY_NS = 100000000 };

/* ---- Children ------------------------------------------------------------------------------ */

static struct tdi_stream *create_child(struct tdi_daemon *daemon, ntstatus *status)
{
	struct tdi_stream *child = tdi_create_stream(&daemon->address, daemon->limit, status);

	if (child == NULL)
		return NULL;
	child->daemon = daemon;
	child->accept_irp = io_allocate_irp(daemon->device->stack_size);
	if (child->accept_irp != NULL)
		return child;
	*status = STATUS_INSUFFICIENT_RESOURCES;
	tdi_delete_stream(child);
	return NULL;
}

/* As many children stand as peers may wait; or the status says why not. */
static ntstatus replenish(struct tdi_daemon *daemon)
{
	ntstatus status = STATUS_SUCCESS;

	while (daemon->standing < daemon->backlog) {
		struct tdi_stream *child = create_child(daemon, &status);
		kirql irql;

		if (child == NULL)
			return status;
		daemon->standing++;
		irql = ke_acquire_spin_lock(&daemon->lock);
		insert_tail_list(&daemon->vacant, &child->entry);
		ke_release_spin_lock(&daemon->lock, irql);
	}
	return STATUS_SUCCESS;
}

static struct tdi_stream *first_child(struct list_entry *children)
{
	struct list_entry *entry = remove_head_list(children);

	return entry != NULL ? containing_record(entry, struct tdi_stream, entry) : NULL;
}

/* ---- A peer calls -------------------------------------------------------------------------- */

/* The transport gives the child back, with a peer or without. */
static ntstatus accept_completed(struct device_object *device, struct irp *irp, void *context)
{
	struct tdi_stream *child = context;
	struct tdi_daemon *daemon = child->daemon;
	bool stands = nt_success(irp->io_status.status);
	kirql irql;

	(void)device;
	io_reuse_irp(irp, STATUS_SUCCESS); /* while it is surely ours */
	irql = ke_acquire_spin_lock(&daemon->lock);
	stat_count(&daemon->counters, TDI_DAEMON_SETTLED, 1);
	stat_count(&daemon->counters, stands ? TDI_DAEMON_ESTABLISHED : TDI_DAEMON_FAILED, 1);
	insert_tail_list(stands ? &daemon->accepted : &daemon->vacant, &child->entry);
	ke_set_event(&daemon->arrived);
	ke_release_spin_lock(&daemon->lock, irql);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

/* Why the peer is refused, or STATUS_SUCCESS and a child for it. */
static ntstatus choose_child(struct tdi_daemon *daemon, struct tdi_stream **child)
{
	kirql irql = ke_acquire_spin_lock(&daemon->lock);
	ntstatus status = STATUS_SUCCESS;

	*child = daemon->stopping ? NULL : first_child(&daemon->vacant);
	if (*child == NULL)
		status = daemon->stopping ? STATUS_CONNECTION_REFUSED
					  : STATUS_INSUFFICIENT_RESOURCES;
	stat_count(&daemon->counters, TDI_DAEMON_CALLED, 1);
	stat_count(&daemon->counters, *child != NULL ? TDI_DAEMON_ACCEPTED : TDI_DAEMON_REFUSED, 1);
	ke_release_spin_lock(&daemon->lock, irql);
	return status;
}

/* ClientEventConnect. */
static ntstatus peer_calls(void *event_context, const struct transport_address *remote,
			   struct irp **accept_irp)
{
	struct tdi_stream *child;
	ntstatus status = choose_child(event_context, &child);

	if (!nt_success(status))
		return status;
	child->remote = *remote;
	tdi_build_accept(child->accept_irp, &child->file, accept_completed, child);
	*accept_irp = child->accept_irp;
	return STATUS_MORE_PROCESSING_REQUIRED; /* with the request goes the child */
}

/* ---- The daemon's thread ------------------------------------------------------------------- */

ntstatus tdi_start_daemon(struct tdi_daemon *daemon, struct device_object *device,
			  const struct transport_address *local, uint32_t backlog, uint32_t limit)
{
	ntstatus status;

	*daemon = (struct tdi_daemon){.device = device, .backlog = backlog, .limit = limit};
	ke_initialize_spin_lock(&daemon->lock);
	ke_initialize_event(&daemon->arrived, SYNCHRONIZATION_EVENT, false);
	initialize_list_head(&daemon->vacant);
	initialize_list_head(&daemon->accepted);
	status = tdi_open_stream_address(device, local, &daemon->address);
	if (!nt_success(status))
		return status;
	stat_add_block(&daemon->counters, device->segment, &tdi_daemon_table);
	status = replenish(daemon);
	if (nt_success(status)) /* the last: from then on peers call */
		status = tdi_set_event_handler(&daemon->address, TDI_EVENT_CONNECT,
					       (tdi_event_handler *)peer_calls, daemon);
	if (!nt_success(status))
		tdi_stop_daemon(daemon);
	return status;
}

/* The peer that has waited longest. NULL if there is none, or *status says that it is all over. */
static struct tdi_stream *take_accepted(struct tdi_daemon *daemon, ntstatus *status)
{
	kirql irql = ke_acquire_spin_lock(&daemon->lock);
	struct tdi_stream *child = daemon->stopping ? NULL : first_child(&daemon->accepted);

	*status = daemon->stopping ? STATUS_CANCELLED : STATUS_SUCCESS;
	if (child != NULL)
		stat_count(&daemon->counters, TDI_DAEMON_TAKEN, 1);
	ke_release_spin_lock(&daemon->lock, irql);
	if (child == NULL)
		return NULL;
	child->daemon = NULL;
	daemon->standing--; /* its place is owed until somebody else stands there */
	return child;
}

struct tdi_stream *tdi_accept_stream(struct tdi_daemon *daemon, int64_t timeout_ns,
				     ntstatus *status)
{
	uint64_t begun_ns = ke_query_interrupt_time();
	struct tdi_stream *child;

	while ((child = take_accepted(daemon, status)) == NULL && nt_success(*status)) {
		bool full = nt_success(replenish(daemon));
		int64_t left_ns = tdi_time_left(begun_ns, timeout_ns);

		if (left_ns <= 0) {
			*status = STATUS_IO_TIMEOUT;
			return NULL;
		}
		ke_wait_for_single_object(&daemon->arrived,
					  full || left_ns < RETRY_NS ? left_ns : RETRY_NS);
	}
	if (child != NULL)
		replenish(daemon);
	return child;
}

/* ---- Stopping ------------------------------------------------------------------------------ */

void tdi_wake_daemon(struct tdi_daemon *daemon)
{
	kirql irql = ke_acquire_spin_lock(&daemon->lock);

	daemon->stopping = true;
	ke_set_event(&daemon->arrived);
	ke_release_spin_lock(&daemon->lock, irql);
}

/* A child that nobody will take; NULL when all that are left are accepting. */
static struct tdi_stream *take_any(struct tdi_daemon *daemon)
{
	kirql irql = ke_acquire_spin_lock(&daemon->lock);
	struct tdi_stream *child = first_child(&daemon->vacant);

	if (child == NULL) {
		child = first_child(&daemon->accepted);
		if (child != NULL)
			stat_count(&daemon->counters, TDI_DAEMON_DROPPED, 1);
	}
	ke_release_spin_lock(&daemon->lock, irql);
	return child;
}

void tdi_stop_daemon(struct tdi_daemon *daemon)
{
	tdi_wake_daemon(daemon);
	while (daemon->standing > 0) {
		struct tdi_stream *child = take_any(daemon);

		if (child != NULL) {
			daemon->standing--;
			tdi_delete_stream(child);
		} else { /* each accept that completes sets the event */
			ke_wait_for_single_object(&daemon->arrived, KE_WAIT_FOREVER);
		}
	}
	tdi_close(&daemon->address); /* no call is being answered any more */
	stat_remove_block(&daemon->counters);
}
