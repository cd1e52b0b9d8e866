/* Breaks rule 1: calls the lower driver without telling it in its location who it is. */
ntstatus io_call_driver_at(struct device_object *device, struct irp *irp,
			   const struct ke_site *site)
{
	struct io_stack_location *location;

	irp->stack_index--;
	location = --irp->current_location;
	if (device->driver_object->major_function[location->major_function] == NULL)
		return io_finish_request_at(irp, STATUS_INVALID_DEVICE_REQUEST, 0, site);
	return device->driver_object->major_function[location->major_function](device, irp);
}
