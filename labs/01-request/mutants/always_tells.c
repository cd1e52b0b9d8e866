/* Breaks rule 2: runs a routine whether it was set for the case or not. */
static bool wants_to_know(const struct io_stack_location *location, const struct irp *irp)
{
	(void)irp;
	return location->completion_routine != NULL;
}
