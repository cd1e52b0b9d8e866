/*
 * The transport that all stages run on: two ends of a link connect, transfer and part, in every
 * order that the link's choices allow.
 */
#include <string.h>

#include "link/link.h"
#include "scenarios.h"

enum { BLOCK = 24, PATIENCE = 1000000000 }; /* the other end may have had no memory to come */

struct line {
	struct device_object *device;
	struct file_object server_address, server;
	unsigned blocks;
	bool faults; /* connections may be refused and break */
	bool sent;   /* everything, and the peer has answered the end of it */
	uint64_t received;
	ntstatus end;
};

/* An end that can't go on says so, and needs no luck for it. */
static void give_up(struct file_object *connection)
{
	while (tdi_disconnect(connection, TDI_DISCONNECT_ABORT) == STATUS_INSUFFICIENT_RESOURCES)
		;
}

static void run_server(void *context)
{
	struct line *line = context;
	ntstatus status = tdi_listen(&line->server, NULL, PATIENCE);
	char buffer[BLOCK];
	int64_t got = status;

	while (nt_success(status) &&
	       (got = tdi_receive_stream(&line->server, buffer, sizeof(buffer))) > 0)
		line->received += (uint64_t)got;
	line->end = (ntstatus)got;
	if (got != STATUS_GRACEFUL_DISCONNECT ||
	    !nt_success(tdi_disconnect(&line->server, TDI_DISCONNECT_RELEASE)))
		give_up(&line->server);
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
	char *block = ex_allocate_pool(BLOCK);

	ke_initialize_event(&burst.all, NOTIFICATION_EVENT, false);
	if (block != NULL && nt_success(tdi_connect(client, &remote, PATIENCE))) {
		memset(block, 'x', BLOCK);
		for (unsigned i = 0; i < line->blocks; i++)
			tdi_start_send_buffer(client, block, BLOCK, 0, block_sent, &burst);
		ke_wait_for_single_object(&burst.all, KE_WAIT_FOREVER);
		line->sent = burst.failed == 0 &&
			     nt_success(tdi_disconnect(client, TDI_DISCONNECT_RELEASE)) &&
			     tdi_receive_stream(client, block, BLOCK) == STATUS_GRACEFUL_DISCONNECT;
	}
	if (!line->sent)
		give_up(client);
	ex_free_pool(block);
}

/* What the two ends have seen of one another must agree. */
static void check_line(const struct line *line)
{
	scenario_expect(line->faults || line->sent, "a line without faults has failed");
	scenario_expect(line->received <= line->blocks * BLOCK, "more has arrived than was sent");
	scenario_expect(!line->sent || line->received == line->blocks * BLOCK,
			"the sender thinks that all has arrived, but only %llu bytes have",
			(unsigned long long)line->received);
	scenario_expect(line->end != STATUS_GRACEFUL_DISCONNECT ||
				line->received == line->blocks * BLOCK,
			"the receiver takes %llu bytes for the whole stream",
			(unsigned long long)line->received);
}

static void run_ends(struct line *line, struct file_object *client)
{
	struct kthread server;

	if (!nt_success(ps_create_system_thread(&server, run_server, line)))
		return;
	run_client(line, client);
	if (!line->sent) /* it may never have been called */
		give_up(&line->server);
	ke_wait_for_thread(&server);
	check_line(line);
}

static void run_line(const struct sim_setting *setting, const struct link_options *options)
{
	struct line line = {.blocks = setting->requests, .faults = options->faults};
	struct file_object client_address, client;

	line.device = link_create_device(options);
	if (line.device == NULL)
		return;
	if (open_end(&line, &line.server_address, &line.server)) {
		if (open_end(&line, &client_address, &client)) {
			run_ends(&line, &client);
			tdi_close(&client);
			tdi_close(&client_address);
		}
		tdi_close(&line.server);
		tdi_close(&line.server_address);
	}
	ke_flush_queued_dpcs();
	link_delete_device(line.device);
}

static void transfer(void *context)
{
	const struct link_options options = {.cut = true, .window_bytes = 32};

	run_line(context, &options);
}

static void faults(void *context)
{
	const struct link_options options = {.faults = true, .window_bytes = 32};

	run_line(context, &options);
}

const struct sim_scenario link_scenarios[] = {
	{"link/transfer", "blocks over a link that cuts anywhere, in both ways of completing",
	 transfer, 1, false},
	{"link/faults", "blocks over a link that refuses calls and breaks at any segment", faults,
	 1, true},
	{0},
};
