/*
 * The walk down and the walk up. See io.h for the life of a request.
 *
 * A request is an array of stack locations and an index. The creator stands one above the last
 * location; io_call_driver steps down, io_complete_request steps up:
 *
 *      stack_index    stack_count     the creator's place: no location of its own
 *                     stack_count-1   the first driver called; holds the creator's routine
 *                     ...
 *                     0               the last driver; holds the routine of the one above
 *
 * A completion routine lives in the location of the driver that is called, not of the one that set
 * it: so the walk up finds each routine in the location it leaves. An index at the creator's place
 * or above means that no driver holds the request, so completing it again is always seen.
 */
#include "io/io.h"
#include "io/watch.h"

#include <string.h>

enum { MAXIMUM_STACK_SIZE = VERIFIER_LOCATIONS };

static void reset_irp(struct irp *irp, int8_t stack_count)
{
	memset(irp, 0, sizeof(*irp) + (size_t)stack_count * sizeof(irp->stack[0]));
	irp->stack_count = stack_count;
	irp->stack_index = stack_count;
	irp->current_location = &irp->stack[stack_count];
}

struct irp *io_allocate_irp_at(uint8_t stack_size, const struct ke_site *site)
{
	struct irp *irp;

	if (stack_size == 0 || stack_size > MAXIMUM_STACK_SIZE)
		return NULL;
	irp = ex_allocate_pool_at(sizeof(*irp) + stack_size * sizeof(irp->stack[0]), site);
	if (irp == NULL)
		return NULL;
	reset_irp(irp, (int8_t)stack_size);
	if (verifier_on)
		verifier_request_allocated(irp, stack_size);
	return irp;
}

static bool is_held_by_driver(const struct irp *irp)
{
	return irp->stack_index < irp->stack_count;
}

void io_free_irp_at(struct irp *irp, const struct ke_site *site)
{
	if (verifier_on) {
		io_watch_free(irp, site);
		return;
	}
	if (is_held_by_driver(irp))
		ke_bug_check_at(site, "REQ-FREE-IN-USE",
				"a request is freed while a driver holds it");
	ex_free_pool_at(irp, site);
}

void io_reuse_irp_at(struct irp *irp, ntstatus status, const struct ke_site *site)
{
	if (verifier_on)
		verifier_request_reused(irp, site);
	if (is_held_by_driver(irp))
		ke_bug_check_at(site, "REQ-REUSE-IN-FLIGHT",
				"a request is reused while a driver holds it");
	reset_irp(irp, irp->stack_count);
	irp->io_status.status = status;
}

struct irp *io_build_device_io_control_request_at(enum irp_major_function major,
						  struct device_object *device,
						  struct kevent *event,
						  struct io_status_block *iosb,
						  const struct ke_site *site)
{
	struct irp *irp = io_allocate_irp_at(device->stack_size, site);

	if (irp == NULL)
		return NULL;
	if (verifier_on)
		verifier_request_waited_for(irp);
	irp->flags |= IRP_SYNCHRONOUS_API;
	irp->user_event = event;
	irp->user_iosb = iosb;
	io_get_next_irp_stack_location(irp)->major_function = (uint8_t)major;
	return irp;
}

void io_initialize_device(struct device_object *device, const struct driver_object *driver,
			  struct device_object *lower, void *extension)
{
	device->driver_object = driver;
	device->lower_device = lower;
	device->device_extension = extension;
	device->segment = NULL;
	device->stack_size = (uint8_t)(lower != NULL ? lower->stack_size + 1 : 1);
}

void io_copy_current_irp_stack_location_to_next(struct irp *irp)
{
	struct io_stack_location *current = io_get_current_irp_stack_location(irp);
	struct io_stack_location *next = io_get_next_irp_stack_location(irp);

	if (irp->stack_index <= 0)
		ke_bug_check("REQ-STACK-EXHAUSTED", "there is no next stack location to copy to");
	*next = *current;
	next->completion_routine =
		NULL; /* the driver above's: it runs when this location completes */
	next->context = NULL;
	next->control = 0;
}

void io_mark_irp_pending_at(struct irp *irp, const struct ke_site *site)
{
	if (verifier_on)
		verifier_request_marked(irp, site);
	if (!is_held_by_driver(irp))
		ke_bug_check_at(site, "REQ-MARKED-NOT-PENDING",
				"a request is marked pending by one who owns no stack location");
	irp->current_location->control |= SL_PENDING_RETURNED;
}

/* ---- Counting ------------------------------------------------------------------------------ */

enum { REQUESTS_CALLED, REQUESTS_COMPLETED, REQUESTS_AT_ONCE, REQUESTS_FAILED, REQUESTS_VALUES };

static const struct stat_counter request_counters[] = {
	{"called", STAT_COUNTER, REQUESTS_CALLED, "requests",
	 "requests that their creator has sent with io_call_driver"},
	{"completed", STAT_COUNTER, REQUESTS_COMPLETED, "requests",
	 "of these, those that have come back to the creator"},
	{"at_once", STAT_COUNTER, REQUESTS_AT_ONCE, "requests",
	 "of those that came back, those that no driver had marked pending"},
	{"failed", STAT_COUNTER, REQUESTS_FAILED, "requests",
	 "of those that came back, those with an error"},
};

