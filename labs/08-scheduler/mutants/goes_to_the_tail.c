/* Breaks rule 13: the rest of a message that is too long goes behind the others. */
static void take_txs(struct ksock_conn *conn, struct ksock_batch *batch, struct load *load)
{
	while (!is_list_empty(&conn->tx_queue) && load->bytes < KSOCK_BATCH_BYTES) {
		struct ksock_tx *tx =
			containing_record(conn->tx_queue.next, struct ksock_tx, entry);

		if (!take_whole(load, tx)) {
			if (!is_copied(tx) && load->pieces + 2 <= KSOCK_BATCH_PIECES &&
			    load->staged + staged_bytes(tx) <= KSOCK_STAGING_BYTES)
				load->partial = tx;
			if (load->partial != NULL) {
				remove_entry_list(&tx->entry);
				insert_tail_list(&conn->tx_queue, &tx->entry);
			}
			return;
		}
		remove_entry_list(&tx->entry);
		insert_tail_list(&batch->txs, &tx->entry);
	}
}
