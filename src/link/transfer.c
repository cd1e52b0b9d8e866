/*
 * Sends and receives: the steps of the two pumps, each with its connection's lock held.
 *
 * A send's way. It waits in its queue, where it can be cancelled, until there is room for a byte of
 * it. Then it is `current`: cut into segments as far as the room goes. When all of it is in
 * segments, a link that buffers is done with it; otherwise it goes to `unacknowledged`, until the
 * peer's acknowledgements have passed its last byte. A send that is done completes at the end of
 * the pump's turn, or, where the options say so, is kept in `deferred` until a DPC has run. Nothing
 * overtakes what is deferred, so sends complete in the order in which their last bytes went out.
 * There is one current send of each kind, and the expedited one goes first.
 *
 * A non-blocking send that finds no room for all of it is done at once, with what was taken.
 *
 * No pool. A segment that can't be had now is tried again in a millisecond; the send stays current.
 */
#include <string.h>

#include "link/private.h"

enum { RETRY_NS = 1000000 };

static ke_deferred_routine complete_deferred;

void link_initialize_transfer(struct link_connection *link)
{
	initialize_list_head(&link->unacknowledged);
	initialize_list_head(&link->deferred);
	ke_initialize_dpc(&link->deferred_dpc, complete_deferred, link, KE_ANY_PROCESSOR);
}

/* Copies the bytes from `offset` on that a chain describes. */
static void copy_mdl(const struct mdl *mdl, uint32_t offset, char *buffer, uint32_t length)
{
	for (; length > 0; mdl = mdl->next) {
		uint32_t size = mm_get_mdl_byte_count(mdl);
		char *address = mm_get_system_address_for_mdl(mdl) + offset;
		uint32_t piece;

		if (offset >= size) {
			offset -= size;
			continue;
		}
		piece = size - offset < length ? size - offset : length;
		memcpy(buffer, address, piece);
		buffer += piece;
		length -= piece;
		offset = 0;
	}
}

/* ---- Sending ------------------------------------------------------------------------------- */

static uint32_t send_length(struct irp *irp)
{
	return tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_send)
		->send_length;
}

/* Where in the stream the send's last byte ends, once all are in segments. */
static uint64_t *end_offset(struct irp *irp)
{
	return (uint64_t *)(void *)&irp->driver_context[0];
}

static bool is_deferred(struct link_connection *link)
{
	if (!is_list_empty(&link->deferred))
		return true;
	switch (link_device_of(&link->tdi)->options.completion) {
	case LINK_COMPLETE_INLINE:
		return false;
	case LINK_COMPLETE_DEFERRED:
		return true;
	default:
		return ke_choose(2, "whether a send completes inline or from a DPC") == 1;
	}
}

static void finish_send(struct link_connection *link, struct irp *irp, uint32_t bytes,
			struct list_entry *completed)
{
	bool refused = bytes == 0 && send_length(irp) > 0;
	ntstatus status = refused ? STATUS_DEVICE_NOT_READY : STATUS_SUCCESS;

	if (!is_deferred(link)) {
		tdi_provider_finish(completed, irp, status, bytes);
		return;
	}
	tdi_provider_finish(&link->deferred, irp, status, bytes);
	if (ke_insert_queue_dpc(&link->deferred_dpc))
		tdi_provider_hold(&link->tdi); /* the DPC's */
}

/* Lets the pump complete them, so that they don't run beside what it is just completing. */
static void complete_deferred(struct kdpc *dpc, void *context)
{
	struct link_connection *link = context;
	kirql irql = ke_acquire_spin_lock(&link->tdi.lock);

	(void)dpc;
	link->deferred_due = true;
	tdi_provider_run_pump_and_unlock(&link->tdi, &link->tdi.send_pump, irql);
	tdi_provider_drop(&link->tdi);
}

/* How long the next segment is: all there is room for, unless the link cuts. */
static uint32_t choose_length(const struct link_options *options, uint32_t longest)
{
	if (longest > options->segment_bytes)
		longest = options->segment_bytes;
	if (!options->cut || longest == 1)
		return longest;
	switch (ke_choose(3, "where to cut a segment")) {
	case 0:
		return longest;
	case 1:
		return 1;
	default:
		return 1 + ke_choose(longest - 1, "at which byte to cut a segment");
	}
}

