/* Breaks rule 7: accepts callers until the address is closed. */
static ntstatus choose_child(struct tdi_daemon *daemon, struct tdi_stream **child)
{
	kirql irql = ke_acquire_spin_lock(&daemon->lock);
	ntstatus status = STATUS_SUCCESS;

	*child = first_child(&daemon->vacant);
	if (*child == NULL)
		status = STATUS_INSUFFICIENT_RESOURCES;
	stat_count(&daemon->counters, TDI_DAEMON_CALLED, 1);
	stat_count(&daemon->counters, *child != NULL ? TDI_DAEMON_ACCEPTED : TDI_DAEMON_REFUSED, 1);
	ke_release_spin_lock(&daemon->lock, irql);
	return status;
}
