/* Breaks rule 13: sends smaller messages before one that has no room. */
static void take_txs(struct ksock_conn *conn, struct ksock_batch *batch)
{
	struct list_entry *entry, *next;

	for (entry = conn->tx_queue.next; is_list_empty(&conn->open) && entry != &conn->tx_queue &&
					  batch->bytes < KSOCK_BATCH_BYTES;
	     entry = next) {
		struct ksock_tx *tx = containing_record(entry, struct ksock_tx, entry);

		next = entry->next;
		if (!ksocknal_pack_tx(tx, batch))
			continue;
		remove_entry_list(&tx->entry);
		insert_tail_list(&batch->txs, &tx->entry);
	}
}
