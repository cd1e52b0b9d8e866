/* Breaks rule 3: looks at the request again after a routine may have freed it. */
void io_complete_request_at(struct irp *irp, const struct ke_site *site)
{
	if (!is_held_by_driver(irp))
		ke_bug_check_at(site, "REQ-DOUBLE-COMPLETE",
				"a request is completed that no driver holds");
	while (is_held_by_driver(irp)) {
		struct io_stack_location *left = irp->current_location++;
		struct device_object *above;

		irp->stack_index++;
		irp->pending_returned = (left->control & SL_PENDING_RETURNED) != 0;
		above = is_held_by_driver(irp) ? irp->current_location->device_object : NULL;
		if (wants_to_know(left, irp)) {
			if (left->completion_routine(above, irp, left->context) ==
			    STATUS_MORE_PROCESSING_REQUIRED) {
				irp->pending_returned = false;
				return;
			}
		} else if (irp->pending_returned && above != NULL) {
			irp->current_location->control |= SL_PENDING_RETURNED;
		}
	}
	if (!(irp->flags & IRP_SYNCHRONOUS_API))
		ke_bug_check_at(
			site, "REQ-LOST",
			"a request of io_allocate_irp's is completed and no routine took it back");
	finish_synchronous_api(irp);
}
