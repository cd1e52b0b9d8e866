/*
 * The cases. Each is given a device, made to its wishes, and the transport under test; CUnit passes
 * its test functions nothing, so one function runs them all and finds out from CUnit which it is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conformance_cases.h"
#include "executive.h"
#include "laws.h"
#include "transport_client.h"

enum {
	KIB = 1 << 10,
	MIB = 1 << 20,
	BLOCK_BYTES = 64 * KIB,
	/* The simulator tries every case under many schedules, so there less will do. */
	STREAM_BYTES = EXECUTIVE_HOST ? MIB : 128 * KIB,
	CHAIN_SENDS = EXECUTIVE_HOST ? 100000 : 500,
	SLOW_CHAIN_SENDS = 200,
	PARALLEL_CONNECTIONS = EXECUTIVE_HOST ? 100 : 12,
};

/* ---- Connecting ---------------------------------------------------------------------------- */

static void case_refused(struct world *world)
{
	struct file_object address, client;
	struct transport_address nobody;
	char byte;

	if (!nt_success(tdi_open_transport_address(world->device, &world->local, &address))) {
		CU_FAIL("no address");
		return;
	}
	nobody = local_of(&address);
	tdi_close(&address); /* so now the port is nobody's */
	CU_ASSERT_EQUAL(tdi_open_transport_address(world->device, &world->local, &address),
			STATUS_SUCCESS);
	if (open_endpoint(&client, world->device, &address)) {
		CU_ASSERT_EQUAL(tdi_connect(&client, &nobody, SOON), STATUS_CONNECTION_REFUSED);
		CU_ASSERT_EQUAL(tdi_receive_stream(&client, &byte, 1), STATUS_CONNECTION_REFUSED);
		tdi_close(&client);
	}
	tdi_close(&address);
}

static void case_active(struct world *world)
{
	struct transport_address remote;
	struct connected_pair pair;

	if (!open_pair(&pair, world->device, &world->local))
		return;
	remote = local_of(&pair.server_address);
	CU_ASSERT_EQUAL(tdi_connect(&pair.client, &remote, SOON), STATUS_CONNECTION_ACTIVE);
	CU_ASSERT_EQUAL(tdi_listen(&pair.client, NULL, SOON), STATUS_CONNECTION_ACTIVE);
	CU_ASSERT_EQUAL(tdi_listen(&pair.server, NULL, SOON), STATUS_CONNECTION_ACTIVE);
	CU_ASSERT_EQUAL(tdi_associate_address(&pair.client, &pair.server_address),
			STATUS_CONNECTION_ACTIVE);
	CU_ASSERT_EQUAL(send_all(&pair.client, "still", 5, "a send"), STATUS_SUCCESS);
	close_pair(&pair);
}

static void case_unconnected(struct world *world)
{
	struct file_object address, endpoint;
	char byte = 0;

	if (!nt_success(tdi_open_transport_address(world->device, &world->local, &address))) {
		CU_FAIL("no address");
		return;
	}
	if (open_endpoint(&endpoint, world->device, &address)) {
		CU_ASSERT_EQUAL(tdi_send_stream(&endpoint, &byte, 1, 0), STATUS_CONNECTION_INVALID);
		CU_ASSERT_EQUAL(tdi_receive_stream(&endpoint, &byte, 1), STATUS_CONNECTION_INVALID);
		CU_ASSERT_EQUAL(tdi_disconnect(&endpoint, TDI_DISCONNECT_RELEASE),
				STATUS_CONNECTION_INVALID);
		tdi_close(&endpoint);
	}
	tdi_close(&address);
}

static void case_double_bind(struct world *world)
{
	struct file_object first, second;
	struct transport_address local;

	if (!nt_success(tdi_open_transport_address(world->device, &world->local, &first))) {
		CU_FAIL("no address");
		return;
	}
	local = local_of(&first);
	CU_ASSERT_NOT_EQUAL(local.port, 0);
	CU_ASSERT_EQUAL(tdi_open_transport_address(world->device, &local, &second),
			STATUS_ADDRESS_ALREADY_EXISTS);
	tdi_close(&first);
	CU_ASSERT_EQUAL(tdi_open_transport_address(world->device, &local, &second), STATUS_SUCCESS);
	tdi_close(&second);
}

