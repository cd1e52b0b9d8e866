/* Breaks rule 8: keeps a loan that it has not taken, for its answer says that it is done. */
static ntstatus take_loan(struct tdi_receive_queue *queue, uint32_t length, uint32_t offset,
			  const struct mdl *mdl, void *descriptor)
{
	struct tdi_tsdu *loan;

	count(queue, TDI_COUNTS_CHAINED, 1);
	if (takes_no_more(queue))
		return STATUS_DATA_NOT_ACCEPTED;
	loan = allocate_loan(queue);
	if (loan == NULL) {
		queue->end = STATUS_INSUFFICIENT_RESOURCES;
		return STATUS_INSUFFICIENT_RESOURCES;
	}
	*loan = (struct tdi_tsdu){.kind = TDI_TSDU_MDL,
				  .offset = offset,
				  .length = length,
				  .mdl = mdl,
				  .descriptor = descriptor};
	skip_read_mdls(loan);
	insert_tail_list(&queue->tsdus, &loan->entry);
	queue->lent += length;
	count(queue, TDI_COUNTS_TAKEN, length);
	count(queue, TDI_COUNTS_LENT, length);
	count(queue, TDI_COUNTS_LOANS, 1);
	return STATUS_SUCCESS;
}
