/*
 * What comes, on its way to the client: into requests, or before its handlers.
 *
 * An arrival's life. The transport allocates it, fills it, and adds it to `unread`. From there its
 * bytes are copied into TDI_RECEIVE requests, or shown to the plain handler, which copies what it
 * likes, and when its last byte was taken the arrival goes back to the transport (free_arrival). Or
 * all that is unread is shown to the chained handler at once, as one chain of MDLs: the arrivals
 * leave `unread` before the handler is called, with the first as the head of the loan, so that it
 * needs no memory. If the client keeps them, they come back by tdi_return_chained_receives, on any
 * processor, even before the handler has returned; if not, they go back to the transport at once.
 *
 * All of this but the return of loans is the receive pump's, one context at a time. It holds the
 * connection's lock, but not while a handler runs.
 *
 * The last event. When the stream has been read to its end, or the connection is broken, DISCONNECT
 * is shown, behind everything. SEND_POSSIBLE is the other pump's: so the last event waits while one
 * is running, and from `told` on there is none. A client that is still owed one then has it before
 * the last event, and non-blocking sends are taken like any other from that moment, for nothing
 * could tell of room any more.
 *
 * With the verifier on, a plain handler is shown a copy, of exactly the bytes that it may look at,
 * which is freed when it returns: whoever reads on, or later, is caught by it.
 */
#include <string.h>

#include "tdi/provider.h"

static const struct {
	enum tdi_event_type plain, chained;
	uint32_t flags;
} kinds[TDI_KINDS] = {
	[TDI_NORMAL] = {TDI_EVENT_RECEIVE, TDI_EVENT_CHAINED_RECEIVE, TDI_RECEIVE_NORMAL},
	[TDI_EXPEDITED] = {TDI_EVENT_RECEIVE_EXPEDITED, TDI_EVENT_CHAINED_RECEIVE_EXPEDITED,
			   TDI_RECEIVE_EXPEDITED},
};

/* ---- Arrivals ------------------------------------------------------------------------------ */

static struct tdi_arrival *first_unread(struct tdi_connection *connection, unsigned kind)
{
	return containing_record(connection->unread[kind].next, struct tdi_arrival, entry);
}

static uint32_t left_of(const struct tdi_arrival *arrival)
{
	return mm_get_mdl_byte_count(&arrival->mdl) - arrival->taken;
}

void tdi_provider_add_arrival(struct tdi_connection *connection, unsigned kind,
			      struct tdi_arrival *arrival)
{
	arrival->taken = 0;
	arrival->mdl.next = NULL;
	arrival->mdl.mdl_flags = MDL_PAGES_LOCKED;
	insert_tail_list(&connection->unread[kind], &arrival->entry);
	connection->unread_bytes[kind] += mm_get_mdl_byte_count(&arrival->mdl);
}

static void free_arrivals(struct tdi_connection *connection, struct list_entry *arrivals)
{
	struct list_entry *entry;

	while ((entry = remove_head_list(arrivals)) != NULL)
		connection->provider->ops->free_arrival(
			connection, containing_record(entry, struct tdi_arrival, entry));
}

/* Takes the first `length` unread bytes, which are there, to `buffer`, or to nowhere (NULL). */
static void take_unread(struct tdi_connection *connection, unsigned kind, char *buffer,
			uint32_t length)
{
	connection->unread_bytes[kind] -= length;
	while (length > 0) {
		struct tdi_arrival *arrival = first_unread(connection, kind);
		uint32_t piece = left_of(arrival) < length ? left_of(arrival) : length;

		if (buffer != NULL) {
			memcpy(buffer,
			       mm_get_system_address_for_mdl(&arrival->mdl) + arrival->taken,
			       piece);
			buffer += piece;
		}
		arrival->taken += piece;
		length -= piece;
		if (left_of(arrival) > 0)
			return;
		remove_entry_list(&arrival->entry);
		connection->provider->ops->free_arrival(connection, arrival);
	}
}

