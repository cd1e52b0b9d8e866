/* Breaks rule 3: drops the reference of a turn also when the connection goes back. */
static void put_back(struct list_entry *list, struct list_entry *entry, struct ksock_conn *conn,
		     bool again)
{
	if (again)
		insert_tail_list(list, entry);
	ksocknal_conn_decref_locked(conn);
}
