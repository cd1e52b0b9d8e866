/* The transport that does what an exercise tells it, see transport.h. */
#include "transport.h"

const char *const when_words[WHEN_COUNT] = {
	"in its dispatch routine", "after marking it pending, before its dispatch routine returns",
	"from a DPC, which may run before, while or after the dispatch routine returns",
	"from a timer, long after the dispatch routine has returned"};

/* A send that the transport owns. */
struct owned {
	struct transport *transport;
	struct kdpc dpc;
	struct ktimer timer;
	struct irp *irp;
	struct mdl *mdl;
	uint32_t length;
};

static void check_loan(const struct owned *owned)
{
	int rule = owned->transport->loan_rule;

	if (owned->length == 0)
		return;
	expect_true(rule, owned->irp->mdl_address == owned->mdl,
		    "the request keeps its MDL while the transport owns it",
		    "the MDL was taken off the request");
	expect_true(rule, (owned->mdl->mdl_flags & MDL_PAGES_LOCKED) != 0,
		    "the pages stay locked while the transport owns them", "they were unlocked");
	expect_number(rule, "the first byte of the buffer that the transport sends", 'x',
		      mm_get_system_address_for_mdl(owned->mdl)[0]);
}

static void complete(struct owned *owned)
{
	struct transport *transport = owned->transport;
	ntstatus outcome = transport->outcome;
	struct irp *irp = owned->irp;
	uintptr_t sent = owned->length;

	check_loan(owned);
	if (transport->bytes != ALL_BYTES)
		sent = (uintptr_t)transport->bytes;
	ex_free_pool(owned);
	interlocked_decrement(&transport->owned);
	io_finish_request(irp, outcome, nt_success(outcome) ? sent : 0);
}

static void complete_later(struct kdpc *dpc, void *context)
{
	(void)dpc;
	complete(context);
}

static ntstatus control(struct device_object *device, struct irp *irp)
{
	struct transport *transport = device->device_extension;
	struct owned *owned = lab_allocate(sizeof(*owned));
	ntstatus outcome = transport->outcome;

	transport->check(transport, irp);
	interlocked_increment(&transport->sends);
	interlocked_increment(&transport->owned);
	*owned = (struct owned){
		.transport = transport,
		.irp = irp,
		.mdl = irp->mdl_address,
		.length = tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_send)
				  ->send_length};
	if (transport->when == AT_ONCE) {
		transport->in_dispatch = irp;
		complete(owned);
		transport->in_dispatch = NULL;
		return outcome;
	}
	io_mark_irp_pending(irp);
	ke_initialize_dpc(&owned->dpc, complete_later, owned, KE_ANY_PROCESSOR);
	ke_initialize_timer(&owned->timer);
	if (transport->when == PENDING_AT_ONCE)
		complete(owned);
	else if (transport->when == FROM_DPC)
		ke_insert_queue_dpc(&owned->dpc);
	else
		ke_set_timer(&owned->timer, transport->delay_ns, &owned->dpc);
	return STATUS_PENDING;
}

static const struct driver_object driver = {
	.driver_name = "scripted", .major_function = {[IRP_MJ_INTERNAL_DEVICE_CONTROL] = control}};

void open_transport(struct transport *transport, enum when when,
		    void (*check)(struct transport *transport, struct irp *irp), int loan_rule)
{
	*transport = (struct transport){.when = when,
					.delay_ns = MILLISECONDS(1),
					.outcome = STATUS_SUCCESS,
					.bytes = ALL_BYTES,
					.check = check,
					.loan_rule = loan_rule};
	io_initialize_device(&transport->device, &driver, NULL, transport);
	transport->file.device_object = &transport->device;
}
