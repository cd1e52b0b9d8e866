/* Breaks rule 1: builds a request for a thread that waits, and does not wait. */
static struct send_context *allocate_send(struct file_object *connection,
					  tdi_completion_callback *callback, void *context)
{
	struct send_context *send = ex_allocate_pool(sizeof(*send));
	struct io_status_block iosb;
	struct kevent event;

	if (send == NULL)
		return NULL;
	ke_initialize_event(&event, NOTIFICATION_EVENT, false);
	send->irp = tdi_build_internal_device_control_irp(connection, &event, &iosb);
	if (send->irp == NULL) {
		ex_free_pool(send);
		return NULL;
	}
	ob_initialize_reference(&send->references, 2);
	send->callback = callback;
	send->callback_context = context;
	send->counters = &connection->client[TDI_COUNTS_SEND_ASYNC];
	return send;
}
