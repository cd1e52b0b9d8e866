/*
 * measure-request [COUNT]: the cost of a request that is allocated, sent down two devices,
 * completed through both and freed, in nanoseconds, on the host executive.
 */
#include <stdio.h>
#include <stdlib.h>

#include "io/io.h"

static ntstatus lower_read(struct device_object *device, struct irp *irp)
{
	(void)device;
	return io_finish_request(irp, STATUS_SUCCESS, 0);
}

static ntstatus upper_done(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(void)context;
	if (irp->pending_returned)
		io_mark_irp_pending(irp);
	return STATUS_SUCCESS;
}

static ntstatus upper_read(struct device_object *device, struct irp *irp)
{
	io_copy_current_irp_stack_location_to_next(irp);
	io_set_completion_routine(irp, upper_done, NULL, true, true, true);
	return io_call_driver(device->lower_device, irp);
}

static ntstatus creator_done(struct device_object *device, struct irp *irp, void *context)
{
	(void)device;
	(*(unsigned long *)context)++;
	io_free_irp(irp);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static const struct driver_object upper_driver = {.driver_name = "upper",
						  .major_function = {[IRP_MJ_READ] = upper_read}};
static const struct driver_object lower_driver = {.driver_name = "lower",
						  .major_function = {[IRP_MJ_READ] = lower_read}};

struct run {
	unsigned long count;
	unsigned long completed;
	double nanoseconds;
};

static void run_main(void *context)
{
	struct run *run = context;
	struct device_object upper, lower;
	uint64_t start;

	io_initialize_device(&lower, &lower_driver, NULL, NULL);
	io_initialize_device(&upper, &upper_driver, &lower, NULL);
	start = ke_query_interrupt_time();
	for (unsigned long i = 0; i < run->count; i++) {
		struct irp *irp = io_allocate_irp(upper.stack_size);

		if (irp == NULL)
			return;
		io_get_next_irp_stack_location(irp)->major_function = IRP_MJ_READ;
		io_set_completion_routine(irp, creator_done, &run->completed, true, true, true);
		io_call_driver(&upper, irp);
	}
	run->nanoseconds = (double)(ke_query_interrupt_time() - start) / (double)run->count;
}

int main(int argc, char **argv)
{
	struct run run = {.count = argc > 1 ? strtoul(argv[1], NULL, 10) : 5000000};
	struct ke_options options = {.processors = 1};

	if (run.count == 0 || !nt_success(ke_run(&options, run_main, &run)) ||
	    run.completed != run.count) {
		fprintf(stderr, "measure-request: %lu of %lu requests completed\n", run.completed,
			run.count);
		return 1;
	}
	printf("%.2f\n", run.nanoseconds);
	return 0;
}
