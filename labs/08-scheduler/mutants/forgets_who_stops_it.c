/* Breaks rule 5: does not tell who stops it that it has come to its end. */
static void ksocknal_scheduler(void *context)
{
	struct ksock_sched *sched = context;
	kirql irql = ke_acquire_spin_lock(&sched->lock);
	struct ksock_batch *batch = idle_batch(sched); /* in hand for all turns */
	int turns = 0;

	while (turns < TURNS && take_turns(sched, &batch))
		turns++;
	sched->busy = turns == TURNS;
	if (batch != NULL)
		return_batch(sched, batch); /* who has waited for it may wake the scheduler again */
	ke_release_spin_lock(&sched->lock, irql);
	if (turns == TURNS)
		ex_queue_work_item(&sched->work); /* the processor's interrupts first */
}
