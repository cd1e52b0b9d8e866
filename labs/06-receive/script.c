/* The transport that shows what it is told to, see script.h. */
#include "script.h"

#include <string.h>

#include "tdi/provider.h"

enum { SPINS = 3, ATTEMPTS = 10 };

/* One loan, with its MDLs and their memory; stays until the end, so that a second return shows. */
struct script_loan {
	struct tdi_loan loan;
	struct list_entry entry;
	struct script *script;
	struct mdl *mdl;
	bool taken;
	bool returned;
};

/* A run that is to find out what comes of a lack of pool fails one allocation, not all. */
static void *need_memory(struct script *script, size_t bytes)
{
	void *memory = NULL;

	for (int i = 0; memory == NULL && i < ATTEMPTS; i++)
		memory = ex_allocate_pool(bytes);
	if (memory == NULL)
		script->complain(SCRIPT_NO_POOL, "memory for the exercise", "there is none");
	return memory;
}

bool script_is(int kind, uint64_t first, const void *bytes, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		if (((const uint8_t *)bytes)[i] != script_byte(kind, first + i))
			return false;
	return true;
}

static void fill(int kind, uint64_t first, uint8_t *bytes, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		bytes[i] = script_byte(kind, first + i);
}

/* ---- Loans --------------------------------------------------------------------------------- */

static void free_chain(struct mdl *mdl)
{
	while (mdl != NULL) {
		struct mdl *next = mdl->next;

		memset(mm_get_system_address_for_mdl(mdl), '?', mm_get_mdl_byte_count(mdl));
		ex_free_pool(mm_get_system_address_for_mdl(mdl));
		ex_free_pool(mdl);
		mdl = next;
	}
}

/* `length` bytes from the number `first` on, behind the offset, in MDLs of about the same size. */
static struct mdl *make_chain(struct script *script, int kind, uint64_t first, uint32_t length,
			      uint32_t mdls)
{
	uint32_t left = script->offset + length, junk = script->offset;
	struct mdl *chain = NULL, **link = &chain;

	for (; mdls > 0; mdls--) {
		uint32_t bytes = left / mdls, front = junk < bytes ? junk : bytes;
		struct mdl *mdl = need_memory(script, sizeof(*mdl));
		uint8_t *memory = need_memory(script, bytes);

		memset(memory, '!', front);
		fill(kind, first, memory + front, bytes - front);
		first += bytes - front;
		junk -= front;
		left -= bytes;
		*mdl = (struct mdl){.mapped_system_va = (char *)memory, .byte_count = bytes};
		*link = mdl;
		link = &mdl->next;
	}
	return chain;
}

static void run(struct script *script);

/* There is something to do. After the close nothing is, so that its flush has seen the last DPC. */
static void kick(struct script *script)
{
	kirql irql = ke_acquire_spin_lock(&script->lock);

	if (!script->closed && !script->at_once)
		ke_insert_queue_dpc(&script->dpc);
	ke_release_spin_lock(&script->lock, irql);
	if (script->at_once)
		run(script);
}

static void loan_returned(struct tdi_loan *base)
{
	struct script_loan *loan = containing_record(base, struct script_loan, loan);
	struct script *script = loan->script;
	kirql irql = ke_acquire_spin_lock(&script->lock);
	bool twice = loan->returned;

	loan->returned = true;
	script->lent -= !twice;
	ke_release_spin_lock(&script->lock, irql);
	if (twice) {
		script->complain(SCRIPT_RETURNED_TWICE, "a loan is given back once",
				 "it came back a second time");
		return;
	}
	free_chain(loan->mdl);
	if (script->most_lent > 0)
		kick(script);
}

/* ---- Showing: by one context at a time, lock not held --------------------------------------- */

static void settle(struct script *script, int kind, uint32_t taken, bool forgotten)
{
	struct script_kind *of = &script->kinds[kind];
	struct script_arrival *arrival =
		containing_record(of->arrivals.next, struct script_arrival, entry);
	kirql irql = ke_acquire_spin_lock(&script->lock);

	of->gone += taken;
	of->forgotten += forgotten ? taken : 0;
	arrival->length -= taken;
	if (arrival->length == 0)
		remove_entry_list(&arrival->entry);
	else
		arrival = NULL;
	ke_release_spin_lock(&script->lock, irql);
	ex_free_pool(arrival);
}

