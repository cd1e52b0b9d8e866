/* Breaks rule 14: goes away while accepts are in progress. */
void tdi_stop_daemon(struct tdi_daemon *daemon)
{
	tdi_wake_daemon(daemon);
	for (;;) {
		struct tdi_stream *child = take_any(daemon);

		if (child == NULL)
			break;
		tdi_delete_stream(child);
	}
	tdi_close(&daemon->address); /* no call is being answered any more */
	stat_remove_block(&daemon->counters);
}
