/*
 * Stage 04, over a device that buffers: it answers each piece at once or later, with as much as it
 * has room for or cares to take, and the news of room may overtake the answer.
 */
#include <string.h>

#include "scenarios.h"
#include "tdi/stream.h"

enum { BLOCK = 5, ROOM = 4, FREED = 3, SIDES = 2, MOST = 8 };

struct side {
	struct flow *flow;
	struct file_object file;
	struct tdi_send_window window;
	struct tdi_window_send sends[MOST];
	char *blocks;
	unsigned called; /* callbacks so far */
	ntstatus status[MOST];
	uint32_t bytes[MOST];
	char kept[MOST * BLOCK]; /* what the device has taken */
	uint32_t kept_bytes;
};

struct flow {
	struct device_object device;
	struct kspin_lock lock;
	bool moody;	   /* how much it takes is its choice */
	uint32_t buffered; /* of ROOM; not when it is moody */
	struct kdpc freed;
	unsigned sides, requests;
	struct side side[SIDES];
	struct kevent all;
	int32_t left;
};

/* A piece that the device owns. */
struct owned {
	struct kdpc dpc;
	struct irp *irp;
};

/* ---- The device ---------------------------------------------------------------------------- */

static uint32_t choose_taken(const struct flow *flow, uint32_t length)
{
	uint32_t room = ROOM - flow->buffered;

	if (flow->moody)
		return length - ke_choose(length + 1, "how much less than all is taken");
	return length < room ? length : room;
}

static void answer(struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	uint32_t length = tdi_parameters(location, tdi_request_send)->send_length;
	struct side *side = location->file_object->fs_context;
	struct flow *flow = side->flow;
	kirql irql = ke_acquire_spin_lock(&flow->lock);
	uint32_t taken = choose_taken(flow, length);

	scenario_expect(side->kept_bytes + taken <= sizeof(side->kept),
			"more bytes are sent than there are");
	memcpy(side->kept + side->kept_bytes, mm_get_system_address_for_mdl(irp->mdl_address),
	       taken);
	side->kept_bytes += taken;
	if (!flow->moody)
		flow->buffered += taken;
	ke_release_spin_lock(&flow->lock, irql);
	if (taken < length)
		ke_insert_queue_dpc(&flow->freed); /* the news may overtake the answer */
	io_finish_request(irp, taken == 0 ? STATUS_DEVICE_NOT_READY : STATUS_SUCCESS, taken);
}

static void answer_later(struct kdpc *dpc, void *context)
{
	struct irp *irp = ((struct owned *)context)->irp;

	(void)dpc;
	ex_free_pool(context);
	answer(irp);
}

static ntstatus flow_control(struct device_object *device, struct irp *irp)
{
	struct owned *owned;

	(void)device;
	io_mark_irp_pending(irp);
	owned = ke_choose(2, "whether a piece is answered later") == 1
			? ex_allocate_pool(sizeof(*owned))
			: NULL;
	if (owned == NULL) {
		answer(irp);
		return STATUS_PENDING;
	}
	owned->irp = irp;
	ke_initialize_dpc(&owned->dpc, answer_later, owned, KE_ANY_PROCESSOR);
	ke_insert_queue_dpc(&owned->dpc);
	return STATUS_PENDING;
}

/* Some of what was buffered has gone out, and everybody is told, whoever has asked. */
static void room_is_freed(struct kdpc *dpc, void *context)
{
	struct flow *flow = context;
	kirql irql = ke_acquire_spin_lock(&flow->lock);

	(void)dpc;
	flow->buffered -= flow->buffered < FREED ? flow->buffered : FREED;
	ke_release_spin_lock(&flow->lock, irql);
	for (unsigned i = 0; i < flow->sides; i++)
		tdi_window_send_possible(&flow->side[i].window);
}

static const struct driver_object flow_driver = {
	.driver_name = "flow", .major_function = {[IRP_MJ_INTERNAL_DEVICE_CONTROL] = flow_control}};

/* ---- The clients --------------------------------------------------------------------------- */

static void called_back(void *context, ntstatus status, uint32_t bytes)
{
	struct side *side = context;
	unsigned i = side->called++; /* one at a time, in order: the check would tell */

	scenario_expect(i < side->flow->requests, "a callback has run twice");
	side->status[i] = status;
	side->bytes[i] = bytes;
	if (interlocked_decrement(&side->flow->left) == 0)
		ke_set_event(&side->flow->all);
}

static void give_all(void *context)
{
	struct side *side = context;

	for (unsigned i = 0; i < side->flow->requests; i++)
		tdi_window_send(&side->window, &side->sends[i], side->blocks + i * BLOCK, BLOCK,
				called_back, side);
}

