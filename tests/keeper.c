/* A keeper and a mailer, see keeper.h. */
#include "keeper.h"

#include <string.h>

static const uint64_t SLOWNESS_NS = 400000; /* longer than to call again */

static uint64_t nid_of(uint32_t number)
{
	return lnet_make_nid(lnet_make_net(SOCKLND, 0), 0x0a000000 + number);
}

/* ---- The keeper ---------------------------------------------------------------------------- */

/* With the lock held. */
static ntstatus write_disk(struct keeper *keeper, struct disk *disk,
			   const struct lnet_transfer *transfer)
{
	if (transfer->position != disk->kept || disk->finished) {
		keeper->wrong++;
		return STATUS_INVALID_PARAMETER;
	}
	if (disk->kept + transfer->length > disk->room)
		return STATUS_DEVICE_NOT_READY;
	memcpy(disk->bytes + disk->kept, transfer->bytes, transfer->length);
	disk->kept += transfer->length;
	return STATUS_SUCCESS;
}

/* With the lock held. */
static ntstatus do_step(struct keeper *keeper, struct lnet_transfer *transfer)
{
	struct disk *disk = transfer->id < DISKS ? &keeper->disks[transfer->id] : NULL;

	if (disk == NULL)
		return STATUS_ACCESS_DENIED;
	disk->opened += transfer->step == LNET_OPEN;
	if (keeper->dead)
		return STATUS_CANCELLED;
	switch (transfer->step) {
	case LNET_OPEN:
		transfer->position = disk->kept;
		transfer->finished = disk->finished;
		return STATUS_SUCCESS;
	case LNET_WRITE:
		return write_disk(keeper, disk, transfer);
	default:
		keeper->wrong += disk->finished;
		disk->finished = true;
		return STATUS_SUCCESS;
	}
}

static void do_now(struct keeper *keeper, struct lnet_transfer *transfer)
{
	ntstatus status;
	kirql irql;

	if (!keeper->in_hurry && ke_choose(2, "whether a disk is slow") != 0)
		ke_delay_execution_thread(SLOWNESS_NS);
	irql = ke_acquire_spin_lock(&keeper->lock);
	status = do_step(keeper, transfer);
	ke_release_spin_lock(&keeper->lock, irql);
	lnet_step_done(transfer, status);
}

static void step(void *owner, struct lnet_transfer *transfer)
{
	struct keeper *keeper = owner;

	if (keeper->in_hurry) {
		do_now(keeper, transfer);
		return;
	}
	ex_interlocked_insert_tail_list(&keeper->steps, &transfer->work, &keeper->lock);
	ke_set_event(&keeper->work);
}

static void closed(void *owner, struct lnet_transfer *transfer)
{
	struct keeper *keeper = owner;
	kirql irql = ke_acquire_spin_lock(&keeper->lock);

	if (transfer->id < DISKS)
		keeper->disks[transfer->id].closed++;
	ke_release_spin_lock(&keeper->lock, irql);
	if (!nt_success(transfer->failure))
		ke_set_event(&keeper->gave_up);
}

static bool is_retiring(struct keeper *keeper)
{
	kirql irql = ke_acquire_spin_lock(&keeper->lock);
	bool retiring = keeper->retiring;

	ke_release_spin_lock(&keeper->lock, irql);
	return retiring;
}

/* A step that no message waits for can be there still when the node is gone. */
static void work(void *context)
{
	struct keeper *keeper = context;
	bool retiring;

	do {
		struct list_entry *entry;

		retiring = is_retiring(keeper);
		while ((entry = ex_interlocked_remove_head_list(&keeper->steps, &keeper->lock)) !=
		       NULL)
			do_now(keeper, containing_record(entry, struct lnet_transfer, work));
		if (!retiring)
			ke_wait_for_single_object(&keeper->work, KE_WAIT_FOREVER);
	} while (!retiring);
}

static void retire(struct keeper *keeper)
{
	kirql irql = ke_acquire_spin_lock(&keeper->lock);

	keeper->retiring = true;
	ke_release_spin_lock(&keeper->lock, irql);
	ke_set_event(&keeper->work);
	ke_wait_for_thread(&keeper->thread);
}

void initialize_keeper(struct keeper *keeper, struct device_object *device,
		       const struct transport_address *place)
{
	*keeper =
		(struct keeper){.device = device, .place = *place, .most = DISKS, .nid = nid_of(1)};
	ke_initialize_spin_lock(&keeper->lock);
	ke_initialize_event(&keeper->work, SYNCHRONIZATION_EVENT, false);
	ke_initialize_event(&keeper->gave_up, SYNCHRONIZATION_EVENT, false);
}

