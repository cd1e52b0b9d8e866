/* Breaks rule 4: leaves it to routines alone to pass the mark on; a driver without one loses it. */
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
		if (wants_to_know(left, irp) &&
		    left->completion_routine(above, irp, left->context) ==
			    STATUS_MORE_PROCESSING_REQUIRED)
			return;
	}
	if (!(irp->flags & IRP_SYNCHRONOUS_API))
		ke_bug_check_at(
			site, "REQ-LOST",
			"a request of io_allocate_irp's is completed and no routine took it back");
	finish_synchronous_api(irp);
}