static void case_listen_timeout(struct world *world)
{
	struct file_object address, endpoint;

	if (!nt_success(tdi_open_transport_address(world->device, &world->local, &address))) {
		CU_FAIL("no address");
		return;
	}
	if (open_endpoint(&endpoint, world->device, &address)) {
		CU_ASSERT_EQUAL(tdi_listen(&endpoint, NULL, MILLISECONDS(20)), STATUS_IO_TIMEOUT);
		tdi_close(&endpoint);
	}
	if (open_endpoint(&endpoint, world->device, &address)) {
		struct request listen;

		start_listen(&listen, &endpoint);
		tdi_close(&endpoint);
		CU_ASSERT_EQUAL(read_count(&listen.completions), 1);
		CU_ASSERT(!nt_success(listen.status));
		end_request(&listen);
	}
	tdi_close(&address);
}

/* One connection of many: a number goes there and back. */
struct parallel {
	struct file_object client;
	struct file_object server;
	struct request call, listen, send, receive;
	uint32_t number;
	uint32_t echo;
};

static bool open_parallel(struct parallel *parallel, struct world *world,
			  struct file_object *client_address, struct file_object *server_address)
{
	if (!open_endpoint(&parallel->client, world->device, client_address))
		return false;
	if (open_endpoint(&parallel->server, world->device, server_address))
		return true;
	tdi_close(&parallel->client);
	return false;
}

static void connect_parallel(struct parallel *all, uint32_t count, struct file_object *server)
{
	struct transport_address remote = local_of(server);

	for (uint32_t i = 0; i < count; i++)
		start_listen(&all[i].listen, &all[i].server);
	for (uint32_t i = 0; i < count; i++)
		start_connect(&all[i].call, &all[i].client, &remote);
	for (uint32_t i = 0; i < count; i++) {
		CU_ASSERT_EQUAL(wait_for_request(&all[i].call, "one connect of many"),
				STATUS_SUCCESS);
		CU_ASSERT_EQUAL(wait_for_request(&all[i].listen, "one listen of many"),
				STATUS_SUCCESS);
		end_request(&all[i].call);
		end_request(&all[i].listen);
	}
}

static void use_parallel(struct parallel *all, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		all[i].number = i + 1;
		start_receive(&all[i].receive, &all[i].client, &all[i].echo, sizeof(uint32_t));
		start_send(&all[i].send, &all[i].client, &all[i].number, sizeof(uint32_t), NULL);
	}
	for (uint32_t i = 0; i < count; i++) {
		uint32_t number = 0;

		CU_ASSERT_EQUAL(receive_all(&all[i].server, &number, sizeof(number), "a number"),
				sizeof(number));
		CU_ASSERT_EQUAL(send_all(&all[i].server, &number, sizeof(number), "an echo"),
				STATUS_SUCCESS);
	}
	for (uint32_t i = 0; i < count; i++) {
		CU_ASSERT_EQUAL(wait_for_request(&all[i].receive, "one echo of many"),
				STATUS_SUCCESS);
		CU_ASSERT_EQUAL(wait_for_request(&all[i].send, "one send of many"), STATUS_SUCCESS);
		receive_all(&all[i].client, (char *)&all[i].echo + all[i].receive.bytes,
			    (uint32_t)sizeof(uint32_t) - all[i].receive.bytes, "its rest");
		CU_ASSERT_EQUAL(all[i].echo, all[i].number);
		end_request(&all[i].receive);
		end_request(&all[i].send);
	}
}

static void case_parallel(struct world *world)
{
	struct parallel *all = need_pool(PARALLEL_CONNECTIONS * sizeof(*all));
	struct file_object client_address, server_address;
	uint32_t count = 0;

	CU_ASSERT_EQUAL(tdi_open_transport_address(world->device, &world->local, &client_address),
			STATUS_SUCCESS);
	CU_ASSERT_EQUAL(tdi_open_transport_address(world->device, &world->local, &server_address),
			STATUS_SUCCESS);
	while (count < PARALLEL_CONNECTIONS &&
	       open_parallel(&all[count], world, &client_address, &server_address))
		count++;
	connect_parallel(all, count, &server_address);
	use_parallel(all, count);
	for (uint32_t i = 0; i < count; i++) {
		tdi_close(&all[i].client);
		tdi_close(&all[i].server);
	}
	tdi_close(&client_address);
	tdi_close(&server_address);
	ex_free_pool(all);
}

