/* What transports tell without being asked: conformance cases. */
#include <string.h>

#include "event_host.h"

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
