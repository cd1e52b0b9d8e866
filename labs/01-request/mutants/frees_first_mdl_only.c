/* Breaks rule 5: takes a chain of MDLs for one. */
void io_unlock_buffer(struct irp *irp)
{
	struct mdl *mdl = irp->mdl_address;

	if (mdl == NULL)
		return;
	mm_unlock_pages(mdl);
	io_free_mdl(mdl);
	irp->mdl_address = NULL;
}
