/* Breaks rule 13: takes a message whole for which there is no room. */
static void take_txs(struct ksock_conn *conn, struct ksock_batch *batch, struct load *load)
{
	while (!is_list_empty(&conn->tx_queue) && load->bytes < KSOCK_BATCH_BYTES) {
		struct ksock_tx *tx =
			containing_record(conn->tx_queue.next, struct ksock_tx, entry);

		take_whole(load, tx);
		remove_entry_list(&tx->entry);
		insert_tail_list(&batch->txs, &tx->entry);
	}
}
