/*
 * The transport that all stages run on: two ends of a link connect, transfer and part, in every
 * order that the link's choices allow.
 */
#include <string.h>

#include "link/link.h"
#include "scenarios.h"

enum { BLOCK = 24 };

struct line {
	struct device_object *device;
	struct file_object server_address, server;
	unsigned blocks;
	uint64_t received;
	ntstatus end;
};

static void run_server(void *context)
{
	struct line *line = context;
	ntstatus status = tdi_listen(&line->server, NULL, KE_WAIT_FOREVER);
	char buffer[BLOCK];
	int64_t got = status;

	while (nt_success(status) &&
	       (got = tdi_receive_stream(&line->server, buffer, sizeof(buffer))) > 0)
		line->received += (uint64_t)got;
	line->end = (ntstatus)got;
	if (got == STATUS_GRACEFUL_DISCONNECT)
		tdi_disconnect(&line->server, TDI_DISCONNECT_RELEASE);
}

static struct transport_address address_of(struct file_object *file)
{
	struct transport_address address = {0};

	tdi_query_information(file, TDI_QUERY_ADDRESS_INFO, &address, sizeof(address));
	return address;
}

static bool open_end(struct line *line, struct file_object *address, struct file_object *end)
{
	const struct transport_address any = {.address_type = TDI_ADDRESS_TYPE_IP};

	if (!nt_success(tdi_open_transport_address(line->device, &any, address)))
		return false;
	if (nt_success(tdi_open_connection_endpoint(line->device, NULL, end))) {
		if (nt_success(tdi_associate_address(end, address)))
			return true;
		tdi_close(end);
	}
	tdi_close(address);
	return false;
}

struct burst {
	struct kevent all;
	int32_t left;
	int32_t failed;
};

static void block_sent(void *context, ntstatus status, uint32_t bytes)
{
	struct burst *burst = context;

	(void)bytes;
	if (!nt_success(status))
		interlocked_increment(&burst->failed);
	if (interlocked_decrement(&burst->left) == 0)
		ke_set_event(&burst->all);
}

static void run_client(struct line *line, struct file_object *client)
{
	struct transport_address remote = address_of(&line->server_address);
	struct burst burst = {.left = (int32_t)line->blocks};
	char block[BLOCK];

	memset(block, 'x', sizeof(block));
	ke_initialize_event(&burst.all, NOTIFICATION_EVENT, false);
	if (!nt_success(tdi_connect(client, &remote, KE_WAIT_FOREVER)))
		return;
	for (unsigned i = 0; i < line->blocks; i++)
		tdi_start_send_buffer(client, block, BLOCK, 0, block_sent, &burst);
	ke_wait_for_single_object(&burst.all, KE_WAIT_FOREVER);
	scenario_expect(burst.failed == 0, "%d sends failed on a line without faults",
			burst.failed);
	scenario_expect(nt_success(tdi_disconnect(client, TDI_DISCONNECT_RELEASE)),
			"the release failed");
	scenario_expect(tdi_receive_stream(client, block, BLOCK) == STATUS_GRACEFUL_DISCONNECT,
			"the answer to the release is not the end of the stream");
}

static void transfer(void *context)
{
	const struct sim_setting *setting = context;
	const struct link_options options = {.cut = true, .window_bytes = 32};
	struct line line = {.blocks = setting->requests};
	struct file_object client_address, client;
	struct kthread server;

	line.device = link_create_device(&options);
	if (line.device == NULL)
		return;
	if (open_end(&line, &line.server_address, &line.server)) {
		if (open_end(&line, &client_address, &client)) {
			ps_create_system_thread(&server, run_server, &line);
			run_client(&line, &client);
			ke_wait_for_thread(&server);
			scenario_expect(line.received == line.blocks * BLOCK &&
						line.end == STATUS_GRACEFUL_DISCONNECT,
					"%llu bytes arrived, then %s",
					(unsigned long long)line.received,
					nt_status_name(line.end));
			tdi_close(&client);
			tdi_close(&client_address);
		}
		tdi_close(&line.server);
		tdi_close(&line.server_address);
	}
	ke_flush_queued_dpcs();
	link_delete_device(line.device);
}

const struct sim_scenario link_scenarios[] = {
	{"link/transfer", "blocks over a link that cuts anywhere, in both ways of completing",
	 transfer, 1, false},
	{0},
};
