/* The link: that it conforms, and that its bytes take the time and the room that its options say.
 */
#include <string.h>

#include "executive.h"
#include "link/link.h"
#include "suites.h"
#include "transport_client.h"
#include "transport_conformance.h"

static struct transport_address any_address(void)
{
	return (struct transport_address){.address_type = TDI_ADDRESS_TYPE_IP};
}

/* ---- Conformance --------------------------------------------------------------------------- */

enum { SMALL_WINDOW_BYTES = 64 << 10 };

static struct device_object *create(const struct conformance_options *wanted,
				    struct link_options options)
{
	options.buffered = !wanted->direct;
	options.segment = wanted->segment;
	options.window_bytes = wanted->small_buffers ? SMALL_WINDOW_BYTES : 0;
	return link_create_device(&options);
}

static struct device_object *create_short(const struct conformance_options *wanted)
{
	return create(wanted, (struct link_options){0});
}

static struct device_object *create_long(const struct conformance_options *wanted)
{
	return create(wanted, (struct link_options){.rtt_ns = 2000000,
						    .rate_bits_per_second = 2000000000,
						    .segment_bytes = 1400,
						    .completion = LINK_COMPLETE_DEFERRED});
}

static struct device_object *create_cutting(const struct conformance_options *wanted)
{
	return create(wanted, (struct link_options){.rtt_ns = 10000, .cut = true});
}

static const struct conformance_provider short_link = {
	.name = "link without delay",
	.create = create_short,
	.destroy = link_delete_device,
	.any_address = any_address,
	.direct_acknowledges = true,
};

static const struct conformance_provider long_link = {
	.name = "link of 2 ms and 2 Gb/s",
	.create = create_long,
	.destroy = link_delete_device,
	.any_address = any_address,
	.slow = true,
	.direct_acknowledges = true,
};

static const struct conformance_provider cutting_link = {
	.name = "link that cuts",
	.create = create_cutting,
	.destroy = link_delete_device,
	.any_address = any_address,
	.direct_acknowledges = true,
};

/* ---- The link's own laws ------------------------------------------------------------------- */

enum { BLOCK = 64 << 10 };

/* A link and a connection over it. */
struct line {
	struct device_object *device;
	struct connected_pair pair;
};

static bool open_line(struct line *line, const struct link_options *options)
{
	struct transport_address local = any_address();

	line->device = link_create_device(options);
	if (line->device == NULL) {
		CU_FAIL("no device");
		return false;
	}
	if (open_pair(&line->pair, line->device, &local))
		return true;
	ke_flush_queued_dpcs();
	link_delete_device(line->device);
	return false;
}

static void close_line(struct line *line)
{
	close_pair(&line->pair);
	ke_flush_queued_dpcs();
	link_delete_device(line->device);
}

/* How long it takes to send `count` blocks, `depth` at a time. */
static uint64_t time_blocks(struct line *line, uint32_t depth, uint32_t count)
{
	struct request *requests = need_pool(depth * sizeof(*requests));
	uint8_t *block = need_pool(BLOCK);
	uint64_t start;

	memset(block, 0, BLOCK);
	start = ke_query_interrupt_time();
	for (uint32_t i = 0; i < count + depth; i++) {
		struct request *request = &requests[i % depth];

		if (i >= depth) {
			CU_ASSERT_EQUAL(wait_for_request(request, "a block"), STATUS_SUCCESS);
			end_request(request);
		}
		if (i < count)
			start_send(request, &line->pair.client, block, BLOCK, NULL);
	}
	start = ke_query_interrupt_time() - start;
	ex_free_pool(block);
	ex_free_pool(requests);
	return start;
}

