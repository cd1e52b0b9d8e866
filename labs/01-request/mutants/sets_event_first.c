/* Breaks rule 5: wakes the waiter before its status is there; the waiter's stack may be gone. */
static void finish_synchronous_api(struct irp *irp)
{
	ke_set_event(irp->user_event);
	io_unlock_buffer(irp);
	*irp->user_iosb = irp->io_status;
	ex_free_pool(irp);
}
