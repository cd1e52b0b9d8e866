/* Events at the edges of a life, and between two: conformance cases. */
#include <string.h>

#include "event_host.h"

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
void case_receive_again(struct world *world)
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

void case_greeting(struct world *world)
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
void case_given_up_restart(struct world *world)
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
	begin_second_life(&visit.host);
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

void case_told_of_end(struct world *world)
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
void case_aborted_restart(struct world *world)
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
void case_untold(struct world *world)
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
void case_room_again(struct world *world)
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
	begin_second_life(&visit.host);
	close_visit(&visit);
	ex_free_pool(bytes);
}

/* An endpoint without an address has nothing to abort, and can't begin. */
void case_abort_idle(struct world *world)
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
void case_end_beside_expedited(struct world *world)
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
void case_close_while_shown(struct world *world)
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