static uint64_t time_on_line(const struct link_options *options, uint32_t depth, uint32_t count)
{
	struct reader reader;
	struct line line;
	uint64_t taken;

	if (!open_line(&line, options))
		return 0;
	start_reader(&reader, &line.pair.server, 0, 1 << 20);
	taken = time_blocks(&line, depth, count);
	tdi_disconnect(&line.pair.client, TDI_DISCONNECT_RELEASE);
	ke_wait_for_single_object(&reader.finished, SOON);
	CU_ASSERT_EQUAL(reader.received, (uint64_t)count * BLOCK);
	tdi_disconnect(&line.pair.server, TDI_DISCONNECT_ABORT);
	ke_wait_for_thread(&reader.thread);
	close_line(&line);
	return taken;
}

/* What a busy machine may add; in the simulator only a timer that a slow processor saw late. */
#define SLACK (EXECUTIVE_HOST ? MILLISECONDS(2000) : MILLISECONDS(2))

/* Never faster than the law, and not much slower. */
static void expect_time(uint64_t taken, uint64_t law)
{
	CU_ASSERT(taken >= law);
	CU_ASSERT(taken <= law + law / 20 + (uint64_t)SLACK);
}

static void depth_law(void *context)
{
	struct link_options options = {.rtt_ns = (uint64_t)MILLISECONDS(10)};

	(void)context;
	expect_time(time_on_line(&options, 1, 5), (uint64_t)MILLISECONDS(50));
	expect_time(time_on_line(&options, 8, 40), (uint64_t)MILLISECONDS(50));
}

static void case_depth_law(void)
{
	in_executive(depth_law, NULL);
}

static void rate_law(void *context)
{
	/* A block takes 5.24288 ms. */
	struct link_options options = {.rtt_ns = 1000, .rate_bits_per_second = 100000000};

	(void)context;
	expect_time(time_on_line(&options, 4, 10), 52428800);
	options.buffered = true; /* the window lets all be accepted at once */
	CU_ASSERT(time_on_line(&options, 4, 10) < 5242880 + (uint64_t)SLACK);
	options.window_bytes = BLOCK; /* the last block is accepted when all others have arrived */
	expect_time(time_on_line(&options, 4, 10), 9 * 5242880);
}

static void case_rate_law(void)
{
	in_executive(rate_law, NULL);
}

static void connect_law(void *context)
{
	struct link_options options = {.rtt_ns = (uint64_t)MILLISECONDS(20)};
	uint64_t start = ke_query_interrupt_time();
	struct line line;

	(void)context;
	if (!open_line(&line, &options))
		return;
	expect_time(ke_query_interrupt_time() - start, options.rtt_ns);
	close_line(&line);
}

static void case_connect_law(void)
{
	in_executive(connect_law, NULL);
}

static void window(void *context)
{
	struct link_options options = {.window_bytes = 10000, .segment_bytes = 3000};
	uint8_t *buffer = need_pool(BLOCK);
	struct request send;
	struct line line;

	(void)context;
	fill_pattern(buffer, 1, 0, BLOCK);
	if (open_line(&line, &options)) {
		start_send(&send, &line.pair.client, buffer, 50000, NULL);
		ke_delay_execution_thread(MILLISECONDS(5));
		CU_ASSERT_EQUAL(info_of(&line.pair.client).sent_bytes, 10000);
		CU_ASSERT_EQUAL(info_of(&line.pair.client).acknowledged_bytes, 10000);
		CU_ASSERT_EQUAL(receive_all(&line.pair.server, buffer, 3007, "a segment and more"),
				3007);
		ke_delay_execution_thread(MILLISECONDS(5));
		CU_ASSERT_EQUAL(info_of(&line.pair.client).sent_bytes, 13000);
		CU_ASSERT_EQUAL(receive_all(&line.pair.server, buffer + 3007, 46993, "the rest"),
				46993);
		CU_ASSERT_EQUAL(wait_for_request(&send, "the send"), STATUS_SUCCESS);
		CU_ASSERT(is_pattern(buffer, 1, 0, 50000));
		end_request(&send);
		close_line(&line);
	}
	ex_free_pool(buffer);
}

static void case_window(void)
{
	in_executive(window, NULL);
}