bool begin_life(struct keeper *keeper)
{
	const struct lnet_options options = {
		.device = keeper->device,
		.listen = &keeper->place,
		.backlog = 4,
		.nids = &keeper->nid,
		.nid_count = 1,
		.portals = keeper->portals,
		.portal_count = DELIVERY_PORTAL + 1,
		.timeout_ns = keeper->timeout_ns,
		.incarnation = ++keeper->lives,
	};
	ntstatus status;

	keeper->receiver = (struct lnet_receiver){.most = keeper->most,
						  .block_bytes = 64 << 10,
						  .idle_ns = keeper->idle_ns,
						  .step = step,
						  .closed = closed,
						  .owner = keeper};
	lnet_open_receiver(&keeper->receiver, &keeper->portals[DELIVERY_PORTAL]);
	initialize_list_head(&keeper->steps);
	keeper->dead = keeper->retiring = false;
	if (!nt_success(ps_create_system_thread(&keeper->thread, work, keeper)))
		return false;
	keeper->node = lnet_startup(&options, &status);
	if (keeper->node != NULL && nt_success(lnet_query_listener(keeper->node, &keeper->place)))
		return true;
	if (keeper->node != NULL)
		lnet_shutdown(keeper->node);
	retire(keeper);
	return false;
}

void end_life(struct keeper *keeper)
{
	kirql irql = ke_acquire_spin_lock(&keeper->lock);

	keeper->dead = true;
	ke_release_spin_lock(&keeper->lock, irql);
	lnet_shutdown(keeper->node);
	retire(keeper);
	lnet_close_receiver(&keeper->receiver);
}

/* ---- The mailer ---------------------------------------------------------------------------- */

static ntstatus read_whole(void *owner, uint64_t position, void *buffer, uint32_t length)
{
	struct mailer *mailer = owner;

	if (!nt_success(mailer->read_fails) && position + length > mailer->fails_at)
		return mailer->read_fails;
	memcpy(buffer, mailer->bytes + position, length);
	return STATUS_SUCCESS;
}

/* What is acknowledged is kept. */
static ntstatus moved(void *owner, uint64_t position)
{
	struct mailer *mailer = owner;
	kirql irql = ke_acquire_spin_lock(&mailer->keeper->lock);
	bool kept = position <= mailer->keeper->disks[mailer->id].kept;
	bool killed;

	ke_release_spin_lock(&mailer->keeper->lock, irql);
	irql = ke_acquire_spin_lock(&mailer->lock);
	mailer->wrong += !kept;
	killed = mailer->killed;
	ke_release_spin_lock(&mailer->lock, irql);
	return killed ? STATUS_CANCELLED : STATUS_SUCCESS;
}

void initialize_mailer(struct mailer *mailer, struct keeper *keeper, uint32_t id, const char *bytes,
		       uint64_t length)
{
	*mailer =
		(struct mailer){.keeper = keeper, .nid = nid_of(2 + id), .id = id, .bytes = bytes};
	mailer->what = (struct lnet_delivery){.portal = DELIVERY_PORTAL,
					      .id = id,
					      .length = length,
					      .block_bytes = 8,
					      .window = 2,
					      .pause_ns = 1000000,
					      .read = read_whole,
					      .moved = moved,
					      .owner = mailer};
	ke_initialize_spin_lock(&mailer->lock);
}

/* It has been killed when there is no peer; returns the one that it had. */
static struct ksock_peer *set_peer(struct mailer *mailer, struct ksock_peer *peer)
{
	kirql irql = ke_acquire_spin_lock(&mailer->lock);
	struct ksock_peer *last = mailer->peer;

	mailer->peer = peer;
	mailer->killed = false;
	mailer->lives += peer != NULL;
	ke_release_spin_lock(&mailer->lock, irql);
	return last;
}

static ntstatus live(struct mailer *mailer)
{
	const struct lnet_options options = {
		.device = mailer->keeper->device,
		.nids = &mailer->nid,
		.nid_count = 1,
		.typed = mailer->typed,
		.timeout_ns = mailer->timeout_ns,
		.incarnation = mailer->lives + 1,
	};
	ntstatus status;
	struct lnet_node *node = lnet_startup(&options, &status);

	if (node == NULL)
		return status;
	mailer->what.peer = ksocknal_find_peer(lnet_find_ni(node, mailer->nid), mailer->keeper->nid,
					       &mailer->keeper->place);
	status = STATUS_INSUFFICIENT_RESOURCES;
	if (mailer->what.peer != NULL) {
		set_peer(mailer, mailer->what.peer);
		status = lnet_deliver(&mailer->what, &mailer->report);
		ksocknal_put_peer(set_peer(mailer, NULL));
	}
	lnet_shutdown(node);
	return status;
}

ntstatus deliver(struct mailer *mailer)
{
	ntstatus status;

	do
		status = live(mailer);
	while (status == STATUS_CANCELLED);
	return status;
}

/* With the lock held, so that the peer stays. */
static void cut(struct mailer *mailer, bool kill)
{
	kirql irql = ke_acquire_spin_lock(&mailer->lock);

	if (mailer->peer != NULL) {
		mailer->killed |= kill;
		ksocknal_close_peer(mailer->peer, STATUS_CONNECTION_RESET);
	}
	ke_release_spin_lock(&mailer->lock, irql);
}

void kill_mailer(struct mailer *mailer)
{
	cut(mailer, true);
}

void cut_connections(struct mailer *mailer)
{
	cut(mailer, false);
}