/* Sends a piece of a current request; returns its length, 0 when there is no pool for it. */
static uint32_t send_piece(struct link_connection *link, unsigned kind, uint32_t room)
{
	const struct link_options *options = &link_device_of(&link->tdi)->options;
	uint32_t left = send_length(link->current[kind]) - link->accepted[kind];
	uint32_t length = choose_length(options, left < room ? left : room);
	struct segment *segment = pipe_allocate_segment(length);

	if (segment == NULL)
		return 0;
	segment->kind = kind;
	copy_mdl(link->current[kind]->mdl_address, link->accepted[kind], segment->bytes, length);
	link->accepted[kind] += length;
	link->sent_bytes += length;
	stat_set(&link->counters, LINK_SENT_BYTES, link->sent_bytes);
	circuit_send(link->circuit, link->end, segment);
	return length;
}

static struct io_csq *sends_of(struct link_connection *link, unsigned kind)
{
	return kind == TDI_EXPEDITED ? &link->tdi.expedited_sends : &link->tdi.sends;
}

/* Whether a send is current, or the oldest queued one could be made so; *kind says which. */
static bool begin_send(struct link_connection *link, unsigned *kind)
{
	for (*kind = TDI_KINDS; (*kind)-- > 0;) {
		if (link->current[*kind] != NULL)
			return true;
		link->current[*kind] = io_csq_remove_next_irp(sends_of(link, *kind));
		link->accepted[*kind] = 0;
		if (link->current[*kind] != NULL)
			return true;
	}
	return false;
}

/* All of the current request is in segments. */
static void accept_current(struct link_connection *link, unsigned kind,
			   struct list_entry *completed)
{
	struct irp *irp = link->current[kind];

	link->current[kind] = NULL;
	*end_offset(irp) = link->sent_bytes;
	if (link_device_of(&link->tdi)->options.buffered)
		finish_send(link, irp, send_length(irp), completed);
	else
		insert_tail_list(&link->unacknowledged, &irp->list_entry);
}

/* Whether a link that cuts takes no more of a send for now, though there is room. */
static bool stops_short(const struct link_connection *link)
{
	return link_device_of(&link->tdi)->options.cut &&
	       ke_choose(2, "whether a send is accepted only in part") == 1;
}

/*
 * There is no room for all of the current request. One that does not block is done. Another stays,
 * or, as long as nothing of it was taken, goes back to where it can be cancelled. True if the next
 * one may be looked at.
 */
static bool leave_current(struct link_connection *link, unsigned kind, struct list_entry *completed)
{
	struct irp *irp = link->current[kind];

	if (tdi_provider_is_non_blocking(&link->tdi, irp)) {
		link->current[kind] = NULL;
		link->tdi.room_owed = true;
		finish_send(link, irp, link->accepted[kind], completed);
		return true;
	}
	if (link->accepted[kind] > 0)
		return false;
	link->current[kind] = NULL;
	if (io_csq_return_irp(sends_of(link, kind), irp))
		return false;
	tdi_provider_finish(completed, irp, STATUS_CANCELLED, 0);
	return true;
}

/* Accepts what there is room for. True when no send is left waiting. */
static bool accept_sends(struct link_connection *link, struct list_entry *completed)
{
	uint32_t room = 0;
	unsigned kind;

	while (begin_send(link, &kind)) {
		uint32_t piece = 0;

		if (room == 0)
			room = circuit_room(link->circuit, link->end);
		if (room > 0 && link->accepted[kind] < send_length(link->current[kind])) {
			piece = send_piece(link, kind, room);
			if (piece == 0) {
				circuit_send_later(link->circuit, link->end, RETRY_NS);
				return false;
			}
		}
		room -= piece;
		if (link->accepted[kind] == send_length(link->current[kind])) {
			accept_current(link, kind, completed);
		} else if (piece == 0 || stops_short(link)) {
			if (piece > 0)
				circuit_send_later(link->circuit, link->end, 0);
			if (!leave_current(link, kind, completed))
				return false;
		}
	}
	return true; /* one that is still in a queue is just being cancelled, and waits for nothing
		      */
}

void link_update_acknowledged(struct link_connection *link)
{
	if (link->circuit != NULL)
		link->acknowledged_bytes = circuit_acknowledged(link->circuit, link->end);
	stat_set(&link->counters, LINK_ACKNOWLEDGED_BYTES, link->acknowledged_bytes);
}

