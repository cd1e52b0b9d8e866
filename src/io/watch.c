/* Hooks that need more than one call: how a request goes down and up, as the verifier sees it. */
#include "io/watch.h"

_Static_assert(STATUS_PENDING == VERIFIER_STATUS_PENDING, "the verifier knows what pending means");

static struct verifier_status named(ntstatus status)
{
	return (struct verifier_status){status, nt_status_name(status)};
}

static void lend_memory(const struct irp *irp, const struct ke_site *site)
{
	verifier_memory_lent(irp, irp, sizeof(*irp), site); /* as ex_free_pool knows no requests */
	for (const struct mdl *mdl = irp->mdl_address; mdl != NULL; mdl = mdl->next) {
		verifier_memory_lent(irp, mdl, sizeof(*mdl), site);
		verifier_memory_lent(irp, mdl->mapped_system_va, mdl->byte_count, site);
	}
}

ntstatus io_watch_dispatch(driver_dispatch *dispatch, struct device_object *device, struct irp *irp,
			   const struct ke_site *site)
{
	const struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	const void *context = location->completion_routine != NULL ? location->context : NULL;
	struct verifier_call call;
	ntstatus status;

	if (verifier_request_sent(&call, irp, irp->stack_index, device->driver_object->driver_name,
				  context, ke_get_current_irql(), site))
		lend_memory(irp, site);
	status = dispatch(device, irp);
	/* The request may be gone: what is left of it is the verifier's memory. */
	verifier_dispatch_returned(&call, named(status), ke_get_current_irql());
	return status;
}

static void step_up(const struct irp *irp, const struct ke_site *site)
{
	verifier_location_left(irp, irp->stack_index - 1, named(irp->io_status.status), site);
}

ntstatus io_watch_routine(const struct io_stack_location *left, struct device_object *above,
			  struct irp *irp, const struct ke_site *site)
{
	struct verifier_routine routine;
	ntstatus status;

	step_up(irp, site);
	verifier_routine_called(&routine, irp, ke_get_current_irql());
	status = left->completion_routine(above, irp, left->context);
	verifier_routine_returned(&routine, irp, status != STATUS_MORE_PROCESSING_REQUIRED,
				  ke_get_current_irql(), site);
	return status;
}

void io_watch_free(struct irp *irp, const struct ke_site *site)
{
	verifier_request_freed(irp, site);
	ex_free_pool_at(irp, site);
}

ntstatus io_watch_finish(struct irp *irp, ntstatus status, uintptr_t information,
			 const struct ke_site *site)
{
	verifier_completion_wanted(irp, site); /* before it is written to */
	irp->io_status.status = status;
	irp->io_status.information = information;
	io_complete_request_at(irp, site);
	return status;
}

void io_watch_completion(struct irp *irp, const struct ke_site *site)
{
	verifier_completion_wanted(irp, site); /* before anything of the request is read */
	verifier_request_completed(irp, named(irp->io_status.status),
				   (void *const *)&irp->cancel_routine, site);
}

void io_watch_step_up(const struct irp *irp, const struct ke_site *site)
{
	step_up(irp, site);
	if (irp->pending_returned && irp->stack_index < irp->stack_count)
		verifier_walk_marked(irp, site);
}
