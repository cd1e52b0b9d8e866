/* How connections and addresses end: conformance cases. */
#include "conformance_cases.h"
#include "executive.h"
#include "transport_client.h"

void case_release(struct world *world)
{
	enum { LENGTH = 50000 };
	struct connected_pair pair;
	struct request send;
	uint8_t *sent = need_pool(LENGTH), *received = need_pool(LENGTH);

	fill_pattern(sent, 6, 0, LENGTH);
	if (open_pair(&pair, world->device, &world->local)) {
		start_send(&send, &pair.client, sent, LENGTH, NULL);
		CU_ASSERT_EQUAL(tdi_disconnect(&pair.client, TDI_DISCONNECT_RELEASE),
				STATUS_SUCCESS);
		CU_ASSERT_EQUAL(tdi_send_stream(&pair.client, sent, 1, 0),
				STATUS_CONNECTION_INVALID);
		CU_ASSERT_EQUAL(receive_all(&pair.server, received, LENGTH, "unread data"), LENGTH);
		CU_ASSERT(is_pattern(received, 6, 0, LENGTH));
		CU_ASSERT_EQUAL(wait_for_request(&send, "a send before a release"), STATUS_SUCCESS);
		end_request(&send);
		CU_ASSERT_EQUAL(receive_some(&pair.server, received, 1, "the end"),
				STATUS_GRACEFUL_DISCONNECT);
		CU_ASSERT_EQUAL(receive_some(&pair.server, received, 1, "the end, again"),
				STATUS_GRACEFUL_DISCONNECT);

		start_send(&send, &pair.server, sent, LENGTH, NULL);
		memset(received, 0, LENGTH);
		CU_ASSERT_EQUAL(receive_all(&pair.client, received, LENGTH, "the other direction"),
				LENGTH);
		CU_ASSERT(is_pattern(received, 6, 0, LENGTH));
		CU_ASSERT_EQUAL(wait_for_request(&send, "a send after the peer's release"),
				STATUS_SUCCESS);
		end_request(&send);
		CU_ASSERT_EQUAL(tdi_disconnect(&pair.server, TDI_DISCONNECT_RELEASE),
				STATUS_SUCCESS);
		CU_ASSERT_EQUAL(receive_some(&pair.client, received, 1, "the other end"),
				STATUS_GRACEFUL_DISCONNECT);
		close_pair(&pair);
	}
	ex_free_pool(sent);
	ex_free_pool(received);
}

void case_release_and_close(struct world *world)
{
	enum { LENGTH = 20000 };
	struct connected_pair pair;
	uint8_t *buffer = need_pool(LENGTH);

	fill_pattern(buffer, 7, 0, LENGTH);
	if (open_pair(&pair, world->device, &world->local)) {
		CU_ASSERT_EQUAL(send_all(&pair.client, buffer, LENGTH, "a send"), STATUS_SUCCESS);
		CU_ASSERT_EQUAL(tdi_disconnect(&pair.client, TDI_DISCONNECT_RELEASE),
				STATUS_SUCCESS);
		tdi_close(&pair.client);
		memset(buffer, 0, LENGTH);
		CU_ASSERT_EQUAL(receive_all(&pair.server, buffer, LENGTH, "what was sent"), LENGTH);
		CU_ASSERT(is_pattern(buffer, 7, 0, LENGTH));
		CU_ASSERT_EQUAL(receive_some(&pair.server, buffer, 1, "the end"),
				STATUS_GRACEFUL_DISCONNECT);
		tdi_close(&pair.server);
		tdi_close(&pair.client_address);
		tdi_close(&pair.server_address);
	}
	ex_free_pool(buffer);
}

void case_release_unread(struct world *world)
{
	enum { LENGTH = 30000 };
	struct connected_pair pair;
	struct request send;
	uint8_t *buffer = need_pool(LENGTH), byte;

	fill_pattern(buffer, 12, 0, LENGTH);
	if (open_pair(&pair, world->device, &world->local)) {
		CU_ASSERT_EQUAL(send_all(&pair.server, "read,unread", 11, "a send"),
				STATUS_SUCCESS);
		/* What comes after the close resets, so let it come before. */
		for (int i = 0; i < 5000 && info_of(&pair.server).acknowledged_bytes < 11; i++)
			ke_delay_execution_thread(MILLISECONDS(1));
		CU_ASSERT_EQUAL(receive_some(&pair.client, &byte, 1, "some of it"), 1);
		start_send(&send, &pair.client, buffer, LENGTH, NULL);
		CU_ASSERT_EQUAL(tdi_disconnect(&pair.client, TDI_DISCONNECT_RELEASE),
				STATUS_SUCCESS);
		tdi_close(&pair.client);
		wait_for_request(&send, "a send before a release");
		end_request(&send);
		memset(buffer, 0, LENGTH);
		CU_ASSERT_EQUAL(receive_all(&pair.server, buffer, LENGTH, "what was sent"), LENGTH);
		CU_ASSERT(is_pattern(buffer, 12, 0, LENGTH));
		CU_ASSERT_EQUAL(receive_some(&pair.server, &byte, 1, "the end"),
				STATUS_GRACEFUL_DISCONNECT);
		tdi_close(&pair.server);
		tdi_close(&pair.client_address);
		tdi_close(&pair.server_address);
	}
	ex_free_pool(buffer);
}

