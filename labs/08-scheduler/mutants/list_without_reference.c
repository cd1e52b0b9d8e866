/* Breaks rule 3: a list takes no reference. */
static void put_into(struct list_entry *list, struct list_entry *entry, struct ksock_conn *conn)
{
	if (conn->threaded) {
		ke_set_event(&conn->work);
		return;
	}
	insert_tail_list(list, entry);
	wake(conn->sched);
}
