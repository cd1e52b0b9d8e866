/*
 * The tcp transport: the conformance suite over loopback, and what only kernel TCP can show. The
 * peer of the cases here is a plain socket, so that it can misbehave in ways that no client of
 * xport's could.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "executive.h"
#include "suites.h"
#include "tcp/tcp.h"
#include "transport_client.h"
#include "transport_conformance.h"

static struct device_object *create(const struct conformance_options *options)
{
	struct tcp_options tcp = {.direct = options->direct, .segment = options->segment};

	if (options->small_buffers)
		tcp.send_buffer_bytes = tcp.receive_buffer_bytes = 65536;
	return tcp_create_device(&tcp);
}

static struct transport_address loopback(void)
{
	return (struct transport_address){.address_type = TDI_ADDRESS_TYPE_IP,
					  .address = {127, 0, 0, 1}};
}

static struct transport_address loopback6(void)
{
	struct transport_address address = {.address_type = TDI_ADDRESS_TYPE_IP6};

	address.address[15] = 1;
	return address;
}

static const struct conformance_provider tcp_provider = {"tcp", create, tcp_delete_device, loopback,
							 true};

/* ---- A plain socket as the peer ------------------------------------------------------------ */

struct plain {
	struct tcp_options options;
	struct device_object *device;
	struct file_object address, connection;
	int listener;
	int peer;
};

/* A connection of xport's to a plain socket that has `receive_bytes` of buffer (0: as it is). */
static bool connect_plain(struct plain *plain, int receive_bytes)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct transport_address local = loopback(), remote = loopback();
	socklen_t length = sizeof(in);

	plain->listener = socket(AF_INET, SOCK_STREAM, 0);
	if (receive_bytes > 0)
		setsockopt(plain->listener, SOL_SOCKET, SO_RCVBUF, &receive_bytes,
			   sizeof(receive_bytes));
	CU_ASSERT_EQUAL_FATAL(bind(plain->listener, (struct sockaddr *)&in, sizeof(in)), 0);
	CU_ASSERT_EQUAL_FATAL(listen(plain->listener, 1), 0);
	getsockname(plain->listener, (struct sockaddr *)&in, &length);
	remote.port = ntohs(in.sin_port);
	plain->device = tcp_create_device(&plain->options);
	CU_ASSERT_EQUAL(tdi_open_transport_address(plain->device, &local, &plain->address),
			STATUS_SUCCESS);
	CU_ASSERT_TRUE(open_endpoint(&plain->connection, plain->device, &plain->address));
	CU_ASSERT_EQUAL(tdi_connect(&plain->connection, &remote, SOON), STATUS_SUCCESS);
	plain->peer = accept(plain->listener, NULL, NULL);
	CU_ASSERT(plain->peer >= 0);
	return plain->peer >= 0;
}

static void close_plain(struct plain *plain)
{
	tdi_close(&plain->connection);
	tdi_close(&plain->address);
	ke_flush_queued_dpcs();
	tcp_delete_device(plain->device);
	if (plain->peer >= 0)
		close(plain->peer);
	close(plain->listener);
}

