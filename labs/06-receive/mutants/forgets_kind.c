/* Breaks rule 6: asks for normal data, whatever kind of data was refused. */
static void start_receive(struct tdi_receive_queue *queue)
{
	struct tdi_tsdu *tsdu = queue->receiving;

	tdi_start_receive_buffer(queue->connection, bytes_behind(tsdu), tsdu->length,
				 TDI_RECEIVE_NORMAL, receive_done, queue);
}