void tdi_free_unread(struct tdi_connection *connection)
{
	for (unsigned kind = 0; kind < TDI_KINDS; kind++) {
		free_arrivals(connection, &connection->unread[kind]);
		connection->unread_bytes[kind] = 0;
	}
}

bool tdi_provider_wants_arrivals(struct tdi_connection *connection)
{
	return connection->state == TDI_STATE_CONNECTED && !connection->peer_ended &&
	       !connection->blocked[TDI_NORMAL] &&
	       (tdi_has_handler(connection->address, TDI_EVENT_RECEIVE) ||
		tdi_has_handler(connection->address, TDI_EVENT_CHAINED_RECEIVE));
}

/* ---- Into requests ------------------------------------------------------------------------- */

static uint32_t fill(struct tdi_connection *connection, unsigned kind, struct irp *irp)
{
	uint32_t left = tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_receive)
				->receive_length;
	uint32_t filled = 0;

	for (struct mdl *mdl = irp->mdl_address;
	     mdl != NULL && left > 0 && connection->unread_bytes[kind] > 0; mdl = mdl->next) {
		uint32_t piece = mm_get_mdl_byte_count(mdl);

		piece = piece < left ? piece : left;
		if (piece > connection->unread_bytes[kind])
			piece = connection->unread_bytes[kind];
		take_unread(connection, kind, mm_get_system_address_for_mdl(mdl), piece);
		left -= piece;
		filled += piece;
	}
	return filled;
}

/* The peer has ended, and so have the streams of which all was read; with both, receiving. */
static void end_receives(struct tdi_connection *connection, struct list_entry *completed)
{
	struct irp *irp;

	connection->receive_ended = true;
	for (unsigned kind = 0; kind < TDI_KINDS; kind++) {
		if (connection->unread_bytes[kind] > 0) {
			connection->receive_ended = false;
			continue;
		}
		while ((irp = io_csq_remove_next_irp(&connection->receives[kind])) != NULL)
			tdi_provider_finish(completed, irp, STATUS_GRACEFUL_DISCONNECT, 0);
	}
}

void tdi_fill_receives(struct tdi_connection *connection, struct list_entry *completed)
{
	struct irp *irp;

	if (connection->state != TDI_STATE_CONNECTED)
		return;
	for (unsigned kind = TDI_KINDS; kind-- > 0;)
		while (connection->unread_bytes[kind] > 0 &&
		       (irp = io_csq_remove_next_irp(&connection->receives[kind])) != NULL) {
			if (connection->blocked[kind])
				connection->receive_pump.again = true; /* for what is behind */
			connection->blocked[kind] = false;
			tdi_provider_finish(completed, irp, STATUS_SUCCESS,
					    fill(connection, kind, irp));
		}
	if (connection->peer_ended)
		end_receives(connection, completed);
}

/* ---- Before the plain handler -------------------------------------------------------------- */

/*
 * What a handler is shown: the first unread bytes as they stand, or gathered, where the first
 * arrival alone has fewer than a handler may expect. Returns how many.
 */
static uint32_t look_ahead(struct tdi_connection *connection, unsigned kind,
			   char gathered[TDI_LOOKAHEAD], const char **tsdu)
{
	struct tdi_arrival *first = first_unread(connection, kind);
	uint32_t wanted = connection->unread_bytes[kind];
	uint32_t have = 0;

	wanted = wanted < TDI_LOOKAHEAD ? wanted : TDI_LOOKAHEAD;
	if (left_of(first) >= wanted) {
		*tsdu = mm_get_system_address_for_mdl(&first->mdl) + first->taken;
		return left_of(first);
	}
	for (struct list_entry *entry = &first->entry; have < wanted; entry = entry->next) {
		struct tdi_arrival *arrival = containing_record(entry, struct tdi_arrival, entry);
		uint32_t piece = left_of(arrival);

		piece = piece < wanted - have ? piece : wanted - have;
		memcpy(gathered + have,
		       mm_get_system_address_for_mdl(&arrival->mdl) + arrival->taken, piece);
		have += piece;
	}
	*tsdu = gathered;
	return have;
}

