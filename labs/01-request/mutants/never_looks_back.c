/* Breaks rule 7: queues a request without asking whether somebody has given it up. */
static bool insert_after(struct io_csq *csq, struct list_entry *after, struct irp *irp,
			 const struct ke_site *site)
{
	irp->driver_context[CSQ_CONTEXT] = csq;
	insert_list_after(after, &irp->list_entry);
	io_set_cancel_routine_at(irp, cancel_queued, site);
	if (csq->users != NULL)
		++*csq->users;
	return true;
}