/* The sender gives up after it has released. Only if the end has come already is it too late. */
void case_abort_after_release(struct world *world)
{
	enum { LENGTH = 30000 };
	struct connected_pair pair;
	struct request send;
	uint8_t *bytes = need_pool(LENGTH);
	uint32_t got = 0;
	int64_t last;

	fill_pattern(bytes, 8, 0, LENGTH);
	if (open_pair(&pair, world->device, &world->local)) {
		start_send(&send, &pair.client, bytes, LENGTH, NULL);
		wait_for_request(&send, "a send before a release");
		end_request(&send);
		CU_ASSERT_EQUAL(tdi_disconnect(&pair.client, TDI_DISCONNECT_RELEASE),
				STATUS_SUCCESS);
		CU_ASSERT_EQUAL(tdi_disconnect(&pair.client, TDI_DISCONNECT_ABORT), STATUS_SUCCESS);
		while ((last = receive_some(&pair.server, bytes, LENGTH, "data or the reset")) > 0)
			got += (uint32_t)last;
		CU_ASSERT(last == STATUS_CONNECTION_RESET ||
			  (last == STATUS_GRACEFUL_DISCONNECT && got == LENGTH));
		close_pair(&pair);
	}
	ex_free_pool(bytes);
}

void case_closed_address(struct world *world)
{
	struct connected_pair pair;
	struct transport_address remote;
	struct file_object address, late;

	if (!open_pair(&pair, world->device, &world->local))
		return;
	remote = local_of(&pair.server_address);
	tdi_close(&pair.server_address); /* while a connection still stands on it */
	CU_ASSERT_EQUAL(tdi_open_transport_address(world->device, &world->local, &address),
			STATUS_SUCCESS);
	if (open_endpoint(&late, world->device, &address)) {
		CU_ASSERT_EQUAL(tdi_connect(&late, &remote, SOON), STATUS_CONNECTION_REFUSED);
		tdi_close(&late);
	}
	tdi_close(&address);
	CU_ASSERT_EQUAL(send_all(&pair.client, "x", 1, "a send beside it"), STATUS_SUCCESS);
	tdi_close(&pair.client);
	tdi_close(&pair.server);
	tdi_close(&pair.client_address);
}

static void cancel_it(void *context)
{
	struct request *request = context;

	io_cancel_irp(request->irp);
}

/* The canceller may be anywhere on its way when the connection goes. */
void case_cancel_and_close(struct world *world)
{
	struct connected_pair pair;
	struct request receive;
	struct kthread canceller;
	uint8_t byte;

	if (!open_pair(&pair, world->device, &world->local))
		return;
	start_receive(&receive, &pair.server, &byte, 1);
	ps_create_system_thread(&canceller, cancel_it, &receive);
	tdi_close(&pair.server);
	CU_ASSERT_EQUAL(receive.completions, 1); /* closing waits for it */
	ke_wait_for_thread(&canceller);
	end_request(&receive);
	tdi_close(&pair.client);
	tdi_close(&pair.client_address);
	tdi_close(&pair.server_address);
}

/* Nobody connects, and the listener behind the first one goes. */
void case_close_second_listener(struct world *world)
{
	struct file_object address, listeners[2];
	struct request listens[2];

	CU_ASSERT_EQUAL_FATAL(tdi_open_transport_address(world->device, &world->local, &address),
			      STATUS_SUCCESS);
	for (int i = 0; i < 2; i++)
		if (open_endpoint(&listeners[i], world->device, &address))
			start_listen(&listens[i], &listeners[i]);
	tdi_close(&listeners[1]);
	CU_ASSERT_EQUAL(wait_for_request(&listens[1], "the end of a listen"),
			STATUS_LOCAL_DISCONNECT);
	CU_ASSERT_EQUAL(read_count(&listens[0].completions), 0);
	tdi_close(&listeners[0]);
	wait_for_request(&listens[0], "the end of a listen");
	for (int i = 0; i < 2; i++)
		end_request(&listens[i]);
	tdi_close(&address);
}

