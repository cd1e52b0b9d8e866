/* Breaks rule 8: leaves a whole queue alone because a canceller is busy with its first request. */
struct irp *io_csq_remove_next_irp_at(struct io_csq *csq, const struct ke_site *site)
{
	struct list_entry *entry = csq->irps.next;
	struct irp *irp = containing_record(entry, struct irp, list_entry);

	if (entry == &csq->irps || io_set_cancel_routine_at(irp, NULL, site) == NULL)
		return NULL;
	remove_entry_list(&irp->list_entry);
	if (csq->users != NULL)
		--*csq->users;
	return irp;
}
