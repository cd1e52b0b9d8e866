/* Breaks rule 7: a request that is queued between the two steps is never cancelled. */
bool io_cancel_irp_at(struct irp *irp, const struct ke_site *site)
{
	driver_cancel *routine = io_set_cancel_routine_at(irp, NULL, site);

	interlocked_exchange_at(&irp->cancel, 1, site);
	if (routine == NULL)
		return false;
	routine(irp->current_location->device_object, irp);
	return true;
}
