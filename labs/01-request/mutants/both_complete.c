/* Breaks rule 8: takes a request that the canceller has taken already; both complete it. */
struct irp *io_csq_remove_next_irp_at(struct io_csq *csq, const struct ke_site *site)
{
	struct list_entry *entry = remove_head_list(&csq->irps);
	struct irp *irp;

	if (entry == NULL)
		return NULL;
	irp = containing_record(entry, struct irp, list_entry);
	io_set_cancel_routine_at(irp, NULL, site);
	if (csq->users != NULL)
		--*csq->users;
	return irp;
}
