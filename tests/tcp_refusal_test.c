/* The tcp transport where the kernel refuses a call, for want of something or for good. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "executive.h"
#include "suites.h"
#include "system_calls.h"
#include "tcp/tcp.h"
#include "transport_client.h"

/* A device with an address, on loopback. */
struct place {
	struct device_object *device;
	struct file_object address;
};

static void open_place(struct place *place)
{
	struct tcp_options options = {.direct = false};
	struct transport_address local = {.address_type = TDI_ADDRESS_TYPE_IP,
					  .address = {127, 0, 0, 1}};

	place->device = tcp_create_device(&options);
	CU_ASSERT_EQUAL_FATAL(tdi_open_transport_address(place->device, &local, &place->address),
			      STATUS_SUCCESS);
}

static void close_place(struct place *place)
{
	tdi_close(&place->address);
	ke_flush_queued_dpcs();
	tcp_delete_device(place->device);
}

/* A plain socket that is connected to the place; -1 and errno when it is refused. */
static int call_place(struct place *place)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons(local_of(&place->address).port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), error;

	if (connect(fd, (struct sockaddr *)&in, sizeof(in)) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

/* ---- Connecting ---------------------------------------------------------------------------- */

static ntstatus connect_refused(struct place *place, enum refusable_call call, int error)
{
	struct transport_address remote = local_of(&place->address);
	struct file_object client;
	ntstatus status;

	if (!open_endpoint(&client, place->device, &place->address))
		return STATUS_SUCCESS;
	refuse_next(call, error);
	status = tdi_connect(&client, &remote, MILLISECONDS(500));
	refuse_next(call, 0);
	tdi_close(&client);
	return status;
}

static void connects(void *context)
{
	struct place place;

	(void)context;
	open_place(&place);
	CU_ASSERT_EQUAL(connect_refused(&place, CALL_CONNECT, EAGAIN),
			STATUS_INSUFFICIENT_RESOURCES);
	CU_ASSERT_EQUAL(connect_refused(&place, CALL_CONNECT, EADDRNOTAVAIL),
			STATUS_INVALID_ADDRESS_COMPONENT);
	close_place(&place);
}

static void test_connects(void)
{
	in_executive(connects, NULL);
}

/* ---- Sockets that can't be watched --------------------------------------------------------- */

static void unwatched_connections(void *context)
{
	struct file_object server;
	struct request listen;
	struct place place;
	int peer;

	(void)context;
	open_place(&place);
	CU_ASSERT_EQUAL(connect_refused(&place, CALL_EPOLL_ADD, ENOSPC),
			STATUS_INSUFFICIENT_RESOURCES);
	if (open_endpoint(&server, place.device, &place.address)) {
		start_listen(&listen, &server);
		refuse_next(CALL_EPOLL_ADD, ENOSPC);
		peer = call_place(&place);
		CU_ASSERT_EQUAL(wait_for_request(&listen, "a listen"),
				STATUS_INSUFFICIENT_RESOURCES);
		end_request(&listen);
		close(peer);
		tdi_close(&server);
	}
	close_place(&place);
}

static void test_unwatched_connections(void)
{
	in_executive(unwatched_connections, NULL);
}

/* Nobody may connect to an address that can't be served; the next listen tries again. */
static void unwatched_address(void *context)
{
	struct file_object server;
	struct request listen;
	struct place place;
	int peer;

	(void)context;
	open_place(&place);
	if (open_endpoint(&server, place.device, &place.address)) {
		refuse_next(CALL_EPOLL_ADD, ENOSPC);
		CU_ASSERT_EQUAL(tdi_listen(&server, NULL, SOON), STATUS_INSUFFICIENT_RESOURCES);
		CU_ASSERT_EQUAL(call_place(&place), -1);
		CU_ASSERT_EQUAL(errno, ECONNREFUSED);
		tdi_close(&server);
	}
	if (open_endpoint(&server, place.device, &place.address)) {
		start_listen(&listen, &server);
		peer = call_place(&place);
		CU_ASSERT(peer >= 0);
		CU_ASSERT_EQUAL(wait_for_request(&listen, "the next listen"), STATUS_SUCCESS);
		end_request(&listen);
		close(peer);
		tdi_close(&server);
	}
	close_place(&place);
}

static void test_unwatched_address(void)
{
	in_executive(unwatched_address, NULL);
}

/* Also what creation leaves behind when it fails: an executive that ends finds nothing. */
static void unwatched_port(void *context)
{
	struct transport_address local;
	struct file_object address;
	struct place place;

	(void)context;
	open_place(&place);
	local = local_of(&place.address);
	tdi_close(&place.address);
	refuse_next(CALL_EPOLL_ADD, ENOSPC);
	CU_ASSERT_EQUAL(tdi_open_transport_address(place.device, &local, &address),
			STATUS_INSUFFICIENT_RESOURCES);
	CU_ASSERT_EQUAL(tdi_open_transport_address(place.device, &local, &place.address),
			STATUS_SUCCESS);
	close_place(&place);
}

static void test_unwatched_port(void)
{
	in_executive(unwatched_port, NULL);
}

/* ---- No descriptor for a peer -------------------------------------------------------------- */

/* One listener is told, and the others are served though nothing happens at the socket again. */
static void accept_refused(void *context)
{
	enum { LISTENERS = 5 };
	struct file_object servers[LISTENERS];
	struct request listens[LISTENERS];
	struct place place;
	int peer, served = 1;

	(void)context;
	open_place(&place);
	for (int i = 0; i < LISTENERS; i++)
		if (open_endpoint(&servers[i], place.device, &place.address))
			start_listen(&listens[i], &servers[i]);
	refuse_all(CALL_ACCEPT4, EMFILE);
	peer = call_place(&place);
	CU_ASSERT_EQUAL(wait_for_request(&listens[0], "a listen that can't have its peer"),
			STATUS_INSUFFICIENT_RESOURCES);
	refuse_all(CALL_ACCEPT4, 0);
	while (served < LISTENERS && !nt_success(wait_for_request(&listens[served], "its turn")))
		served++; /* on a slow machine that came before the end of the refusals */
	CU_ASSERT(served < LISTENERS);
	if (served < LISTENERS)
		CU_ASSERT_EQUAL(send_all(&servers[served], "x", 1, "a send"), STATUS_SUCCESS);
	for (int i = 0; i < LISTENERS; i++) {
		tdi_close(&servers[i]);
		wait_for_request(&listens[i], "the end of a listen");
		end_request(&listens[i]);
	}
	close(peer);
	close_place(&place);
}

static void test_accept_refused(void)
{
	in_executive(accept_refused, NULL);
}

static void close_before_retry(void *context)
{
	struct file_object server;
	struct request listen;
	struct place place;
	int peer;

	(void)context;
	open_place(&place);
	if (open_endpoint(&server, place.device, &place.address)) {
		start_listen(&listen, &server);
		refuse_next(CALL_ACCEPT4, ENFILE);
		peer = call_place(&place);
		CU_ASSERT_EQUAL(wait_for_request(&listen, "a listen that can't have its peer"),
				STATUS_INSUFFICIENT_RESOURCES);
		end_request(&listen);
		tdi_close(&server);
		close(peer);
	}
	close_place(&place);
}

static void test_close_before_retry(void)
{
	in_executive(close_before_retry, NULL);
}

void register_tcp_refusal_suite(void)
{
	static const struct test_case cases[] = {
		{"a connect for which the kernel has no port fails at once", test_connects},
		{"a connection that can't be watched fails for want of resources, either end",
		 test_unwatched_connections},
		{"an address that can't be watched lets nobody in, and the next listen tries again",
		 test_unwatched_address},
		{"an address with a port that can't be watched can't be opened, and leaves nothing",
		 test_unwatched_port},
		{"an accept that fails costs one listener, and the others are served soon",
		 test_accept_refused},
		{"an address may be closed while its accept is to be tried again",
		 test_close_before_retry},
		{NULL, NULL},
	};

	add_suite("tcp where the kernel refuses", cases);
}
