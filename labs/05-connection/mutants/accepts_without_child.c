/* Breaks rule 7: accepts a peer for which there is no child. */
static ntstatus peer_calls(void *event_context, const struct transport_address *remote,
			   struct irp **accept_irp)
{
	struct tdi_stream *child;
	ntstatus status = choose_child(event_context, &child);

	if (status == STATUS_INSUFFICIENT_RESOURCES)
		return STATUS_MORE_PROCESSING_REQUIRED;
	if (!nt_success(status))
		return status;
	child->remote = *remote;
	tdi_build_accept(child->accept_irp, &child->file, accept_completed, child);
	*accept_irp = child->accept_irp;
	return STATUS_MORE_PROCESSING_REQUIRED; /* with the request goes the child */
}
