/* The drivers of lab 01's exercises. */
#include "requests.h"

#include <string.h>

#include "lab.h"

static void note(struct stack *stack, char letter)
{
	if (stack->length + 1 < sizeof(stack->trace))
		stack->trace[stack->length++] = letter;
}

void expect_trace(int rule, const struct stack *stack, const char *wanted)
{
	char expected[100];

	if (strcmp(stack->trace, wanted) == 0)
		return;
	strcpy(expected, "the routines so far, in order: ");
	expect_true(rule, false, strcat(expected, wanted), stack->trace);
}

/* ---- Two devices --------------------------------------------------------------------------- */

static ntstatus lower_transfer(struct device_object *device, struct irp *irp)
{
	struct stack *stack = device->device_extension;

	note(stack, 'l');
	expect_true(RULE_DOWN, io_get_current_irp_stack_location(irp)->device_object == device,
		    "the current stack location names the device that is called",
		    "it names another one, or none");
	if (!stack->pend)
		return io_finish_request(irp, stack->outcome, 42);
	io_mark_irp_pending(irp);
	stack->kept = irp;
	return STATUS_PENDING;
}

static ntstatus upper_done(struct device_object *device, struct irp *irp, void *context)
{
	struct stack *stack = context;

	note(stack, 'U');
	expect_true(RULE_UP, device == &stack->upper,
		    "a completion routine is given the device of the driver that set it",
		    "it was given another one");
	if (stack->upper_keeps) {
		stack->upper_keeps = false;
		return STATUS_MORE_PROCESSING_REQUIRED;
	}
	if (irp->pending_returned)
		io_mark_irp_pending(irp);
	return STATUS_SUCCESS;
}

static ntstatus upper_read(struct device_object *device, struct irp *irp)
{
	struct stack *stack = device->device_extension;

	note(stack, 'u');
	io_copy_current_irp_stack_location_to_next(irp);
	io_set_completion_routine(irp, upper_done, stack, true, true, true);
	if (stack->upper_keeps) {
		io_mark_irp_pending(irp); /* its routine will take the request back */
		io_call_driver(device->lower_device, irp);
		return STATUS_PENDING;
	}
	return io_call_driver(device->lower_device, irp);
}

static ntstatus upper_write(struct device_object *device, struct irp *irp)
{
	note(device->device_extension, 'u');
	io_copy_current_irp_stack_location_to_next(irp);
	return io_call_driver(device->lower_device, irp);
}

static const struct driver_object upper_driver = {
	.driver_name = "upper",
	.major_function = {[IRP_MJ_READ] = upper_read, [IRP_MJ_WRITE] = upper_write}};
static const struct driver_object lower_driver = {
	.driver_name = "lower",
	.major_function = {[IRP_MJ_READ] = lower_transfer, [IRP_MJ_WRITE] = lower_transfer}};

void build_stack(struct stack *stack, ntstatus outcome)
{
	*stack = (struct stack){.outcome = outcome};
	io_initialize_device(&stack->lower, &lower_driver, NULL, stack);
	io_initialize_device(&stack->upper, &upper_driver, &stack->lower, stack);
}

static ntstatus creator_done(struct device_object *device, struct irp *irp, void *context)
{
	struct stack *stack = context;

	note(stack, 'C');
	expect_true(RULE_UP, device == NULL, "a creator has no device: its routine is given NULL",
		    "it was given one");
	stack->pending_seen = irp->pending_returned;
	if (stack->creator_frees)
		io_free_irp(irp);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

struct irp *build_request(struct stack *stack, enum irp_major_function major)
{
	struct irp *irp = io_allocate_irp(stack->upper.stack_size);

	expect_true(0, irp != NULL, "memory for the exercise", "there is none");
	io_get_next_irp_stack_location(irp)->major_function = (uint8_t)major;
	io_set_completion_routine(irp, creator_done, stack, true, true, true);
	return irp;
}

ntstatus note_routine(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)irp;
	note(context, 'U');
	return STATUS_SUCCESS;
}

/* ---- A queue ------------------------------------------------------------------------------- */

static ntstatus queue_read(struct device_object *device, struct irp *irp)
{
	struct queue *queue = device->device_extension;
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	bool kept = io_csq_insert_irp(&queue->csq, irp);

	ke_release_spin_lock(&queue->lock, irql);
	if (!kept)
		io_finish_request(irp, STATUS_CANCELLED, 0);
	return STATUS_PENDING;
}

static const struct driver_object queue_driver = {.driver_name = "queue",
						  .major_function = {[IRP_MJ_READ] = queue_read}};

static ntstatus queued_done(struct device_object *device, struct irp *irp, void *context)
{
	struct queue *queue = context;
	int index = 0;

	(void)device;
	while (queue->irps[index] != irp)
		index++;
	queue->pending_seen[index] = irp->pending_returned;
	if (queue->routine_locks) {
		kirql irql = ke_acquire_spin_lock(&queue->lock);

		ke_release_spin_lock(&queue->lock, irql);
	}
	interlocked_increment(&queue->completed[index]);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static void drop_user(struct io_csq *csq, void *context)
{
	struct queue *queue = context;
	kirql irql = ke_acquire_spin_lock(csq->lock);

	queue->users--;
	ke_release_spin_lock(csq->lock, irql);
}

void build_queue(struct queue *queue)
{
	*queue = (struct queue){.users = 0};
	io_initialize_device(&queue->device, &queue_driver, NULL, queue);
	ke_initialize_spin_lock(&queue->lock);
	io_csq_initialize(&queue->csq, &queue->lock, &queue->users, drop_user, queue);
	for (int i = 0; i < QUEUED; i++) {
		queue->irps[i] = io_allocate_irp(1);
		expect_true(0, queue->irps[i] != NULL, "memory for the exercise", "there is none");
		io_get_next_irp_stack_location(queue->irps[i])->major_function = IRP_MJ_READ;
		io_set_completion_routine(queue->irps[i], queued_done, queue, true, true, true);
	}
}

struct irp *remove_next(struct queue *queue)
{
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	struct irp *irp = io_csq_remove_next_irp(&queue->csq);

	ke_release_spin_lock(&queue->lock, irql);
	return irp;
}

void end_queue(struct queue *queue)
{
	for (int i = 0; i < QUEUED; i++)
		io_free_irp(queue->irps[i]);
}

void cancel_all(void *context)
{
	struct queue *queue = context;

	for (int i = 0; i < QUEUED; i++)
		io_cancel_irp(queue->irps[i]);
}

void serve_all(void *context)
{
	struct queue *queue = context;
	struct irp *irp;

	for (int i = 0; i < QUEUED; i++)
		if ((irp = remove_next(queue)) != NULL)
			io_finish_request(irp, STATUS_SUCCESS, 0);
}
