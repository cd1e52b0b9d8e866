/* The transport that does what an exercise tells it, see door.h. */
#include "door.h"

#include <string.h>

#include "tdi/provider.h"

enum { KIND_ADDRESS = 1, KIND_ENDPOINT };

/* ---- Opening and closing ------------------------------------------------------------------- */

static ntstatus open_endpoint(struct door *door, struct file_object *file, const struct tdi_ea *ea)
{
	kirql irql = ke_acquire_spin_lock(&door->lock);
	ntstatus status = STATUS_INSUFFICIENT_RESOURCES;

	if (door->refuses > 0) {
		door->refuses--;
	} else {
		for (unsigned i = 0; i < DOOR_ENDPOINTS && !nt_success(status); i++) {
			struct endpoint *endpoint = &door->endpoints[i];

			if (endpoint->open)
				continue;
			*endpoint = (struct endpoint){.door = door, .open = true, .users = 1};
			memcpy(&endpoint->context, ea->value, sizeof(void *));
			file->fs_context = endpoint;
			file->fs_context2 = (void *)KIND_ENDPOINT;
			door->opened++;
			door->creations++;
			status = STATUS_SUCCESS;
		}
	}
	ke_release_spin_lock(&door->lock, irql);
	return status;
}

static ntstatus create(struct device_object *device, struct irp *irp)
{
	struct door *door = device->device_extension;
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	const struct tdi_create *parameters = tdi_parameters(location, tdi_create);
	ntstatus status = STATUS_SUCCESS;

	if (strcmp(parameters->eas[0].name, TDI_CONNECTION_CONTEXT) == 0) {
		status = open_endpoint(door, location->file_object, &parameters->eas[0]);
	} else {
		door->address_open = true;
		location->file_object->fs_context2 = (void *)KIND_ADDRESS;
	}
	return io_finish_request(irp, status, 0);
}

/* Nobody calls at the address any more. */
static ntstatus cleanup(struct device_object *device, struct irp *irp)
{
	struct door *door = device->device_extension;
	struct file_object *file = io_get_current_irp_stack_location(irp)->file_object;
	kirql irql = ke_acquire_spin_lock(&door->lock);

	if ((uintptr_t)file->fs_context2 == KIND_ADDRESS)
		door->address_open = false;
	ke_release_spin_lock(&door->lock, irql);
	return io_finish_request(irp, STATUS_SUCCESS, 0);
}

/* Completes when no call is being answered any more. */
static ntstatus close_address(struct door *door, struct irp *irp)
{
	kirql irql = ke_acquire_spin_lock(&door->lock);
	bool calling = door->calling > 0;

	expect_number(RULE_STOP, "endpoints that are open when the address is closed", 0,
		      door->opened);
	if (calling) {
		io_mark_irp_pending(irp);
		door->close_irp = irp;
	}
	ke_release_spin_lock(&door->lock, irql);
	return calling ? STATUS_PENDING : io_finish_request(irp, STATUS_SUCCESS, 0);
}

/* The last user closes the endpoint. */
static void drop_user(struct endpoint *endpoint)
{
	struct door *door = endpoint->door;
	kirql irql = ke_acquire_spin_lock(&door->lock);
	struct irp *close_irp = NULL;

	if (--endpoint->users == 0) {
		close_irp = endpoint->close_irp;
		endpoint->open = false;
		door->opened--;
		door->resets += endpoint->peer != NULL;
	}
	ke_release_spin_lock(&door->lock, irql);
	if (close_irp != NULL)
		io_finish_request(close_irp, STATUS_SUCCESS, 0);
}

static ntstatus close_file(struct device_object *device, struct irp *irp)
{
	struct door *door = device->device_extension;
	struct file_object *file = io_get_current_irp_stack_location(irp)->file_object;
	struct endpoint *endpoint = file->fs_context;

	if ((uintptr_t)file->fs_context2 == KIND_ADDRESS)
		return close_address(door, irp);
	expect_number(RULE_DELETE, "loans that have not come back when the endpoint is closed", 0,
		      endpoint->loans);
	io_mark_irp_pending(irp);
	endpoint->close_irp = irp;
	drop_user(endpoint);
	return STATUS_PENDING;
}

/* ---- Requests ------------------------------------------------------------------------------ */

static ntstatus set_event(struct door *door, struct irp *irp)
{
	const struct tdi_request_set_event *set =
		tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_set_event);

	door->handlers[set->type] = set->handler;
	door->contexts[set->type] = set->context;
	return io_finish_request(irp, STATUS_SUCCESS, 0);
}

static ntstatus query(struct irp *irp)
{
	const struct tdi_request_query *request =
		tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_query);
	const struct tdi_provider_info info = {
		.service_flags = TDI_SERVICE_CONNECTION_MODE | TDI_SERVICE_ORDERLY_RELEASE |
				 TDI_SERVICE_EXPEDITED_DATA | TDI_SERVICE_INTERNAL_BUFFERING,
		.chained_bytes = 4096};

	memcpy(request->buffer, &info, sizeof(info));
	return io_finish_request(irp, STATUS_SUCCESS, sizeof(info));
}

