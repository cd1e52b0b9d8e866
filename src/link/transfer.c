/*
 * Sends and receives: the steps of the two pumps, each with its connection's lock held.
 *
 * A send's way. It waits in the queue `sends`, where it can be cancelled, until there is room for a
 * byte of it. Then it is `current`: cut into segments as far as the room goes. When all of it is in
 * segments, a link that buffers is done with it; otherwise it goes to `unacknowledged`, until the
 * peer's acknowledgements have passed its last byte. A send that is done completes at the end of
 * the pump's turn, or, where the options say so, is kept in `deferred` until a DPC has run. Nothing
 * overtakes what is deferred, so sends complete in order.
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
	initialize_list_head(&link->unread);
	ke_initialize_dpc(&link->deferred_dpc, complete_deferred, link, KE_ANY_PROCESSOR);
}

/* Copies between a buffer and the bytes from `offset` on that a chain describes. */
static void copy_mdl(const struct mdl *mdl, uint32_t offset, char *buffer, uint32_t length,
		     bool to_mdl)
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
		memcpy(to_mdl ? address : buffer, to_mdl ? buffer : address, piece);
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

static void finish_send(struct link_connection *link, struct irp *irp, struct list_entry *completed)
{
	if (!is_deferred(link)) {
		tdi_provider_finish(completed, irp, STATUS_SUCCESS, send_length(irp));
		return;
	}
	tdi_provider_finish(&link->deferred, irp, STATUS_SUCCESS, send_length(irp));
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

/* Sends a piece of the current request; returns its length, 0 when there is no pool for it. */
static uint32_t send_piece(struct link_connection *link, uint32_t room)
{
	const struct link_options *options = &link_device_of(&link->tdi)->options;
	uint32_t left = send_length(link->current) - link->accepted;
	uint32_t length = choose_length(options, left < room ? left : room);
	struct segment *segment = pipe_allocate_segment(length);

	if (segment == NULL)
		return 0;
	copy_mdl(link->current->mdl_address, link->accepted, segment->bytes, length, false);
	link->accepted += length;
	link->sent_bytes += length;
	stat_set(&link->counters, LINK_SENT_BYTES, link->sent_bytes);
	circuit_send(link->circuit, link->end, segment);
	return length;
}

/* Makes the oldest queued send the current one; false when there is none. */
static bool begin_send(struct link_connection *link)
{
	link->current = io_csq_remove_next_irp(&link->tdi.sends);
	link->accepted = 0;
	return link->current != NULL;
}

/* All of the current request is in segments. */
static void accept_current(struct link_connection *link, struct list_entry *completed)
{
	struct irp *irp = link->current;

	link->current = NULL;
	if (link_device_of(&link->tdi)->options.buffered)
		finish_send(link, irp, completed);
	else
		insert_tail_list(&link->unacknowledged, &irp->list_entry);
}

/* Whether a link that cuts takes no more of a send for now, though there is room. */
static bool stops_short(const struct link_connection *link)
{
	return link_device_of(&link->tdi)->options.cut &&
	       ke_choose(2, "whether a send is accepted only in part") == 1;
}

/* Accepts what there is room for. True when no send is left waiting. */
static bool accept_sends(struct link_connection *link, struct list_entry *completed)
{
	uint32_t room = 0;

	while (room > 0 || (room = circuit_room(link->circuit, link->end)) > 0) {
		uint32_t piece = 0;

		if (link->current == NULL && !begin_send(link))
			return true;
		if (link->accepted < send_length(link->current)) {
			piece = send_piece(link, room);
			if (piece == 0) {
				circuit_send_later(link->circuit, link->end, RETRY_NS);
				return false;
			}
		}
		room -= piece;
		if (link->accepted == send_length(link->current)) {
			accept_current(link, completed);
		} else if (stops_short(link)) {
			circuit_send_later(link->circuit, link->end, 0);
			return false;
		}
	}
	/* One that is just being cancelled counts as waiting: room will bring this back here. */
	return link->current == NULL && is_list_empty(&link->tdi.sends.irps);
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

		if (link->finished_bytes + send_length(irp) > link->acknowledged_bytes)
			return;
		remove_entry_list(first);
		link->finished_bytes += send_length(irp);
		finish_send(link, irp, completed);
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
	link_update_acknowledged(link);
	finish_acknowledged(link, completed); /* also an empty send that was just accepted */
	if (all)
		release_if_wanted(link);
}

/* ---- Receiving ----------------------------------------------------------------------------- */

/* Fills the buffer of a receive from the unread segments; returns how far. */
static uint32_t fill(struct link_connection *link, struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	uint32_t length = tdi_parameters(location, tdi_request_receive)->receive_length;
	uint32_t filled = 0;

	while (filled < length && !is_list_empty(&link->unread)) {
		struct segment *segment =
			containing_record(link->unread.next, struct segment, entry);
		uint32_t left = segment->length - segment->taken;
		uint32_t piece = left < length - filled ? left : length - filled;

		copy_mdl(irp->mdl_address, filled, segment->bytes + segment->taken, piece, true);
		segment->taken += piece;
		filled += piece;
		if (segment->taken == segment->length) {
			remove_entry_list(&segment->entry);
			pipe_free_segment(segment);
		}
	}
	return filled;
}

void link_receive(struct tdi_connection *connection, struct list_entry *completed)
{
	struct link_connection *link = link_connection_of(connection);
	uint64_t before = link->received_bytes;
	struct irp *irp;
	bool ended;

	if (connection->state != TDI_STATE_CONNECTED)
		return;
	ended = circuit_fetch(link->circuit, link->end, &link->unread);
	while (!is_list_empty(&link->unread) &&
	       (irp = io_csq_remove_next_irp(&connection->receives)) != NULL) {
		uint32_t bytes = fill(link, irp);

		link->received_bytes += bytes;
		stat_set(&link->counters, LINK_RECEIVED_BYTES, link->received_bytes);
		tdi_provider_finish(completed, irp, STATUS_SUCCESS, bytes);
	}
	if (link->received_bytes != before)
		circuit_read(link->circuit, link->end, link->received_bytes - before);
	if (!ended || !is_list_empty(&link->unread))
		return;
	connection->receive_ended = true;
	while ((irp = io_csq_remove_next_irp(&connection->receives)) != NULL)
		tdi_provider_finish(completed, irp, STATUS_GRACEFUL_DISCONNECT, 0);
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
	if (link->current != NULL)
		tdi_provider_finish(completed, link->current, link->tdi.failure, 0);
	link->current = NULL;
	pipe_free_segments(&link->unread);
}