/* Sends without a byte stand between a send that has to wait and the last one. */
void case_empty_before_release(struct world *world)
{
	enum { LENGTH = EXECUTIVE_HOST ? 4000000 : 300000, EMPTIES = 3, TAIL = 10 };
	struct request large, empties[EMPTIES], tail;
	uint8_t *bytes = need_pool(LENGTH + TAIL);
	struct connected_pair pair;
	struct reader reader;

	fill_pattern(bytes, 9, 0, LENGTH + TAIL);
	if (open_pair(&pair, world->device, &world->local)) {
		start_send(&large, &pair.client, bytes, LENGTH, NULL);
		for (int i = 0; i < EMPTIES; i++)
			start_send(&empties[i], &pair.client, NULL, 0, NULL);
		start_send(&tail, &pair.client, bytes + LENGTH, TAIL, NULL);
		start_reader(&reader, &pair.server, 9, 50000);
		CU_ASSERT_EQUAL(tdi_disconnect(&pair.client, TDI_DISCONNECT_RELEASE),
				STATUS_SUCCESS);
		wait_for_reader(&reader, "all that was sent");
		CU_ASSERT_EQUAL(reader.received, LENGTH + TAIL);
		CU_ASSERT(reader.matches);
		CU_ASSERT_EQUAL(wait_for_request(&large, "the first"), STATUS_SUCCESS);
		CU_ASSERT_EQUAL(wait_for_request(&tail, "the last"), STATUS_SUCCESS);
		for (int i = 0; i < EMPTIES; i++) {
			CU_ASSERT_EQUAL(wait_for_request(&empties[i], "an empty one"),
					STATUS_SUCCESS);
			end_request(&empties[i]);
		}
		end_request(&large);
		end_request(&tail);
		close_pair(&pair);
	}
	ex_free_pool(bytes);
}

static ntstatus set_event(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)irp;
	ke_set_event(context);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

/* Sends a request that was cancelled when its creator still had it. */
static void send_cancelled(struct irp *irp, struct file_object *file, struct kevent *done)
{
	io_cancel_irp(irp);
	/* It has been marked pending when the queue refuses it, so this is the only right answer.
	 */
	CU_ASSERT_EQUAL(io_call_driver(io_get_related_device_object(file), irp), STATUS_PENDING);
	ke_wait_for_single_object(done, KE_WAIT_FOREVER);
	CU_ASSERT_EQUAL(irp->io_status.status, STATUS_CANCELLED);
	io_unlock_buffer(irp);
	io_free_irp(irp);
}

static struct irp *begin(struct file_object *file, struct kevent *done)
{
	ke_initialize_event(done, NOTIFICATION_EVENT, false);
	return io_allocate_irp(io_get_related_device_object(file)->stack_size);
}

void case_cancelled_before(struct world *world)
{
	struct connected_pair pair;
	struct file_object address, endpoint;
	struct kevent done;
	struct irp *irp;
	char byte = 1;

	if (!open_pair(&pair, world->device, &world->local))
		return;
	irp = begin(&pair.client, &done);
	io_lock_buffer(irp, &byte, 1, IO_READ_ACCESS);
	tdi_build_send(irp, &pair.client, set_event, &done, irp->mdl_address, 0, 1);
	send_cancelled(irp, &pair.client, &done);
	CU_ASSERT_EQUAL(send_all(&pair.client, "still", 5, "a send"), STATUS_SUCCESS);
	close_pair(&pair);

	CU_ASSERT_EQUAL_FATAL(tdi_open_transport_address(world->device, &world->local, &address),
			      STATUS_SUCCESS);
	if (open_endpoint(&endpoint, world->device, &address)) {
		irp = begin(&endpoint, &done);
		tdi_build_listen(irp, &endpoint, set_event, &done, NULL);
		send_cancelled(irp, &endpoint, &done);
		tdi_close(&endpoint);
	}
	tdi_close(&address);
}

static void abort_it(void *context)
{
	tdi_disconnect(context, TDI_DISCONNECT_ABORT);
}

/* Some receives may just have their bytes, or be in the transport's hands, when the rest fail. */
static void fail_receiving_pair(struct connected_pair *pair)
{
	enum { RECEIVES = 6 };
	struct request receives[RECEIVES], send;
	struct kthread aborter;
	char bytes[RECEIVES];
	int32_t counter = 0;

	for (int i = 0; i < RECEIVES; i++)
		start_counted_receive(&receives[i], &pair->server, &bytes[i], 1, &counter);
	ps_create_system_thread(&aborter, abort_it, &pair->server);
	start_send(&send, &pair->client, "abc", 3, NULL);
	ke_wait_for_thread(&aborter);
	for (int32_t i = 0; i < RECEIVES; i++) {
		wait_for_request(&receives[i], "a receive on a connection that fails");
		CU_ASSERT_EQUAL(receives[i].order, i + 1);
		end_request(&receives[i]);
	}
	wait_for_request(&send, "a send to a connection that fails");
	end_request(&send);
}

void case_order_of_failure(struct world *world)
{
	uint32_t rounds = EXECUTIVE_HOST && !world->provider->slow ? 100 : 1;
	struct connected_pair pair;

	for (uint32_t i = 0; i < rounds && open_pair(&pair, world->device, &world->local); i++) {
		fail_receiving_pair(&pair);
		close_pair(&pair);
	}
}
