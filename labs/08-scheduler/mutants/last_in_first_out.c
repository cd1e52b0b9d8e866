/* Breaks rule 13: takes the last message first. */
static void take_txs(struct ksock_conn *conn, struct ksock_batch *batch)
{
	while (is_list_empty(&conn->open) && !is_list_empty(&conn->tx_queue) &&
	       batch->bytes < KSOCK_BATCH_BYTES) {
		struct ksock_tx *tx =
			containing_record(conn->tx_queue.prev, struct ksock_tx, entry);

		if (!ksocknal_pack_tx(tx, batch))
			return; /* of what is left of it a part can be in the batch */
		remove_entry_list(&tx->entry);
		insert_tail_list(&batch->txs, &tx->entry);
	}
}
