/* Breaks rule 8: loses the place of a child whose accept has failed: in the end the daemon is deaf.
 */
static ntstatus accept_completed(struct device_object *device, struct irp *irp, void *context)
{
	struct tdi_stream *child = context;
	struct tdi_daemon *daemon = child->daemon;
	bool stands = nt_success(irp->io_status.status);
	kirql irql;

	(void)device;
	io_reuse_irp(irp, STATUS_SUCCESS); /* while it is surely ours */
	irql = ke_acquire_spin_lock(&daemon->lock);
	stat_count(&daemon->counters, TDI_DAEMON_SETTLED, 1);
	stat_count(&daemon->counters, stands ? TDI_DAEMON_ESTABLISHED : TDI_DAEMON_FAILED, 1);
	if (stands)
		insert_tail_list(&daemon->accepted, &child->entry);
	ke_set_event(&daemon->arrived);
	ke_release_spin_lock(&daemon->lock, irql);
	return STATUS_MORE_PROCESSING_REQUIRED;
}
