/* Breaks rule 11: counts those that were taken, too, as Tdinal did: the backlog bounds how many
 * live. */
static struct tdi_stream *take_accepted(struct tdi_daemon *daemon, ntstatus *status)
{
	kirql irql = ke_acquire_spin_lock(&daemon->lock);
	struct tdi_stream *child = daemon->stopping ? NULL : first_child(&daemon->accepted);

	*status = daemon->stopping ? STATUS_CANCELLED : STATUS_SUCCESS;
	if (child != NULL)
		stat_count(&daemon->counters, TDI_DAEMON_TAKEN, 1);
	ke_release_spin_lock(&daemon->lock, irql);
	if (child == NULL)
		return NULL;
	child->daemon = NULL;
	return child;
}
