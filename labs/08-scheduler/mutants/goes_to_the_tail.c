/* Breaks rule 13: the rest of a message that is too long goes behind the others. */
static void take_txs(struct ksock_conn *conn, struct ksock_batch *batch)
{
	while (is_list_empty(&conn->open) && !is_list_empty(&conn->tx_queue) &&
	       batch->bytes < KSOCK_BATCH_BYTES) {
		struct ksock_tx *tx =
			containing_record(conn->tx_queue.next, struct ksock_tx, entry);

		if (!ksocknal_pack_tx(tx, batch)) {
			remove_entry_list(&tx->entry);
			insert_tail_list(&conn->tx_queue, &tx->entry);
			return;
		}
		remove_entry_list(&tx->entry);
		insert_tail_list(&batch->txs, &tx->entry);
	}
}