static ntstatus send(struct door *door, struct irp *irp)
{
	const struct tdi_request_send *request =
		tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_send);

	if (door->no_room && (request->send_flags & TDI_SEND_NON_BLOCKING) != 0) {
		door->refusals++;
		return io_finish_request(irp, STATUS_DEVICE_NOT_READY, 0);
	}
	door->sent += request->send_length;
	return io_finish_request(irp, STATUS_SUCCESS, request->send_length);
}

/* From the completion on the endpoint is the client's to close: nothing here is at it any more. */
static void settle_accept(struct peer *peer)
{
	if (!nt_success(peer->outcome))
		peer->endpoint->peer = NULL; /* as good as new */
	drop_user(peer->endpoint);
	io_finish_request(peer->accept_irp, peer->outcome, 0);
	peer->answer = peer->outcome;
	ke_set_event(&peer->done);
}

static void settle_later(struct kdpc *dpc, void *context)
{
	(void)dpc;
	settle_accept(context);
}

static ntstatus accept(struct irp *irp)
{
	struct endpoint *endpoint = io_get_current_irp_stack_location(irp)->file_object->fs_context;
	struct peer *peer = endpoint->peer;
	ntstatus outcome = peer->outcome;

	if (!peer->later) {
		settle_accept(peer);
		return outcome;
	}
	io_mark_irp_pending(irp);
	ke_insert_queue_dpc(&peer->settle);
	return STATUS_PENDING;
}

static ntstatus control(struct device_object *device, struct irp *irp)
{
	switch (io_get_current_irp_stack_location(irp)->minor_function) {
	case TDI_SET_EVENT_HANDLER:
		return set_event(device->device_extension, irp);
	case TDI_QUERY_INFORMATION:
		return query(irp);
	case TDI_SEND:
		return send(device->device_extension, irp);
	case TDI_ACCEPT:
		return accept(irp);
	case TDI_ASSOCIATE_ADDRESS:
	case TDI_DISCONNECT:
		return io_finish_request(irp, STATUS_SUCCESS, 0);
	default:
		return io_finish_request(irp, STATUS_INVALID_DEVICE_REQUEST, 0);
	}
}

static const struct driver_object driver = {
	.driver_name = "door",
	.major_function = {[IRP_MJ_CREATE] = create,
			   [IRP_MJ_CLEANUP] = cleanup,
			   [IRP_MJ_CLOSE] = close_file,
			   [IRP_MJ_INTERNAL_DEVICE_CONTROL] = control}};

void open_door(struct door *door)
{
	*door = (struct door){.no_room = false};
	io_initialize_device(&door->device, &driver, NULL, door);
	ke_initialize_spin_lock(&door->lock);
}

void check_closed(struct door *door)
{
	ke_flush_queued_dpcs();
	expect_true(RULE_STOP, !door->address_open, "the daemon's address is closed", "it is open");
	expect_number(RULE_STOP, "endpoints that are open in the end", 0, door->opened);
}

/* ---- Peers --------------------------------------------------------------------------------- */

/* Whoever the accept is for, it must be somebody, and nobody else's. */
static struct endpoint *expect_child(struct peer *peer, const struct irp *irp)
{
	const struct io_stack_location *next;
	struct endpoint *endpoint;

	expect_true(RULE_REFUSED, irp != NULL,
		    "STATUS_MORE_PROCESSING_REQUIRED comes with an accept request", "with none");
	expect_status(RULE_REQUEST_KEPT, "the status in an accept request that is as good as new",
		      STATUS_SUCCESS, irp->io_status.status);
	next = io_get_next_irp_stack_location((struct irp *)irp);
	expect_true(RULE_GIVEN_ONCE,
		    next->minor_function == TDI_ACCEPT && next->file_object != NULL,
		    "a request built with tdi_build_accept", "another one");
	endpoint = next->file_object->fs_context;
	expect_true(RULE_GIVEN_ONCE, endpoint->open && endpoint->peer == NULL,
		    "the accept is for an endpoint that is open and has no peer",
		    endpoint->open ? "its endpoint was given to another peer" : "it was closed");
	endpoint->peer = peer;
	endpoint->users++;
	return endpoint;
}

