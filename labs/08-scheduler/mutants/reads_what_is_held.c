/* Breaks rule 7: any news lets a connection go on that an owner holds. */
static void schedule_rx(struct ksock_conn *conn)
{
	conn->rx_ready = true;
	conn->resumed = true;
	if (conn->rx_scheduled)
		return;
	conn->rx_scheduled = true;
	put_into(&conn->sched->rx_conns, &conn->rx_entry, conn);
}