static const struct stat_law request_laws[] = {{REQUESTS_CALLED, REQUESTS_COMPLETED, true},
					       {REQUESTS_COMPLETED, REQUESTS_AT_ONCE, false},
					       {REQUESTS_COMPLETED, REQUESTS_FAILED, false}};

const struct stat_table io_request_table = {
	.room = "request",
	.object = "connection",
	.counter_count = REQUESTS_VALUES,
	.law_count = sizeof(request_laws) / sizeof(request_laws[0]),
	.value_count = REQUESTS_VALUES,
	.counters = request_counters,
	.laws = request_laws,
};

/* Once for each request, however many drivers it passes: the first call finds no counters yet. */
static void count_call(struct irp *irp, struct file_object *file)
{
	if (irp->counters != NULL || file == NULL || !stat_is_counted(&file->requests))
		return;
	irp->counters = &file->requests;
	stat_count_shared(irp->counters, REQUESTS_CALLED, 1);
}

/* The creator is told next, and may close the file: this is the last use of its block. */
static void count_completion(struct irp *irp)
{
	struct stat_block *counters = irp->counters;

	if (counters == NULL)
		return;
	irp->counters = NULL;
	stat_count_shared(counters, REQUESTS_COMPLETED, 1);
	if (!irp->pending_returned) /* the rarer case, so that it costs least */
		stat_count_shared(counters, REQUESTS_AT_ONCE, 1);
	if (!nt_success(irp->io_status.status))
		stat_count_shared(counters, REQUESTS_FAILED, 1);
}

/* ---- Down and up --------------------------------------------------------------------------- */

/* Stands in for a function that the driver does not have. */
static ntstatus refuse(struct device_object *device, struct irp *irp)
{
	(void)device;
	return io_finish_request(irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

ntstatus io_call_driver_at(struct device_object *device, struct irp *irp,
			   const struct ke_site *site)
{
	struct io_stack_location *location;
	driver_dispatch *dispatch;

	if (irp->stack_index <= 0)
		ke_bug_check_at(site, "REQ-STACK-EXHAUSTED",
				"a request with %d stack locations is sent to one driver too many",
				irp->stack_count);
	irp->stack_index--;
	location = --irp->current_location;
	location->device_object = device;
	count_call(irp, location->file_object);
	dispatch = device->driver_object->major_function[location->major_function];
	if (dispatch == NULL)
		dispatch = refuse;
	return verifier_on ? io_watch_dispatch(dispatch, device, irp, site) : dispatch(device, irp);
}

static bool wants_to_know(const struct io_stack_location *location, const struct irp *irp)
{
	if (location->completion_routine == NULL)
		return false;
	if (nt_success(irp->io_status.status) && (location->control & SL_INVOKE_ON_SUCCESS))
		return true;
	if (!nt_success(irp->io_status.status) && (location->control & SL_INVOKE_ON_ERROR))
		return true;
	return interlocked_read(&irp->cancel) != 0 && (location->control & SL_INVOKE_ON_CANCEL);
}

/* The end of the walk for a request that a thread waits for: nobody else cleans up. */
static void finish_synchronous_api(struct irp *irp)
{
	struct kevent *event = irp->user_event;

	io_unlock_buffer(irp);
	*irp->user_iosb = irp->io_status;
	io_free_irp(irp);
	ke_set_event(event); /* last: the waiter's stack holds the event and the status block */
}

static ntstatus call_routine(const struct io_stack_location *left, struct device_object *above,
			     struct irp *irp, const struct ke_site *site)
{
	return verifier_on ? io_watch_routine(left, above, irp, site)
			   : left->completion_routine(above, irp, left->context);
}

void io_complete_request_at(struct irp *irp, const struct ke_site *site)
{
	if (verifier_on)
		io_watch_completion(irp, site);
	if (!is_held_by_driver(irp))
		ke_bug_check_at(site, "REQ-DOUBLE-COMPLETE",
				"a request is completed that no driver holds");
	if (irp->io_status.status == STATUS_PENDING)
		ke_bug_check_at(site, "REQ-COMPLETE-PENDING",
				"a request is completed with STATUS_PENDING");
	while (is_held_by_driver(irp)) {
		struct io_stack_location *left = irp->current_location++;
		struct device_object *above;

		irp->stack_index++;
		irp->pending_returned = (left->control & SL_PENDING_RETURNED) != 0;
		above = is_held_by_driver(irp) ? irp->current_location->device_object : NULL;
		if (!is_held_by_driver(irp))
			count_completion(irp);
		if (wants_to_know(left, irp)) {
			/* From here the request may be freed unless the routine lets go of it. */
			if (call_routine(left, above, irp, site) == STATUS_MORE_PROCESSING_REQUIRED)
				return;
		} else {
			if (irp->pending_returned && above != NULL)
				irp->current_location->control |= SL_PENDING_RETURNED;
			if (verifier_on)
				io_watch_step_up(irp, site);
		}
	}
	if (!(irp->flags & IRP_SYNCHRONOUS_API))
		ke_bug_check_at(
			site, "REQ-LOST",
			"a request of io_allocate_irp's is completed and no routine took it back");
	finish_synchronous_api(irp);
}

ntstatus io_finish_request_at(struct irp *irp, ntstatus status, uintptr_t information,
			      const struct ke_site *site)
{
	if (verifier_on)
		return io_watch_finish(irp, status, information, site);
	irp->io_status.status = status;
	irp->io_status.information = information;
	io_complete_request_at(irp, site);
	return status;
}
