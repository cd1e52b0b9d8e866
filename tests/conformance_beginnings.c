/* How connections begin, or do not: conformance cases. */
#include "conformance_cases.h"
#include "executive.h"
#include "transport_client.h"

void case_unknown_address_type(struct world *world)
{
	struct transport_address unknown = world->local;
	struct file_object address, endpoint;

	unknown.address_type = 77;
	CU_ASSERT_EQUAL(tdi_open_transport_address(world->device, &unknown, &address),
			STATUS_INVALID_PARAMETER);
	CU_ASSERT_EQUAL(tdi_open_transport_address(world->device, &world->local, &address),
			STATUS_SUCCESS);
	if (open_endpoint(&endpoint, world->device, &address)) {
		unknown.port = 1;
		CU_ASSERT_EQUAL(tdi_connect(&endpoint, &unknown, SOON), STATUS_INVALID_PARAMETER);
		unknown.address_type = world->local.address_type; /* nothing has happened yet */
		unknown.port = local_of(&address).port;
		CU_ASSERT_NOT_EQUAL(tdi_connect(&endpoint, &unknown, MILLISECONDS(1)),
				    STATUS_CONNECTION_ACTIVE);
		tdi_close(&endpoint);
	}
	tdi_close(&address);
}

/* An endpoint whose request was given up is at its end; what comes to the address is for others. */
void case_cancelled_listen(struct world *world)
{
	struct file_object address, first, second, client;
	struct transport_address remote;
	struct request listen, call;
	char byte;

	CU_ASSERT_EQUAL(tdi_open_transport_address(world->device, &world->local, &address),
			STATUS_SUCCESS);
	remote = local_of(&address);
	open_endpoint(&first, world->device, &address);
	open_endpoint(&second, world->device, &address);
	open_endpoint(&client, world->device, &address);
	CU_ASSERT_EQUAL(tdi_listen(&first, NULL, MILLISECONDS(5)), STATUS_IO_TIMEOUT);
	CU_ASSERT_EQUAL(tdi_receive_stream(&first, &byte, 1), STATUS_CANCELLED);
	start_listen(&listen, &second);
	start_connect(&call, &client, &remote);
	CU_ASSERT_EQUAL(wait_for_request(&listen, "the other listen"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_request(&call, "a connect"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(send_all(&client, "a", 1, "a send"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(receive_some(&second, &byte, 1, "what was sent"), 1);
	end_request(&listen);
	end_request(&call);
	tdi_close(&first);
	tdi_close(&second);
	tdi_close(&client);
	tdi_close(&address);
}

static void cancel_it(void *context)
{
	struct request *request = context;

	io_cancel_irp(request->irp);
}

/* Both ends are connected, or the caller is at its end and the listener waits, or is reset. */
static void check_cancelled_connect(struct file_object *client, struct request *call,
				    struct file_object *server, struct request *listen)
{
	char byte;

	if (nt_success(wait_for_request(call, "a connect that is cancelled"))) {
		CU_ASSERT_EQUAL(wait_for_request(listen, "its listener"), STATUS_SUCCESS);
		CU_ASSERT_EQUAL(send_all(client, "b", 1, "a send"), STATUS_SUCCESS);
		CU_ASSERT_EQUAL(receive_some(server, &byte, 1, "what was sent"), 1);
		return;
	}
	CU_ASSERT_EQUAL(call->status, STATUS_CANCELLED);
	CU_ASSERT_EQUAL(tdi_receive_stream(client, &byte, 1), STATUS_CANCELLED);
	if (ke_wait_for_single_object(&listen->done, MILLISECONDS(20)) != STATUS_SUCCESS)
		return;
	CU_ASSERT_EQUAL(listen->status, STATUS_SUCCESS);
	CU_ASSERT_EQUAL(receive_some(server, &byte, 1, "the reset"), STATUS_CONNECTION_RESET);
}

void case_cancelled_connect(struct world *world)
{
	struct file_object address, server, client;
	struct transport_address remote;
	struct request listen, call;
	struct kthread canceller;

	CU_ASSERT_EQUAL(tdi_open_transport_address(world->device, &world->local, &address),
			STATUS_SUCCESS);
	remote = local_of(&address);
	open_endpoint(&server, world->device, &address);
	open_endpoint(&client, world->device, &address);
	start_listen(&listen, &server);
	start_connect(&call, &client, &remote);
	ps_create_system_thread(&canceller, cancel_it, &call);
	ke_wait_for_thread(&canceller);
	check_cancelled_connect(&client, &call, &server, &listen);
	tdi_close(&client);
	tdi_close(&server);
	wait_for_request(&listen, "the end of a listen");
	end_request(&listen);
	end_request(&call);
	tdi_close(&address);
}
