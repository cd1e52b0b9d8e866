/* Breaks rule 4: a connection that needs another turn goes to the head of its list. */
static void put_back(struct list_entry *list, struct list_entry *entry, struct ksock_conn *conn,
		     bool again)
{
	if (again)
		insert_head_list(list, entry);
	else
		ksocknal_conn_decref_locked(conn); /* the turn's */
}
