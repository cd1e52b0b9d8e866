/* Breaks rule 3: the reference of a turn is not dropped. */
static void put_back(struct list_entry *list, struct list_entry *entry, struct ksock_conn *conn,
		     bool again)
{
	if (again)
		insert_tail_list(list, entry);
}