static ntstatus indicate(struct script *script, int kind, uint32_t indicated, uint32_t available,
			 uint32_t *taken)
{
	static const enum tdi_event_type types[] = {TDI_EVENT_RECEIVE, TDI_EVENT_RECEIVE_EXPEDITED};
	tdi_ind_receive *handler = (tdi_ind_receive *)script->handlers[types[kind]];
	uint8_t *bytes = need_memory(script, indicated);
	struct irp *irp = NULL;
	kirql irql;
	ntstatus status;

	fill(kind, script->kinds[kind].gone, bytes, indicated);
	irql = ke_raise_irql(DISPATCH_LEVEL);
	status = handler(script->contexts[types[kind]], script->connection_context,
			 kind == SCRIPT_NORMAL ? TDI_RECEIVE_NORMAL : TDI_RECEIVE_EXPEDITED,
			 indicated, available, taken, bytes, &irp);
	ke_lower_irql(irql);
	memset(bytes, '?', indicated);
	ex_free_pool(bytes);
	if (*taken > indicated)
		script->complain(SCRIPT_TAKEN_TOO_MUCH, "at most what was indicated is taken",
				 "more is");
	if (status != STATUS_SUCCESS && status != STATUS_DATA_NOT_ACCEPTED)
		script->complain(SCRIPT_BAD_STATUS, "STATUS_SUCCESS or STATUS_DATA_NOT_ACCEPTED",
				 nt_status_name(status));
	return status;
}

static void show_copied(struct script *script, int kind, uint32_t available)
{
	struct script_kind *of = &script->kinds[kind];
	uint32_t indicated = available, spins = 0, taken = 0;

	if (script->lookahead > 0 && indicated > script->lookahead)
		indicated = script->lookahead;
	of->events++;
	while (indicate(script, kind, indicated, available, &taken) == STATUS_SUCCESS) {
		if (taken > 0) {
			settle(script, kind, taken, false);
			return;
		}
		if (++spins == SPINS)
			script->complain(SCRIPT_SPINS, "some of the data is taken, or refused",
					 "STATUS_SUCCESS without any, again and again");
	}
	if (taken < available) {
		kirql irql = ke_acquire_spin_lock(&script->lock);

		of->waits = true;
		ke_release_spin_lock(&script->lock, irql);
	}
	if (taken > 0)
		settle(script, kind, taken, false);
}

static void show_chained(struct script *script, int kind, uint32_t length, uint32_t mdls)
{
	static const enum tdi_event_type types[] = {TDI_EVENT_CHAINED_RECEIVE,
						    TDI_EVENT_CHAINED_RECEIVE_EXPEDITED};
	tdi_ind_chained_receive *handler = (tdi_ind_chained_receive *)script->handlers[types[kind]];
	struct script_loan *loan = need_memory(script, sizeof(*loan));
	kirql irql;
	ntstatus status;

	*loan = (struct script_loan){.loan = {loan_returned}, .script = script};
	loan->mdl = make_chain(script, kind, script->kinds[kind].gone, length, mdls);
	script->kinds[kind].events++;
	irql = ke_acquire_spin_lock(&script->lock);
	insert_tail_list(&script->loans, &loan->entry);
	script->lent++;
	ke_release_spin_lock(&script->lock, irql);
	irql = ke_raise_irql(DISPATCH_LEVEL);
	status = handler(script->contexts[types[kind]], script->connection_context,
			 kind == SCRIPT_NORMAL ? TDI_RECEIVE_NORMAL : TDI_RECEIVE_EXPEDITED, length,
			 script->offset, loan->mdl, &loan->loan);
	ke_lower_irql(irql);
	settle(script, kind, length, status != STATUS_PENDING);
	if (status == STATUS_PENDING)
		return;
	if (loan->returned)
		script->complain(SCRIPT_LENT_NOT_PENDING, "a loan that is given back was taken",
				 nt_status_name(status));
	else
		loan_returned(&loan->loan); /* as good as back */
}

/* Completes a request with what there is, and all that fits. */
static void fill_receive(struct script *script, int kind, struct irp *irp, uint32_t available)
{
	struct mdl *mdl = irp->mdl_address;
	uint32_t length =
		tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_receive)
			->receive_length;

	if (length > available)
		length = available;
	fill(kind, script->kinds[kind].gone, (uint8_t *)mm_get_system_address_for_mdl(mdl), length);
	settle(script, kind, length, false);
	io_finish_request(irp, STATUS_SUCCESS, length);
}

