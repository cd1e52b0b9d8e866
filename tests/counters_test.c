/* What the rooms count: each thing that happens once, and laws that tell when something is lost. */
#include <string.h>

#include "executive.h"
#include "laws.h"
#include "link/link.h"
#include "suites.h"
#include "transport_client.h"

/* ---- Stage 01: requests -------------------------------------------------------------------- */

struct stack {
	struct device_object upper, lower;
	struct file_object file;
	struct irp *kept;
	bool lend; /* the upper driver lends its location to the lower */
	bool pend;
	bool take_back; /* the upper driver's routine takes the request back */
	ntstatus outcome;
	int32_t done;
};

static ntstatus lower_read(struct device_object *device, struct irp *irp)
{
	struct stack *stack = device->device_extension;

	if (!stack->pend)
		return io_finish_request(irp, stack->outcome, 0);
	io_mark_irp_pending(irp);
	stack->kept = irp;
	return STATUS_PENDING;
}

static ntstatus upper_done(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	if (((struct stack *)context)->take_back)
		return STATUS_MORE_PROCESSING_REQUIRED;
	if (irp->pending_returned)
		io_mark_irp_pending(irp);
	return STATUS_SUCCESS;
}

static ntstatus upper_read(struct device_object *device, struct irp *irp)
{
	struct stack *stack = device->device_extension;

	if (stack->lend) {
		io_skip_current_irp_stack_location(irp);
	} else {
		io_copy_current_irp_stack_location_to_next(irp);
		io_set_completion_routine(irp, upper_done, stack, true, true, true);
	}
	return io_call_driver(device->lower_device, irp);
}

static const struct driver_object upper_driver = {.driver_name = "upper",
						  .major_function = {[IRP_MJ_READ] = upper_read}};
static const struct driver_object lower_driver = {.driver_name = "lower",
						  .major_function = {[IRP_MJ_READ] = lower_read}};

static ntstatus creator_done(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)irp;
	interlocked_increment(&((struct stack *)context)->done);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static void build_stack(struct stack *stack, const struct counted *counted)
{
	*stack = (struct stack){.outcome = STATUS_SUCCESS};
	io_initialize_device(&stack->lower, &lower_driver, NULL, stack);
	io_initialize_device(&stack->upper, &upper_driver, &stack->lower, stack);
	stack->file.device_object = &stack->upper;
	stat_add_block(&stack->file.requests, counted->segment, &io_request_table);
}

static void call(struct stack *stack, struct irp *irp)
{
	struct io_stack_location *next = io_get_next_irp_stack_location(irp);

	next->major_function = IRP_MJ_READ;
	next->file_object = &stack->file;
	io_set_completion_routine(irp, creator_done, stack, true, true, true);
	io_call_driver(&stack->upper, irp);
}

static void expect_requests(const struct counted *counted, uint64_t called, uint64_t completed,
			    uint64_t at_once, uint64_t failed)
{
	CU_ASSERT_EQUAL(sum_of(counted, "request", "called"), called);
	CU_ASSERT_EQUAL(sum_of(counted, "request", "completed"), completed);
	CU_ASSERT_EQUAL(sum_of(counted, "request", "at_once"), at_once);
	CU_ASSERT_EQUAL(sum_of(counted, "request", "failed"), failed);
}

static void requests(void *context)
{
	struct counted counted;
	struct stack stack;
	struct irp *irp = io_allocate_irp(2);

	(void)context;
	begin_counted(&counted);
	build_stack(&stack, &counted);
	call(&stack, irp);
	expect_requests(&counted, 1, 1, 1, 0);
	io_reuse_irp(irp, STATUS_SUCCESS); /* again, with one location for both drivers */
	stack.lend = true;
	call(&stack, irp);
	expect_requests(&counted, 2, 2, 2, 0);
	io_reuse_irp(irp, STATUS_SUCCESS);
	stack.lend = false;
	stack.pend = true;
	call(&stack, irp);
	expect_requests(&counted, 3, 2, 2, 0);
	stack.take_back = true;
	io_finish_request(stack.kept, STATUS_CONNECTION_RESET, 0);
	expect_requests(&counted, 3, 2, 2, 0); /* the upper driver has it, not yet its creator */
	io_mark_irp_pending(irp);
	io_complete_request(irp);
	expect_requests(&counted, 3, 3, 2, 1);
	CU_ASSERT_EQUAL(stack.done, 3);
	io_free_irp(irp);
	stat_remove_block(&stack.file.requests);
	end_counted(&counted);
}

