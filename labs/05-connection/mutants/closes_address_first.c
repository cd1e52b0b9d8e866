/* Breaks rule 14: closes the address while children are open. */
void tdi_stop_daemon(struct tdi_daemon *daemon)
{
	tdi_wake_daemon(daemon);
	tdi_close(&daemon->address);
	while (daemon->standing > 0) {
		struct tdi_stream *child = take_any(daemon);

		if (child != NULL) {
			daemon->standing--;
			tdi_delete_stream(child);
		} else { /* each accept that completes sets the event */
			ke_wait_for_single_object(&daemon->arrived, KE_WAIT_FOREVER);
		}
	}
	stat_remove_block(&daemon->counters);
}