/* ---- Streams ------------------------------------------------------------------------------- */

static void case_both_directions(struct world *world)
{
	struct connected_pair pair;
	struct writer up, down;
	struct reader at_server, at_client;

	if (!open_pair(&pair, world->device, &world->local))
		return;
	start_reader(&at_server, &pair.server, 1, 10007);
	start_reader(&at_client, &pair.client, 2, 513);
	start_writer(&up, &pair.client, 1, STREAM_BYTES);
	start_writer(&down, &pair.server, 2, STREAM_BYTES);
	wait_for_writer(&up, "a stream's sends, up");
	wait_for_writer(&down, "a stream's sends, down");
	wait_for_reader(&at_server, "a stream's end, up");
	wait_for_reader(&at_client, "a stream's end, down");
	CU_ASSERT_EQUAL(at_server.received, STREAM_BYTES);
	CU_ASSERT_EQUAL(at_client.received, STREAM_BYTES);
	CU_ASSERT_EQUAL(at_server.status, STATUS_GRACEFUL_DISCONNECT);
	CU_ASSERT_EQUAL(at_client.status, STATUS_GRACEFUL_DISCONNECT);
	CU_ASSERT_EQUAL(info_of(&pair.client).sent_bytes, STREAM_BYTES);
	CU_ASSERT_EQUAL(info_of(&pair.client).received_bytes, STREAM_BYTES);
	close_pair(&pair);
}

struct echo {
	struct kthread thread;
	struct file_object *file;
	uint64_t echoed;
};

/* Sends back what it receives until either fails or the stream ends, and then releases. */
static void echo_stream(void *context)
{
	struct echo *echo = context;
	uint8_t *buffer = need_pool(7919);
	int64_t bytes;

	while ((bytes = tdi_receive_stream(echo->file, buffer, 7919)) > 0) {
		bytes = tdi_send_stream(echo->file, buffer, (uint32_t)bytes, 0);
		if (bytes < 0)
			break;
		echo->echoed += (uint64_t)bytes;
	}
	tdi_disconnect(echo->file, TDI_DISCONNECT_RELEASE);
	ex_free_pool(buffer);
}

static void case_echo(struct world *world)
{
	struct connected_pair pair;
	struct writer writer;
	struct reader reader;
	struct echo echo;

	if (!open_pair(&pair, world->device, &world->local))
		return;
	echo = (struct echo){.file = &pair.server};
	ps_create_system_thread(&echo.thread, echo_stream, &echo);
	start_reader(&reader, &pair.client, 3, 30011);
	start_writer(&writer, &pair.client, 3, STREAM_BYTES);
	wait_for_writer(&writer, "the sends of a stream that is echoed");
	wait_for_reader(&reader, "the end of an echoed stream");
	if (reader.status != STATUS_GRACEFUL_DISCONNECT) /* the echo may wait for ever: wake it */
		tdi_disconnect(&pair.server, TDI_DISCONNECT_ABORT);
	ke_wait_for_thread(&echo.thread);
	CU_ASSERT_EQUAL(echo.echoed, STREAM_BYTES);
	CU_ASSERT_EQUAL(reader.received, STREAM_BYTES);
	CU_ASSERT_EQUAL(reader.status, STATUS_GRACEFUL_DISCONNECT);
	close_pair(&pair);
}

static void case_sync_send(struct world *world)
{
	struct connected_pair pair;
	uint8_t *sent = need_pool(5000), *received = need_pool(5000);

	fill_pattern(sent, 4, 0, 5000);
	if (open_pair(&pair, world->device, &world->local)) {
		CU_ASSERT_EQUAL(tdi_send_stream(&pair.client, sent, 4999, 0), 4999);
		CU_ASSERT_EQUAL(tdi_send_stream(&pair.client, sent + 4999, 1, 0), 1);
		CU_ASSERT_EQUAL(receive_all(&pair.server, received, 5000, "what was sent"), 5000);
		CU_ASSERT(memcmp(sent, received, 5000) == 0);
		close_pair(&pair);
	}
	ex_free_pool(sent);
	ex_free_pool(received);
}

