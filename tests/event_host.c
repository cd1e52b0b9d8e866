/* The handlers of a host, see event_host.h. */
#include <string.h>

#include "event_host.h"

void note_event(struct host *host)
{
	if (read_count(&host->ends) > 0)
		interlocked_increment(&host->late);
	ke_set_event(&host->changed);
}

static ntstatus accept_settled(struct device_object *device, struct irp *irp, void *context)
{
	struct host *host = context;

	(void)device;
	host->accepted = irp->io_status.status;
	ke_set_event(&host->settled);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

ntstatus on_connect(void *context, const struct transport_address *remote, struct irp **accept_irp)
{
	struct host *host = context;

	if (host->refuses || remote->port == 0)
		return STATUS_INSUFFICIENT_RESOURCES;
	tdi_build_accept(host->accept_irp, &host->endpoint, accept_settled, host);
	*accept_irp = host->accept_irp;
	return STATUS_MORE_PROCESSING_REQUIRED;
}

ntstatus on_receive(void *context, void *connection_context, uint32_t flags, uint32_t indicated,
		    uint32_t available, uint32_t *taken, const void *tsdu, struct irp **receive_irp)
{
	struct host *host = context;
	uint32_t least = available < TDI_LOOKAHEAD ? available : TDI_LOOKAHEAD;
	kirql irql = ke_acquire_spin_lock(&host->lock);
	ntstatus answer = host->answer;

	host->wrong |= connection_context != host || indicated > available || indicated < least ||
		       *taken != 0 || flags != TDI_RECEIVE_NORMAL || host->receive_irp != NULL;
	host->shown++;
	*taken = indicated < host->take ? indicated : host->take;
	memcpy(host->bytes + host->count, tsdu, *taken);
	host->count += *taken;
	host->refused += *taken < indicated && answer == STATUS_DATA_NOT_ACCEPTED;
	ke_release_spin_lock(&host->lock, irql);
	note_event(host);
	if (*taken == indicated)
		return STATUS_SUCCESS;
	if (answer == STATUS_MORE_PROCESSING_REQUIRED) {
		struct irp *irp = io_allocate_irp(host->endpoint.device_object->stack_size);

		*receive_irp = irp;
		return irp != NULL ? answer : STATUS_SUCCESS;
	}
	return answer;
}

static ntstatus on_urgent(void *context, void *connection_context, uint32_t flags,
			  uint32_t indicated, uint32_t available, uint32_t *taken, const void *tsdu,
			  struct irp **receive_irp)
{
	struct host *host = context;
	kirql irql = ke_acquire_spin_lock(&host->lock);

	(void)available;
	(void)receive_irp;
	host->wrong |= connection_context != host || flags != TDI_RECEIVE_EXPEDITED ||
		       host->urgent_count + indicated > sizeof(host->urgent);
	memcpy(host->urgent + host->urgent_count, tsdu, indicated);
	host->urgent_count += indicated;
	ke_release_spin_lock(&host->lock, irql);
	*taken = indicated;
	note_event(host);
	return STATUS_SUCCESS;
}

static ntstatus on_chained(void *context, void *connection_context, uint32_t flags, uint32_t length,
			   uint32_t offset, const struct mdl *tsdu, void *descriptor)
{
	struct host *host = context;
	uint32_t left = length, pieces = 0;
	kirql irql = ke_acquire_spin_lock(&host->lock);
	bool keeps, lends_back = host->lends_back;

	host->wrong |= connection_context != host || flags != TDI_RECEIVE_NORMAL;
	host->shown++;
	host->chained++;
	for (; left > 0 && tsdu != NULL; tsdu = tsdu->next) {
		uint32_t piece = mm_get_mdl_byte_count(tsdu) - offset;

		memcpy(host->bytes + host->count, mm_get_system_address_for_mdl(tsdu) + offset,
		       piece);
		host->count += piece;
		left -= piece;
		offset = 0;
		pieces++;
	}
	host->wrong |= left != 0 || tsdu != NULL;
	host->pieces = pieces > host->pieces ? pieces : host->pieces;
	keeps = host->keeps && host->loan_count < MOST_LOANS;
	if (keeps)
		host->loans[host->loan_count++] = descriptor;
	ke_release_spin_lock(&host->lock, irql);
	if (!keeps && lends_back)
		tdi_return_chained_receives(&descriptor, 1);
	note_event(host);
	return keeps || lends_back ? STATUS_PENDING : STATUS_SUCCESS;
}

static void on_room(void *context, void *connection_context, uint32_t bytes)
{
	struct host *host = context;

	(void)connection_context;
	if (bytes == 0) {
		kirql irql = ke_acquire_spin_lock(&host->lock);

		host->wrong = true;
		ke_release_spin_lock(&host->lock, irql);
	}
	interlocked_increment(&host->rooms);
	note_event(host);
}

void on_end(void *context, void *connection_context, uint32_t flags, ntstatus reason)
{
	struct host *host = context;

	kirql irql = ke_acquire_spin_lock(&host->lock);

	host->wrong |= connection_context != host;
	host->end_flags = flags;
	host->end_reason = reason;
	ke_release_spin_lock(&host->lock, irql);
	interlocked_increment(&host->ends);
	ke_set_event(&host->changed);
}

static const struct {
	enum tdi_event_type type;
	tdi_event_handler *handler;
} handlers[] = {
	{TDI_EVENT_RECEIVE, (tdi_event_handler *)on_receive},
	{TDI_EVENT_RECEIVE_EXPEDITED, (tdi_event_handler *)on_urgent},
	{TDI_EVENT_CHAINED_RECEIVE, (tdi_event_handler *)on_chained},
	{TDI_EVENT_SEND_POSSIBLE, (tdi_event_handler *)on_room},
	{TDI_EVENT_DISCONNECT, (tdi_event_handler *)on_end},
	{TDI_EVENT_CONNECT, (tdi_event_handler *)on_connect},
};

static bool open_host(struct host *host, struct world *world)
{
	*host = (struct host){.take = UINT32_MAX};
	host->bytes = need_pool(LENT_BYTES);
	host->accept_irp = io_allocate_irp(world->device->stack_size);
	ke_initialize_spin_lock(&host->lock);
	ke_initialize_event(&host->settled, NOTIFICATION_EVENT, false);
	ke_initialize_event(&host->changed, SYNCHRONIZATION_EVENT, false);
	if (!nt_success(tdi_open_transport_address(world->device, &world->local, &host->address)))
		return false;
	CU_ASSERT_EQUAL(tdi_open_connection_endpoint(world->device, host, &host->endpoint),
			STATUS_SUCCESS);
	CU_ASSERT_EQUAL(tdi_associate_address(&host->endpoint, &host->address), STATUS_SUCCESS);
	for (unsigned i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
		CU_ASSERT_EQUAL(tdi_set_event_handler(&host->address, handlers[i].type,
						      handlers[i].handler, host),
				STATUS_SUCCESS);
	return true;
}

bool open_visit(struct visit *visit, struct world *world)
{
	if (!open_host(&visit->host, world)) {
		CU_FAIL("no address");
		return false;
	}
	visit->remote = local_of(&visit->host.address);
	CU_ASSERT_EQUAL(
		tdi_open_transport_address(world->device, &world->local, &visit->client_address),
		STATUS_SUCCESS);
	return open_endpoint(&visit->client, world->device, &visit->client_address);
}

bool connect_visit(struct visit *visit, struct world *world)
{
	if (!open_visit(visit, world))
		return false;
	CU_ASSERT_EQUAL(tdi_connect(&visit->client, &visit->remote, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&visit->host.settled, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(visit->host.accepted, STATUS_SUCCESS);
	return true;
}

void close_visit(struct visit *visit)
{
	tdi_close(&visit->client);
	tdi_close(&visit->host.endpoint);
	tdi_close(&visit->host.address);
	tdi_close(&visit->client_address);
	CU_ASSERT_FALSE(visit->host.wrong);
	CU_ASSERT_EQUAL(read_count(&visit->host.late), 0);
	CU_ASSERT(read_count(&visit->host.ends) <= 1);
	io_free_irp(visit->host.accept_irp);
	ex_free_pool(visit->host.bytes);
}

/* Interlocked, as the handlers do it: what comes next comes through the kernel. */
void begin_second_life(struct host *host)
{
	interlocked_exchange(&host->ends, 0);
	interlocked_exchange(&host->late, 0);
}

bool await(struct host *host, bool (*holds)(struct host *host))
{
	for (unsigned i = 0; i < 100000; i++) {
		kirql irql = ke_acquire_spin_lock(&host->lock);
		bool now = holds(host);

		ke_release_spin_lock(&host->lock, irql);
		if (now)
			return true;
		if (ke_wait_for_single_object(&host->changed, SOON) != STATUS_SUCCESS)
			break;
	}
	CU_FAIL("an event did not come");
	return false;
}

/* What the handlers do from now on. */
void tell(struct host *host, uint32_t take, ntstatus answer, bool keeps)
{
	kirql irql = ke_acquire_spin_lock(&host->lock);

	host->take = take;
	host->answer = answer;
	host->keeps = keeps;
	host->lends_back = !keeps;
	ke_release_spin_lock(&host->lock, irql);
}

bool has_ended(struct host *host)
{
	return read_count(&host->ends) > 0;
}

/* The client sends all of a pattern and releases; and is done with it. */
void send_pattern(struct visit *visit, uint32_t length)
{
	struct writer writer;

	start_writer(&writer, &visit->client, 1, length);
	wait_for_writer(&writer, "a stream that events take");
	CU_ASSERT_EQUAL(writer.failed, 0);
}

void check_stream(struct visit *visit, uint32_t length)
{
	CU_ASSERT(await(&visit->host, has_ended));
	CU_ASSERT_EQUAL(visit->host.end_flags, TDI_DISCONNECT_RELEASE);
	CU_ASSERT_EQUAL(visit->host.end_reason, STATUS_GRACEFUL_DISCONNECT);
	CU_ASSERT_EQUAL(visit->host.count, length);
	CU_ASSERT(is_pattern(visit->host.bytes, 1, 0, visit->host.count));
}

bool has_wanted(struct host *host)
{
	return host->count >= host->wanted;
}
