/* Breaks rule 12: takes STATUS_PENDING for a send that is not done yet. */
static ntstatus transmit(struct ksock_conn *conn, struct ksock_batch *batch)
{
	ntstatus status;

	ob_initialize_reference(&batch->references, 2);
	io_reuse_irp(batch->irp, STATUS_SUCCESS);
	tdi_build_send(batch->irp, &conn->stream->file, batch_sent, batch, batch->pieces, 0,
		       batch->bytes);
	conn->sent.batches++;
	conn->sent.messages += batch->messages;
	conn->sent.bytes += batch->bytes;
	status = io_call_driver(io_get_related_device_object(&conn->stream->file), batch->irp);
	ob_dereference(&batch->references);
	return status;
}
