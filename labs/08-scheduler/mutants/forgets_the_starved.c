/* Breaks rule 8: a batch that comes back brings nobody a turn. */
static void return_batch(struct ksock_sched *sched, struct ksock_batch *batch)
{
	insert_head_list(&sched->batches, &batch->entry);
}