/* The memory that is shown is this call's only, if the verifier has some. */
static char *copy_to_show(const char *tsdu, uint32_t bytes)
{
	char *copy = verifier_on ? ex_allocate_pool(bytes) : NULL;

	if (copy != NULL)
		memcpy(copy, tsdu, bytes);
	return copy;
}

static void show_plain(struct tdi_connection *connection, unsigned kind,
		       const struct tdi_event *event)
{
	char gathered[TDI_LOOKAHEAD];
	const char *tsdu;
	uint32_t indicated = look_ahead(connection, kind, gathered, &tsdu);
	uint32_t available = connection->unread_bytes[kind];
	struct irp *irp = NULL;
	uint32_t taken = 0;
	ntstatus status;
	char *copy;

	ke_release_spin_lock(&connection->lock, DISPATCH_LEVEL);
	copy = copy_to_show(tsdu, indicated);
	status = ((tdi_ind_receive *)event->handler)(event->context, connection->connection_context,
						     kinds[kind].flags, indicated, available,
						     &taken, copy != NULL ? copy : tsdu, &irp);
	ex_free_pool(copy);
	if (taken > indicated)
		ke_bug_check("RX-TAKEN-TOO-MUCH",
			     "a receive handler has taken %u of %u indicated bytes", taken,
			     indicated);
	ke_acquire_spin_lock(&connection->lock);
	if (connection->state == TDI_STATE_CONNECTED) /* else all is being thrown away */
		take_unread(connection, kind, NULL, taken);
	if (status == STATUS_MORE_PROCESSING_REQUIRED) {
		ke_release_spin_lock(&connection->lock, DISPATCH_LEVEL);
		io_call_driver(&connection->provider->device, irp); /* leaves a note for the pump */
		ke_acquire_spin_lock(&connection->lock);
	} else if (status != STATUS_SUCCESS) {
		connection->blocked[kind] = connection->unread_bytes[kind] > 0;
	}
}

/* ---- Before the chained handler ------------------------------------------------------------ */

static void return_loan(struct tdi_loan *loan)
{
	struct tdi_arrival *head = containing_record(loan, struct tdi_arrival, loan);
	struct tdi_connection *connection = head->lender;
	kirql irql = ke_acquire_spin_lock(&connection->lock);

	connection->loans--;
	free_arrivals(connection, &head->chain);
	connection->provider->ops->free_arrival(connection, head);
	/* The transport may have stopped for want of what has just come back. */
	tdi_provider_run_pump_and_unlock(connection, &connection->receive_pump, irql);
}

void tdi_return_chained_receives(void *const *tsdu_descriptors, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct tdi_loan *loan = tsdu_descriptors[i];

		loan->returned(loan);
	}
}

/* All that is unread becomes one chain; returns its head. */
static struct tdi_arrival *chain_unread(struct tdi_connection *connection, unsigned kind)
{
	struct list_entry *unread = &connection->unread[kind];
	struct tdi_arrival *head = first_unread(connection, kind);
	struct mdl **link = &head->mdl.next;

	remove_entry_list(&head->entry);
	initialize_list_head(&head->chain);
	append_tail_list(&head->chain, unread);
	for (struct list_entry *entry = head->chain.next; entry != &head->chain;
	     entry = entry->next) {
		struct tdi_arrival *arrival = containing_record(entry, struct tdi_arrival, entry);

		*link = &arrival->mdl;
		link = &arrival->mdl.next;
	}
	connection->unread_bytes[kind] = 0;
	head->loan.returned = return_loan;
	head->lender = connection;
	connection->loans++; /* from now on: the client may return it before its handler returns */
	return head;
}

static void show_chained(struct tdi_connection *connection, unsigned kind,
			 const struct tdi_event *event)
{
	uint32_t length = connection->unread_bytes[kind];
	struct tdi_arrival *head = chain_unread(connection, kind);
	ntstatus status;

	ke_release_spin_lock(&connection->lock, DISPATCH_LEVEL);
	status = ((tdi_ind_chained_receive *)event->handler)(
		event->context, connection->connection_context, kinds[kind].flags, length,
		head->taken, &head->mdl, &head->loan);
	if (status != STATUS_PENDING)
		return_loan(&head->loan); /* leaves a note for the pump, which is running */
	ke_acquire_spin_lock(&connection->lock);
}

