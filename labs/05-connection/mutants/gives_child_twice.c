/* Breaks rule 6: leaves the child among the vacant ones until its accept has completed. */
static ntstatus choose_child(struct tdi_daemon *daemon, struct tdi_stream **child)
{
	kirql irql = ke_acquire_spin_lock(&daemon->lock);
	ntstatus status = STATUS_SUCCESS;

	*child = daemon->stopping
			 ? NULL
			 : containing_record(daemon->vacant.next, struct tdi_stream, entry);
	if (is_list_empty(&daemon->vacant))
		*child = NULL;
	if (*child == NULL)
		status = daemon->stopping ? STATUS_CONNECTION_REFUSED
					  : STATUS_INSUFFICIENT_RESOURCES;
	stat_count(&daemon->counters, TDI_DAEMON_CALLED, 1);
	stat_count(&daemon->counters, *child != NULL ? TDI_DAEMON_ACCEPTED : TDI_DAEMON_REFUSED, 1);
	ke_release_spin_lock(&daemon->lock, irql);
	return status;
}

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
	remove_entry_list(&child->entry);
	insert_tail_list(stands ? &daemon->accepted : &daemon->vacant, &child->entry);
	ke_set_event(&daemon->arrived);
	ke_release_spin_lock(&daemon->lock, irql);
	return STATUS_MORE_PROCESSING_REQUIRED;
}
