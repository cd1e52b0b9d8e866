/* Breaks rule 6: queues first, and marks only what was kept. */
bool io_csq_insert_irp_at(struct io_csq *csq, struct irp *irp, const struct ke_site *site)
{
	if (!insert_after(csq, csq->irps.prev, irp, site))
		return false;
	io_mark_irp_pending_at(irp, site);
	return true;
}
