/* Breaks rule 13: sends smaller messages before one that has no room. */
static void take_txs(struct ksock_conn *conn, struct ksock_batch *batch, struct load *load)
{
	struct list_entry *entry, *next;

	for (entry = conn->tx_queue.next;
	     entry != &conn->tx_queue && load->bytes < KSOCK_BATCH_BYTES; entry = next) {
		struct ksock_tx *tx = containing_record(entry, struct ksock_tx, entry);

		next = entry->next;

		if (!take_whole(load, tx)) {
			if (!is_copied(tx) && load->pieces + 2 <= KSOCK_BATCH_PIECES &&
			    load->staged + staged_bytes(tx) <= KSOCK_STAGING_BYTES)
				load->partial = tx;
			continue;
		}
		remove_entry_list(&tx->entry);
		insert_tail_list(&batch->txs, &tx->entry);
	}
}