/* What has gone out is, of each send in order, as much as its callback was told. */
static void check_side(const struct side *side, ntstatus reason)
{
	uint32_t at = 0;

	for (unsigned i = 0; i < side->flow->requests; i++) {
		ntstatus status = side->status[i];

		scenario_expect(nt_success(status) || status == STATUS_INSUFFICIENT_RESOURCES ||
					status == reason,
				"send %u ended with %s", i, nt_status_name(status));
		scenario_expect(nt_success(status) == (side->bytes[i] == BLOCK),
				"send %u ended with %s and %u bytes", i, nt_status_name(status),
				side->bytes[i]);
		scenario_expect(at + side->bytes[i] <= side->kept_bytes &&
					memcmp(side->kept + at, side->blocks + i * BLOCK,
					       side->bytes[i]) == 0,
				"the bytes of send %u went out otherwise", i);
		at += side->bytes[i];
	}
	scenario_expect(at == side->kept_bytes, "%u bytes went out, the callbacks tell of %u",
			side->kept_bytes, at);
}

static bool open_side(struct flow *flow, struct side *side)
{
	side->flow = flow;
	side->file.device_object = &flow->device;
	side->file.fs_context = side;
	side->blocks = ex_allocate_pool(MOST * BLOCK);
	if (side->blocks == NULL)
		return false;
	for (int i = 0; i < MOST * BLOCK; i++)
		side->blocks[i] = (char)('0' + i);
	tdi_initialize_send_window(&side->window, &side->file, true);
	return true;
}

static bool open_flow(struct flow *flow, const struct sim_setting *setting, unsigned sides,
		      bool moody)
{
	unsigned requests = setting->requests < MOST ? setting->requests : MOST;

	*flow = (struct flow){.moody = moody, .sides = sides, .requests = requests};
	flow->left = (int32_t)(sides * requests);
	ke_initialize_spin_lock(&flow->lock);
	ke_initialize_event(&flow->all, NOTIFICATION_EVENT, false);
	ke_initialize_dpc(&flow->freed, room_is_freed, flow, KE_ANY_PROCESSOR);
	io_initialize_device(&flow->device, &flow_driver, NULL, flow);
	for (unsigned i = 0; i < sides; i++)
		if (!open_side(flow, &flow->side[i])) {
			while (i > 0)
				ex_free_pool(flow->side[--i].blocks);
			return false;
		}
	return true;
}

static void close_flow(struct flow *flow, ntstatus reason)
{
	ke_wait_for_single_object(&flow->all, KE_WAIT_FOREVER);
	ke_flush_queued_dpcs(); /* those in which the last callbacks ran */
	for (unsigned i = 0; i < flow->sides; i++) {
		check_side(&flow->side[i], reason);
		tdi_remove_send_window(&flow->side[i].window);
		ex_free_pool(flow->side[i].blocks);
	}
}

static void send_short(void *setting)
{
	struct flow flow;

	if (!open_flow(&flow, setting, 1, true))
		return;
	give_all(&flow.side[0]);
	close_flow(&flow, STATUS_SUCCESS);
}

static void send_from_two(void *setting)
{
	struct flow flow;
	struct kthread thread;
	bool second;

	if (!open_flow(&flow, setting, SIDES, false))
		return;
	second = nt_success(ps_create_system_thread(&thread, give_all, &flow.side[1]));
	give_all(&flow.side[0]);
	if (second)
		ke_wait_for_thread(&thread);
	else
		give_all(&flow.side[1]);
	close_flow(&flow, STATUS_SUCCESS);
}

static void end_side(void *context)
{
	struct side *side = context;

	tdi_end_send_window(&side->window, STATUS_CONNECTION_RESET);
}

static void end_meanwhile(void *setting)
{
	struct flow flow;
	struct kthread thread;
	bool ends;

	if (!open_flow(&flow, setting, 1, true))
		return;
	ends = nt_success(ps_create_system_thread(&thread, end_side, &flow.side[0]));
	give_all(&flow.side[0]);
	if (ends)
		ke_wait_for_thread(&thread);
	close_flow(&flow, STATUS_CONNECTION_RESET);
}

const struct sim_scenario flow_scenarios[] = {
	{"flow/short", "sends by pieces, of which a device takes as much as it likes", send_short,
	 2, true},
	{"flow/two-clients", "two windows send through little room, and both are told of any",
	 send_from_two, 2, true},
	{"flow/end", "a window ends while its sends go out by pieces", end_meanwhile, 2, true},
	{0},
};
