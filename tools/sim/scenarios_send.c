/*
 * Stages 02 and 03, on a transport that completes a send at any moment: before, while or after the
 * submit returns, on any processor, with success or not.
 */
#include <string.h>

#include "scenarios.h"
#include "tdi/tdi.h"

enum { BLOCK = 64 };

struct transport {
	struct device_object device;
	struct file_object file;
};

/* A send that the transport owns. */
struct owned {
	struct kdpc dpc;
	struct irp *irp;
};

static void finish_send(struct irp *irp)
{
	uint32_t length = tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_send)
				  ->send_length;
	const struct mdl *mdl = irp->mdl_address;

	if (ke_choose(2, "whether the send fails") == 1) {
		io_finish_request(irp, STATUS_CONNECTION_RESET, 0);
		return;
	}
	scenario_expect(mm_get_system_address_for_mdl(mdl)[0] == 'x',
			"the buffer has changed while the transport had it");
	io_finish_request(irp, STATUS_SUCCESS, length);
}

static void finish_later(struct kdpc *dpc, void *context)
{
	struct owned *owned = context;
	struct irp *irp = owned->irp;

	(void)dpc;
	ex_free_pool(owned);
	finish_send(irp);
}

static ntstatus transport_control(struct device_object *device, struct irp *irp)
{
	struct owned *owned;

	(void)device;
	io_mark_irp_pending(irp);
	owned = ke_choose(2, "whether a send completes in the submit") == 0
			? ex_allocate_pool(sizeof(*owned))
			: NULL;
	if (owned == NULL) {
		finish_send(irp);
		return STATUS_PENDING;
	}
	owned->irp = irp;
	ke_initialize_dpc(&owned->dpc, finish_later, owned, KE_ANY_PROCESSOR);
	ke_insert_queue_dpc(&owned->dpc);
	return STATUS_PENDING;
}

static const struct driver_object transport_driver = {
	.driver_name = "anyhow",
	.major_function = {[IRP_MJ_INTERNAL_DEVICE_CONTROL] = transport_control}};

static void open_transport(struct transport *transport)
{
	*transport = (struct transport){.file.device_object = &transport->device};
	io_initialize_device(&transport->device, &transport_driver, NULL, transport);
}

/* ---- Stage 02 -------------------------------------------------------------------------------- */

static void send_sync(void *context)
{
	const struct sim_setting *setting = context;
	struct transport transport;
	char buffer[BLOCK];

	open_transport(&transport);
	memset(buffer, 'x', sizeof(buffer));
	for (unsigned i = 0; i < setting->requests; i++) {
		int64_t sent = tdi_send_stream(&transport.file, buffer, BLOCK, 0);

		scenario_expect(sent == BLOCK || sent == STATUS_CONNECTION_RESET ||
					sent == STATUS_INSUFFICIENT_RESOURCES,
				"a send of %d bytes returned %lld", BLOCK, (long long)sent);
	}
}

/* ---- Stage 03 -------------------------------------------------------------------------------- */

struct sender {
	struct transport transport;
	struct kevent all;
	int32_t left;
};

struct one {
	struct sender *sender;
	char *buffer;
	int32_t calls;
};

static void called_back(void *context, ntstatus status, uint32_t bytes)
{
	struct one *one = context;

	scenario_expect(interlocked_increment(&one->calls) == 1, "a callback has run twice");
	scenario_expect(bytes == (nt_success(status) ? BLOCK : 0), "the callback was told %u bytes",
			bytes);
	memset(one->buffer, '?', BLOCK); /* it is ours again */
	ex_free_pool(one->buffer);
	if (interlocked_decrement(&one->sender->left) == 0)
		ke_set_event(&one->sender->all);
}

static void start_one(struct one *one, struct sender *sender)
{
	ntstatus status;

	*one = (struct one){.sender = sender, .buffer = ex_allocate_pool(BLOCK)};
	if (one->buffer == NULL) { /* not a send, but it must not be waited for */
		if (interlocked_decrement(&sender->left) == 0)
			ke_set_event(&sender->all);
		return;
	}
	memset(one->buffer, 'x', BLOCK);
	status = tdi_start_send_buffer(&sender->transport.file, one->buffer, BLOCK, 0, called_back,
				       one);
	scenario_expect(status == STATUS_PENDING || interlocked_read(&one->calls) == 1,
			"a start returned %s before its callback has run", nt_status_name(status));
}

static void send_async(void *context)
{
	enum { MOST = 16 };
	const struct sim_setting *setting = context;
	unsigned requests = setting->requests < MOST ? setting->requests : MOST;
	struct sender sender = {.left = (int32_t)requests};
	struct one ones[MOST];

	open_transport(&sender.transport);
	ke_initialize_event(&sender.all, NOTIFICATION_EVENT, false);
	for (unsigned i = 0; i < requests; i++)
		start_one(&ones[i], &sender);
	ke_wait_for_single_object(&sender.all, KE_WAIT_FOREVER);
	ke_flush_queued_dpcs(); /* the last callback's DPC may still touch our stack */
}

const struct sim_scenario send_scenarios[] = {
	{"send-sync/anyhow", "a thread sends, one at a time; sends complete at any moment",
	 send_sync, 2, true},
	{"send-async/anyhow",
	 "sends with callbacks that free their buffers; they complete at any "
	 "moment",
	 send_async, 2, true},
	{0},
};