static void test_requests(void)
{
	in_executive(requests, NULL);
}

static void lost_request(void *context)
{
	struct counted counted;
	struct stack stack;
	struct irp *irp = io_allocate_irp(2);

	(void)context;
	begin_counted(&counted);
	build_stack(&stack, &counted);
	stack.pend = true;
	call(&stack, irp);
	CU_ASSERT_EQUAL(count_broken_laws(&counted), 1); /* called, and never completed */
	io_finish_request(stack.kept, STATUS_SUCCESS, 0);
	CU_ASSERT_EQUAL(count_broken_laws(&counted), 0);
	io_free_irp(irp);
	stat_remove_block(&stack.file.requests);
	end_counted(&counted);
}

static void test_lost_request(void)
{
	in_executive(lost_request, NULL);
}

/* ---- Stages 02 and 03: sends --------------------------------------------------------------- */

enum { SENDS = 20, BLOCK = 1000 };

struct sending {
	struct kevent all;
	int32_t left;
};

/* When a callback runs, its send is counted already, so that the client may close. */
static void called_back(void *context, ntstatus status, uint32_t bytes)
{
	struct sending *sending = context;

	(void)status;
	(void)bytes;
	if (interlocked_decrement(&sending->left) == 0)
		ke_set_event(&sending->all);
}

static void send_some(struct counted *counted, struct connected_pair *pair, uint8_t *block)
{
	struct sending sending = {.left = SENDS};

	ke_initialize_event(&sending.all, NOTIFICATION_EVENT, false);
	for (int i = 0; i < SENDS; i++)
		tdi_start_send_buffer(&pair->client, block, BLOCK, 0, called_back, &sending);
	ke_wait_for_single_object(&sending.all, KE_WAIT_FOREVER);
	CU_ASSERT_EQUAL(sum_of(counted, "send-async", "posted"), SENDS);
	CU_ASSERT_EQUAL(sum_of(counted, "send-async", "called_back"), SENDS);
	CU_ASSERT_EQUAL(sum_of(counted, "send-async", "sent_bytes"), SENDS * BLOCK);
	CU_ASSERT_EQUAL(tdi_send_stream(&pair->client, block, BLOCK, 0), BLOCK);
	CU_ASSERT_EQUAL(sum_of(counted, "send-sync", "returned"), 1);
	CU_ASSERT_EQUAL(sum_of(counted, "send-sync", "latency_ns"), 1);
	CU_ASSERT_EQUAL(tdi_disconnect(&pair->client, TDI_DISCONNECT_ABORT), STATUS_SUCCESS);
	CU_ASSERT(tdi_send_stream(&pair->client, block, BLOCK, 0) < 0);
	CU_ASSERT_EQUAL(sum_of(counted, "send-sync", "failed"), 1);
	CU_ASSERT_EQUAL(sum_of(counted, "link", "sent_bytes"), (SENDS + 1) * BLOCK);
}

static void sends(void *context)
{
	struct link_options options = {.buffered = true};
	struct transport_address any = {.address_type = TDI_ADDRESS_TYPE_IP};
	struct device_object *device;
	struct connected_pair pair;
	struct counted counted;
	uint8_t *block = need_pool(BLOCK);

	(void)context;
	begin_counted(&counted);
	options.segment = counted.segment;
	memset(block, 0, BLOCK);
	device = link_create_device(&options);
	if (open_pair(&pair, device, &any)) {
		send_some(&counted, &pair, block);
		close_pair(&pair);
	}
	ke_flush_queued_dpcs();
	link_delete_device(device);
	ex_free_pool(block);
	end_counted(&counted);
}

static void test_sends(void)
{
	in_executive(sends, NULL);
}

void register_counters_suite(void)
{
	static const struct test_case cases[] = {
		{"a request counts once, however many drivers it passes and take it back",
		 test_requests},
		{"a request that never comes back breaks a law", test_lost_request},
		{"sends are counted when the client knows of them", test_sends},
		{NULL, NULL},
	};

	add_suite("counters", cases);
}
