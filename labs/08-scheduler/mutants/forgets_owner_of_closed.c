/* Breaks rule 7: lnet_resume does nothing when the connection is closed. */
void lnet_resume(struct lnet_incoming *incoming)
{
	struct ksock_conn *conn = containing_record(incoming, struct ksock_conn, incoming);
	kirql irql = ke_acquire_spin_lock(&conn->sched->lock);

	if (conn->resumed)
		ke_bug_check("MSG-RESUME-MISUSE", "connection %llu is resumed a second time",
			     (unsigned long long)conn->number);
	conn->resumed = true;
	if (!conn->closing)
		schedule_rx(conn);
	ke_release_spin_lock(&conn->sched->lock, irql);
}
