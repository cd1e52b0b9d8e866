/* Breaks rule 11: counts a child before it is there, and owes its place for ever. */
static ntstatus replenish(struct tdi_daemon *daemon)
{
	ntstatus status = STATUS_SUCCESS;

	while (daemon->standing < daemon->backlog) {
		struct tdi_stream *child;
		kirql irql;

		daemon->standing++;
		child = create_child(daemon, &status);
		if (child == NULL)
			return status;
		irql = ke_acquire_spin_lock(&daemon->lock);
		insert_tail_list(&daemon->vacant, &child->entry);
		ke_release_spin_lock(&daemon->lock, irql);
	}
	return STATUS_SUCCESS;
}
