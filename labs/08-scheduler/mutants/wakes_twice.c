/* Breaks rule 5: wakes a scheduler that is at work. */
static void wake(struct ksock_sched *sched)
{
	sched->busy = true;
	stat_count(&sched->counters, LNET_SCHED_WAKEUPS, 1);
	ex_queue_work_item(&sched->work);
}
