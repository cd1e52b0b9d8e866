/* How connections begin, or do not: conformance cases. */
#include "conformance_cases.h"
#include "executive.h"
#include "transport_client.h"

static ntstatus take_back(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)irp;
	(void)context;
	return STATUS_MORE_PROCESSING_REQUIRED;
}

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

static ntstatus open_with(struct world *world, const struct tdi_ea *eas, uint32_t count)
{
	struct file_object file = {.device_object = world->device};
	struct irp *irp = io_allocate_irp(world->device->stack_size);
	struct io_stack_location *next = io_get_next_irp_stack_location(irp);
	ntstatus status;

	next->major_function = IRP_MJ_CREATE;
	next->file_object = &file;
	*tdi_parameters(next, tdi_create) = (struct tdi_create){eas, count};
	io_set_completion_routine(irp, take_back, NULL, true, true, true);
	status = io_call_driver(world->device, irp);
	io_free_irp(irp);
	return status;
}

void case_opens(struct world *world)
{
	void *context = NULL;
	const struct tdi_ea eas[] = {
		{TDI_TRANSPORT_ADDRESS, &world->local, sizeof(world->local)},
		{TDI_CONNECTION_CONTEXT, &context, sizeof(context)},
		{"TransportAdress", &world->local, sizeof(world->local)},
		{TDI_TRANSPORT_ADDRESS, &world->local, sizeof(world->local) - 1},
		{TDI_CONNECTION_CONTEXT, &context, 3},
	};
	struct tdi_provider_info info;
	struct file_object control;

	CU_ASSERT_EQUAL(open_with(world, eas, 2), STATUS_INVALID_PARAMETER);
	CU_ASSERT_EQUAL(open_with(world, eas + 2, 1), STATUS_INVALID_EA_NAME);
	CU_ASSERT_EQUAL(open_with(world, eas + 3, 1), STATUS_EA_LIST_INCONSISTENT);
	CU_ASSERT_EQUAL(open_with(world, eas + 4, 1), STATUS_EA_LIST_INCONSISTENT);
	CU_ASSERT_EQUAL(tdi_open_control_channel(world->device, &control), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(
		tdi_query_information(&control, TDI_QUERY_PROVIDER_INFO, &info, sizeof(info)),
		STATUS_SUCCESS);
	CU_ASSERT_EQUAL((info.service_flags & TDI_SERVICE_INTERNAL_BUFFERING) != 0,
			!world->options.direct);
	CU_ASSERT_EQUAL(
		tdi_query_information(&control, TDI_QUERY_ADDRESS_INFO, &info, sizeof(info)),
		STATUS_INVALID_PARAMETER);
	CU_ASSERT_EQUAL(tdi_disconnect(&control, TDI_DISCONNECT_ABORT),
			STATUS_INVALID_DEVICE_REQUEST);
	CU_ASSERT_EQUAL(tdi_set_event_handler(&control, TDI_EVENT_RECEIVE, NULL, NULL),
			STATUS_INVALID_DEVICE_REQUEST);
	tdi_close(&control);
}

/* One connection of the two endpoints, that is used and then ended in one of several ways. */
static void live_once(struct file_object *client, struct file_object *server,
		      const struct transport_address *remote, unsigned how)
{
	struct request listen, call;
	char byte = 0;

	start_listen(&listen, server);
	start_connect(&call, client, remote);
	CU_ASSERT_EQUAL(wait_for_request(&call, "a connect, once more"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_request(&listen, "a listen, once more"), STATUS_SUCCESS);
	end_request(&call);
	end_request(&listen);
	CU_ASSERT_EQUAL(send_all(client, "x", 1, "a send"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(receive_some(server, &byte, 1, "a receive"), 1);
	CU_ASSERT_EQUAL(byte, 'x');
	CU_ASSERT_EQUAL(info_of(client).sent_bytes, 1);
	if (how == 0) {
		tdi_disconnect(client, TDI_DISCONNECT_ABORT);
		CU_ASSERT_EQUAL(tdi_disconnect(server, TDI_DISCONNECT_WAIT),
				STATUS_CONNECTION_RESET);
	} else if (how == 1) {
		tdi_disconnect(server, TDI_DISCONNECT_ABORT);
		tdi_disconnect(client, TDI_DISCONNECT_ABORT);
	} else {
		CU_ASSERT_EQUAL(tdi_disconnect(client, TDI_DISCONNECT_RELEASE), STATUS_SUCCESS);
		CU_ASSERT_EQUAL(receive_some(server, &byte, 1, "the end"),
				STATUS_GRACEFUL_DISCONNECT);
		CU_ASSERT_EQUAL(tdi_disconnect(server, TDI_DISCONNECT_RELEASE), STATUS_SUCCESS);
		CU_ASSERT_EQUAL(receive_some(client, &byte, 1, "the other end"),
				STATUS_GRACEFUL_DISCONNECT);
		CU_ASSERT_EQUAL(tdi_disconnect(client, TDI_DISCONNECT_WAIT), STATUS_SUCCESS);
		CU_ASSERT_EQUAL(tdi_disconnect(server, TDI_DISCONNECT_WAIT), STATUS_SUCCESS);
	}
}

void case_begins_again(struct world *world)
{
	struct file_object address, server, client;
	struct transport_address remote, nobody;
	char byte;

	CU_ASSERT_EQUAL(tdi_open_transport_address(world->device, &world->local, &address),
			STATUS_SUCCESS);
	nobody = local_of(&address);
	tdi_close(&address);
	CU_ASSERT_EQUAL(tdi_open_transport_address(world->device, &world->local, &address),
			STATUS_SUCCESS);
	remote = local_of(&address);
	open_endpoint(&server, world->device, &address);
	open_endpoint(&client, world->device, &address);
	CU_ASSERT_EQUAL(tdi_connect(&client, &nobody, SOON), STATUS_CONNECTION_REFUSED);
	CU_ASSERT_EQUAL(tdi_receive_stream(&client, &byte, 1), STATUS_CONNECTION_REFUSED);
	CU_ASSERT_EQUAL(tdi_listen(&server, NULL, MILLISECONDS(2)), STATUS_IO_TIMEOUT);
	for (unsigned i = 0; i < 9; i++)
		live_once(&client, &server, &remote, i % 3);
	CU_ASSERT_EQUAL(tdi_disassociate_address(&client), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(tdi_connect(&client, &remote, SOON), STATUS_INVALID_DEVICE_REQUEST);
	CU_ASSERT_EQUAL(tdi_associate_address(&client, &address), STATUS_SUCCESS);
	live_once(&client, &server, &remote, 0);
	tdi_close(&client);
	tdi_close(&server);
	tdi_close(&address);
}

void case_waits_for_end(struct world *world)
{
	struct connected_pair pair;
	struct request wait;
	char byte;

	if (!open_pair(&pair, world->device, &world->local))
		return;
	start_wait(&wait, &pair.server);
	ke_delay_execution_thread(MILLISECONDS(2));
	CU_ASSERT_EQUAL(read_count(&wait.completions), 0);
	CU_ASSERT_EQUAL(tdi_disconnect(&pair.client, TDI_DISCONNECT_RELEASE), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(receive_some(&pair.server, &byte, 1, "the end"),
			STATUS_GRACEFUL_DISCONNECT);
	CU_ASSERT_EQUAL(read_count(&wait.completions), 0); /* this side may still send */
	CU_ASSERT_EQUAL(send_all(&pair.server, "y", 1, "a late send"), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(tdi_disconnect(&pair.server, TDI_DISCONNECT_RELEASE), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(wait_for_request(&wait, "the wait"), STATUS_SUCCESS);
	end_request(&wait);
	CU_ASSERT_EQUAL(receive_some(&pair.client, &byte, 1, "the late send"), 1);
	CU_ASSERT_EQUAL(byte, 'y');
	start_wait(&wait, &pair.client);
	io_cancel_irp(wait.irp);
	wait_for_request(&wait, "a wait that is given up, or was over");
	end_request(&wait);
	start_wait(&wait, &pair.client);
	close_pair(&pair);
	CU_ASSERT_NOT_EQUAL(wait_for_request(&wait, "a wait for what is closed"), STATUS_PENDING);
	end_request(&wait);
}
