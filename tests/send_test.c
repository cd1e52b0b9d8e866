/*
 * Stages 02 and 03 against a scripted transport: one that completes each send when and how the case
 * says. What matters is what the client may rely on whatever the transport does.
 */
#include <string.h>

#include "executive.h"
#include "suites.h"
#include "tdi/tdi.h"

/* When the transport completes a send. */
enum when {
	AT_ONCE,	 /* in the dispatch routine, not pending */
	PENDING_AT_ONCE, /* marked pending, and completed before the dispatch routine returns */
	FROM_DPC,	 /* by a DPC that may run before, while or after it returns */
	FROM_TIMER,	 /* much later */
	WHEN_COUNT,
};

struct script {
	struct device_object device;
	struct file_object file;
	enum when when;
	ntstatus status;
	uint32_t sends;
	struct mdl *last_mdl;
};

/* What the transport keeps for a send that it pends. */
struct kept {
	struct kdpc dpc;
	struct ktimer timer;
	struct irp *irp;
	ntstatus status;
};

static uint32_t sent_length(struct irp *irp)
{
	return tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_send)
		->send_length;
}

static void complete_kept(struct kdpc *dpc, void *context)
{
	struct kept kept = *(struct kept *)context;

	(void)dpc;
	ex_free_pool(context);
	io_finish_request(kept.irp, kept.status,
			  nt_success(kept.status) ? sent_length(kept.irp) : 0);
}

static ntstatus script_control(struct device_object *device, struct irp *irp)
{
	struct script *script = device->device_extension;
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	uintptr_t sent = nt_success(script->status) ? sent_length(irp) : 0;
	struct kept *kept;

	CU_ASSERT_EQUAL(location->minor_function, TDI_SEND);
	CU_ASSERT_PTR_EQUAL(location->file_object, &script->file);
	script->sends++;
	script->last_mdl = irp->mdl_address;
	if (script->when == AT_ONCE)
		return io_finish_request(irp, script->status, sent);
	io_mark_irp_pending(irp);
	if (script->when == PENDING_AT_ONCE) {
		io_finish_request(irp, script->status, sent);
		return STATUS_PENDING;
	}
	kept = ex_allocate_pool(sizeof(*kept));
	kept->irp = irp;
	kept->status = script->status;
	ke_initialize_dpc(&kept->dpc, complete_kept, kept, KE_ANY_PROCESSOR);
	ke_initialize_timer(&kept->timer);
	if (script->when == FROM_DPC)
		ke_insert_queue_dpc(&kept->dpc);
	else
		ke_set_timer(&kept->timer, (uint64_t)MILLISECONDS(1), &kept->dpc);
	return STATUS_PENDING;
}

static const struct driver_object script_driver = {
	.driver_name = "script",
	.major_function = {[IRP_MJ_INTERNAL_DEVICE_CONTROL] = script_control}};

static void open_script(struct script *script, enum when when, ntstatus status)
{
	*script = (struct script){.when = when, .status = status};
	io_initialize_device(&script->device, &script_driver, NULL, script);
	script->file.device_object = &script->device;
}

/* ---- Stage 02 ------------------------------------------------------------------------------ */

static void send_sync(void *context)
{
	char buffer[100] = "x";
	struct script script;

	(void)context;
	for (int when = 0; when < WHEN_COUNT; when++) {
		open_script(&script, (enum when)when, STATUS_SUCCESS);
		CU_ASSERT_EQUAL(tdi_send_stream(&script.file, buffer, sizeof(buffer), 0), 100);
		CU_ASSERT_EQUAL(tdi_send_stream(&script.file, NULL, 0, 0), 0);
		CU_ASSERT_PTR_NULL(script.last_mdl);
		CU_ASSERT_EQUAL(script.sends, 2);
		CU_ASSERT_EQUAL(tdi_send_stream(&script.file, NULL, 10, 0),
				STATUS_INVALID_USER_BUFFER);
		CU_ASSERT_EQUAL(script.sends, 2);
		open_script(&script, (enum when)when, STATUS_CONNECTION_RESET);
		CU_ASSERT_EQUAL(tdi_send_stream(&script.file, buffer, sizeof(buffer), 0),
				STATUS_CONNECTION_RESET);
	}
}

static void test_send_sync(void)
{
	in_executive(send_sync, NULL);
}

/* ---- Stage 03 ------------------------------------------------------------------------------ */

struct outcome {
	struct kevent done;
	int32_t calls;
	ntstatus status;
	uint32_t bytes;
};

static void record(void *context, ntstatus status, uint32_t bytes)
{
	struct outcome *outcome = context;

	outcome->status = status;
	outcome->bytes = bytes;
	interlocked_increment(&outcome->calls);
	ke_set_event(&outcome->done);
}

