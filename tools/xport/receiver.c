/*
 * Receiving with several buffers, see receiver.h.
 *
 * The life of a buffer. Receives complete in the order in which they were started, so the buffers
 * form a ring: the thread waits for the oldest one's event, writes what it holds, starts a receive
 * into it again, and goes on to the next. Between the start and the event the buffer is the
 * transport's; the event also carries the outcome from the callback to the thread, so that no lock
 * is needed.
 *
 * The end. The stream's end, or an error, ends every receive that is outstanding. The thread starts
 * no more, and waits for each before the ring is freed.
 */
#include "receiver.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "output.h"

struct receive_slot {
	struct kevent done; /* the fields below are the thread's again */
	ntstatus status;
	uint32_t bytes;
	bool started; /* a receive that nobody has waited for; the thread's own */
	void *buffer;
};

struct receiver {
	struct file_object *connection;
	const struct receive_options *options;
	struct receive_report *report;
	struct receive_slot slots[RECEIVE_BUFFERS];
	char *buffers;
};

static void receive_completed(void *context, ntstatus status, uint32_t bytes)
{
	struct receive_slot *slot = context;

	slot->status = status;
	slot->bytes = bytes;
	ke_set_event(&slot->done); /* the last touch: the thread may free the ring now */
}

static void start(struct receiver *receiver, struct receive_slot *slot)
{
	slot->started = true;
	tdi_start_receive_buffer(receiver->connection, slot->buffer, RECEIVE_BUFFER_BYTES, 0,
				 receive_completed, slot);
}

static ntstatus wait_for(struct receive_slot *slot, uint64_t timeout_ns)
{
	int64_t timeout = timeout_ns > 0 ? (int64_t)timeout_ns : KE_WAIT_FOREVER;

	if (ke_wait_for_single_object(&slot->done, timeout) == STATUS_TIMEOUT)
		return STATUS_IO_TIMEOUT;
	slot->started = false;
	return slot->status;
}

static ntstatus take(struct receiver *receiver, const struct receive_slot *slot)
{
	const struct receive_options *options = receiver->options;
	struct receive_report *report = receiver->report;

	report->last_ns = ke_query_interrupt_time();
	if (report->first_ns == 0)
		report->first_ns = report->last_ns;
	if (options->fd >= 0)
		report->file_error = output_write(options->fd, slot->buffer, slot->bytes);
	if (report->file_error != 0)
		return STATUS_CANCELLED;
	if (options->sha256 != NULL)
		sha256_update(options->sha256, slot->bytes, slot->buffer);
	report->bytes += slot->bytes;
	return STATUS_SUCCESS;
}

static ntstatus receive_all(struct receiver *receiver)
{
	for (unsigned i = 0; i < RECEIVE_BUFFERS; i++)
		start(receiver, &receiver->slots[i]);
	for (unsigned i = 0;; i = (i + 1) % RECEIVE_BUFFERS) {
		struct receive_slot *slot = &receiver->slots[i];
		ntstatus status = wait_for(slot, receiver->options->timeout_ns);

		if (nt_success(status))
			status = take(receiver, slot);
		if (!nt_success(status))
			return status;
		start(receiver, slot);
	}
}

ntstatus receive_file(struct file_object *connection, const struct receive_options *options,
		      struct receive_report *report)
{
	struct receiver receiver = {.connection = connection, .options = options, .report = report};
	size_t bytes = (size_t)RECEIVE_BUFFERS * RECEIVE_BUFFER_BYTES;
	ntstatus status = STATUS_INSUFFICIENT_RESOURCES;

	*report = (struct receive_report){0};
	receiver.buffers =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (receiver.buffers != MAP_FAILED) {
		madvise(receiver.buffers, bytes,
			MADV_HUGEPAGE); /* see allocate_slots in sender.c */
		for (unsigned i = 0; i < RECEIVE_BUFFERS; i++) {
			struct receive_slot *slot = &receiver.slots[i];

			ke_initialize_event(&slot->done, SYNCHRONIZATION_EVENT, false);
			slot->buffer = receiver.buffers + (size_t)i * RECEIVE_BUFFER_BYTES;
		}
		status = receive_all(&receiver);
	}
	if (status != STATUS_GRACEFUL_DISCONNECT)
		tdi_disconnect(connection, TDI_DISCONNECT_ABORT);
	for (unsigned i = 0; i < RECEIVE_BUFFERS; i++)
		if (receiver.slots[i].started)
			wait_for(&receiver.slots[i], 0);
	if (receiver.buffers != MAP_FAILED)
		munmap(receiver.buffers, bytes);
	return status == STATUS_GRACEFUL_DISCONNECT ? STATUS_SUCCESS : status;
}
