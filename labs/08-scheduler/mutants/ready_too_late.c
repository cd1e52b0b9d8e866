/* Breaks rule 10: clears tx_ready when the send has begun. */
static bool next_batch(struct ksock_conn *conn, struct ksock_batch *finished,
		       struct ksock_batch *batch, struct load *load)
{
	struct list_entry done;
	kirql irql;
	bool any;

	initialize_list_head(&done);
	irql = ke_acquire_spin_lock(&conn->peer->lock);
	if (finished != NULL) {
		finish_txs(finished, &done);
		conn->tx_batches++;
	}
	begin_batch(batch, conn);
	any = ksocknal_has_output(conn);
	if (any && !in_midst_of_message(conn))
		take_the_rest(conn, load);
	take_txs(conn, batch, load);
	/* Until the batch is done; and before it is sent, lest its completion come first. */
	conn->tx_scheduled = any;
	ke_release_spin_lock(&conn->peer->lock, irql);
	ksocknal_txlist_done(&done);
	return any;
}

static ntstatus transmit(struct ksock_conn *conn, struct ksock_batch *batch)
{
	ob_initialize_reference(&batch->references, 2);
	io_reuse_irp(batch->irp, STATUS_SUCCESS);
	tdi_build_send(batch->irp, &conn->stream->file, batch_sent, batch, batch->pieces, 0,
		       batch->bytes);
	conn->sent.batches++;
	conn->sent.bytes += batch->bytes;
	io_call_driver(io_get_related_device_object(&conn->stream->file), batch->irp);
	conn->tx_ready = false;
	if (!ob_dereference(&batch->references))
		return STATUS_PENDING;
	return batch->status;
}
