/*
 * A row of the demo over the simulated link, for machines that do not allow namespaces or TUN
 * devices: the same client code and requests, but the wire is a timer.
 */
#include "demo.h"

#include <stdio.h>
#include <string.h>

#include "counters.h"
#include "link/link.h"
#include "monitor.h"
#include "receiver.h"
#include "sender.h"

enum { PINGS = 5 };

static const int64_t TIMEOUT_NS = 10000000000;

struct link_demo {
	const struct demo *demo;
	struct demo_row *row; /* NULL: measure the round trip */
	uint64_t rtt_ns;
	ntstatus status;

	struct device_object *device;
	struct file_object address;
	struct file_object server;
	struct transport_address local;
	ntstatus server_status;
	uint64_t server_bytes;
};

/* Opens a connection at an address of its own or, when given one, at that. */
static ntstatus open_pair(struct device_object *device, struct transport_address *local,
			  struct file_object *address, struct file_object *connection)
{
	ntstatus status = tdi_open_transport_address(device, local, address);

	if (!nt_success(status))
		return status;
	tdi_query_information(address, TDI_QUERY_ADDRESS_INFO, local, sizeof(*local));
	status = tdi_open_connection_endpoint(device, NULL, connection);
	if (nt_success(status)) {
		status = tdi_associate_address(connection, address);
		if (nt_success(status))
			return status;
		tdi_close(connection);
	}
	tdi_close(address);
	return status;
}

/* ---- The far end --------------------------------------------------------------------------- */

static void echo(struct link_demo *link)
{
	char byte;

	while (tdi_receive_stream(&link->server, &byte, 1) == 1)
		tdi_send_stream(&link->server, &byte, 1, 0);
}

static void server_thread(void *context)
{
	struct link_demo *link = context;
	struct sha256_ctx sha256;
	struct receive_options options = {.fd = -1, .sha256 = &sha256};
	struct receive_report report;

	link->server_status = tdi_listen(&link->server, NULL, TIMEOUT_NS);
	if (!nt_success(link->server_status))
		return;
	if (link->row == NULL) {
		echo(link);
		return;
	}
	sha256_init(&sha256);
	link->server_status = receive_file(&link->server, &options, &report);
	link->server_bytes = report.bytes;
	sha256_digest(&sha256, sizeof(link->row->sha256), link->row->sha256);
	tdi_disconnect(&link->server, TDI_DISCONNECT_RELEASE);
}

/* ---- The near end -------------------------------------------------------------------------- */

static ntstatus ping(struct link_demo *link, struct file_object *client)
{
	link->rtt_ns = UINT64_MAX;
	for (int i = 0; i < PINGS; i++) {
		uint64_t start = ke_query_interrupt_time(), took;
		char byte = 'x';
		int64_t result = tdi_send_stream(client, &byte, 1, 0);

		took = ke_query_interrupt_time() -
		       start; /* a send is over when it is acknowledged */
		if (result > 0)
			result = tdi_receive_stream(client, &byte, 1);
		if (result <= 0)
			return (ntstatus)result;
		if (took < link->rtt_ns)
			link->rtt_ns = took;
	}
	return STATUS_SUCCESS;
}

static ntstatus send_row(struct link_demo *link, struct file_object *client)
{
	struct demo_row *row = link->row;
	struct send_options options = {.mode = row->mode == DEMO_SYNC ? SEND_SYNC : SEND_ASYNC,
				       .depth = row->depth,
				       .block_bytes = link->demo->block_bytes,
				       .limit_bytes = row->limit_bytes,
				       .fd = link->demo->fd};
	struct send_report report;
	struct monitor monitor;
	ntstatus status;
	char end;

	status = monitor_start(&monitor, client, MONITOR_SENDING, row->limit_bytes,
			       (uint64_t)TIMEOUT_NS);
	if (!nt_success(status))
		return status;
	status = send_file(client, &options, &report);
	monitor_stop(&monitor);
	if (!nt_success(status))
		return status;
	tdi_disconnect(client, TDI_DISCONNECT_RELEASE);
	tdi_receive_stream(client, &end, 1);
	demo_take_report(row, &report);
	return STATUS_SUCCESS;
}

static ntstatus run_client(struct link_demo *link)
{
	struct transport_address local = {.address_type = TDI_ADDRESS_TYPE_IP};
	struct file_object address, client;
	ntstatus status = open_pair(link->device, &local, &address, &client);

	if (!nt_success(status))
		return status;
	status = tdi_connect(&client, &link->local, TIMEOUT_NS);
	if (nt_success(status))
		status = link->row != NULL ? send_row(link, &client) : ping(link, &client);
	tdi_close(&client);
	tdi_close(&address);
	return status;
}

static void link_main(void *context)
{
	struct link_demo *link = context;
	struct link_options options = {.rtt_ns = link->demo->rtt_asked_ns,
				       .rate_bits_per_second = link->demo->rate_bits_per_second,
				       .window_bytes = 64u << 20,
				       .buffered =
					       link->row != NULL && link->row->mode == DEMO_SOCKET,
				       .completion = LINK_COMPLETE_INLINE,
				       .segment = counters_publish("demo")};
	struct kthread server;

	link->local = (struct transport_address){.address_type = TDI_ADDRESS_TYPE_IP};
	link->status = STATUS_INSUFFICIENT_RESOURCES;
	link->device = link_create_device(&options);
	if (link->device == NULL) {
		counters_withdraw();
		return;
	}
	link->status = open_pair(link->device, &link->local, &link->address, &link->server);
	if (nt_success(link->status)) {
		link->status = ps_create_system_thread(&server, server_thread, link);
		if (nt_success(link->status)) {
			link->status = run_client(link);
			ke_wait_for_thread(&server);
		}
		tdi_close(&link->server);
		tdi_close(&link->address);
	}
	ke_flush_queued_dpcs();
	link_delete_device(link->device);
	counters_withdraw();
	if (nt_success(link->status) && !nt_success(link->server_status) && link->row != NULL)
		link->status = link->server_status;
}

static ntstatus run(struct link_demo *link)
{
	struct ke_options options = {.processors = 2};
	ntstatus status = ke_run(&options, link_main, link);

	return nt_success(status) ? link->status : status;
}

int demo_link_measure_rtt(const struct demo *demo, uint64_t *rtt_ns, char *error, size_t size)
{
	struct link_demo link = {.demo = demo};
	ntstatus status = run(&link);

	*rtt_ns = link.rtt_ns;
	if (nt_success(status))
		return 0;
	snprintf(error, size, "link: %s", nt_status_text(status));
	return -1;
}

int demo_link_row(const struct demo *demo, struct demo_row *row)
{
	struct link_demo link = {.demo = demo, .row = row};
	ntstatus status = run(&link);

	if (nt_success(status) && link.server_bytes == row->limit_bytes)
		return 0;
	snprintf(row->error, sizeof(row->error), "link: %s",
		 nt_success(status) ? "not everything arrived" : nt_status_text(status));
	return -1;
}
