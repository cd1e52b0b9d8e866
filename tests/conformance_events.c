/* What transports tell without being asked: conformance cases. */
#include <stdio.h>
#include <string.h>

#include "conformance_cases.h"
#include "executive.h"
#include "transport_client.h"

enum {
	MANY_BYTES = EXECUTIVE_HOST ? 1 << 20 : 1 << 14,
	LENT_BYTES = EXECUTIVE_HOST ? 2 << 20 : 1 << 17,
	MOST_LOANS = 512
};

/*
 * The server's side: an address with all handlers, and one endpoint behind its connect event. What
 * the handlers do with data is told by `take` and `answer`. They run one at a time, except `room`.
 * The lock is for what they share with the case: what they are told, and what has come of it.
 */
struct host {
	struct kspin_lock lock;
	struct file_object address;
	struct file_object endpoint;
	struct irp *accept_irp;
	struct kevent settled; /* the accept has completed */
	struct kevent changed; /* something has come */
	ntstatus accepted;
	bool refuses;

	uint32_t take;	 /* of an indication, at most */
	ntstatus answer; /* to one that was not taken whole */
	bool lends_back; /* chained data is returned in the handler, and kept (PENDING) at once */
	bool keeps;	 /* chained data is kept */
	struct irp *receive_irp;

	uint8_t *bytes; /* that were taken, by any way */
	uint32_t count;
	uint32_t shown;	  /* times */
	uint32_t chained; /* of these, times that it was a chain */
	uint32_t pieces;  /* MDLs of the longest */
	uint32_t wanted;  /* bytes, by the case alone */
	uint32_t refused; /* times that data was not accepted */
	bool wrong;	  /* an argument was not as it should be */
	uint8_t urgent[16];
	uint32_t urgent_count;

	void *loans[MOST_LOANS];
	uint32_t loan_count;
	int32_t rooms;
	int32_t lingering; /* chains that a slow handler is shown */
	int32_t ends;
	int32_t late; /* events after the last */
	uint32_t end_flags;
	ntstatus end_reason;
};

static void note_event(struct host *host)
{
	if (read_count(&host->ends) > 0)
		interlocked_increment(&host->late);
	ke_set_event(&host->changed);
}

