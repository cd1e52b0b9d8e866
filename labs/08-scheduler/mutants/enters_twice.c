/* Breaks rule 1: puts a connection into the list though it is in it. */
static void schedule_rx(struct ksock_conn *conn)
{
	conn->rx_ready = true;
	conn->rx_scheduled = true;
	put_into(&conn->sched->rx_conns, &conn->rx_entry, conn);
}
