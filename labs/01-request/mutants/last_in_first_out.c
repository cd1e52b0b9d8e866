/* Breaks rule 10: puts new requests where the oldest is taken. */
bool io_csq_insert_irp_at(struct io_csq *csq, struct irp *irp, const struct ke_site *site)
{
	io_mark_irp_pending_at(irp, site);
	return insert_after(csq, &csq->irps, irp, site);
}
