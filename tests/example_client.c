/*
 * example-client ADDRESS PORT TEXT - says the text to whoever listens there, and prints the answer.
 *
 * All that a client of a transport needs, by the public headers alone: a device, an address, an
 * endpoint; connect, send, release, receive. It waits for each step, in a thread of its own.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ke/ke.h"
#include "tcp/tcp.h"
#include "tdi/tdi.h"

struct example {
	struct transport_address remote;
	const char *text;
	ntstatus status;
};

/* Says that the text was all, and takes the answer up to its end. */
static ntstatus talk(struct file_object *connection, const char *text)
{
	char answer[4096];
	int64_t got = tdi_send_stream(connection, text, (uint32_t)strlen(text), 0);

	if (got >= 0)
		got = tdi_disconnect(connection, TDI_DISCONNECT_RELEASE);
	if (got < 0)
		return (ntstatus)got;
	while ((got = tdi_receive_stream(connection, answer, sizeof(answer))) > 0)
		fwrite(answer, 1, (size_t)got, stdout);
	return got == STATUS_GRACEFUL_DISCONNECT ? STATUS_SUCCESS : (ntstatus)got;
}

static ntstatus call(struct device_object *device, struct file_object *address,
		     const struct example *example)
{
	struct file_object connection;
	ntstatus status = tdi_open_connection_endpoint(device, NULL, &connection);

	if (!nt_success(status))
		return status;
	status = tdi_associate_address(&connection, address);
	if (nt_success(status))
		status = tdi_connect(&connection, &example->remote, KE_WAIT_FOREVER);
	if (nt_success(status))
		status = talk(&connection, example->text);
	tdi_close(&connection);
	return status;
}

/* The first thread of the executive. */
static void run(void *context)
{
	const struct tcp_options options = {.segment = NULL};
	const struct transport_address any = {.address_type = TDI_ADDRESS_TYPE_IP};
	struct example *example = context;
	struct device_object *device = tcp_create_device(&options);
	struct file_object address;

	if (device == NULL)
		return;
	example->status = tdi_open_transport_address(device, &any, &address);
	if (nt_success(example->status)) {
		example->status = call(device, &address, example);
		tdi_close(&address);
	}
	ke_flush_queued_dpcs(); /* what the transport has still to clear away */
	tcp_delete_device(device);
}

int main(int argc, char **argv)
{
	struct example example = {.remote = {.address_type = TDI_ADDRESS_TYPE_IP},
				  .status = STATUS_INSUFFICIENT_RESOURCES};
	const struct ke_options options = {.processors = 1};
	ntstatus status;

	if (argc != 4 || inet_pton(AF_INET, argv[1], example.remote.address) != 1) {
		fputs("usage: example-client ADDRESS PORT TEXT\n", stderr);
		return 2;
	}
	example.remote.port = (uint16_t)atoi(argv[2]);
	example.text = argv[3];
	status = ke_run(&options, run, &example);
	if (nt_success(status))
		status = example.status;
	if (!nt_success(status))
		fprintf(stderr, "example-client: %s\n", nt_status_text(status));
	return !nt_success(status);
}