static void reset_peer(struct plain *plain)
{
	struct linger linger = {1, 0};

	setsockopt(plain->peer, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(plain->peer);
	plain->peer = -1;
}

/* A thread that reads all that the peer is sent, after a while. */
struct plain_reader {
	struct kthread thread;
	int peer;
	uint64_t delay_ns;
	uint64_t total;
	ssize_t last; /* 0 at the end of the stream, -1 after a reset */
};

static void read_plain(void *context)
{
	struct plain_reader *reader = context;
	char buffer[10000];

	ke_delay_execution_thread(reader->delay_ns);
	while ((reader->last = recv(reader->peer, buffer, sizeof(buffer), 0)) > 0)
		reader->total += (uint64_t)reader->last;
}

static void start_plain_reader(struct plain_reader *reader, const struct plain *plain,
			       uint64_t delay_ns)
{
	*reader = (struct plain_reader){.peer = plain->peer, .delay_ns = delay_ns};
	CU_ASSERT_EQUAL(ps_create_system_thread(&reader->thread, read_plain, reader),
			STATUS_SUCCESS);
}

/* ---- Cases --------------------------------------------------------------------------------- */

enum { BLOCKS = 16, BLOCK = 65536 };

/* The kernel returns the pages of all sixteen after the reset, whatever the peer has acknowledged.
 */
static void reset_with_direct_sends(void *context)
{
	struct plain plain = {.options = {.direct = true}};
	char *memory = need_pool(BLOCKS * BLOCK);
	struct request requests[BLOCKS];
	struct tdi_connection_info info;
	uint64_t succeeded = 0;
	unsigned failed = 0;
	char byte;

	(void)context;
	memset(memory, 'x', BLOCKS * BLOCK);
	if (!connect_plain(&plain, 32768))
		return;
	for (int i = 0; i < BLOCKS; i++)
		start_send(&requests[i], &plain.connection, memory + i * BLOCK, BLOCK, NULL);
	CU_ASSERT_EQUAL(recv(plain.peer, &byte, 1, 0), 1);
	ke_delay_execution_thread(20000000);
	reset_peer(&plain);
	for (int i = 0; i < BLOCKS; i++) {
		ntstatus status = wait_for_request(&requests[i], "a send ends after the reset");

		CU_ASSERT(status == STATUS_SUCCESS || status == STATUS_CONNECTION_RESET);
		if (status == STATUS_SUCCESS)
			succeeded += BLOCK;
		else
			failed++;
	}
	info = info_of(&plain.connection);
	CU_ASSERT(succeeded <= info.acknowledged_bytes);
	CU_ASSERT(info.acknowledged_bytes < (uint64_t)BLOCKS * BLOCK);
	CU_ASSERT(failed > 0);
	for (int i = 0; i < BLOCKS; i++)
		end_request(&requests[i]);
	close_plain(&plain);
	ex_free_pool(memory);
}

static void test_reset_with_direct_sends(void)
{
	in_executive(reset_with_direct_sends, NULL);
}

/* Reports, acknowledgements and other sends come from several sides at once. */
static void direct_order(void *context)
{
	enum { ROUNDS = 2000, SENDS = 32 };
	struct plain plain = {.options = {.direct = true}};
	struct plain_reader reader;
	struct request sends[SENDS];
	char *memory = need_pool(SENDS);
	int32_t misplaced = 0;

	(void)context;
	memset(memory, 'w', SENDS);
	if (!connect_plain(&plain, 0))
		return;
	start_plain_reader(&reader, &plain, 0);
	for (int round = 0; round < ROUNDS; round++) {
		int32_t counter = 0;

		for (int i = 0; i < SENDS; i++)
			start_send(&sends[i], &plain.connection, memory, (uint32_t)i, &counter);
		for (int i = 0; i < SENDS; i++) {
			CU_ASSERT_EQUAL(wait_for_request(&sends[i], "a direct send"),
					STATUS_SUCCESS);
			misplaced += sends[i].order != i + 1;
		}
		for (int i = 0; i < SENDS; i++)
			end_request(&sends[i]);
	}
	CU_ASSERT_EQUAL(misplaced, 0);
	tdi_disconnect(&plain.connection, TDI_DISCONNECT_RELEASE);
	ke_wait_for_thread(&reader.thread);
	close_plain(&plain);
	ex_free_pool(memory);
}

static void test_direct_order(void)
{
	in_executive(direct_order, NULL);
}

/* A process that dies without having released must not look like one that has finished. */
static void close_resets(void *context)
{
	struct plain plain = {.options = {.direct = false}};
	char buffer[100] = "x";

	(void)context;
	if (!connect_plain(&plain, 0))
		return;
	CU_ASSERT_EQUAL(tdi_send_stream(&plain.connection, buffer, sizeof(buffer), 0), 100);
	CU_ASSERT_EQUAL(recv(plain.peer, buffer, sizeof(buffer), 0), 100);
	tdi_close(&plain.connection);
	CU_ASSERT_EQUAL(recv(plain.peer, buffer, sizeof(buffer), 0), -1);
	CU_ASSERT_TRUE(open_endpoint(&plain.connection, plain.device, &plain.address));
	close_plain(&plain);
}

static void test_close_resets(void)
{
	in_executive(close_resets, NULL);
}

/* Released, then closed at once: the kernel still delivers everything. */
static void release_delivers(void *context)
{
	struct plain plain = {.options = {.direct = false}};
	char *memory = need_pool(1000000), buffer[10000];
	uint64_t total = 0;
	ssize_t got;

	(void)context;
	memset(memory, 'y', 1000000);
	if (!connect_plain(&plain, 0))
		return;
	CU_ASSERT_EQUAL(tdi_send_stream(&plain.connection, memory, 1000000, 0), 1000000);
	CU_ASSERT_EQUAL(tdi_disconnect(&plain.connection, TDI_DISCONNECT_RELEASE), STATUS_SUCCESS);
	tdi_close(&plain.connection);
	while ((got = recv(plain.peer, buffer, sizeof(buffer), 0)) > 0)
		total += (uint64_t)got;
	CU_ASSERT_EQUAL(got, 0);
	CU_ASSERT_EQUAL(total, 1000000);
	CU_ASSERT_TRUE(open_endpoint(&plain.connection, plain.device, &plain.address));
	close_plain(&plain);
	ex_free_pool(memory);
}

static void test_release_delivers(void)
{
	in_executive(release_delivers, NULL);
}

/* Also with the peer's data unread, for which a bare close() would reset it. */
static void release_unread(void *context)
{
	enum { LENGTH = 1000000, UNREAD = 50000 };
	struct plain plain = {.options = {.direct = false}};
	char *memory = need_pool(LENGTH);
	struct plain_reader reader;

	(void)context;
	memset(memory, 'u', LENGTH);
	if (!connect_plain(&plain, 32768))
		return;
	CU_ASSERT_EQUAL(send(plain.peer, memory, UNREAD, 0), UNREAD);
	start_plain_reader(&reader, &plain, 50000000);
	CU_ASSERT_EQUAL(tdi_send_stream(&plain.connection, memory, LENGTH, 0), LENGTH);
	CU_ASSERT_EQUAL(tdi_disconnect(&plain.connection, TDI_DISCONNECT_RELEASE), STATUS_SUCCESS);
	tdi_close(&plain.connection);
	ke_wait_for_thread(&reader.thread);
	CU_ASSERT_EQUAL(reader.last, 0);
	CU_ASSERT_EQUAL(reader.total, LENGTH);
	CU_ASSERT_TRUE(open_endpoint(&plain.connection, plain.device, &plain.address));
	close_plain(&plain);
	ex_free_pool(memory);
}

static void test_release_unread(void)
{
	in_executive(release_unread, NULL);
}

/* A release waits for the direct sends before it, whose pages the kernel still reads. */
static void release_direct(void *context)
{
	struct plain plain = {.options = {.direct = true}};
	char *memory = need_pool(BLOCKS * BLOCK);
	struct request requests[BLOCKS];
	struct plain_reader reader;

	(void)context;
	memset(memory, 'd', BLOCKS * BLOCK);
	if (!connect_plain(&plain, 32768))
		return;
	start_plain_reader(&reader, &plain, 50000000);
	for (int i = 0; i < BLOCKS; i++)
		start_send(&requests[i], &plain.connection, memory + i * BLOCK, BLOCK, NULL);
	CU_ASSERT_EQUAL(tdi_disconnect(&plain.connection, TDI_DISCONNECT_RELEASE), STATUS_SUCCESS);
	tdi_close(&plain.connection);
	for (int i = 0; i < BLOCKS; i++) {
		CU_ASSERT_EQUAL(wait_for_request(&requests[i], "a send before a release"),
				STATUS_SUCCESS);
		end_request(&requests[i]);
	}
	ke_wait_for_thread(&reader.thread);
	CU_ASSERT_EQUAL(reader.last, 0);
	CU_ASSERT_EQUAL(reader.total, BLOCKS * BLOCK);
	CU_ASSERT_TRUE(open_endpoint(&plain.connection, plain.device, &plain.address));
	close_plain(&plain);
	ex_free_pool(memory);
}

static void test_release_direct(void)
{
	in_executive(release_direct, NULL);
}

/* A peer whose backlog is full does not answer: a connect that waits for it is given up. */
static void connect_in_vain(void *context)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct plain plain = {.options = {.direct = false}};
	struct transport_address remote = loopback();
	socklen_t length = sizeof(in);
	struct file_object late;
	int fillers[3];
	char byte;

	(void)context;
	if (!connect_plain(&plain, 0))
		return;
	listen(plain.listener, 0);
	getsockname(plain.listener, (struct sockaddr *)&in, &length);
	remote.port = ntohs(in.sin_port);
	for (int i = 0; i < 3; i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(fillers[i], (struct sockaddr *)&in, sizeof(in));
	}
	CU_ASSERT_TRUE(open_endpoint(&late, plain.device, &plain.address));
	CU_ASSERT_EQUAL(tdi_connect(&late, &remote, MILLISECONDS(50)), STATUS_IO_TIMEOUT);
	CU_ASSERT_EQUAL(tdi_receive_stream(&late, &byte, 1), STATUS_CANCELLED);
	tdi_close(&late);
	for (int i = 0; i < 3; i++)
		close(fillers[i]);
	close_plain(&plain);
}