/* With the lock held: the TDI_RECEIVE that can end now, or NULL; and with which error, if any. */
static struct irp *take_receive(struct script *script, int kind, ntstatus *status)
{
	struct script_kind *of = &script->kinds[kind];
	struct irp *irp = of->receive;

	*status = script->receive_fails;
	if (nt_success(*status) && is_list_empty(&of->arrivals))
		*status = script->ended ? script->ends : STATUS_PENDING;
	if (irp == NULL || *status == STATUS_PENDING)
		return NULL;
	of->receive = NULL;
	of->waits = of->waits && !nt_success(*status);
	script->receive_fails = STATUS_SUCCESS;
	return irp;
}

/* With the lock held. */
static bool may_show(const struct script *script, int kind, const struct script_arrival *arrival)
{
	const struct script_kind *of = &script->kinds[kind];

	if (is_list_empty(&of->arrivals) || of->waits || of->receive != NULL || script->closed)
		return false;
	return arrival->mdls == 0 || script->most_lent == 0 || script->lent < script->most_lent;
}

/* What there is to do for a kind. False: nothing. */
static bool show_next(struct script *script, int kind)
{
	struct script_kind *of = &script->kinds[kind];
	struct script_arrival *arrival;
	struct irp *irp;
	ntstatus status;
	bool show;
	kirql irql = ke_acquire_spin_lock(&script->lock);

	arrival = containing_record(of->arrivals.next, struct script_arrival, entry);
	irp = take_receive(script, kind, &status);
	show = irp == NULL && may_show(script, kind, arrival);
	ke_release_spin_lock(&script->lock, irql);
	if (irp != NULL && !nt_success(status))
		io_finish_request(irp, status, 0);
	else if (irp != NULL)
		fill_receive(script, kind, irp, arrival->length);
	else if (show && arrival->mdls > 0)
		show_chained(script, kind, arrival->length, arrival->mdls);
	else if (show)
		show_copied(script, kind, arrival->length);
	return irp != NULL || show;
}

static void tell_end(struct script *script)
{
	tdi_ind_disconnect *handler = (tdi_ind_disconnect *)script->handlers[TDI_EVENT_DISCONNECT];
	kirql irql = ke_acquire_spin_lock(&script->lock);
	bool tell = script->ends != STATUS_SUCCESS && !script->ended && !script->closed;

	for (int kind = 0; kind < SCRIPT_KINDS; kind++)
		tell = tell && is_list_empty(&script->kinds[kind].arrivals);
	script->ended |= tell;
	ke_release_spin_lock(&script->lock, irql);
	if (!tell)
		return;
	irql = ke_raise_irql(DISPATCH_LEVEL);
	handler(script->contexts[TDI_EVENT_DISCONNECT], script->connection_context,
		TDI_DISCONNECT_RELEASE, script->ends);
	ke_lower_irql(irql);
}

/* Who finds it running leaves a note. */
static bool begin_or_end(struct script *script, bool begin)
{
	kirql irql = ke_acquire_spin_lock(&script->lock);
	bool go = begin ? !script->running : script->again;

	script->again = begin && script->running;
	script->running = begin || go;
	ke_release_spin_lock(&script->lock, irql);
	return go;
}

static void run(struct script *script)
{
	if (!begin_or_end(script, true))
		return;
	do {
		while (show_next(script, SCRIPT_EXPEDITED) || show_next(script, SCRIPT_NORMAL))
			;
		tell_end(script);
	} while (begin_or_end(script, false));
}

static void run_later(struct kdpc *dpc, void *context)
{
	(void)dpc;
	run(context);
}

/* ---- Requests ------------------------------------------------------------------------------ */

static ntstatus keep_receive(struct script *script, struct irp *irp)
{
	const struct tdi_request_receive *receive =
		tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_receive);
	int kind =
		receive->receive_flags == TDI_RECEIVE_EXPEDITED ? SCRIPT_EXPEDITED : SCRIPT_NORMAL;
	struct script_kind *of = &script->kinds[kind];
	kirql irql;
	bool second;

	if (receive->receive_length == 0 || irp->mdl_address == NULL)
		script->complain(SCRIPT_BAD_RECEIVE, "a TDI_RECEIVE with a buffer", "one without");
	io_mark_irp_pending(irp);
	irql = ke_acquire_spin_lock(&script->lock);
	second = of->receive != NULL;
	of->receive = irp;
	of->receives++;
	ke_release_spin_lock(&script->lock, irql);
	if (second)
		script->complain(SCRIPT_BAD_RECEIVE, "one TDI_RECEIVE at a time", "a second one");
	if (ke_choose(2, "whether a receive completes in the submit") == 1)
		run(script);
	else
		kick(script);
	return STATUS_PENDING;
}