static void case_zero_length(struct world *world)
{
	struct connected_pair pair;
	struct request before, empty, after;
	int32_t counter = 0;
	char received[4] = "";

	if (!open_pair(&pair, world->device, &world->local))
		return;
	CU_ASSERT_EQUAL(send_all(&pair.client, "", 0, "an empty send, first of all"),
			STATUS_SUCCESS);
	start_send(&before, &pair.client, "ab", 2, &counter);
	start_send(&empty, &pair.client, "", 0, &counter);
	start_send(&after, &pair.client, "c", 1, &counter);
	CU_ASSERT_EQUAL(receive_all(&pair.server, received, 3, "what was sent around it"), 3);
	CU_ASSERT_STRING_EQUAL(received, "abc");
	CU_ASSERT_EQUAL(wait_for_request(&before, "a send"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_request(&empty, "an empty send"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_request(&after, "a send after it"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(empty.bytes, 0);
	CU_ASSERT(before.order == 1 && empty.order == 2 && after.order == 3);
	end_request(&before);
	end_request(&empty);
	end_request(&after);
	close_pair(&pair);
}

static void case_receive_length(struct world *world)
{
	struct connected_pair pair;
	struct request first;
	uint8_t sent[1000], received[1000] = {0};
	uint32_t offset = 0;

	fill_pattern(sent, 5, 0, sizeof(sent));
	if (!open_pair(&pair, world->device, &world->local))
		return;
	start_receive(&first, &pair.server, received, 1); /* waits before there is anything */
	CU_ASSERT_EQUAL(send_all(&pair.client, sent, sizeof(sent), "a send"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_request(&first, "a receive of one byte"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(first.bytes, 1);
	end_request(&first);
	for (offset = 1; offset < sizeof(sent);) {
		uint32_t length = offset % 96 + 1;
		int64_t bytes;

		if (length > sizeof(sent) - offset)
			length = (uint32_t)sizeof(sent) - offset;
		bytes = receive_some(&pair.server, received + offset, length, "a receive");
		CU_ASSERT(bytes >= 1 && bytes <= length);
		if (bytes < 1)
			break;
		offset += (uint32_t)bytes;
	}
	CU_ASSERT(is_pattern(received, 5, 0, sizeof(received)));
	CU_ASSERT_EQUAL(tdi_receive_stream(&pair.server, received, 0), STATUS_INVALID_PARAMETER);
	close_pair(&pair);
}

/* ---- Many outstanding sends ---------------------------------------------------------------- */

enum { SENDS = 64 };

/* 64 sends of 64 KiB under way, each of one letter. */
struct batch {
	struct request sends[SENDS];
	uint8_t *blocks;
	int32_t counter;
};

static void start_batch(struct batch *batch, struct file_object *file)
{
	batch->counter = 0;
	batch->blocks = need_pool(SENDS * BLOCK_BYTES);
	for (uint32_t i = 0; i < SENDS; i++) {
		memset(batch->blocks + i * BLOCK_BYTES, (int)i, BLOCK_BYTES);
		start_send(&batch->sends[i], file, batch->blocks + i * BLOCK_BYTES, BLOCK_BYTES,
			   &batch->counter);
	}
}

static void end_batch(struct batch *batch)
{
	for (uint32_t i = 0; i < SENDS; i++)
		end_request(&batch->sends[i]);
	ex_free_pool(batch->blocks);
	ex_free_pool(batch);
}

/* Receives the batch, without block `missing` if there is such a one, and looks at each byte. */
static void receive_batch(struct file_object *file, uint32_t missing)
{
	uint8_t *buffer = need_pool(BLOCK_BYTES);
	bool matches = true;

	for (uint32_t i = 0; i < SENDS && matches; i++) {
		if (i == missing)
			continue;
		matches =
			receive_all(file, buffer, BLOCK_BYTES, "a block of a batch") == BLOCK_BYTES;
		for (uint32_t j = 0; j < BLOCK_BYTES && matches; j++)
			matches = buffer[j] == (uint8_t)i;
	}
	CU_ASSERT(matches);
	ex_free_pool(buffer);
}

static bool is_pending(struct request *request)
{
	return read_count(&request->completions) == 0;
}

static void case_many_sends(struct world *world)
{
	struct batch *batch;
	struct connected_pair pair;

	if (!open_pair(&pair, world->device, &world->local))
		return;
	batch = need_pool(sizeof(*batch));
	start_batch(batch, &pair.client);
	receive_batch(&pair.server, SENDS);
	for (int32_t i = 0; i < SENDS; i++) {
		CU_ASSERT_EQUAL(wait_for_request(&batch->sends[i], "one send of 64"),
				STATUS_SUCCESS);
		CU_ASSERT_EQUAL(batch->sends[i].bytes, BLOCK_BYTES);
		CU_ASSERT_EQUAL(batch->sends[i].order, i + 1);
	}
	close_pair(&pair);
	end_batch(batch);
}

static void case_unread(struct world *world)
{
	struct batch *batch;
	struct connected_pair pair;
	uint64_t taken;

	if (!open_pair(&pair, world->device, &world->local))
		return;
	batch = need_pool(sizeof(*batch));
	start_batch(batch, &pair.client);
	ke_delay_execution_thread(MILLISECONDS(200));
	taken = info_of(&pair.client).sent_bytes;
	CU_ASSERT(taken > 0);
	CU_ASSERT(taken <= SENDS * BLOCK_BYTES / 2);
	CU_ASSERT(is_pending(&batch->sends[SENDS - 1]));
	receive_batch(&pair.server, SENDS);
	for (uint32_t i = 0; i < SENDS; i++)
		CU_ASSERT_EQUAL(wait_for_request(&batch->sends[i], "a send after the pause"),
				STATUS_SUCCESS);
	CU_ASSERT_EQUAL(info_of(&pair.client).sent_bytes, SENDS * BLOCK_BYTES);
	CU_ASSERT_EQUAL(info_of(&pair.server).received_bytes, SENDS * BLOCK_BYTES);
	close_pair(&pair);
	end_batch(batch);
}

struct chain {
	struct file_object *file;
	struct kevent finished;
	uint8_t bytes[8];
	int32_t left;
	int32_t users; /* sends under way and callbacks that have not returned */
	int32_t depth; /* of the latter */
	int32_t deepest;
	ntstatus status;
};

static tdi_completion_callback chain_sent;

static void start_next(struct chain *chain)
{
	interlocked_increment(&chain->users);
	tdi_start_send_buffer(chain->file, chain->bytes, sizeof(chain->bytes), 0, chain_sent,
			      chain);
}

static void chain_sent(void *context, ntstatus status, uint32_t bytes)
{
	struct chain *chain = context;
	int32_t depth = interlocked_increment(&chain->depth);

	if (depth > chain->deepest)
		chain->deepest = depth;
	if (!nt_success(status) || bytes != sizeof(chain->bytes) || --chain->left == 0)
		chain->status = status;
	else
		start_next(chain);
	interlocked_decrement(&chain->depth);
	if (interlocked_decrement(&chain->users) == 0) /* no send was started, and all returned */
		ke_set_event(&chain->finished);
}

static void case_chain(struct world *world)
{
	int32_t count = world->provider->slow ? SLOW_CHAIN_SENDS : CHAIN_SENDS;
	struct chain *chain;
	struct connected_pair pair;
	struct reader reader;

	if (!open_pair(&pair, world->device, &world->local))
		return;
	chain = need_pool(sizeof(*chain));
	*chain = (struct chain){.file = &pair.client, .left = count};
	ke_initialize_event(&chain->finished, NOTIFICATION_EVENT, false);
	start_reader(&reader, &pair.server, 0, BLOCK_BYTES);
	start_next(chain);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&chain->finished, 3 * SOON), STATUS_SUCCESS);
	tdi_disconnect(&pair.client, TDI_DISCONNECT_RELEASE);
	ke_wait_for_single_object(&reader.finished, SOON);
	CU_ASSERT_EQUAL(chain->status, STATUS_SUCCESS);
	CU_ASSERT(chain->deepest <= 8);
	CU_ASSERT_EQUAL(reader.received, (uint64_t)count * sizeof(chain->bytes));
	close_pair(&pair);
	ke_wait_for_thread(&reader.thread);
	ex_free_pool(chain);
}

/* ---- Cancelling ---------------------------------------------------------------------------- */

static void case_cancel_receive(struct world *world)
{
	struct connected_pair pair;
	struct request first, second, third;
	char one[8] = "", two[8] = "", three[8] = "";

	if (!open_pair(&pair, world->device, &world->local))
		return;
	start_receive(&first, &pair.server, one, 3);
	start_receive(&second, &pair.server, two, 3);
	start_receive(&third, &pair.server, three, 3);
	io_cancel_irp(second.irp);
	CU_ASSERT_EQUAL(wait_for_request(&second, "a cancelled receive"), STATUS_CANCELLED);
	CU_ASSERT(is_pending(&first));
	CU_ASSERT(is_pending(&third));
	CU_ASSERT_EQUAL(send_all(&pair.client, "abc", 3, "a send"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_request(&first, "the receive before it"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(send_all(&pair.client, "def", 3, "a send"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_request(&third, "the receive after it"), STATUS_SUCCESS);
	CU_ASSERT(memcmp(one, "abc", first.bytes) == 0);
	CU_ASSERT(memcmp(three, &"abcdef"[first.bytes], third.bytes) == 0);
	CU_ASSERT_STRING_EQUAL(two, "");
	end_request(&first);
	end_request(&second);
	end_request(&third);
	close_pair(&pair);
}

static void case_cancel_send(struct world *world)
{
	enum { CANCELLED_SEND = SENDS - 2 };
	struct batch *batch;
	struct connected_pair pair;

	if (!open_pair(&pair, world->device, &world->local))
		return;
	batch = need_pool(sizeof(*batch));
	start_batch(batch, &pair.client);
	io_cancel_irp(batch->sends[CANCELLED_SEND].irp);
	CU_ASSERT_EQUAL(wait_for_request(&batch->sends[CANCELLED_SEND], "a cancelled send"),
			STATUS_CANCELLED);
	CU_ASSERT(is_pending(&batch->sends[CANCELLED_SEND - 1]));
	CU_ASSERT(is_pending(&batch->sends[CANCELLED_SEND + 1]));
	receive_batch(&pair.server, CANCELLED_SEND);
	for (uint32_t i = 0; i < SENDS; i++)
		CU_ASSERT_EQUAL(wait_for_request(&batch->sends[i], "a send beside it"),
				i == CANCELLED_SEND ? STATUS_CANCELLED : STATUS_SUCCESS);
	close_pair(&pair);
	end_batch(batch);
}

/* ---- Ending -------------------------------------------------------------------------------- */

static void case_abort(struct world *world)
{
	struct batch *batch;
	struct connected_pair pair;
	struct request receive;
	uint32_t failed = 0;
	char byte;

	if (!open_pair(&pair, world->device, &world->local))
		return;
	batch = need_pool(sizeof(*batch));
	start_receive(&receive, &pair.client, &byte, 1);
	start_batch(batch, &pair.client);
	ke_delay_execution_thread(MILLISECONDS(20));
	CU_ASSERT_EQUAL(tdi_disconnect(&pair.server, TDI_DISCONNECT_ABORT), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_request(&receive, "a receive when the peer aborts"),
			STATUS_CONNECTION_RESET);
	for (uint32_t i = 0; i < SENDS; i++)
		failed += !nt_success(wait_for_request(&batch->sends[i], "an outstanding send"));
	CU_ASSERT(failed > 0);
	CU_ASSERT_EQUAL(tdi_send_stream(&pair.client, "x", 1, 0), STATUS_CONNECTION_RESET);
	CU_ASSERT_EQUAL(tdi_send_stream(&pair.server, "x", 1, 0), STATUS_LOCAL_DISCONNECT);
	end_request(&receive);
	close_pair(&pair);
	end_batch(batch);
}

static void case_close_outstanding(struct world *world)
{
	enum { RECEIVES = 4 };
	struct request receives[RECEIVES];
	struct batch *batch;
	struct connected_pair pair;
	uint32_t failed = 0;
	char bytes[RECEIVES];

	if (!open_pair(&pair, world->device, &world->local))
		return;
	batch = need_pool(sizeof(*batch));
	for (uint32_t i = 0; i < RECEIVES; i++)
		start_receive(&receives[i], &pair.client, &bytes[i], 1);
	start_batch(batch, &pair.client);
	tdi_close(&pair.client);
	for (uint32_t i = 0; i < RECEIVES; i++) {
		CU_ASSERT_EQUAL(read_count(&receives[i].completions), 1);
		CU_ASSERT_EQUAL(receives[i].status, STATUS_LOCAL_DISCONNECT);
		end_request(&receives[i]);
	}
	for (uint32_t i = 0; i < SENDS; i++) {
		CU_ASSERT_EQUAL(read_count(&batch->sends[i].completions), 1);
		failed += !nt_success(batch->sends[i].status);
	}
	CU_ASSERT(failed > 0);
	tdi_close(&pair.server);
	tdi_close(&pair.client_address);
	tdi_close(&pair.server_address);
	end_batch(batch);
}

static void case_reset_acknowledged(struct world *world)
{
	enum { LARGE_SENDS = 16, LARGE_BYTES = 256 * KIB };
	struct request *sends = need_pool(LARGE_SENDS * sizeof(*sends));
	uint8_t *buffer = need_pool(LARGE_BYTES);
	struct connected_pair pair;
	uint64_t succeeded = 0;
	uint32_t failed = 0;

	fill_pattern(buffer, 8, 0, LARGE_BYTES);
	if (open_pair(&pair, world->device, &world->local)) {
		for (uint32_t i = 0; i < LARGE_SENDS; i++)
			start_send(&sends[i], &pair.client, buffer, LARGE_BYTES, NULL);
		CU_ASSERT_EQUAL(receive_all(&pair.server, buffer, 1000, "the first bytes"), 1000);
		tdi_disconnect(&pair.server, TDI_DISCONNECT_ABORT);
		for (uint32_t i = 0; i < LARGE_SENDS; i++) {
			if (nt_success(wait_for_request(&sends[i], "a send after a reset")))
				succeeded += sends[i].bytes;
			else
				failed++;
			end_request(&sends[i]);
		}
		CU_ASSERT(failed > 0);
		CU_ASSERT(succeeded <= info_of(&pair.client).acknowledged_bytes);
		close_pair(&pair);
	}
	ex_free_pool(buffer);
	ex_free_pool(sends);
}

/* ---- The suite ----------------------------------------------------------------------------- */

static const struct conformance_case cases[] = {
	{.says = "a connect to a port that nobody has opened is refused", .body = case_refused},
	{.says = "an address of an unknown type is refused", .body = case_unknown_address_type},
	{.says = "a connected endpoint can't connect, listen or be associated again",
	 .body = case_active},
	{.says = "what needs a connection is refused on an endpoint that has none",
	 .body = case_unconnected},
	{.says = "a port is bound once, and free again when its address is closed",
	 .body = case_double_bind},
	{.says = "a listen that nobody calls times out, and closing ends it",
	 .body = case_listen_timeout},
	{.says = "a listen that is given up ends its endpoint, and others are called",
	 .body = case_cancelled_listen},
	{.says = "a connect that is given up ends its endpoint, and nobody is left connected to it",
	 .body = case_cancelled_connect},
	{.says = "many connections are opened, used and closed at the same time",
	 .body = case_parallel},
	{.says = "streams in both directions at once arrive whole and in order",
	 .body = case_both_directions},
	{.says = "a stream that is echoed comes back whole and in order", .body = case_echo},
	{.says = "a send that waits returns its length", .body = case_sync_send},
	{.says = "an empty send succeeds in its turn and changes nothing",
	 .body = case_zero_length},
	{.says = "empty descriptors before the bytes of a request mean nothing",
	 .body = case_empty_descriptors},
	{.says = "a receive gets at least one byte and never more than its length",
	 .body = case_receive_length},
	{.says = "64 outstanding sends complete in order, each once and with its length",
	 .body = case_many_sends},
	{.says = "sends to a peer that does not read pend, and all arrive once when it does",
	 .body = case_unread,
	 .small_buffers = true},
	{.says = "a callback may start the next send for ever without growing the stack",
	 .body = case_chain},
	{.says = "an open with the wrong attributes is refused, and says why", .body = case_opens},
	{.says = "an endpoint can begin again, whatever has become of it",
	 .body = case_begins_again},
	{.says = "a wait for the end completes when both directions have ended, or all has failed",
	 .body = case_waits_for_end},
	{.says = "a queued receive can be cancelled, and those around it go on",
	 .body = case_cancel_receive},
	{.says = "a queued send can be cancelled, and those around it go on",
	 .body = case_cancel_send,
	 .small_buffers = true},
	{.says = "after a release the peer reads what is left, then the end, and can still send",
	 .body = case_release},
	{.says = "a connection that is released and closed at once loses nothing",
	 .body = case_release_and_close},
	{.says = "nor does it when it leaves what the peer has sent unread",
	 .body = case_release_unread,
	 .small_buffers = true},
	{.says = "an abort after a release takes it back and resets the peer",
	 .body = case_abort_after_release,
	 .small_buffers = true},
	{.says = "nobody can connect to an address that its client has closed",
	 .body = case_closed_address},
	{.says = "a request that is cancelled before it is sent completes with that",
	 .body = case_cancelled_before},
	{.says = "a request that is cancelled while its connection closes completes once",
	 .body = case_cancel_and_close},
	{.says = "a listener behind another can be closed while nobody connects",
	 .body = case_close_second_listener},
	{.says = "empty sends before a release cut nothing off",
	 .body = case_empty_before_release,
	 .small_buffers = true},
	{.says = "receives complete in order also when the connection fails",
	 .body = case_order_of_failure},
	{.says = "an abort completes what the peer has outstanding, with an error",
	 .body = case_abort,
	 .small_buffers = true},
	{.says = "closing completes everything outstanding, once, before it returns",
	 .body = case_close_outstanding,
	 .small_buffers = true},
	{.says = "after a reset no send has succeeded that was not acknowledged",
	 .body = case_reset_acknowledged,
	 .small_buffers = true,
	 .acknowledged_only = true},
};

enum { CASE_COUNT = sizeof(cases) / sizeof(cases[0]), MAXIMUM_SUITES = 16 };

/* What a suite's name stands for. */
struct suite {
	char name[64];
	const struct conformance_provider *provider;
	bool direct;
};

static struct suite suites[MAXIMUM_SUITES];
static unsigned suite_count;

static const struct suite *current_suite(void)
{
	const char *name = CU_get_current_suite()->pName;

	for (unsigned i = 0; i < suite_count; i++)
		if (strcmp(suites[i].name, name) == 0)
			return &suites[i];
	return NULL;
}

static const struct conformance_case *current_case(void)
{
	const char *name = CU_get_current_test()->pName;

	for (unsigned i = 0; i < CASE_COUNT; i++)
		if (strcmp(cases[i].says, name) == 0)
			return &cases[i];
	for (const struct conformance_case *test = event_cases; test->says != NULL; test++)
		if (strcmp(test->says, name) == 0)
			return test;
	return NULL;
}

static void run_case(void *context)
{
	const struct conformance_case *test = context;
	const struct suite *suite = current_suite();
	struct world world = {
		.provider = suite->provider,
		.options = {.direct = suite->direct, .small_buffers = test->small_buffers},
		.local = suite->provider->any_address(),
	};
	struct counted counted;

	begin_counted(&counted);
	world.options.segment = counted.segment;
	world.device = suite->provider->create(&world.options);
	if (world.device != NULL) {
		test->body(&world);
		ke_flush_queued_dpcs();
		suite->provider->destroy(world.device);
	} else {
		CU_FAIL("no device");
	}
	end_counted(&counted);
}

static void run_current_case(void)
{
	in_executive(run_case, (void *)current_case());
}

static void add_case(CU_pSuite suite, const struct suite *entry,
		     const struct conformance_case *test)
{
	if (test->acknowledged_only && !(entry->direct && entry->provider->direct_acknowledges))
		return;
	if (CU_add_test(suite, test->says, run_current_case) == NULL) {
		fprintf(stderr, "%s: %s\n", test->says, CU_get_error_msg());
		exit(1);
	}
}

static void add_variant(const struct conformance_provider *provider, bool direct)
{
	struct suite *entry = &suites[suite_count++];
	CU_pSuite suite;

	entry->provider = provider;
	entry->direct = direct;
	snprintf(entry->name, sizeof(entry->name), "%s, %s sends", provider->name,
		 direct ? "direct" : "buffered");
	suite = CU_add_suite(entry->name, NULL, NULL);
	if (suite == NULL) {
		fprintf(stderr, "suite %s: %s\n", entry->name, CU_get_error_msg());
		exit(1);
	}
	for (unsigned i = 0; i < CASE_COUNT; i++)
		add_case(suite, entry, &cases[i]);
	for (const struct conformance_case *test = event_cases; test->says != NULL; test++)
		add_case(suite, entry, test);
}

void add_conformance_suite(const struct conformance_provider *provider)
{
	if (suite_count + 2 > MAXIMUM_SUITES) {
		fprintf(stderr, "too many transports to test\n");
		exit(1);
	}
	add_variant(provider, false);
	add_variant(provider, true);
}
