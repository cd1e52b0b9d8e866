/*
 * Lab 01: your parts of src/io/irp.c and src/io/cancel.c. See README.md. Only these functions are
 * yours; graft puts each in place of the one of the same name.
 *
 * The `site` says where in the source an operation was called for. Hand it on to functions whose
 * names end in _at.
 */
#include "io/io.h"

/* ---- irp.c --------------------------------------------------------------------------------- */

ntstatus io_call_driver_at(struct device_object *device, struct irp *irp,
			   const struct ke_site *site)
{
	(void)device;
	(void)irp;
	(void)site;
	ke_bug_check("NOT-WRITTEN", "io_call_driver_at is yours to write");
}

/* The end of the walk for a request that a thread waits for: nobody else cleans up. */
static void finish_synchronous_api(struct irp *irp)
{
	(void)irp;
	ke_bug_check("NOT-WRITTEN", "finish_synchronous_api is yours to write");
}

/* Helpers that are there: is_held_by_driver, wants_to_know. */
void io_complete_request_at(struct irp *irp, const struct ke_site *site)
{
	(void)irp;
	(void)site;
	ke_bug_check("NOT-WRITTEN", "io_complete_request_at is yours to write");
}

/* ---- cancel.c ------------------------------------------------------------------------------ */

bool io_cancel_irp_at(struct irp *irp, const struct ke_site *site)
{
	(void)irp;
	(void)site;
	ke_bug_check("NOT-WRITTEN", "io_cancel_irp_at is yours to write");
}

/* The cancel routine of every queued request; runs for the canceller, which has taken it. */
static void cancel_queued(struct device_object *device, struct irp *irp)
{
	(void)device;
	(void)irp;
	ke_bug_check("NOT-WRITTEN", "cancel_queued is yours to write");
}

/* Links the request behind `after`. False if it was cancelled before, and is the caller's. */
static bool insert_after(struct io_csq *csq, struct list_entry *after, struct irp *irp,
			 const struct ke_site *site)
{
	(void)csq;
	(void)after;
	(void)irp;
	(void)site;
	ke_bug_check("NOT-WRITTEN", "insert_after is yours to write");
}

bool io_csq_insert_irp_at(struct io_csq *csq, struct irp *irp, const struct ke_site *site)
{
	return insert_after(csq, csq->irps.prev, irp, site); /* TODO: something comes first */
}

struct irp *io_csq_remove_next_irp_at(struct io_csq *csq, const struct ke_site *site)
{
	(void)csq;
	(void)site;
	ke_bug_check("NOT-WRITTEN", "io_csq_remove_next_irp_at is yours to write");
}
