/* Breaks rule 13: takes the last message first. */
static void take_txs(struct ksock_conn *conn, struct ksock_batch *batch, struct load *load)
{
	while (!is_list_empty(&conn->tx_queue) && load->bytes < KSOCK_BATCH_BYTES) {
		struct ksock_tx *tx =
			containing_record(conn->tx_queue.next, struct ksock_tx, entry);

		if (!take_whole(load, tx)) {
			if (!is_copied(tx) && load->pieces + 2 <= KSOCK_BATCH_PIECES &&
			    load->staged + staged_bytes(tx) <= KSOCK_STAGING_BYTES)
				load->partial = tx;
			return;
		}
		remove_entry_list(&tx->entry);
		insert_head_list(&batch->txs, &tx->entry);
	}
}