static ntstatus accept_settled(struct device_object *device, struct irp *irp, void *context)
{
	struct host *host = context;

	(void)device;
	host->accepted = irp->io_status.status;
	ke_set_event(&host->settled);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static ntstatus on_connect(void *context, const struct transport_address *remote,
			   struct irp **accept_irp)
{
	struct host *host = context;

	if (host->refuses || remote->port == 0)
		return STATUS_INSUFFICIENT_RESOURCES;
	tdi_build_accept(host->accept_irp, &host->endpoint, accept_settled, host);
	*accept_irp = host->accept_irp;
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static ntstatus on_receive(void *context, void *connection_context, uint32_t flags,
			   uint32_t indicated, uint32_t available, uint32_t *taken,
			   const void *tsdu, struct irp **receive_irp)
{
	struct host *host = context;
	uint32_t least = available < TDI_LOOKAHEAD ? available : TDI_LOOKAHEAD;
	kirql irql = ke_acquire_spin_lock(&host->lock);
	ntstatus answer = host->answer;

	host->wrong |= connection_context != host || indicated > available || indicated < least ||
		       *taken != 0 || flags != TDI_RECEIVE_NORMAL || host->receive_irp != NULL;
	host->shown++;
	*taken = indicated < host->take ? indicated : host->take;
	memcpy(host->bytes + host->count, tsdu, *taken);
	host->count += *taken;
	host->refused += *taken < indicated && answer == STATUS_DATA_NOT_ACCEPTED;
	ke_release_spin_lock(&host->lock, irql);
	note_event(host);
	if (*taken == indicated)
		return STATUS_SUCCESS;
	if (answer == STATUS_MORE_PROCESSING_REQUIRED) {
		struct irp *irp = io_allocate_irp(host->endpoint.device_object->stack_size);

		*receive_irp = irp;
		return irp != NULL ? answer : STATUS_SUCCESS;
	}
	return answer;
}

static ntstatus on_urgent(void *context, void *connection_context, uint32_t flags,
			  uint32_t indicated, uint32_t available, uint32_t *taken, const void *tsdu,
			  struct irp **receive_irp)
{
	struct host *host = context;
	kirql irql = ke_acquire_spin_lock(&host->lock);

	(void)available;
	(void)receive_irp;
	host->wrong |= connection_context != host || flags != TDI_RECEIVE_EXPEDITED ||
		       host->urgent_count + indicated > sizeof(host->urgent);
	memcpy(host->urgent + host->urgent_count, tsdu, indicated);
	host->urgent_count += indicated;
	ke_release_spin_lock(&host->lock, irql);
	*taken = indicated;
	note_event(host);
	return STATUS_SUCCESS;
}

static ntstatus on_chained(void *context, void *connection_context, uint32_t flags, uint32_t length,
			   uint32_t offset, const struct mdl *tsdu, void *descriptor)
{
	struct host *host = context;
	uint32_t left = length, pieces = 0;
	kirql irql = ke_acquire_spin_lock(&host->lock);
	bool keeps, lends_back = host->lends_back;

	host->wrong |= connection_context != host || flags != TDI_RECEIVE_NORMAL;
	host->shown++;
	host->chained++;
	for (; left > 0 && tsdu != NULL; tsdu = tsdu->next) {
		uint32_t piece = mm_get_mdl_byte_count(tsdu) - offset;

		memcpy(host->bytes + host->count, mm_get_system_address_for_mdl(tsdu) + offset,
		       piece);
		host->count += piece;
		left -= piece;
		offset = 0;
		pieces++;
	}
	host->wrong |= left != 0 || tsdu != NULL;
	host->pieces = pieces > host->pieces ? pieces : host->pieces;
	keeps = host->keeps && host->loan_count < MOST_LOANS;
	if (keeps)
		host->loans[host->loan_count++] = descriptor;
	ke_release_spin_lock(&host->lock, irql);
	if (!keeps && lends_back)
		tdi_return_chained_receives(&descriptor, 1);
	note_event(host);
	return keeps || lends_back ? STATUS_PENDING : STATUS_SUCCESS;
}

static void on_room(void *context, void *connection_context, uint32_t bytes)
{
	struct host *host = context;

	(void)connection_context;
	if (bytes == 0) {
		kirql irql = ke_acquire_spin_lock(&host->lock);

		host->wrong = true;
		ke_release_spin_lock(&host->lock, irql);
	}
	interlocked_increment(&host->rooms);
	note_event(host);
}

static void on_end(void *context, void *connection_context, uint32_t flags, ntstatus reason)
{
	struct host *host = context;

	kirql irql = ke_acquire_spin_lock(&host->lock);

	host->wrong |= connection_context != host;
	host->end_flags = flags;
	host->end_reason = reason;
	ke_release_spin_lock(&host->lock, irql);
	interlocked_increment(&host->ends);
	ke_set_event(&host->changed);
}

static const struct {
	enum tdi_event_type type;
	tdi_event_handler *handler;
} handlers[] = {
	{TDI_EVENT_RECEIVE, (tdi_event_handler *)on_receive},
	{TDI_EVENT_RECEIVE_EXPEDITED, (tdi_event_handler *)on_urgent},
	{TDI_EVENT_CHAINED_RECEIVE, (tdi_event_handler *)on_chained},
	{TDI_EVENT_SEND_POSSIBLE, (tdi_event_handler *)on_room},
	{TDI_EVENT_DISCONNECT, (tdi_event_handler *)on_end},
	{TDI_EVENT_CONNECT, (tdi_event_handler *)on_connect},
};

/* A caller, and a host that has accepted it. */
struct visit {
	struct host host;
	struct file_object client_address;
	struct file_object client;
	struct transport_address remote;
};

static bool open_host(struct host *host, struct world *world)
{
	*host = (struct host){.take = UINT32_MAX};
	host->bytes = need_pool(LENT_BYTES);
	host->accept_irp = io_allocate_irp(world->device->stack_size);
	ke_initialize_spin_lock(&host->lock);
	ke_initialize_event(&host->settled, NOTIFICATION_EVENT, false);
	ke_initialize_event(&host->changed, SYNCHRONIZATION_EVENT, false);
	if (!nt_success(tdi_open_transport_address(world->device, &world->local, &host->address)))
		return false;
	CU_ASSERT_EQUAL(tdi_open_connection_endpoint(world->device, host, &host->endpoint),
			STATUS_SUCCESS);
	CU_ASSERT_EQUAL(tdi_associate_address(&host->endpoint, &host->address), STATUS_SUCCESS);
	for (unsigned i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
		CU_ASSERT_EQUAL(tdi_set_event_handler(&host->address, handlers[i].type,
						      handlers[i].handler, host),
				STATUS_SUCCESS);
	return true;
}

static bool open_visit(struct visit *visit, struct world *world)
{
	if (!open_host(&visit->host, world)) {
		CU_FAIL("no address");
		return false;
	}
	visit->remote = local_of(&visit->host.address);
	CU_ASSERT_EQUAL(
		tdi_open_transport_address(world->device, &world->local, &visit->client_address),
		STATUS_SUCCESS);
	return open_endpoint(&visit->client, world->device, &visit->client_address);
}

static bool connect_visit(struct visit *visit, struct world *world)
{
	if (!open_visit(visit, world))
		return false;
	CU_ASSERT_EQUAL(tdi_connect(&visit->client, &visit->remote, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&visit->host.settled, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(visit->host.accepted, STATUS_SUCCESS);
	return true;
}

static void close_visit(struct visit *visit)
{
	tdi_close(&visit->client);
	tdi_close(&visit->host.endpoint);
	tdi_close(&visit->host.address);
	tdi_close(&visit->client_address);
	CU_ASSERT_FALSE(visit->host.wrong);
	CU_ASSERT_EQUAL(read_count(&visit->host.late), 0);
	CU_ASSERT(read_count(&visit->host.ends) <= 1);
	io_free_irp(visit->host.accept_irp);
	ex_free_pool(visit->host.bytes);
}

static bool await(struct host *host, bool (*holds)(struct host *host))
{
	for (unsigned i = 0; i < 100000; i++) {
		kirql irql = ke_acquire_spin_lock(&host->lock);
		bool now = holds(host);

		ke_release_spin_lock(&host->lock, irql);
		if (now)
			return true;
		if (ke_wait_for_single_object(&host->changed, SOON) != STATUS_SUCCESS)
			break;
	}
	CU_FAIL("an event did not come");
	return false;
}

/* What the handlers do from now on. */
static void tell(struct host *host, uint32_t take, ntstatus answer, bool keeps)
{
	kirql irql = ke_acquire_spin_lock(&host->lock);

	host->take = take;
	host->answer = answer;
	host->keeps = keeps;
	host->lends_back = !keeps;
	ke_release_spin_lock(&host->lock, irql);
}

static bool has_ended(struct host *host)
{
	return read_count(&host->ends) > 0;
}

/* The client sends all of a pattern and releases; and is done with it. */
static void send_pattern(struct visit *visit, uint32_t length)
{
	struct writer writer;

	start_writer(&writer, &visit->client, 1, length);
	wait_for_writer(&writer, "a stream that events take");
	CU_ASSERT_EQUAL(writer.failed, 0);
}

static void check_stream(struct visit *visit, uint32_t length)
{
	CU_ASSERT(await(&visit->host, has_ended));
	CU_ASSERT_EQUAL(visit->host.end_flags, TDI_DISCONNECT_RELEASE);
	CU_ASSERT_EQUAL(visit->host.end_reason, STATUS_GRACEFUL_DISCONNECT);
	CU_ASSERT_EQUAL(visit->host.count, length);
	CU_ASSERT(is_pattern(visit->host.bytes, 1, 0, visit->host.count));
}

/* ---- Data ---------------------------------------------------------------------------------- */

static void case_taken(struct world *world)
{
	struct visit visit;

	if (!connect_visit(&visit, world))
		return;
	send_pattern(&visit, MANY_BYTES);
	check_stream(&visit, MANY_BYTES);
	close_visit(&visit);
}

static void case_taken_in_part(struct world *world)
{
	struct visit visit;

	if (!connect_visit(&visit, world))
		return;
	tdi_set_event_handler(&visit.host.address, TDI_EVENT_CHAINED_RECEIVE, NULL, NULL);
	tell(&visit.host, 1000, STATUS_SUCCESS, false);
	send_pattern(&visit, 50000);
	check_stream(&visit, 50000);
	CU_ASSERT_EQUAL(visit.host.chained, 0);
	CU_ASSERT(visit.host.shown >= 50);
	close_visit(&visit);
}

static bool has_wanted(struct host *host)
{
	return host->count >= host->wanted;
}

static bool has_refused(struct host *host)
{
	return host->refused > 0;
}

/* Refused data stays, and what comes behind it, until a receive asks; then events go on. */
static void case_not_accepted(struct world *world)
{
	uint8_t *buffer = need_pool(2000);
	struct visit visit;
	uint32_t shown, count, got;

	if (!connect_visit(&visit, world))
		return;
	tdi_set_event_handler(&visit.host.address, TDI_EVENT_CHAINED_RECEIVE, NULL, NULL);
	tell(&visit.host, 3, STATUS_DATA_NOT_ACCEPTED, false);
	fill_pattern(buffer, 1, 0, 2000);
	CU_ASSERT_EQUAL(send_all(&visit.client, buffer, 1000, "what is refused"), STATUS_SUCCESS);
	CU_ASSERT(await(&visit.host, has_refused));
	shown = visit.host.shown;
	count = visit.host.count;
	CU_ASSERT_EQUAL(send_all(&visit.client, buffer + 1000, 1000, "and more"), STATUS_SUCCESS);
	ke_delay_execution_thread(MILLISECONDS(5));
	CU_ASSERT_EQUAL(visit.host.shown, shown);
	tell(&visit.host, UINT32_MAX, STATUS_SUCCESS, false);
	got = (uint32_t)receive_some(&visit.host.endpoint, buffer, 500, "the next bytes");
	CU_ASSERT(got >= 1 && got <= 500 && is_pattern(buffer, 1, count, got));
	CU_ASSERT_EQUAL(tdi_disconnect(&visit.client, TDI_DISCONNECT_RELEASE), STATUS_SUCCESS);
	CU_ASSERT(await(&visit.host, has_ended));
	CU_ASSERT_EQUAL(visit.host.count + got, 2000);
	CU_ASSERT(is_pattern(visit.host.bytes, 1, 0, count));
	CU_ASSERT(is_pattern(visit.host.bytes + count, 1, count + got, 2000 - count - got));
	close_visit(&visit);
	ex_free_pool(buffer);
}

struct given {
	struct host *host;
	uint8_t buffer[700];
};

static ntstatus given_filled(struct device_object *device, struct irp *irp, void *context)
{
	struct given *given = context;
	struct host *host = given->host;
	kirql irql;

	(void)device;
	io_unlock_buffer(irp);
	irql = ke_acquire_spin_lock(&host->lock);
	if (nt_success(irp->io_status.status)) {
		memcpy(host->bytes + host->count, given->buffer, irp->io_status.information);
		host->count += (uint32_t)irp->io_status.information;
	}
	host->receive_irp = NULL; /* the next event may come */
	ke_release_spin_lock(&host->lock, irql);
	io_free_irp(irp);
	ex_free_pool(given);
	note_event(host);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

/* Takes 5 bytes, and gives a request for the rest. */
static ntstatus give_request(void *context, void *connection_context, uint32_t flags,
			     uint32_t indicated, uint32_t available, uint32_t *taken,
			     const void *tsdu, struct irp **receive_irp)
{
	struct host *host = context;
	struct given *given;
	ntstatus status;
	kirql irql;

	tell(host, 5, STATUS_MORE_PROCESSING_REQUIRED, false);
	status = on_receive(context, connection_context, flags, indicated, available, taken, tsdu,
			    receive_irp);
	if (status != STATUS_MORE_PROCESSING_REQUIRED)
		return status;
	given = need_pool(sizeof(*given));
	given->host = host;
	irql = ke_acquire_spin_lock(&host->lock);
	host->receive_irp = *receive_irp;
	ke_release_spin_lock(&host->lock, irql);
	io_lock_buffer(*receive_irp, given->buffer, sizeof(given->buffer), IO_WRITE_ACCESS);
	tdi_build_receive(*receive_irp, &host->endpoint, given_filled, given,
			  (*receive_irp)->mdl_address, 0, sizeof(given->buffer));
	return status;
}

static void case_request_given(struct world *world)
{
	struct visit visit;

	if (!connect_visit(&visit, world))
		return;
	tdi_set_event_handler(&visit.host.address, TDI_EVENT_CHAINED_RECEIVE, NULL, NULL);
	tdi_set_event_handler(&visit.host.address, TDI_EVENT_RECEIVE,
			      (tdi_event_handler *)give_request, &visit.host);
	send_pattern(&visit, 30000);
	check_stream(&visit, 30000);
	close_visit(&visit);
}

/* A receive that waits gets the data, and no event does. */
static void case_receive_first(struct world *world)
{
	struct request receive;
	struct visit visit;
	char buffer[8];

	if (!connect_visit(&visit, world))
		return;
	start_receive(&receive, &visit.host.endpoint, buffer, sizeof(buffer));
	CU_ASSERT_EQUAL(send_all(&visit.client, "asked", 5, "a send"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_request(&receive, "a receive"), STATUS_SUCCESS);
	CU_ASSERT(receive.bytes >= 1 && memcmp(buffer, "asked", receive.bytes) == 0);
	visit.host.wanted = 5 - receive.bytes;
	CU_ASSERT(await(&visit.host, has_wanted));
	CU_ASSERT(memcmp(visit.host.bytes, &"asked"[receive.bytes], visit.host.count) == 0);
	end_request(&receive);
	close_visit(&visit);
}

/* ---- Loans --------------------------------------------------------------------------------- */

static bool has_loans(struct host *host)
{
	return host->loan_count > 0;
}

/* Who keeps all that is lent stops the peer, and gets the rest after giving it back. */
static void case_loans(struct world *world)
{
	struct writer writer;
	struct visit visit;
	uint32_t kept;

	if (!connect_visit(&visit, world))
		return;
	tdi_set_event_handler(&visit.host.address, TDI_EVENT_RECEIVE, NULL, NULL);
	tell(&visit.host, UINT32_MAX, STATUS_SUCCESS, true);
	start_writer(&writer, &visit.client, 1, LENT_BYTES);
	CU_ASSERT(await(&visit.host, has_loans));
	ke_delay_execution_thread(MILLISECONDS(20));
	tell(&visit.host, UINT32_MAX, STATUS_SUCCESS, false);
	kept = visit.host.loan_count; /* no other is kept from now on */
	CU_ASSERT(visit.host.count < LENT_BYTES);
	/* In another order than they came. */
	for (uint32_t i = 1; i < kept; i += 2)
		tdi_return_chained_receives(&visit.host.loans[i], 1);
	for (uint32_t i = 0; i < kept; i += 2)
		tdi_return_chained_receives(&visit.host.loans[i], 1);
	wait_for_writer(&writer, "a stream that was stopped");
	check_stream(&visit, LENT_BYTES);
	close_visit(&visit);
}

static void case_loans_outlive(struct world *world)
{
	struct visit visit;
	uint8_t *buffer = need_pool(20000);

	if (!connect_visit(&visit, world))
		return;
	tell(&visit.host, UINT32_MAX, STATUS_SUCCESS, true);
	fill_pattern(buffer, 1, 0, 20000);
	CU_ASSERT_EQUAL(send_all(&visit.client, buffer, 20000, "what is kept"), STATUS_SUCCESS);
	visit.host.wanted = 20000;
	CU_ASSERT(await(&visit.host, has_wanted));
	tdi_disconnect(&visit.client, TDI_DISCONNECT_ABORT);
	CU_ASSERT(await(&visit.host, has_ended));
	CU_ASSERT_EQUAL(visit.host.end_flags, TDI_DISCONNECT_ABORT);
	CU_ASSERT_EQUAL(visit.host.end_reason, STATUS_CONNECTION_RESET);
	tdi_return_chained_receives(visit.host.loans, visit.host.loan_count);
	CU_ASSERT(is_pattern(visit.host.bytes, 1, 0, visit.host.count));
	close_visit(&visit);
	ex_free_pool(buffer);
}

/* ---- Expedited ----------------------------------------------------------------------------- */

static bool has_urgent(struct host *host)
{
	return host->urgent_count >= 4;
}

static void case_expedited(struct world *world)
{
	struct request send;
	struct visit visit;
	struct tdi_provider_info info = {0};
	uint8_t byte;

	if (!connect_visit(&visit, world))
		return;
	tdi_query_information(&visit.client, TDI_QUERY_PROVIDER_INFO, &info, sizeof(info));
	start_flagged_send(&send, &visit.client, "now!", 4, TDI_SEND_EXPEDITED);
	if (info.service_flags & TDI_SERVICE_EXPEDITED_DATA) {
		CU_ASSERT_EQUAL(wait_for_request(&send, "an expedited send"), STATUS_SUCCESS);
		CU_ASSERT(await(&visit.host, has_urgent));
		CU_ASSERT(memcmp(visit.host.urgent, "now!", 4) == 0);
		CU_ASSERT_EQUAL(visit.host.count, 0);
	} else {
		CU_ASSERT_EQUAL(wait_for_request(&send, "an expedited send"), STATUS_NOT_SUPPORTED);
	}
	end_request(&send);
	start_flagged_send(&send, &visit.client, "x", 1, 0x8000);
	CU_ASSERT_EQUAL(wait_for_request(&send, "an unknown flag"), STATUS_NOT_SUPPORTED);
	end_request(&send);
	start_flagged_receive(&send, &visit.client, &byte, 1,
			      TDI_RECEIVE_NORMAL | TDI_RECEIVE_EXPEDITED);
	CU_ASSERT_EQUAL(wait_for_request(&send, "both kinds at once"), STATUS_INVALID_PARAMETER);
	end_request(&send);
	close_visit(&visit);
}

/* ---- Beginnings and ends ------------------------------------------------------------------- */

static void case_connect_refused(struct world *world)
{
	struct visit visit;
	ntstatus status;
	char byte;

	if (!open_visit(&visit, world))
		return;
	visit.host.refuses = true;
	status = tdi_connect(&visit.client, &visit.remote, SOON);
	if (nt_success(status)) /* a transport whose peer connects before the client is asked */
		status = (ntstatus)receive_some(&visit.client, &byte, 1, "the refusal");
	CU_ASSERT(status == STATUS_CONNECTION_REFUSED || status == STATUS_CONNECTION_RESET);
	tdi_disconnect(&visit.client, TDI_DISCONNECT_ABORT);
	visit.host.refuses = false; /* and the same two can meet after all */
	CU_ASSERT_EQUAL(tdi_connect(&visit.client, &visit.remote, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&visit.host.settled, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(visit.host.accepted, STATUS_SUCCESS);
	close_visit(&visit);
}

/* One who has called before there was a handler is served when there is one. */
static void case_called_before(struct world *world)
{
	struct request call;
	struct visit visit;

	if (!open_visit(&visit, world))
		return;
	tdi_set_event_handler(&visit.host.address, TDI_EVENT_CONNECT, NULL, NULL);
	start_connect(&call, &visit.client, &visit.remote);
	ke_delay_execution_thread(MILLISECONDS(2));
	CU_ASSERT_EQUAL(tdi_set_event_handler(&visit.host.address, TDI_EVENT_CONNECT,
					      (tdi_event_handler *)on_connect, &visit.host),
			STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_request(&call, "one who called before"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&visit.host.settled, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(visit.host.accepted, STATUS_SUCCESS);
	end_request(&call);
	close_visit(&visit);
}

/* After the peer's release this side can send, also without blocking; and then releases. */
static void case_half_close(struct world *world)
{
	struct request send;
	struct visit visit;
	char byte;

	if (!connect_visit(&visit, world))
		return;
	CU_ASSERT_EQUAL(tdi_disconnect(&visit.client, TDI_DISCONNECT_RELEASE), STATUS_SUCCESS);
	CU_ASSERT(await(&visit.host, has_ended));
	CU_ASSERT_EQUAL(visit.host.end_flags, TDI_DISCONNECT_RELEASE);
	start_flagged_send(&send, &visit.host.endpoint, "z", 1, TDI_SEND_NON_BLOCKING);
	CU_ASSERT_EQUAL(wait_for_request(&send, "a send after the last event"), STATUS_SUCCESS);
	end_request(&send);
	CU_ASSERT_EQUAL(tdi_disconnect(&visit.host.endpoint, TDI_DISCONNECT_RELEASE),
			STATUS_SUCCESS);
	CU_ASSERT_EQUAL(receive_some(&visit.client, &byte, 1, "what was sent then"), 1);
	CU_ASSERT_EQUAL(byte, 'z');
	CU_ASSERT_EQUAL(receive_some(&visit.client, &byte, 1, "the end"),
			STATUS_GRACEFUL_DISCONNECT);
	close_visit(&visit);
}

/* The host's own end is no event, and the endpoint can be given another peer. */
static void case_own_end(struct world *world)
{
	struct visit visit;

	if (!connect_visit(&visit, world))
		return;
	for (unsigned i = 0; i < 3; i++) {
		tdi_disconnect(&visit.host.endpoint, TDI_DISCONNECT_ABORT);
		tdi_disconnect(&visit.host.endpoint, TDI_DISCONNECT_WAIT);
		CU_ASSERT_EQUAL(tdi_disconnect(&visit.client, TDI_DISCONNECT_WAIT),
				STATUS_CONNECTION_RESET);
		CU_ASSERT_EQUAL(read_count(&visit.host.ends), 0);
		ke_clear_event(&visit.host.settled);
		io_reuse_irp(visit.host.accept_irp, STATUS_SUCCESS);
		CU_ASSERT_EQUAL(tdi_connect(&visit.client, &visit.remote, SOON), STATUS_SUCCESS);
		CU_ASSERT_EQUAL(ke_wait_for_single_object(&visit.host.settled, SOON),
				STATUS_SUCCESS);
		CU_ASSERT_EQUAL(visit.host.accepted, STATUS_SUCCESS);
	}
	close_visit(&visit);
}

/* ---- Room ---------------------------------------------------------------------------------- */

static bool has_room(struct host *host)
{
	return read_count(&host->rooms) > 0;
}

/* Sends what there is room for, until all is gone; never a byte twice. Returns refusals. */
static uint32_t send_as_room_allows(struct host *host, const uint8_t *bytes, uint32_t length)
{
	uint32_t sent = 0, refused = 0;

	while (sent < length) {
		struct request send;
		ntstatus status;

		start_flagged_send(&send, &host->endpoint, bytes + sent, length - sent,
				   TDI_SEND_NON_BLOCKING);
		status = wait_for_request(&send, "a non-blocking send");
		if (nt_success(status))
			sent += send.bytes;
		end_request(&send);
		if (!nt_success(status) && status != STATUS_DEVICE_NOT_READY) {
			CU_FAIL("a non-blocking send has failed");
			break;
		}
		if (sent == length)
			break;
		refused++;
		if (!await(host, has_room))
			break;
		interlocked_exchange(&host->rooms, 0);
	}
	return refused;
}

static void case_room(struct world *world)
{
	uint32_t length = 4 * MANY_BYTES;
	uint8_t *bytes = need_pool(length);
	struct reader reader;
	struct visit visit;
	uint32_t refused;

	if (!connect_visit(&visit, world))
		return;
	fill_pattern(bytes, 5, 0, length);
	start_reader(&reader, &visit.client, 5, 3000);
	refused = send_as_room_allows(&visit.host, bytes, length);
	CU_ASSERT_EQUAL(tdi_disconnect(&visit.host.endpoint, TDI_DISCONNECT_RELEASE),
			STATUS_SUCCESS);
	wait_for_reader(&reader, "a stream that was sent as room allowed");
	CU_ASSERT_EQUAL(reader.received, length);
	CU_ASSERT(reader.matches);
	if (world->options.direct)
		CU_ASSERT_EQUAL(refused, 0); /* there is no such thing as room */
	close_visit(&visit);
	ex_free_pool(bytes);
}

/* Nobody reads: the room ends, and no event comes; it does when somebody reads. */
static void case_no_room(struct world *world)
{
	uint8_t *bytes = need_pool(MANY_BYTES);
	struct reader reader;
	struct visit visit;
	ntstatus status = STATUS_SUCCESS;
	uint64_t sent = 0;

	if (world->options.direct || !connect_visit(&visit, world)) {
		ex_free_pool(bytes);
		return;
	}
	for (unsigned i = 0; i < 1000 && status != STATUS_DEVICE_NOT_READY; i++) {
		struct request send;

		fill_pattern(bytes, 6, sent, MANY_BYTES);
		start_flagged_send(&send, &visit.host.endpoint, bytes, MANY_BYTES,
				   TDI_SEND_NON_BLOCKING);
		status = wait_for_request(&send, "a send without room");
		CU_ASSERT(nt_success(status) ? send.bytes > 0 : send.bytes == 0);
		sent += send.bytes;
		end_request(&send);
	}
	CU_ASSERT_EQUAL(status, STATUS_DEVICE_NOT_READY);
	start_reader(&reader, &visit.client, 6, 5000);
	CU_ASSERT(await(&visit.host, has_room));
	CU_ASSERT_EQUAL(tdi_disconnect(&visit.host.endpoint, TDI_DISCONNECT_RELEASE),
			STATUS_SUCCESS);
	wait_for_reader(&reader, "what there was room for");
	CU_ASSERT_EQUAL(reader.received, sent);
	CU_ASSERT(reader.matches);
	close_visit(&visit);
	ex_free_pool(bytes);
}

/* The next receive, from the completion of the one before. */
struct again {
	struct request next;
	struct file_object *file;
	struct kevent started;
	char buffer[8];
};

static ntstatus receive_again(struct device_object *device, struct irp *irp, void *context)
{
	struct again *again = context;

	(void)device;
	(void)irp;
	start_receive(&again->next, again->file, again->buffer, sizeof(again->buffer));
	ke_set_event(&again->started);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

/* A receive that a completion makes waits before anything is shown. */
static void case_receive_again(struct world *world)
{
	struct again again;
	struct visit visit;
	struct irp *irp;
	char byte;

	if (!connect_visit(&visit, world))
		return;
	again.file = &visit.host.endpoint;
	ke_initialize_event(&again.started, NOTIFICATION_EVENT, false);
	irp = io_allocate_irp(world->device->stack_size);
	io_lock_buffer(irp, &byte, 1, IO_WRITE_ACCESS);
	tdi_build_receive(irp, again.file, receive_again, &again, irp->mdl_address, 0, 1);
	io_call_driver(world->device, irp);
	CU_ASSERT_EQUAL(send_all(&visit.client, "asked", 5, "a send"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&again.started, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(send_all(&visit.client, "more", 4, "for who waits"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_request(&again.next, "the next receive"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(again.buffer[0], 's');
	end_request(&again.next);
	io_unlock_buffer(irp);
	io_free_irp(irp);
	close_visit(&visit);
}

/* Who is called by a listener's peer, or calls one, is shown what came before it was connected. */
struct greeting {
	struct request send;
	struct file_object *file;
	struct kevent sent;
	ntstatus status;
};

static ntstatus greet(struct device_object *device, struct irp *irp, void *context)
{
	struct greeting *greeting = context;

	(void)device;
	greeting->status = irp->io_status.status;
	if (nt_success(greeting->status))
		start_send(&greeting->send, greeting->file, "hello", 5, NULL);
	ke_set_event(&greeting->sent);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static void case_greeting(struct world *world)
{
	struct transport_address other;
	struct greeting greeting;
	struct visit visit;
	struct irp *irp;

	if (!open_visit(&visit, world))
		return;
	tdi_set_event_handler(&visit.host.address, TDI_EVENT_CONNECT, NULL, NULL);
	greeting.file = &visit.client;
	ke_initialize_event(&greeting.sent, NOTIFICATION_EVENT, false);
	irp = io_allocate_irp(world->device->stack_size);
	tdi_build_listen(irp, &visit.client, greet, &greeting, NULL);
	io_call_driver(world->device, irp);
	other = local_of(&visit.client_address);
	CU_ASSERT_EQUAL(tdi_connect(&visit.host.endpoint, &other, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&greeting.sent, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(greeting.status, STATUS_SUCCESS);
	visit.host.wanted = 5;
	CU_ASSERT(await(&visit.host, has_wanted));
	wait_for_request(&greeting.send, "a greeting");
	end_request(&greeting.send);
	io_free_irp(irp);
	close_visit(&visit);
}

/* ---- A second life ------------------------------------------------------------------------- */

/* A connect that waits for the old connection's loans may be given up, and another one made. */
static void case_given_up_restart(struct world *world)
{
	struct transport_address other;
	struct request listen, call;
	uint8_t *buffer = need_pool(20000);
	struct visit visit;

	if (!connect_visit(&visit, world))
		return;
	other = local_of(&visit.client_address);
	tdi_set_event_handler(&visit.host.address, TDI_EVENT_RECEIVE, NULL, NULL);
	tell(&visit.host, UINT32_MAX, STATUS_SUCCESS, true);
	fill_pattern(buffer, 1, 0, 20000);
	CU_ASSERT_EQUAL(send_all(&visit.client, buffer, 20000, "what is kept"), STATUS_SUCCESS);
	visit.host.wanted = 20000;
	CU_ASSERT(await(&visit.host, has_wanted));
	tdi_disconnect(&visit.client, TDI_DISCONNECT_ABORT);
	CU_ASSERT(await(&visit.host, has_ended));
	tdi_disconnect(&visit.client, TDI_DISCONNECT_WAIT);
	start_listen(&listen, &visit.client);
	CU_ASSERT_EQUAL(tdi_connect(&visit.host.endpoint, &other, MILLISECONDS(5)),
			STATUS_IO_TIMEOUT);
	start_connect(&call, &visit.host.endpoint, &other);
	tdi_return_chained_receives(visit.host.loans, visit.host.loan_count);
	CU_ASSERT_EQUAL(wait_for_request(&call, "a second connect"), STATUS_SUCCESS);
	if (!nt_success(call.status))
		io_cancel_irp(listen.irp);
	wait_for_request(&listen, "the listen");
	end_request(&call);
	end_request(&listen);
	visit.host.late = visit.host.ends = 0; /* the second life's are none of the first's */
	close_visit(&visit);
	ex_free_pool(buffer);
}

/* Whoever is told that it is over can begin at once. */
struct over {
	struct irp *irp;
	struct file_object *file;
	struct kevent told;
};

static ntstatus disassociated(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)irp;
	ke_set_event(&((struct over *)context)->told);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static ntstatus life_over(struct device_object *device, struct irp *irp, void *context)
{
	struct over *over = context;

	(void)device;
	(void)irp;
	tdi_build_disassociate_address(over->irp, over->file, disassociated, over);
	io_call_driver(over->file->device_object, over->irp);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static void case_told_of_end(struct world *world)
{
	struct over over;
	struct visit visit;
	struct irp *irp;

	if (!connect_visit(&visit, world))
		return;
	over.file = &visit.host.endpoint;
	over.irp = io_allocate_irp(world->device->stack_size);
	irp = io_allocate_irp(world->device->stack_size);
	ke_initialize_event(&over.told, NOTIFICATION_EVENT, false);
	tdi_build_disconnect(irp, over.file, life_over, &over, TDI_DISCONNECT_WAIT);
	io_call_driver(world->device, irp);
	tdi_disconnect(&visit.client, TDI_DISCONNECT_ABORT);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&over.told, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(over.irp->io_status.status, STATUS_SUCCESS);
	close_visit(&visit);
	io_free_irp(irp);
	io_free_irp(over.irp);
}

/* A connect that waits for loans is under way, and an abort ends it like any other. */
static void case_aborted_restart(struct world *world)
{
	struct transport_address other;
	struct request call;
	struct visit visit;

	if (!connect_visit(&visit, world))
		return;
	other = local_of(&visit.client_address);
	tdi_set_event_handler(&visit.host.address, TDI_EVENT_RECEIVE, NULL, NULL);
	tell(&visit.host, UINT32_MAX, STATUS_SUCCESS, true);
	CU_ASSERT_EQUAL(send_all(&visit.client, "data", 4, "what is kept"), STATUS_SUCCESS);
	visit.host.wanted = 4;
	CU_ASSERT(await(&visit.host, has_wanted));
	tdi_disconnect(&visit.client, TDI_DISCONNECT_ABORT);
	CU_ASSERT(await(&visit.host, has_ended));
	start_connect(&call, &visit.host.endpoint, &other);
	tdi_disconnect(&visit.host.endpoint, TDI_DISCONNECT_ABORT);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&call.done, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(call.status, STATUS_LOCAL_DISCONNECT);
	tdi_return_chained_receives(visit.host.loans, visit.host.loan_count);
	if (read_count(&call.completions) == 0)
		io_cancel_irp(call.irp);
	wait_for_request(&call, "an aborted connect");
	end_request(&call);
	close_visit(&visit);
}

/* A life that ended untold does not make the failure to begin another an event. */
static void case_untold(struct world *world)
{
	struct file_object nobody;
	struct transport_address remote;
	struct request over;
	struct visit visit;

	if (!connect_visit(&visit, world))
		return;
	CU_ASSERT_EQUAL(tdi_open_transport_address(world->device, &world->local, &nobody),
			STATUS_SUCCESS);
	remote = local_of(&nobody);
	tdi_close(&nobody);
	tdi_set_event_handler(&visit.host.address, TDI_EVENT_DISCONNECT, NULL, NULL);
	start_wait(&over, &visit.host.endpoint);
	tdi_disconnect(&visit.client, TDI_DISCONNECT_ABORT);
	CU_ASSERT_EQUAL(wait_for_request(&over, "the end"), STATUS_CONNECTION_RESET);
	end_request(&over);
	tdi_set_event_handler(&visit.host.address, TDI_EVENT_DISCONNECT,
			      (tdi_event_handler *)on_end, &visit.host);
	CU_ASSERT_EQUAL(tdi_connect(&visit.host.endpoint, &remote, SOON),
			STATUS_CONNECTION_REFUSED);
	tdi_disconnect(&visit.host.endpoint, TDI_DISCONNECT_WAIT);
	CU_ASSERT_EQUAL(read_count(&visit.host.ends), 0);
	close_visit(&visit);
}

/* What has waited for room when a connection broke does not stand before the next one's sends. */
static void case_room_again(struct world *world)
{
	uint32_t length = 16 * MANY_BYTES;
	uint8_t *bytes = need_pool(length);
	struct transport_address other;
	struct request send, listen, call, small;
	struct visit visit;

	if (world->options.direct || !connect_visit(&visit, world)) {
		ex_free_pool(bytes);
		return;
	}
	other = local_of(&visit.client_address);
	memset(bytes, 0, length);
	start_send(&send, &visit.host.endpoint, bytes, length, NULL); /* nobody reads it */
	ke_delay_execution_thread(MILLISECONDS(5));
	tdi_disconnect(&visit.client, TDI_DISCONNECT_ABORT);
	CU_ASSERT_FALSE(nt_success(wait_for_request(&send, "a send that breaks")));
	end_request(&send);
	tdi_disconnect(&visit.client, TDI_DISCONNECT_WAIT);
	tdi_disconnect(&visit.host.endpoint, TDI_DISCONNECT_WAIT);
	start_listen(&listen, &visit.client);
	start_connect(&call, &visit.host.endpoint, &other);
	wait_for_request(&call, "a second connect");
	CU_ASSERT_EQUAL(call.status, STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_request(&listen, "a listen"), STATUS_SUCCESS);
	end_request(&call);
	end_request(&listen);
	start_flagged_send(&small, &visit.host.endpoint, "z", 1, TDI_SEND_NON_BLOCKING);
	CU_ASSERT_EQUAL(wait_for_request(&small, "a send with room"), STATUS_SUCCESS);
	end_request(&small);
	visit.host.late = visit.host.ends = 0; /* the second life's are none of the first's */
	close_visit(&visit);
	ex_free_pool(bytes);
}

/* An endpoint without an address has nothing to abort, and can't begin. */
static void case_abort_idle(struct world *world)
{
	struct transport_address local;
	struct file_object address, endpoint;

	CU_ASSERT_EQUAL(tdi_open_transport_address(world->device, &world->local, &address),
			STATUS_SUCCESS);
	local = local_of(&address);
	CU_ASSERT_EQUAL(tdi_open_connection_endpoint(world->device, NULL, &endpoint),
			STATUS_SUCCESS);
	tdi_disconnect(&endpoint, TDI_DISCONNECT_ABORT);
	CU_ASSERT_EQUAL(tdi_listen(&endpoint, NULL, MILLISECONDS(5)),
			STATUS_INVALID_DEVICE_REQUEST);
	CU_ASSERT_EQUAL(tdi_connect(&endpoint, &local, MILLISECONDS(5)),
			STATUS_INVALID_DEVICE_REQUEST);
	CU_ASSERT_EQUAL(tdi_associate_address(&endpoint, &address), STATUS_SUCCESS);
	tdi_close(&endpoint);
	tdi_close(&address);
}

/* Who reads only normal data hears of its end, whatever else has come. */
static void case_end_beside_expedited(struct world *world)
{
	struct tdi_provider_info info = {0};
	struct connected_pair pair;
	struct request send, receive;
	char byte;

	if (!open_pair(&pair, world->device, &world->local))
		return;
	tdi_query_information(&pair.client, TDI_QUERY_PROVIDER_INFO, &info, sizeof(info));
	if (info.service_flags & TDI_SERVICE_EXPEDITED_DATA) {
		start_flagged_send(&send, &pair.client, "now!", 4, TDI_SEND_EXPEDITED);
		start_receive(&receive, &pair.server, &byte, 1);
		tdi_disconnect(&pair.client, TDI_DISCONNECT_RELEASE);
		CU_ASSERT_EQUAL(wait_for_request(&receive, "the end of the normal data"),
				STATUS_GRACEFUL_DISCONNECT);
		end_request(&receive);
		wait_for_request(&send, "an expedited send");
		end_request(&send);
	}
	close_pair(&pair);
}

/* Looks at what it is shown for a while, and does not keep it. */
static ntstatus linger(void *context, void *connection_context, uint32_t flags, uint32_t length,
		       uint32_t offset, const struct mdl *tsdu, void *descriptor)
{
	struct host *host = context;

	(void)connection_context;
	(void)flags;
	(void)length;
	(void)offset;
	(void)tsdu;
	(void)descriptor;
	interlocked_increment(&host->lingering);
	ke_set_event(&host->changed);
	for (unsigned i = 0; i < (EXECUTIVE_HOST ? 3000000 : 100); i++)
		read_count(&host->ends);
	return STATUS_SUCCESS;
}

static bool is_lingering(struct host *host)
{
	return read_count(&host->lingering) > 0;
}

/* Who keeps nothing may close while a handler runs, which the close waits for. */
static void case_close_while_shown(struct world *world)
{
	struct visit visit;

	if (!connect_visit(&visit, world))
		return;
	tdi_set_event_handler(&visit.host.address, TDI_EVENT_RECEIVE, NULL, NULL);
	tdi_set_event_handler(&visit.host.address, TDI_EVENT_CHAINED_RECEIVE,
			      (tdi_event_handler *)linger, &visit.host);
	CU_ASSERT_EQUAL(send_all(&visit.client, "data", 4, "what is shown"), STATUS_SUCCESS);
	CU_ASSERT(await(&visit.host, is_lingering));
	tdi_close(&visit.host.endpoint); /* before the client, whose close would take a while */
	tdi_open_connection_endpoint(world->device, &visit.host, &visit.host.endpoint);
	close_visit(&visit);
}

const struct conformance_case event_cases[] = {
	{.says = "who is told that a connection is over can begin at once",
	 .body = case_told_of_end},
	{.says = "a receive that a completion makes goes before events",
	 .body = case_receive_again},
	{.says = "what a listener sends at once is shown to its caller", .body = case_greeting},
	{.says = "an abort ends a connect that waits for loans", .body = case_aborted_restart},
	{.says = "an endpoint can be closed while a handler is shown a chain",
	 .body = case_close_while_shown},
	{.says = "an endpoint without an address has nothing to abort", .body = case_abort_idle},
	{.says = "a connect that waits for loans can be given up and made again",
	 .body = case_given_up_restart},
	{.says = "a life that ended untold is not told in the next", .body = case_untold},
	{.says = "what waited for room in one life does not refuse sends in the next",
	 .body = case_room_again,
	 .small_buffers = true},
	{.says = "normal receives end also with expedited data unread",
	 .body = case_end_beside_expedited},
	{.says = "a stream is taken by receive events, and its end comes last", .body = case_taken},
	{.says = "what an event did not take is shown again", .body = case_taken_in_part},
	{.says = "refused data waits for a receive, and then events go on",
	 .body = case_not_accepted},
	{.says = "a request that an event gives is filled before the next event",
	 .body = case_request_given},
	{.says = "a receive that waits goes before events", .body = case_receive_first},
	{.says = "who keeps what is lent stops the peer until it is returned",
	 .body = case_loans,
	 .small_buffers = true},
	{.says = "what is lent can be read after the connection has broken",
	 .body = case_loans_outlive},
	{.says = "expedited data comes by its own events, where there is such a thing",
	 .body = case_expedited},
	{.says = "a connect event that refuses the peer lets it know",
	 .body = case_connect_refused},
	{.says = "a connect event comes also for one who called before it was set",
	 .body = case_called_before},
	{.says = "after the last event this side can still send, and release",
	 .body = case_half_close},
	{.says = "what the client ends itself is no event, and its endpoint can be accepted into "
		 "again",
	 .body = case_own_end},
	{.says = "non-blocking sends and events of room carry a stream, no byte twice",
	 .body = case_room,
	 .small_buffers = true},
	{.says = "without room there is no event of it",
	 .body = case_no_room,
	 .small_buffers = true},
	{.says = NULL},
};