static ntstatus control(struct device_object *device, struct irp *irp)
{
	struct script *script = device->device_extension;
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	const struct tdi_request_set_event *event = tdi_parameters(location, tdi_request_set_event);

	if (location->minor_function == TDI_RECEIVE)
		return keep_receive(script, irp);
	if (location->minor_function != TDI_SET_EVENT_HANDLER)
		return io_finish_request(irp, STATUS_NOT_SUPPORTED, 0);
	script->handlers[event->type] = event->handler;
	script->contexts[event->type] = event->context;
	return io_finish_request(irp, STATUS_SUCCESS, 0);
}

static const struct driver_object driver = {
	.driver_name = "script", .major_function = {[IRP_MJ_INTERNAL_DEVICE_CONTROL] = control}};

/* Stage 05's part: what both queues of a stream learn of the end. */
static void disconnected(void *event_context, void *connection_context, uint32_t flags,
			 ntstatus reason)
{
	struct tdi_stream *stream = connection_context;

	(void)event_context;
	(void)flags;
	tdi_end_receive_queue(&stream->expedited, reason);
	tdi_end_receive_queue(&stream->normal, reason);
}

/* ---- For the exercise ---------------------------------------------------------------------- */

void script_open(struct script *script, struct tdi_stream *stream, struct stat_segment *segment,
		 script_complaint *complain)
{
	*script = (struct script){.connection_context = stream, .complain = complain};
	io_initialize_device(&script->device, &driver, NULL, script);
	script->device.segment = segment;
	script->address.device_object = &script->device;
	script->connection.device_object = &script->device;
	script->handlers[TDI_EVENT_DISCONNECT] = (tdi_event_handler *)disconnected;
	ke_initialize_spin_lock(&script->lock);
	ke_initialize_dpc(&script->dpc, run_later, script, KE_ANY_PROCESSOR);
	initialize_list_head(&script->loans);
	for (int kind = 0; kind < SCRIPT_KINDS; kind++)
		initialize_list_head(&script->kinds[kind].arrivals);
}

void script_arrive(struct script *script, int kind, uint32_t length, uint32_t mdls)
{
	struct script_arrival *arrival = need_memory(script, sizeof(*arrival));
	kirql irql;

	arrival->length = length;
	arrival->mdls = mdls;
	irql = ke_acquire_spin_lock(&script->lock);
	insert_tail_list(&script->kinds[kind].arrivals, &arrival->entry);
	ke_release_spin_lock(&script->lock, irql);
	kick(script);
}

void script_end(struct script *script, ntstatus reason)
{
	kirql irql = ke_acquire_spin_lock(&script->lock);

	script->ends = reason;
	ke_release_spin_lock(&script->lock, irql);
	kick(script);
}

bool script_has_ended(struct script *script)
{
	kirql irql = ke_acquire_spin_lock(&script->lock);
	bool ended = script->ended;

	ke_release_spin_lock(&script->lock, irql);
	return ended;
}

static void free_entries(struct list_entry *head, size_t offset)
{
	struct list_entry *entry;

	while ((entry = remove_head_list(head)) != NULL)
		ex_free_pool((char *)entry - offset);
}

void script_close(struct script *script)
{
	kirql irql = ke_acquire_spin_lock(&script->lock);

	script->closed = true;
	ke_release_spin_lock(&script->lock, irql);
	ke_flush_queued_dpcs();
	if (script->lent > 0)
		script->complain(SCRIPT_NOT_RETURNED, "loans are given back before the close",
				 "there are some left");
	for (int kind = 0; kind < SCRIPT_KINDS; kind++) {
		if (script->kinds[kind].receive != NULL)
			io_finish_request(script->kinds[kind].receive, STATUS_CANCELLED, 0);
		free_entries(&script->kinds[kind].arrivals, offsetof(struct script_arrival, entry));
	}
	free_entries(&script->loans, offsetof(struct script_loan, entry));
}