/* Sends 16 blocks over a link that breaks after some of them. */
static void broken(void *context)
{
	enum { SENDS = 16, BREAKS_AT = 300001 };
	struct link_options options = {.rtt_ns = (uint64_t)MILLISECONDS(1),
				       .rate_bits_per_second = 1000000000,
				       .reset_after_bytes = BREAKS_AT,
				       .buffered = *(bool *)context};
	struct request *sends = need_pool(SENDS * sizeof(*sends));
	uint8_t *block = need_pool(BLOCK);
	uint64_t succeeded = 0, acknowledged;
	struct reader reader;
	struct line line;

	fill_pattern(block, 1, 0, BLOCK);
	if (open_line(&line, &options)) {
		start_reader(&reader, &line.pair.server, 0, BLOCK);
		for (unsigned i = 0; i < SENDS; i++)
			start_send(&sends[i], &line.pair.client, block, BLOCK, NULL);
		for (unsigned i = 0; i < SENDS; i++) {
			ntstatus status = wait_for_request(&sends[i], "a send on a broken link");

			CU_ASSERT(status == STATUS_SUCCESS || status == STATUS_CONNECTION_RESET);
			succeeded += nt_success(status) ? sends[i].bytes : 0;
			end_request(&sends[i]);
		}
		ke_wait_for_single_object(&reader.finished, SOON);
		CU_ASSERT_EQUAL(reader.status, STATUS_CONNECTION_RESET);
		CU_ASSERT(reader.received <= BREAKS_AT);
		acknowledged = info_of(&line.pair.client).acknowledged_bytes;
		CU_ASSERT(acknowledged < BREAKS_AT);
		CU_ASSERT(options.buffered || succeeded <= acknowledged);
		tdi_disconnect(&line.pair.server, TDI_DISCONNECT_ABORT);
		ke_wait_for_thread(&reader.thread);
		close_line(&line);
	}
	ex_free_pool(block);
	ex_free_pool(sends);
}

static void case_broken(void)
{
	bool buffered = false;

	in_executive(broken, &buffered);
	buffered = true;
	in_executive(broken, &buffered);
}

/* ---- When completions run ------------------------------------------------------------------ */

struct completion {
	struct kevent done;
	kirql irql;
};

static void note_irql(void *context, ntstatus status, uint32_t bytes)
{
	struct completion *completion = context;

	(void)status;
	(void)bytes;
	completion->irql = ke_get_current_irql();
	ke_set_event(&completion->done);
}

static kirql irql_of_completion(enum link_completion when)
{
	struct link_options options = {.buffered = true, .completion = when};
	struct completion completion = {.irql = HIGH_LEVEL};
	struct line line;

	if (!open_line(&line, &options))
		return HIGH_LEVEL;
	ke_initialize_event(&completion.done, NOTIFICATION_EVENT, false);
	tdi_start_send_buffer(&line.pair.client, "x", 1, 0, note_irql, &completion);
	if (when == LINK_COMPLETE_INLINE)
		CU_ASSERT_EQUAL(ke_wait_for_single_object(&completion.done, 0), STATUS_SUCCESS);
	ke_wait_for_single_object(&completion.done, KE_WAIT_FOREVER);
	close_line(&line);
	return completion.irql;
}

static void completion(void *context)
{
	(void)context;
	CU_ASSERT_EQUAL(irql_of_completion(LINK_COMPLETE_INLINE), PASSIVE_LEVEL);
	CU_ASSERT_EQUAL(irql_of_completion(LINK_COMPLETE_DEFERRED), DISPATCH_LEVEL);
	CU_ASSERT_NOT_EQUAL(irql_of_completion(LINK_COMPLETE_ANYHOW), HIGH_LEVEL);
}

static void case_completion(void)
{
	in_executive(completion, NULL);
}

/* ---- The backlog --------------------------------------------------------------------------- */