/* A DPC that keeps its processor, so that what the kernel has to tell there comes all at once. */
struct busy {
	struct kdpc dpc;
	int32_t begun, over;
};

static void stay_busy(struct kdpc *dpc, void *context)
{
	struct busy *busy = context;

	(void)dpc;
	interlocked_exchange(&busy->begun, 1);
	while (interlocked_read(&busy->over) == 0)
		usleep(100);
}

static void end_with_connect(void *context)
{
	struct plain plain = {.options = {.direct = false}};
	struct sockaddr_in in;
	struct transport_address remote = loopback();
	socklen_t length = sizeof(in);
	struct busy busy = {.begun = 0};
	struct file_object late;
	struct request call, receive;
	char buffer[16];
	int peer;

	(void)context;
	if (!connect_plain(&plain, 0))
		return;
	getsockname(plain.listener, (struct sockaddr *)&in, &length);
	remote.port = ntohs(in.sin_port);
	CU_ASSERT_TRUE(open_endpoint(&late, plain.device, &plain.address));
	ke_initialize_dpc(&busy.dpc, stay_busy, &busy, KE_ANY_PROCESSOR);
	ke_insert_queue_dpc(&busy.dpc);
	while (interlocked_read(&busy.begun) == 0)
		usleep(100);
	start_connect(&call, &late, &remote);
	peer = accept(plain.listener, NULL, NULL);
	CU_ASSERT_EQUAL(send(peer, "bye", 3, 0), 3);
	close(peer);
	interlocked_exchange(&busy.over, 1);
	CU_ASSERT_EQUAL(wait_for_request(&call, "the connect"), STATUS_SUCCESS);
	end_request(&call);
	CU_ASSERT_EQUAL(receive_some(&late, buffer, sizeof(buffer), "what came with it"), 3);
	start_receive(&receive, &late, buffer, sizeof(buffer));
	CU_ASSERT_EQUAL(wait_for_request(&receive, "the end"), STATUS_GRACEFUL_DISCONNECT);
	end_request(&receive);
	tdi_close(&late);
	close_plain(&plain);
}

