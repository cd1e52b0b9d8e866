/* Breaks rule 10: clears tx_ready when the send has begun. */
static struct ksock_batch *next_batch(struct ksock_conn *conn, struct ksock_batch *last,
				      struct ksock_batch **hand)
{
	struct ksock_batch *batch = NULL;
	struct list_entry done;
	kirql irql;

	initialize_list_head(&done);
	irql = ke_acquire_spin_lock(&conn->peer->lock);
	if (last != NULL) {
		finish_txs(last, &done);
		conn->tx_batches++;
	}
	if (ksocknal_has_output(conn)) {
		batch = begin_batch(conn, &last, hand);
		if (!in_midst_of_message(conn))
			ksocknal_pack_owed(conn, batch);
		take_txs(conn, batch);
	}
	/* Until the batch is done; and before it is sent, lest its completion come first. */
	conn->tx_scheduled = batch != NULL;
	ke_release_spin_lock(&conn->peer->lock, irql);
	if (last != NULL)
		put_away(conn, last, hand);
	ksocknal_txlist_done(&done);
	return batch;
}

static ntstatus transmit(struct ksock_conn *conn, struct ksock_batch *batch)
{
	ob_initialize_reference(&batch->references, 2);
	io_reuse_irp(batch->irp, STATUS_SUCCESS);
	tdi_build_send(batch->irp, &conn->stream->file, batch_sent, batch, batch->pieces, 0,
		       batch->bytes);
	conn->sent.batches++;
	conn->sent.messages += batch->messages;
	conn->sent.bytes += batch->bytes;
	io_call_driver(io_get_related_device_object(&conn->stream->file), batch->irp);
	conn->tx_ready = false;
	if (!ob_dereference(&batch->references))
		return STATUS_PENDING;
	return batch->status;
}
