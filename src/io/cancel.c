/*
 * Cancellation, decided by one exchange.
 *
 * A request that can be cancelled has a cancel routine set. Three parties may want it: the owner of
 * the queue that holds it, the canceller, and (in insert) the one who is just queueing it. Each of
 * them exchanges the routine with NULL, and only the one that gets the routine may complete the
 * request:
 *
 *   insert      links it, sets the routine, and looks at irp->cancel: if the canceller had come
 *               before, it found no routine, so nobody else will cancel: insert does.
 *   remove      gets the routine: the request is the remover's. Gets NULL: the canceller has it and
 *               is on its way to the lock to unlink it; so leave it linked and look at the next.
 *   cancel      sets irp->cancel first and then exchanges, so that it and insert can't both miss.
 */
#include "io/io.h"

enum { CSQ_CONTEXT = 3 };

driver_cancel *io_set_cancel_routine_at(struct irp *irp, driver_cancel *routine,
					const struct ke_site *site)
{
	if (verifier_on && routine != NULL)
		verifier_cancel_routine_set(irp, site);
	return (driver_cancel *)interlocked_exchange_pointer_at((void **)&irp->cancel_routine,
								(void *)routine, site);
}

bool io_cancel_irp_at(struct irp *irp, const struct ke_site *site)
{
	driver_cancel *routine;

	interlocked_exchange_at(&irp->cancel, 1, site);
	routine = io_set_cancel_routine_at(irp, NULL, site);
	if (routine == NULL)
		return false;
	routine(irp->current_location->device_object, irp);
	return true;
}

void io_csq_initialize(struct io_csq *csq, struct kspin_lock *lock, uint32_t *users,
		       io_csq_cancelled *cancelled, void *context)
{
	*csq = (struct io_csq){
		.lock = lock, .users = users, .cancelled = cancelled, .context = context};
	initialize_list_head(&csq->irps);
}

/* Runs for the canceller, which has taken the routine: only the list is still shared. */
static void cancel_queued(struct device_object *device, struct irp *irp)
{
	struct io_csq *csq = irp->driver_context[CSQ_CONTEXT];
	kirql irql = ke_acquire_spin_lock(csq->lock);

	(void)device;
	remove_entry_list(&irp->list_entry);
	ke_release_spin_lock(csq->lock, irql);
	io_finish_request(irp, STATUS_CANCELLED, 0);
	if (csq->cancelled != NULL)
		csq->cancelled(csq, csq->context); /* this request's user kept the queue so far */
}

static bool insert_after(struct io_csq *csq, struct list_entry *after, struct irp *irp,
			 const struct ke_site *site)
{
	irp->driver_context[CSQ_CONTEXT] = csq;
	insert_list_after(after, &irp->list_entry);
	io_set_cancel_routine_at(irp, cancel_queued, site);
	if (interlocked_read_at(&irp->cancel, site) == 0 ||
	    io_set_cancel_routine_at(irp, NULL, site) == NULL) {
		if (csq->users != NULL)
			++*csq->users;
		return true;
	}
	remove_entry_list(&irp->list_entry);
	return false;
}

bool io_csq_insert_irp_at(struct io_csq *csq, struct irp *irp, const struct ke_site *site)
{
	io_mark_irp_pending_at(irp, site);
	return insert_after(csq, csq->irps.prev, irp, site);
}

bool io_csq_return_irp_at(struct io_csq *csq, struct irp *irp, const struct ke_site *site)
{
	return insert_after(csq, &csq->irps, irp, site);
}

struct irp *io_csq_remove_next_irp_at(struct io_csq *csq, const struct ke_site *site)
{
	struct list_entry *entry;

	for (entry = csq->irps.next; entry != &csq->irps; entry = entry->next) {
		struct irp *irp = containing_record(entry, struct irp, list_entry);

		if (io_set_cancel_routine_at(irp, NULL, site) == NULL)
			continue;
		remove_entry_list(&irp->list_entry);
		if (csq->users != NULL)
			--*csq->users;
		return irp;
	}
	return NULL;
}
