/* Stage 01: a request that is kept, removed and cancelled by three contexts at once. */
#include "io/io.h"
#include "scenarios.h"

enum { MOST = 16 };

struct queue {
	struct device_object device;
	struct kspin_lock lock;
	struct io_csq csq;
	unsigned requests;
	struct irp *irps[MOST];
	int32_t completed[MOST];
};

static ntstatus request_done(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)irp;
	interlocked_increment(context);
	return STATUS_MORE_PROCESSING_REQUIRED; /* freed when the canceller has come by, too */
}

static ntstatus keep_request(struct device_object *device, struct irp *irp)
{
	struct queue *queue = device->device_extension;
	kirql irql = ke_acquire_spin_lock(&queue->lock);
	bool kept = io_csq_insert_irp(&queue->csq, irp);

	ke_release_spin_lock(&queue->lock, irql);
	if (!kept)
		io_finish_request(irp, STATUS_CANCELLED, 0);
	return STATUS_PENDING;
}

static const struct driver_object keeping_driver = {
	.driver_name = "keeping", .major_function = {[IRP_MJ_READ] = keep_request}};

static void serve(void *context)
{
	struct queue *queue = context;

	for (unsigned i = 0; i < queue->requests; i++) {
		kirql irql = ke_acquire_spin_lock(&queue->lock);
		struct irp *irp = io_csq_remove_next_irp(&queue->csq);

		ke_release_spin_lock(&queue->lock, irql);
		if (irp != NULL)
			io_finish_request(irp, STATUS_SUCCESS, 0);
	}
}

static void cancel(void *context)
{
	struct queue *queue = context;

	for (unsigned i = 0; i < queue->requests; i++)
		io_cancel_irp(queue->irps[i]);
}

/* Each request was cancelled once, before, while or after it was queued: so none is left. */
static void cancel_race(void *context)
{
	const struct sim_setting *setting = context;
	struct queue queue = {.requests = setting->requests < MOST ? setting->requests : MOST};
	struct kthread canceller, server;

	io_initialize_device(&queue.device, &keeping_driver, NULL, &queue);
	ke_initialize_spin_lock(&queue.lock);
	io_csq_initialize(&queue.csq, &queue.lock, NULL, NULL, NULL);
	for (unsigned i = 0; i < queue.requests; i++) {
		queue.irps[i] = io_allocate_irp(1);
		io_get_next_irp_stack_location(queue.irps[i])->major_function = IRP_MJ_READ;
		io_set_completion_routine(queue.irps[i], request_done, &queue.completed[i], true,
					  true, true);
	}
	ps_create_system_thread(&canceller, cancel, &queue);
	ps_create_system_thread(&server, serve, &queue);
	for (unsigned i = 0; i < queue.requests; i++)
		io_call_driver(&queue.device, queue.irps[i]);
	ke_wait_for_thread(&canceller);
	ke_wait_for_thread(&server);
	for (unsigned i = 0; i < queue.requests; i++) {
		scenario_expect(queue.completed[i] > 0,
				"request %u was cancelled, and waits in the queue for ever", i);
		scenario_expect(queue.completed[i] == 1, "request %u has completed %d times", i,
				queue.completed[i]);
		io_free_irp(queue.irps[i]);
	}
}

/* ---- A thread that waits ----------------------------------------------------------------------
 */

struct waiting {
	struct device_object device;
	struct kdpc dpc;
	struct irp *irp;
};

static void answer(struct kdpc *dpc, void *context)
{
	(void)dpc;
	io_finish_request(context, STATUS_CONNECTION_RESET, 7);
}

static ntstatus answer_somehow(struct device_object *device, struct irp *irp)
{
	struct waiting *waiting = device->device_extension;

	if (ke_choose(2, "whether the driver answers at once") == 0)
		return io_finish_request(irp, STATUS_CONNECTION_RESET, 7);
	io_mark_irp_pending(irp);
	ke_initialize_dpc(&waiting->dpc, answer, irp, KE_ANY_PROCESSOR);
	ke_insert_queue_dpc(&waiting->dpc);
	return STATUS_PENDING;
}

static const struct driver_object answering_driver = {
	.driver_name = "answering", .major_function = {[IRP_MJ_READ] = answer_somehow}};

static void synchronous(void *context)
{
	const struct sim_setting *setting = context;
	struct waiting waiting;

	io_initialize_device(&waiting.device, &answering_driver, NULL, &waiting);
	for (unsigned i = 0; i < setting->requests; i++) {
		struct io_status_block iosb = {STATUS_PENDING, 0};
		struct kevent event;
		struct irp *irp;

		ke_initialize_event(&event, NOTIFICATION_EVENT, false);
		irp = io_build_device_io_control_request(IRP_MJ_READ, &waiting.device, &event,
							 &iosb);
		scenario_expect(irp != NULL, "no memory for a request");
		io_call_driver(&waiting.device, irp);
		ke_wait_for_single_object(&event, KE_WAIT_FOREVER);
		scenario_expect(iosb.status == STATUS_CONNECTION_RESET && iosb.information == 7,
				"the waiter found status 0x%08x, information %llu",
				(unsigned)iosb.status, (unsigned long long)iosb.information);
	}
	ke_flush_queued_dpcs(); /* `waiting` has the DPC's memory */
}

const struct sim_scenario request_scenarios[] = {
	{"request/cancel", "requests are queued, served and cancelled at the same time",
	 cancel_race, 2, false},
	{"request/wait", "a thread waits for requests that a driver completes now or later",
	 synchronous, 2, false},
	{0},
};
