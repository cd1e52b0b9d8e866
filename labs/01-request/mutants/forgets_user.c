/* Breaks rule 11: a request that is removed goes on counting. */
struct irp *io_csq_remove_next_irp_at(struct io_csq *csq, const struct ke_site *site)
{
	struct list_entry *entry;

	for (entry = csq->irps.next; entry != &csq->irps; entry = entry->next) {
		struct irp *irp = containing_record(entry, struct irp, list_entry);

		if (io_set_cancel_routine_at(irp, NULL, site) == NULL)
			continue;
		remove_entry_list(&irp->list_entry);
		return irp;
	}
	return NULL;
}