/* ---- Which one, and the end ---------------------------------------------------------------- */

static bool show_kind(struct tdi_connection *connection, unsigned kind)
{
	struct tdi_address *address = connection->address;
	uint32_t available = connection->unread_bytes[kind];
	struct tdi_event event;

	if (available == 0 || connection->blocked[kind] ||
	    !is_list_empty(&connection->receives[kind].irps)) /* it came behind the filling */
		return false;
	if ((available >= connection->provider->info.chained_bytes ||
	     !tdi_has_handler(address, kinds[kind].plain)) &&
	    tdi_enter_event(address, kinds[kind].chained, &event))
		show_chained(connection, kind, &event);
	else if (tdi_enter_event(address, kinds[kind].plain, &event))
		show_plain(connection, kind, &event);
	else
		return false;
	tdi_leave_event(address);
	return true;
}

static void call_send_possible(struct tdi_connection *connection, uint32_t room)
{
	struct tdi_event event;

	if (!tdi_enter_event(connection->address, TDI_EVENT_SEND_POSSIBLE, &event))
		return;
	((tdi_ind_send_possible *)event.handler)(event.context, connection->connection_context,
						 room);
	tdi_leave_event(connection->address);
}

/* The last event, if this is the moment for it. */
static bool show_end(struct tdi_connection *connection)
{
	bool broken = connection->state == TDI_STATE_DISCONNECTED;
	ntstatus reason = broken ? connection->failure : STATUS_GRACEFUL_DISCONNECT;
	struct tdi_event event;
	bool owed;

	if (connection->told || (!broken && !connection->receive_ended))
		return false;
	if (connection->showing_room) {
		connection->last_event_waits = true; /* whoever shows it runs this pump again */
		return false;
	}
	connection->told = true;
	owed = connection->room_owed && !broken;
	connection->room_owed = false;
	ke_release_spin_lock(&connection->lock, DISPATCH_LEVEL);
	if (owed)
		call_send_possible(connection, UINT32_MAX);
	if (tdi_enter_event(connection->address, TDI_EVENT_DISCONNECT, &event)) {
		((tdi_ind_disconnect *)event.handler)(
			event.context, connection->connection_context,
			broken ? TDI_DISCONNECT_ABORT : TDI_DISCONNECT_RELEASE, reason);
		tdi_leave_event(connection->address);
	}
	ke_acquire_spin_lock(&connection->lock);
	return true;
}

bool tdi_show_arrivals(struct tdi_connection *connection)
{
	if (connection->state == TDI_STATE_CONNECTED &&
	    (show_kind(connection, TDI_EXPEDITED) || show_kind(connection, TDI_NORMAL)))
		return true;
	return show_end(connection);
}

/* ---- Room ---------------------------------------------------------------------------------- */

bool tdi_provider_is_non_blocking(const struct tdi_connection *connection, struct irp *irp)
{
	const struct tdi_request_send *send =
		tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_send);

	return (send->send_flags & TDI_SEND_NON_BLOCKING) != 0 && !connection->told &&
	       (connection->provider->info.service_flags & TDI_SERVICE_INTERNAL_BUFFERING) != 0;
}

bool tdi_show_room(struct tdi_connection *connection)
{
	uint32_t room = connection->room;
	bool waits;

	connection->room = 0;
	if (room == 0 || !connection->room_owed || connection->told)
		return false;
	connection->room_owed = false;
	connection->showing_room = true;
	ke_release_spin_lock(&connection->lock, DISPATCH_LEVEL);
	call_send_possible(connection, room);
	ke_acquire_spin_lock(&connection->lock);
	connection->showing_room = false;
	waits = connection->last_event_waits;
	connection->last_event_waits = false;
	if (waits && ke_insert_queue_dpc(&connection->receive_pump.dpc))
		tdi_provider_hold(connection); /* the DPC's */
	return true;
}