static void check_one(enum when when, ntstatus wanted, const void *buffer, uint32_t length)
{
	struct outcome outcome = {.calls = 0};
	struct script script;
	ntstatus status;

	open_script(&script, when, wanted == STATUS_INVALID_USER_BUFFER ? STATUS_SUCCESS : wanted);
	ke_initialize_event(&outcome.done, NOTIFICATION_EVENT, false);
	status = tdi_start_send_buffer(&script.file, buffer, length, 0, record, &outcome);
	if (status != STATUS_PENDING) {
		CU_ASSERT_EQUAL(status, wanted);
		CU_ASSERT_EQUAL(read_count(&outcome.calls), 1);
	}
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&outcome.done, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(outcome.status, wanted);
	CU_ASSERT_EQUAL(outcome.bytes, nt_success(wanted) ? length : 0);
	ke_flush_queued_dpcs();
	CU_ASSERT_EQUAL(outcome.calls, 1);
}

static void send_async(void *context)
{
	char buffer[100] = "x";

	(void)context;
	for (int when = 0; when < WHEN_COUNT; when++) {
		check_one((enum when)when, STATUS_SUCCESS, buffer, sizeof(buffer));
		check_one((enum when)when, STATUS_CONNECTION_RESET, buffer, sizeof(buffer));
		check_one((enum when)when, STATUS_SUCCESS, NULL, 0);
		check_one((enum when)when, STATUS_INVALID_USER_BUFFER, NULL, 10);
	}
}

static void test_send_async(void)
{
	in_executive(send_async, NULL);
}

enum { MANY = 64 };

struct many {
	struct script script;
	struct kevent all;
	int32_t left;
	int32_t completed[MANY];
	char *buffers[MANY];
};

struct one {
	struct many *many;
	int index;
};

/* The buffer is the client's again, so it may be freed here. */
static void free_buffer(void *context, ntstatus status, uint32_t bytes)
{
	struct one *one = context;

	CU_ASSERT_EQUAL(status, STATUS_SUCCESS);
	CU_ASSERT_EQUAL(bytes, 64);
	ex_free_pool(one->many->buffers[one->index]);
	interlocked_increment(&one->many->completed[one->index]);
	if (interlocked_decrement(&one->many->left) == 0)
		ke_set_event(&one->many->all);
}

static void many_outstanding(void *context)
{
	static struct many many;
	struct one ones[MANY];

	(void)context;
	many = (struct many){.left = MANY};
	open_script(&many.script, FROM_DPC, STATUS_SUCCESS);
	ke_initialize_event(&many.all, NOTIFICATION_EVENT, false);
	for (int i = 0; i < MANY; i++) {
		many.buffers[i] = ex_allocate_pool(64);
		memset(many.buffers[i], i, 64);
		ones[i] = (struct one){&many, i};
	}
	for (int i = 0; i < MANY; i++)
		tdi_start_send_buffer(&many.script.file, many.buffers[i], 64, 0, free_buffer,
				      &ones[i]);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&many.all, SOON), STATUS_SUCCESS);
	ke_flush_queued_dpcs();
	for (int i = 0; i < MANY; i++)
		CU_ASSERT_EQUAL(many.completed[i], 1);
}

static void test_many_outstanding(void)
{
	in_executive(many_outstanding, NULL);
}

struct chain {
	struct script script;
	struct kevent end;
	char *buffer;
	int32_t left;
};

static void send_next(void *context, ntstatus status, uint32_t bytes)
{
	struct chain *chain = context;

	CU_ASSERT_EQUAL(status, STATUS_SUCCESS);
	CU_ASSERT_EQUAL(bytes, 64);
	if (--chain->left == 0)
		ke_set_event(&chain->end);
	else
		tdi_start_send_buffer(&chain->script.file, chain->buffer, 64, 0, send_next, chain);
}

static void callback_sends(void *context)
{
	struct chain chain = {.left = 20};

	(void)context;
	open_script(&chain.script, FROM_DPC, STATUS_SUCCESS);
	ke_initialize_event(&chain.end, NOTIFICATION_EVENT, false);
	chain.buffer = ex_allocate_pool(64); /* locked memory: callbacks run at DISPATCH_LEVEL */
	memset(chain.buffer, 0, 64);
	tdi_start_send_buffer(&chain.script.file, chain.buffer, 64, 0, send_next, &chain);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&chain.end, SOON), STATUS_SUCCESS);
	ke_flush_queued_dpcs();
	ex_free_pool(chain.buffer);
}

static void test_callback_sends(void)
{
	in_executive(callback_sends, NULL);
}

void register_send_suite(void)
{
	static const struct test_case sync_cases[] = {
		{"a synchronous send returns its length or the error, whenever it completes",
		 test_send_sync},
		{NULL, NULL},
	};
	static const struct test_case async_cases[] = {
		{"the callback runs exactly once, and a final status only after it",
		 test_send_async},
		{"64 outstanding sends complete once each, and give their buffers back",
		 test_many_outstanding},
		{"a callback may start the next send", test_callback_sends},
		{NULL, NULL},
	};

	add_suite("02-send-sync", sync_cases);
	add_suite("03-send-async", async_cases);
}
