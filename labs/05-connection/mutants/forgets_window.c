/* Breaks rule 13: deletes a stream whose sends still wait for room. */
void tdi_delete_stream(struct tdi_stream *stream)
{
	tdi_close_receive_queue(&stream->normal);
	tdi_close_receive_queue(&stream->expedited);
	tdi_close(&stream->file);
	tdi_remove_send_window(&stream->window);
	if (stream->accept_irp != NULL)
		io_free_irp(stream->accept_irp);
	ex_free_pool(stream);
}
