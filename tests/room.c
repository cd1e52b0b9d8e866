/* The scripted transport of room.h. */
#include "room.h"

#include <string.h>

#include "executive.h"
#include "transport_client.h"

/* What the transport keeps for a piece. */
struct held {
	struct kdpc dpc;
	struct ktimer timer;
	struct port *port;
	struct irp *irp;
};

static const struct answer all_taken = {STATUS_SUCCESS, ALL, false};

static uint32_t draw(struct room *room, uint32_t below)
{
	room->random ^= room->random << 13;
	room->random ^= room->random >> 17;
	room->random ^= room->random << 5;
	return room->random % below;
}

/* The next of the script, or what there is room for. Lock held. */
static struct answer choose_answer(struct room *room, uint32_t length)
{
	struct answer answer = all_taken;

	if (room->script_length > 0) {
		room->script_length--;
		return *room->script++;
	}
	if (room->space == 0 || length == 0)
		return answer;
	answer.most = room->space - room->buffered;
	if (room->random != 0 && answer.most > 1)
		answer.most = draw(room, answer.most + 1);
	if (answer.most == 0)
		answer.status = STATUS_DEVICE_NOT_READY;
	return answer;
}

static ntstatus finish_piece(struct port *port, struct irp *irp)
{
	struct room *room = port->room;
	uint32_t length = tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_send)
				  ->send_length;
	kirql irql = ke_acquire_spin_lock(&room->lock);
	struct answer answer = choose_answer(room, length);
	uint32_t taken = 0;

	if (nt_success(answer.status))
		taken = length < answer.most ? length : answer.most;
	if (taken > 0)
		memcpy(port->kept + port->kept_bytes,
		       mm_get_system_address_for_mdl(irp->mdl_address), taken);
	port->kept_bytes += taken;
	room->buffered += taken;
	room->owned--;
	if (answer.status == STATUS_DEVICE_NOT_READY ||
	    (nt_success(answer.status) && taken < length))
		port->wants_news = !answer.news;
	ke_release_spin_lock(&room->lock, irql);
	if (room->drains)
		ke_insert_queue_dpc(&room->drain);
	if (answer.news)
		tdi_window_send_possible(&port->window);
	io_finish_request(irp, answer.status, taken);
	ke_set_event(&room->changed);
	return answer.status;
}

static void finish_kept(struct kdpc *dpc, void *context)
{
	struct held kept = *(struct held *)context;

	(void)dpc;
	ex_free_pool(context);
	finish_piece(kept.port, kept.irp);
}

void let_go(struct room *room, int index)
{
	finish_kept(NULL, room->held[index]);
	ke_flush_queued_dpcs();
}

static ntstatus keep_piece(struct room *room, struct port *port, struct irp *irp, int32_t owned)
{
	struct held *kept = need_pool(sizeof(*kept));

	*kept = (struct held){.port = port, .irp = irp};
	ke_initialize_dpc(&kept->dpc, finish_kept, kept, KE_ANY_PROCESSOR);
	ke_initialize_timer(&kept->timer);
	if (room->when == HELD)
		room->held[owned - 1] = kept;
	else if (room->when == FROM_DPC)
		ke_insert_queue_dpc(&kept->dpc);
	else
		ke_set_timer(&kept->timer, 100000, &kept->dpc);
	return STATUS_PENDING;
}

static ntstatus room_control(struct device_object *device, struct irp *irp)
{
	struct room *room = device->device_extension;
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	struct port *port = location->file_object->fs_context;
	kirql irql = ke_acquire_spin_lock(&room->lock);
	int32_t owned = ++room->owned;

	room->pieces++;
	if (tdi_parameters(location, tdi_request_send)->send_flags !=
	    (port->window.buffers ? TDI_SEND_NON_BLOCKING : 0))
		room->other_flags++;
	if (owned > room->most_owned)
		room->most_owned = owned;
	ke_release_spin_lock(&room->lock, irql);
	if (room->when == AT_ONCE)
		return finish_piece(port, irp);
	io_mark_irp_pending(irp);
	if (room->when != PENDING_AT_ONCE)
		return keep_piece(room, port, irp, owned);
	finish_piece(port, irp);
	return STATUS_PENDING;
}

/* Some of what was buffered has gone out: tells those who were told that there is too little. */
static void drain(struct kdpc *dpc, void *context)
{
	struct room *room = context;
	bool tell[WINDOWS];
	kirql irql = ke_acquire_spin_lock(&room->lock);

	(void)dpc;
	if (room->buffered > 0)
		room->buffered -= 1 + draw(room, room->buffered);
	for (int i = 0; i < WINDOWS; i++) {
		tell[i] = room->ports[i].wants_news;
		room->ports[i].wants_news = false;
	}
	ke_release_spin_lock(&room->lock, irql);
	for (int i = 0; i < WINDOWS; i++)
		if (tell[i])
			tdi_window_send_possible(&room->ports[i].window);
}

static const struct driver_object room_driver = {
	.driver_name = "room", .major_function = {[IRP_MJ_INTERNAL_DEVICE_CONTROL] = room_control}};

void open_room(struct room *room, struct counted *counted, enum when when, bool buffers)
{
	begin_counted(counted);
	*room = (struct room){.when = when, .random = 1};
	ke_initialize_spin_lock(&room->lock);
	ke_initialize_event(&room->changed, SYNCHRONIZATION_EVENT, false);
	ke_initialize_dpc(&room->drain, drain, room, KE_ANY_PROCESSOR);
	io_initialize_device(&room->device, &room_driver, NULL, room);
	room->device.segment = counted->segment;
	for (int i = 0; i < WINDOWS; i++) {
		struct port *port = &room->ports[i];

		port->room = room;
		port->kept = need_pool(KEPT_BYTES);
		port->file.device_object = &room->device;
		port->file.fs_context = port;
		tdi_initialize_send_window(&port->window, &port->file, buffers);
	}
}

void close_room(struct room *room, struct counted *counted)
{
	ke_flush_queued_dpcs();
	CU_ASSERT_EQUAL(room->owned, 0);
	CU_ASSERT_EQUAL(room->other_flags, 0);
	for (int i = 0; i < WINDOWS; i++) {
		CU_ASSERT(is_list_empty(&room->ports[i].window.waiting));
		tdi_remove_send_window(&room->ports[i].window);
		ex_free_pool(room->ports[i].kept);
	}
	end_counted(counted);
}

bool owes_news(struct port *port)
{
	kirql irql = ke_acquire_spin_lock(&port->room->lock);
	bool owed = port->wants_news;

	port->wants_news = false;
	ke_release_spin_lock(&port->room->lock, irql);
	return owed;
}
