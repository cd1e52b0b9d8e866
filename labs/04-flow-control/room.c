/* The transport of lab 04's exercises. */
#include "room.h"

#include <stdio.h>

#include "lab.h"

/* A piece that the transport keeps. */
struct held {
	struct room *room;
	struct kdpc dpc;
	struct ktimer timer;
	struct irp *irp;
};

static char byte_at(uint32_t offset)
{
	return (char)('a' + offset % 26);
}

void fill_stream(char *buffer, uint32_t offset, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		buffer[i] = byte_at(offset + i);
}

static struct tdi_request_send *parameters(struct irp *irp)
{
	return tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_send);
}

/* ---- What a piece must be ------------------------------------------------------------------ */

static void check_bytes(const struct room *room, struct irp *irp)
{
	char expected[120], actual[120];
	uint32_t length = parameters(irp)->send_length, left = BLOCK - room->taken % BLOCK;
	char first = mm_get_system_address_for_mdl(irp->mdl_address)[0];

	snprintf(expected, sizeof(expected),
		 "a piece of %u bytes that begins with byte %u of the stream", left, room->taken);
	snprintf(actual, sizeof(actual), "one of %u bytes that begins with %s", length,
		 first == byte_at(room->taken)			 ? "that"
		 : first == byte_at(room->taken / BLOCK * BLOCK) ? "the first byte of its send"
								 : "another");
	expect_true(RULE_PIECE, length == left && first == byte_at(room->taken), expected, actual);
}

static void check_piece(struct room *room, struct irp *irp)
{
	if (!room->window.buffers) {
		expect_number(RULE_UNBUFFERED, "the flags of a send", 0,
			      parameters(irp)->send_flags);
		return;
	}
	expect_number(room->busy_rule, "pieces that are under way when one is started", 0,
		      room->owned);
	expect_true(RULE_WAITS, !room->full,
		    "no piece begins between a short or refused one and the news of room",
		    "one begins");
	expect_number(RULE_PIECE, "the flags of a piece", TDI_SEND_NON_BLOCKING,
		      parameters(irp)->send_flags);
	check_bytes(room, irp);
}

/* ---- Answers ------------------------------------------------------------------------------- */

static struct answer next_answer(struct room *room, uint32_t length)
{
	struct answer answer = {STATUS_SUCCESS, length};

	if (room->script_length > 0) {
		room->script_length--;
		answer = *room->script++;
	}
	if (answer.bytes > length)
		answer.bytes = length;
	return answer;
}

static ntstatus finish(struct room *room, struct irp *irp)
{
	uint32_t length = parameters(irp)->send_length;
	kirql irql = ke_acquire_spin_lock(&room->lock);
	struct answer answer = next_answer(room, length);
	bool refused = answer.status == STATUS_DEVICE_NOT_READY;

	room->owned--;
	room->taken += nt_success(answer.status) || refused ? answer.bytes : length;
	if (refused || (nt_success(answer.status) && answer.bytes < length))
		room->full = room->window.buffers && !room->told;
	ke_release_spin_lock(&room->lock, irql);
	if (room->tells && answer.bytes < length)
		ke_insert_queue_dpc(&room->news);
	io_finish_request(irp, answer.status, nt_success(answer.status) ? answer.bytes : 0);
	return answer.status;
}

static void finish_held(struct kdpc *dpc, void *context)
{
	struct held held = *(struct held *)context;

	(void)dpc;
	ex_free_pool(context);
	finish(held.room, held.irp);
}

void let_go(struct room *room)
{
	expect_true(0, room->held_first != room->held_end, "a piece that the transport holds",
		    "there is none");
	finish_held(NULL, room->held[room->held_first++ % HELD_MOST]);
}

static ntstatus keep(struct room *room, struct irp *irp)
{
	struct held *held = lab_allocate(sizeof(*held));

	*held = (struct held){.room = room, .irp = irp};
	ke_initialize_dpc(&held->dpc, finish_held, held, KE_ANY_PROCESSOR);
	ke_initialize_timer(&held->timer);
	if (room->when == HELD)
		room->held[room->held_end++ % HELD_MOST] = held;
	else if (room->when == FROM_DPC)
		ke_insert_queue_dpc(&held->dpc);
	else
		ke_set_timer(&held->timer, (uint64_t)MILLISECONDS(1), &held->dpc);
	return STATUS_PENDING;
}

static ntstatus control(struct device_object *device, struct irp *irp)
{
	struct room *room = device->device_extension;
	kirql irql = ke_acquire_spin_lock(&room->lock);

	check_piece(room, irp);
	room->pieces++;
	room->owned++;
	room->told = false;
	ke_release_spin_lock(&room->lock, irql);
	if (room->when == AT_ONCE)
		return finish(room, irp);
	io_mark_irp_pending(irp);
	if (room->when != PENDING_AT_ONCE)
		return keep(room, irp);
	finish(room, irp);
	return STATUS_PENDING;
}

/* ---- News ---------------------------------------------------------------------------------- */

void tell_news(struct room *room)
{
	kirql irql = ke_acquire_spin_lock(&room->lock);

	room->told = true;
	room->full = false;
	ke_release_spin_lock(&room->lock, irql);
	tdi_window_send_possible(&room->window);
}

static void news_from_dpc(struct kdpc *dpc, void *context)
{
	(void)dpc;
	tell_news(context);
}

static const struct driver_object driver = {
	.driver_name = "room", .major_function = {[IRP_MJ_INTERNAL_DEVICE_CONTROL] = control}};

void open_room(struct room *room, enum when when, bool buffers)
{
	*room = (struct room){.when = when, .busy_rule = RULE_ONE_PIECE};
	ke_initialize_spin_lock(&room->lock);
	ke_initialize_dpc(&room->news, news_from_dpc, room, KE_ANY_PROCESSOR);
	io_initialize_device(&room->device, &driver, NULL, room);
	room->file.device_object = &room->device;
	tdi_initialize_send_window(&room->window, &room->file, buffers);
}

void close_room(struct room *room)
{
	ke_flush_queued_dpcs();
	tdi_remove_send_window(&room->window);
}