static void finish_acknowledged(struct link_connection *link, struct list_entry *completed)
{
	while (!is_list_empty(&link->unacknowledged)) {
		struct list_entry *first = link->unacknowledged.next;
		struct irp *irp = containing_record(first, struct irp, list_entry);

		if (*end_offset(irp) > link->acknowledged_bytes)
			return;
		remove_entry_list(first);
		finish_send(link, irp, send_length(irp), completed);
	}
}

/* Every send is in segments. */
static void release_if_wanted(struct link_connection *link)
{
	if (!link->tdi.release_wanted || link->tdi.send_ended)
		return;
	circuit_send_end(link->circuit, link->end);
	link->tdi.send_ended = true;
}

void link_send(struct tdi_connection *connection, struct list_entry *completed)
{
	struct link_connection *link = link_connection_of(connection);
	bool all;

	if (link->deferred_due) {
		append_tail_list(completed, &link->deferred);
		link->deferred_due = false;
	}
	if (connection->state != TDI_STATE_CONNECTED)
		return;
	all = accept_sends(link, completed);
	connection->backlogged =
		link->current[TDI_NORMAL] != NULL || link->current[TDI_EXPEDITED] != NULL;
	if (connection->room_owed)
		connection->room = circuit_room(link->circuit, link->end);
	link_update_acknowledged(link);
	finish_acknowledged(link, completed); /* also an empty send that was just accepted */
	if (all)
		release_if_wanted(link);
}

/* ---- Receiving ----------------------------------------------------------------------------- */

/* Only when the client has had all of a segment there is room again for the peer. */
void link_free_arrival(struct tdi_connection *connection, struct tdi_arrival *arrival)
{
	struct link_connection *link = link_connection_of(connection);
	struct segment *segment = containing_record(arrival, struct segment, arrival);

	if (link->circuit != NULL)
		circuit_read(link->circuit, link->end, arrival->mdl.byte_count);
	pipe_free_segment(segment);
}

void link_receive(struct tdi_connection *connection, struct list_entry *completed)
{
	struct link_connection *link = link_connection_of(connection);
	struct list_entry arrived, *entry;

	(void)completed;
	if (connection->state != TDI_STATE_CONNECTED)
		return;
	initialize_list_head(&arrived);
	connection->peer_ended = circuit_fetch(link->circuit, link->end, &arrived);
	while ((entry = remove_head_list(&arrived)) != NULL) {
		struct segment *segment = containing_record(entry, struct segment, entry);

		segment->arrival.mdl.mapped_system_va = segment->bytes;
		segment->arrival.mdl.byte_count = segment->length;
		link->received_bytes += segment->length;
		if (segment->length > 0)
			tdi_provider_add_arrival(connection, segment->kind, &segment->arrival);
		else
			pipe_free_segment(segment); /* the link broke before its first byte */
	}
	stat_set(&link->counters, LINK_RECEIVED_BYTES, link->received_bytes);
}

/* ---- Failing ------------------------------------------------------------------------------- */

static void fail_list(struct list_entry *irps, ntstatus reason, struct list_entry *completed)
{
	struct list_entry *entry;

	while ((entry = remove_head_list(irps)) != NULL)
		tdi_provider_finish(completed, containing_record(entry, struct irp, list_entry),
				    reason, 0);
}

/*
 * What is acknowledged by now has been sent, whatever happens next; the rest has not. The oldest
 * first, as ever, so what was deferred goes before all.
 */
void link_abort_transfer(struct link_connection *link, struct list_entry *completed)
{
	append_tail_list(completed, &link->deferred);
	link->acknowledged_bytes = circuit_leave(link->circuit, link->end, link->tdi.send_ended);
	link->circuit = NULL;
	link_update_acknowledged(link);
	finish_acknowledged(link, completed);
	append_tail_list(completed, &link->deferred);
	fail_list(&link->unacknowledged, link->tdi.failure, completed);
	for (unsigned kind = TDI_KINDS; kind-- > 0;) {
		if (link->current[kind] != NULL)
			tdi_provider_finish(completed, link->current[kind], link->tdi.failure, 0);
		link->current[kind] = NULL;
	}
}
