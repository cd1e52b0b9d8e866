/* Breaks rule 13: takes a message whole for which there is no room. */
static void take_txs(struct ksock_conn *conn, struct ksock_batch *batch)
{
	while (is_list_empty(&conn->open) && !is_list_empty(&conn->tx_queue) &&
	       batch->bytes < KSOCK_BATCH_BYTES) {
		struct ksock_tx *tx =
			containing_record(conn->tx_queue.next, struct ksock_tx, entry);

		ksocknal_pack_tx(tx, batch);
		remove_entry_list(&tx->entry);
		insert_tail_list(&batch->txs, &tx->entry);
	}
}
