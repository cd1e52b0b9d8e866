/* Breaks rule 3: keeps the reference of the list of the starved. */
static void return_batch(struct ksock_sched *sched, struct ksock_batch *batch)
{
	struct list_entry *entry = remove_head_list(&sched->starved);

	insert_head_list(&sched->batches, &batch->entry);
	if (entry != NULL) {
		struct ksock_conn *conn =
			containing_record(entry, struct ksock_conn, starved_entry);

		conn->starved = false;
		put_into(&sched->tx_conns, &conn->tx_entry, conn);
	}
}
