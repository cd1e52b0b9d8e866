/* Breaks rule 8: waits for a batch without looking for one under the same hold. */
struct ksock_batch *ksocknal_take_batch(struct ksock_conn *conn)
{
	struct ksock_sched *sched = conn->sched;
	kirql irql = ke_acquire_spin_lock(&sched->lock);
	struct ksock_batch *batch = idle_batch(sched);

	ke_release_spin_lock(&sched->lock, irql);
	if (batch != NULL)
		return batch;
	batch = ksocknal_create_batch(conn->node->options.device);
	irql = ke_acquire_spin_lock(&sched->lock);
	stat_count(&sched->counters, LNET_SCHED_ALLOCATIONS, 1);
	if (batch == NULL && !conn->starved) {
		conn->starved = true;
		conn->references++; /* the list's */
		insert_tail_list(&sched->starved, &conn->starved_entry);
	}
	ke_release_spin_lock(&sched->lock, irql);
	return batch;
}