/* Asks the client. False: the peer is refused. */
static bool ask(struct peer *peer)
{
	struct door *door = peer->door;
	const struct transport_address remote = {.address_type = TDI_ADDRESS_TYPE_IP,
						 .port = peer->port};
	kirql irql = ke_acquire_spin_lock(&door->lock);
	bool open = door->address_open;
	struct irp *close_irp = NULL;

	door->calling += open;
	ke_release_spin_lock(&door->lock, irql);
	peer->answer = STATUS_CONNECTION_REFUSED;
	if (!open)
		return false;
	peer->accept_irp = NULL;
	peer->answer = ((tdi_ind_connect *)door->handlers[TDI_EVENT_CONNECT])(
		door->contexts[TDI_EVENT_CONNECT], &remote, &peer->accept_irp);
	irql = ke_acquire_spin_lock(&door->lock);
	if (peer->answer == STATUS_MORE_PROCESSING_REQUIRED)
		peer->endpoint = expect_child(peer, peer->accept_irp);
	if (--door->calling == 0)
		close_irp = door->close_irp;
	ke_release_spin_lock(&door->lock, irql);
	if (close_irp != NULL)
		io_finish_request(close_irp, STATUS_SUCCESS, 0);
	return peer->answer == STATUS_MORE_PROCESSING_REQUIRED;
}

static void call(struct kdpc *dpc, void *context)
{
	struct peer *peer = context;
	struct door *door = peer->door;

	(void)dpc;
	if (ask(peer)) {
		if (peer->early != NULL)
			show_data(peer, peer->early);
		io_call_driver(&door->device, peer->accept_irp);
		return;
	}
	ke_set_event(&peer->done);
}

void prepare_peer(struct peer *peer, struct door *door, uint16_t port)
{
	*peer = (struct peer){.door = door, .outcome = STATUS_SUCCESS, .port = port};
	ke_initialize_dpc(&peer->call, call, peer, KE_ANY_PROCESSOR);
	ke_initialize_dpc(&peer->settle, settle_later, peer, KE_ANY_PROCESSOR);
	ke_initialize_event(&peer->done, NOTIFICATION_EVENT, false);
}

void start_call(struct peer *peer)
{
	ke_insert_queue_dpc(&peer->call);
}

void call_door(struct peer *peer)
{
	start_call(peer);
	expect_event(RULE_COMES_BACK, &peer->done, "the caller is answered");
}

/* ---- Events -------------------------------------------------------------------------------- */

void show_data(struct peer *peer, const char *text)
{
	struct door *door = peer->door;
	uint32_t length = (uint32_t)strlen(text), taken = 0;
	struct irp *irp = NULL;
	kirql irql = ke_raise_irql(DISPATCH_LEVEL);
	ntstatus status = ((tdi_ind_receive *)door->handlers[TDI_EVENT_RECEIVE])(
		door->contexts[TDI_EVENT_RECEIVE], peer->endpoint->context, TDI_RECEIVE_NORMAL,
		length, length, &taken, text, &irp);

	ke_lower_irql(irql);
	expect_true(RULE_EARLY, status != STATUS_MORE_PROCESSING_REQUIRED && taken == length,
		    "an open stream takes the data that it is shown", "it leaves some");
}

/* What is lent, until it comes back. */
struct lent {
	struct tdi_loan loan;
	struct mdl mdl;
	struct endpoint *endpoint;
	char bytes[];
};

static void came_back(struct tdi_loan *loan)
{
	struct lent *lent = containing_record(loan, struct lent, loan);
	struct door *door = lent->endpoint->door;
	kirql irql = ke_acquire_spin_lock(&door->lock);

	lent->endpoint->loans--;
	ke_release_spin_lock(&door->lock, irql);
	ex_free_pool(lent);
}

void lend_data(struct peer *peer, const char *text)
{
	struct door *door = peer->door;
	uint32_t length = (uint32_t)strlen(text);
	struct lent *lent = lab_allocate(sizeof(*lent) + length);
	kirql irql = ke_raise_irql(DISPATCH_LEVEL);
	ntstatus status;

	memcpy(lent->bytes, text, length);
	lent->loan.returned = came_back;
	lent->endpoint = peer->endpoint;
	lent->mdl = (struct mdl){.mapped_system_va = lent->bytes,
				 .byte_count = length,
				 .mdl_flags = MDL_PAGES_LOCKED};
	peer->endpoint->loans++;
	status = ((tdi_ind_chained_receive *)door->handlers[TDI_EVENT_CHAINED_RECEIVE])(
		door->contexts[TDI_EVENT_CHAINED_RECEIVE], peer->endpoint->context,
		TDI_RECEIVE_NORMAL, length, 0, &lent->mdl, &lent->loan);
	ke_lower_irql(irql);
	expect_status(RULE_EARLY, "what an open stream answers when it is lent data",
		      STATUS_PENDING, status);
}

void show_end(struct peer *peer, uint32_t flags, ntstatus reason)
{
	struct door *door = peer->door;
	kirql irql = ke_raise_irql(DISPATCH_LEVEL);

	((tdi_ind_disconnect *)door->handlers[TDI_EVENT_DISCONNECT])(
		door->contexts[TDI_EVENT_DISCONNECT], peer->endpoint->context, flags, reason);
	ke_lower_irql(irql);
}
