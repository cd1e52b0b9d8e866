/* Breaks rule 13: closes the endpoint while the queue still has what the transport lent. */
void tdi_delete_stream(struct tdi_stream *stream)
{
	tdi_close(&stream->file);
	end_stream(stream, STATUS_LOCAL_DISCONNECT);
	tdi_remove_send_window(&stream->window);
	if (stream->accept_irp != NULL)
		io_free_irp(stream->accept_irp);
	ex_free_pool(stream);
}