/* A caller that gives up, one that is answered, and one that is refused when the address goes. */
static void backlog(void *context)
{
	struct transport_address local = any_address(), remote;
	struct device_object *device = link_create_device(NULL);
	struct file_object address, callers[3], callers_address, listener;
	struct request call, last;

	(void)context;
	CU_ASSERT_EQUAL(tdi_open_transport_address(device, &local, &address), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(tdi_open_transport_address(device, &local, &callers_address),
			STATUS_SUCCESS);
	remote = local_of(&address);
	for (unsigned i = 0; i < 3; i++)
		open_endpoint(&callers[i], device, &callers_address);
	CU_ASSERT_EQUAL(tdi_connect(&callers[0], &remote, MILLISECONDS(2)), STATUS_IO_TIMEOUT);
	start_connect(&call, &callers[1], &remote);
	ke_delay_execution_thread(MILLISECONDS(2));
	open_endpoint(&listener, device, &address);
	CU_ASSERT_EQUAL(tdi_listen(&listener, &remote, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(remote.port, local_of(&callers_address).port);
	CU_ASSERT_EQUAL(wait_for_request(&call, "a call that waited"), STATUS_SUCCESS);

	remote = local_of(&address);
	start_connect(&last, &callers[2], &remote);
	ke_delay_execution_thread(MILLISECONDS(2));
	tdi_close(&listener);
	tdi_close(&address);
	CU_ASSERT_EQUAL(wait_for_request(&last, "a call to an address that went"),
			STATUS_CONNECTION_REFUSED);
	end_request(&call);
	end_request(&last);
	for (unsigned i = 0; i < 3; i++)
		tdi_close(&callers[i]);
	tdi_close(&callers_address);
	ke_flush_queued_dpcs();
	link_delete_device(device);
}

static void case_backlog(void)
{
	in_executive(backlog, NULL);
}

/* Listens that time out just when calls arrive, and the other way round. */
static void crossing(void *context)
{
	enum { ROUNDS = 20 };
	struct transport_address local = any_address(), remote;
	struct link_options options = {.rtt_ns = (uint64_t)MILLISECONDS(1)};
	struct device_object *device = link_create_device(&options);
	struct file_object address, caller_address, caller, listener;

	(void)context;
	CU_ASSERT_EQUAL(tdi_open_transport_address(device, &local, &address), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(tdi_open_transport_address(device, &local, &caller_address),
			STATUS_SUCCESS);
	remote = local_of(&address);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct request call;
		ntstatus listened, called;

		open_endpoint(&listener, device, &address);
		open_endpoint(&caller, device, &caller_address);
		start_connect(&call, &caller, &remote);
		listened = tdi_listen(&listener, NULL, (int64_t)options.rtt_ns);
		io_cancel_irp(call.irp);
		if (!nt_success(listened)) /* nobody will answer the call */
			tdi_disconnect(&caller, TDI_DISCONNECT_ABORT);
		called = wait_for_request(&call, "a call that crosses a timeout");
		CU_ASSERT(nt_success(called) == nt_success(listened) ||
			  called == STATUS_LOCAL_DISCONNECT || called == STATUS_CANCELLED);
		end_request(&call);
		tdi_close(i % 2 == 0 ? &caller : &listener);
		tdi_close(i % 2 == 0 ? &listener : &caller);
	}
	tdi_close(&caller_address);
	tdi_close(&address);
	ke_flush_queued_dpcs();
	link_delete_device(device);
}

static void case_crossing(void)
{
	in_executive(crossing, NULL);
}

static void left_quietly(void *context)
{
	struct link_options options = {.rtt_ns = 100000};
	struct line line;
	char byte;

	(void)context;
	if (!open_line(&line, &options))
		return;
	tdi_disconnect(&line.pair.client, TDI_DISCONNECT_RELEASE);
	CU_ASSERT_EQUAL(receive_some(&line.pair.server, &byte, 1, "the end"),
			STATUS_GRACEFUL_DISCONNECT);
	tdi_close(&line.pair.client);
	CU_ASSERT_EQUAL(send_all(&line.pair.server, "x", 1, "a send to one who has left"),
			STATUS_CONNECTION_RESET);
	tdi_close(&line.pair.server);
	tdi_close(&line.pair.client_address);
	tdi_close(&line.pair.server_address);
	ke_flush_queued_dpcs();
	link_delete_device(line.device);
}

static void case_left_quietly(void)
{
	in_executive(left_quietly, NULL);
}

/* A release does not wait for a send that is just being cancelled while room comes. */
static void cancel_one(void *context)
{
	io_cancel_irp(((struct request *)context)->irp);
}

static void release_beside_cancel(void *context)
{
	struct link_options options = {.buffered = true, .window_bytes = 8};
	struct request first, second, release;
	struct kthread canceller;
	struct line line;
	char buffer[16];

	(void)context;
	if (!open_line(&line, &options))
		return;
	start_send(&first, &line.pair.client, "12345678", 8, NULL);
	wait_for_request(&first, "a send with room");
	start_send(&second, &line.pair.client, "abcdefgh", 8, NULL);
	start_release(&release, &line.pair.client);
	CU_ASSERT_EQUAL(ps_create_system_thread(&canceller, cancel_one, &second), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(receive_all(&line.pair.server, buffer, 8, "the first"), 8);
	ke_wait_for_thread(&canceller);
	wait_for_request(&second, "a send that is cancelled or not");
	CU_ASSERT_EQUAL(wait_for_request(&release, "a release behind it"), STATUS_SUCCESS);
	end_request(&first);
	end_request(&second);
	end_request(&release);
	close_line(&line);
}

static void case_release_beside_cancel(void)
{
	in_executive(release_beside_cancel, NULL);
}

/* ---- Accepts ------------------------------------------------------------------------------- */

enum { CALLERS = 2 };

/* An address whose connect event always gives the same endpoint. */
struct door {
	struct file_object address, endpoint;
	struct irp *irps[CALLERS];
	int32_t called, accepted, settled;
	struct kevent shown;
	struct kevent closed;
};

static ntstatus door_settled(struct device_object *device, struct irp *irp, void *context)
{
	struct door *door = context;

	(void)device;
	if (nt_success(irp->io_status.status))
		interlocked_increment(&door->accepted);
	interlocked_increment(&door->settled);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static ntstatus peer_calls(void *context, const struct transport_address *remote,
			   struct irp **accept_irp)
{
	struct door *door = context;
	int32_t i = interlocked_increment(&door->called) - 1;

	(void)remote;
	if (i >= CALLERS)
		return STATUS_INSUFFICIENT_RESOURCES;
	*accept_irp = door->irps[i];
	tdi_build_accept(*accept_irp, &door->endpoint, door_settled, door);
	ke_set_event(&door->shown);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static struct device_object *open_door(struct door *door, struct file_object *callers,
				       struct file_object *callers_address)
{
	struct link_options options = {.buffered = true};
	struct device_object *device = link_create_device(&options);
	struct transport_address local = any_address();

	*door = (struct door){.called = 0};
	ke_initialize_event(&door->shown, NOTIFICATION_EVENT, false);
	ke_initialize_event(&door->closed, NOTIFICATION_EVENT, false);
	CU_ASSERT_EQUAL(tdi_open_transport_address(device, &local, &door->address), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(tdi_open_transport_address(device, &local, callers_address),
			STATUS_SUCCESS);
	open_endpoint(&door->endpoint, device, &door->address);
	for (unsigned i = 0; i < CALLERS; i++) {
		door->irps[i] = io_allocate_irp(device->stack_size);
		open_endpoint(&callers[i], device, callers_address);
	}
	tdi_set_event_handler(&door->address, TDI_EVENT_CONNECT, (tdi_event_handler *)peer_calls,
			      door);
	return device;
}

static void close_door(struct door *door, struct device_object *device, struct file_object *callers,
		       struct file_object *callers_address)
{
	for (unsigned i = 0; i < CALLERS; i++) {
		tdi_close(&callers[i]);
		io_free_irp(door->irps[i]);
	}
	tdi_close(&door->address);
	tdi_close(callers_address);
	ke_flush_queued_dpcs();
	link_delete_device(device);
}

/* One endpoint for two peers: one accept stands, and it is the peer's that is connected. */
static void same_for_two(void *context)
{
	struct file_object callers[CALLERS], callers_address;
	struct request calls[CALLERS], send;
	struct transport_address remote;
	struct device_object *device;
	struct door door;
	int connected = 0;

	(void)context;
	device = open_door(&door, callers, &callers_address);
	remote = local_of(&door.address);
	for (unsigned i = 0; i < CALLERS; i++)
		start_connect(&calls[i], &callers[i], &remote);
	for (unsigned i = 0; i < CALLERS; i++) {
		connected += nt_success(wait_for_request(&calls[i], "a call")) ? 1 : 0;
		end_request(&calls[i]);
	}
	ke_flush_queued_dpcs();
	CU_ASSERT_EQUAL(connected, 1);
	CU_ASSERT_EQUAL(read_count(&door.settled), 2);
	CU_ASSERT_EQUAL(read_count(&door.accepted), 1);
	start_send(&send, &door.endpoint, "x", 1, NULL);
	CU_ASSERT_EQUAL(wait_for_request(&send, "a send to who was accepted"), STATUS_SUCCESS);
	end_request(&send);
	tdi_close(&door.endpoint);
	close_door(&door, device, callers, &callers_address);
}

static void case_same_for_two(void)
{
	in_executive(same_for_two, NULL);
}

/* The client's own accept request, sent beside the one that a connect event has given. */
static ntstatus call_settled(struct device_object *device, struct irp *irp, void *context)
{
	struct door *door = context;

	(void)irp;
	(void)device;
	tdi_build_accept(door->irps[1], &door->endpoint, door_settled, door);
	io_call_driver(door->endpoint.device_object, door->irps[1]);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static void accept_uncalled(void *context)
{
	struct file_object callers[CALLERS], callers_address;
	struct transport_address remote;
	struct device_object *device;
	struct door door;
	struct irp *call;

	(void)context;
	device = open_door(&door, callers, &callers_address);
	remote = local_of(&door.address);
	call = io_allocate_irp(device->stack_size);
	tdi_build_connect(call, &callers[0], call_settled, &door, &remote);
	io_call_driver(device, call);
	ke_wait_for_single_object(&door.shown, SOON);
	for (unsigned i = 0; i < 1000 && read_count(&door.settled) < 2; i++)
		ke_delay_execution_thread(MILLISECONDS(1));
	CU_ASSERT_EQUAL(read_count(&door.settled), 2);
	CU_ASSERT_EQUAL(door.irps[0]->io_status.status, STATUS_SUCCESS);
	CU_ASSERT_EQUAL(door.irps[1]->io_status.status, STATUS_CONNECTION_ACTIVE);
	tdi_close(&door.endpoint);
	io_free_irp(call);
	close_door(&door, device, callers, &callers_address);
}

static void case_accept_uncalled(void)
{
	in_executive(accept_uncalled, NULL);
}

static const struct test_case cases[] = {
	{"a release does not wait for a send that is being cancelled", case_release_beside_cancel},
	{"an endpoint that is given to two peers is one's", case_same_for_two},
	{"an accept that no event has given accepts nothing", case_accept_uncalled},
	{"d blocks outstanding take a round trip for each d of them", case_depth_law},
	{"blocks take their length at the rate of the link, and its window", case_rate_law},
	{"a connection is established after one round trip", case_connect_law},
	{"no more bytes than the window are on the way or unread", case_window},
	{"a link that breaks at a byte resets both ends, and acknowledges nothing after",
	 case_broken},
	{"a completion runs inline or from a DPC, as the options say", case_completion},
	{"a call waits in the backlog until it is answered, given up or refused", case_backlog},
	{"calls and listens that are given up while they meet are ended once", case_crossing},
	{"bytes sent to one who has left quietly reset their sender", case_left_quietly},
	{NULL, NULL},
};

void register_link_suites(void)
{
	add_suite("link", cases);
	add_conformance_suite(&short_link);
	add_conformance_suite(&long_link);
	if (!EXECUTIVE_HOST) /* on the host nothing is ever cut */
		add_conformance_suite(&cutting_link);
}