static void test_end_with_connect(void)
{
	in_executive(end_with_connect, NULL);
}

static void test_connect_in_vain(void)
{
	in_executive(connect_in_vain, NULL);
}

/* Sends that go out together, of which one loses its memory while it waits: it fails alone. */
static void bad_page(void *context)
{
	enum { FILLER = 2000000, SMALL = 100, SENDS = 4, BAD = 2 };
	struct plain plain = {.options = {.send_buffer_bytes = 32768}};
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *memory = need_pool(FILLER), buffer[10000];
	struct request sends[SENDS];
	uint64_t total = 0;
	ssize_t got;

	(void)context;
	memset(memory, 'z', FILLER);
	memset(page, 'z', SMALL);
	if (!connect_plain(&plain, 32768))
		return;
	for (int i = 0; i < SENDS; i++)
		start_send(&sends[i], &plain.connection, i == BAD ? page : memory,
			   i == 0 ? FILLER : SMALL, NULL);
	mprotect(page, 4096, PROT_NONE);
	while (total < FILLER + (SENDS - 2) * SMALL &&
	       (got = recv(plain.peer, buffer, sizeof(buffer), 0)) > 0)
		total += (uint64_t)got;
	CU_ASSERT_EQUAL(total, FILLER + (SENDS - 2) * SMALL);
	for (int i = 0; i < SENDS; i++) {
		CU_ASSERT_EQUAL(wait_for_request(&sends[i], "a send beside a bad one"),
				i == BAD ? STATUS_INVALID_USER_BUFFER : STATUS_SUCCESS);
		end_request(&sends[i]);
	}
	close_plain(&plain);
	munmap(page, 4096);
	ex_free_pool(memory);
}

static void test_bad_page(void)
{
	in_executive(bad_page, NULL);
}

static void bad_addresses(void *context)
{
	struct tcp_options options = {.direct = false};
	struct device_object *device = tcp_create_device(&options);
	struct transport_address not_ours = loopback(), six = loopback6();
	struct file_object file;

	(void)context;
	not_ours.address[0] = 192;
	not_ours.address[2] = 2; /* 192.0.2.1, which no machine has */
	CU_ASSERT_EQUAL(tdi_open_transport_address(device, &not_ours, &file),
			STATUS_INVALID_ADDRESS_COMPONENT);
	if (nt_success(tdi_open_transport_address(device, &six, &file)))
		tdi_close(&file);
	tcp_delete_device(device);
}

static void test_bad_addresses(void)
{
	in_executive(bad_addresses, NULL);
}

void register_tcp_suites(void)
{
	static const struct test_case cases[] = {
		{"a reset while 16 direct sends are outstanding: success only for what was "
		 "acknowledged",
		 test_reset_with_direct_sends},
		{"direct sends complete in order, wherever their completion is noticed",
		 test_direct_order},
		{"a connection that is closed without release resets its peer", test_close_resets},
		{"what was sent before a release arrives, also when closed at once",
		 test_release_delivers},
		{"the same when the peer's data is left unread", test_release_unread},
		{"the same when direct sends are under way at the release", test_release_direct},
		{"a connect that nobody answers can be given up, which ends the endpoint",
		 test_connect_in_vain},
		{"an end that the kernel tells together with the connect is found",
		 test_end_with_connect},
		{"of sends that go out together only the one with a bad page fails", test_bad_page},
		{"an address of another machine can't be opened", test_bad_addresses},
		{NULL, NULL},
	};

	add_conformance_suite(&tcp_provider);
	add_suite("tcp", cases);
}
