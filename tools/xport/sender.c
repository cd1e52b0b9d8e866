/*
 * Sending with one or many sends under way, see sender.h.
 *
 * The life of a slot. Each of `depth` slots is a buffer of one block. The sending thread takes a
 * free one, reads the file into it and starts a send; from then on the buffer is the transport's,
 * until the callback puts the slot back on the list. The slot that became free last is taken first,
 * because its memory is still in the cache: over a transport that buffers, one slot does most of
 * the work.
 *
 * The callback runs at up to DISPATCH_LEVEL, on any processor, perhaps within the call that started
 * the send. `lock` guards what it shares with the sending thread. It sets the event with the lock
 * held, and the thread looks at the state only with the lock held: so that when the thread finds
 * the last send completed and returns, no callback has any business left with the structure, which
 * lives on the thread's stack.
 *
 * With a window nothing changes but where a send is given to; it goes out by pieces then, also from
 * news of room, at DISPATCH_LEVEL: so the buffers are pool memory.
 */
#include "sender.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct sender;

struct slot {
	struct sender *sender;
	struct tdi_window_send send; /* the window's, while the buffer is */
	struct slot *next;	     /* on the list of free slots */
	void *buffer; /* NULL when the source is memory, which is sent from where it is */
};

/* The clock readings, all guarded by the sender's lock. */
struct measure {
	uint64_t outstanding;	  /* sends under way */
	uint64_t changed_ns;	  /* when that changed last */
	uint64_t send_time;	  /* its integral up to then, in sends x nanoseconds */
	uint64_t start_ns;	  /* when the last send was started so far */
	uint64_t start_send_time; /* and the integral then */
	uint64_t warm_up_blocks;
	uint64_t window_ns; /* when the window opened, 0 if it has not; and what was so far: */
	uint64_t window_bytes;
	uint64_t window_send_time;
};

struct sender {
	struct file_object *connection;
	const struct send_options *options;
	struct send_report *report;
	uint64_t offset; /* read from the source so far */
	bool gave_up;	 /* before its end */

	struct kspin_lock lock;
	struct kevent progressed; /* a send has completed since the thread looked */
	struct slot *free;
	ntstatus status; /* of the first send that failed, or STATUS_SUCCESS */
	struct measure measure;

	struct slot *slots;
	void *buffers;
	size_t buffers_bytes;
};

/* ---- Measuring, with the lock held --------------------------------------------------------- */

static uint64_t change_outstanding(struct measure *measure, int change)
{
	uint64_t now = ke_query_interrupt_time();

	measure->send_time += measure->outstanding * (now - measure->changed_ns);
	measure->changed_ns = now;
	measure->outstanding += (uint64_t)(int64_t)change;
	return now;
}

static void note_start(struct sender *sender)
{
	struct measure *measure = &sender->measure;

	measure->start_ns = change_outstanding(measure, 1);
	measure->start_send_time = measure->send_time;
	if (sender->report->first_start_ns == 0)
		sender->report->first_start_ns = measure->start_ns;
}

static void note_completion(struct sender *sender, ntstatus status, uint32_t bytes)
{
	struct measure *measure = &sender->measure;
	struct send_report *report = sender->report;
	uint64_t now = change_outstanding(measure, -1);

	if (!nt_success(status)) {
		if (nt_success(sender->status))
			sender->status = status;
		return;
	}
	report->bytes += bytes;
	report->blocks++;
	if (report->first_completion_ns == 0)
		report->first_completion_ns = now;
	report->last_completion_ns = now;
	if (report->blocks == measure->warm_up_blocks) {
		measure->window_ns = now;
		measure->window_bytes = report->bytes;
		measure->window_send_time = measure->send_time;
	}
}

/* All sends have completed: from the readings to the figures. */
static void finish_report(struct sender *sender)
{
	struct measure *measure = &sender->measure;
	struct send_report *report = sender->report;
	uint64_t depth_ns;

	report->window_too_short =
		measure->window_ns == 0 || report->blocks < 2 * measure->warm_up_blocks;
	if (report->window_too_short) {
		measure->window_ns = report->first_start_ns;
		measure->window_bytes = 0;
		measure->window_send_time = 0;
	}
	if (report->last_completion_ns > measure->window_ns) {
		report->seconds = (double)(report->last_completion_ns - measure->window_ns) / 1e9;
		report->bytes_per_second =
			(double)(report->bytes - measure->window_bytes) / report->seconds;
	}
	/* A single send was started once and never in between: then the drain has to do. */
	if (report->window_too_short && report->blocks <= 1) {
		measure->start_ns = measure->changed_ns;
		measure->start_send_time = measure->send_time;
	}
	depth_ns = measure->start_ns - measure->window_ns;
	if (measure->start_ns > measure->window_ns)
		report->effective_depth =
			(double)(measure->start_send_time - measure->window_send_time) /
			(double)depth_ns;
}

/* ---- The source ---------------------------------------------------------------------------- */

/* How much of a block the limit still allows. */
static uint64_t allowed_bytes(const struct sender *sender)
{
	uint64_t block = sender->options->block_bytes;
	uint64_t limit = sender->options->limit_bytes;

	if (limit == 0)
		return block;
	return limit - sender->offset < block ? limit - sender->offset : block;
}

/* Waits until the source has something to say; false when that is of no use any longer. */
static bool wait_for_source(const struct send_options *options)
{
	struct pollfd watched[] = {{.fd = options->fd, .events = POLLIN},
				   {.fd = options->stop_fd, .events = POLLIN}};

	if (!options->watch_stop)
		return true;
	while (poll(watched, 2, -1) < 0 && errno == EINTR)
		;
	return watched[1].revents == 0;
}

static ssize_t read_source(struct sender *sender, void *buffer, size_t length)
{
	ssize_t got;

	do
		got = read(sender->options->fd, buffer, length);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		sender->report->file_error = errno;
	return got;
}

/*
 * The next block: its length, 0 at the end, -1 when there will be none. One read makes one block: a
 * file gives full ones, and what trickles out of a pipe is passed on as it comes.
 */
static int64_t next_block(struct sender *sender, void *buffer, const void **block)
{
	const struct send_options *options = sender->options;
	uint64_t allowed = allowed_bytes(sender);
	int64_t length = -1;

	if (options->memory != NULL) {
		uint64_t left = options->memory_bytes - sender->offset;

		*block = (const char *)options->memory + sender->offset;
		length = (int64_t)(left < allowed ? left : allowed);
	} else if (wait_for_source(options)) {
		*block = buffer;
		length = read_source(sender, buffer, allowed);
	}
	if (length > 0)
		sender->offset += (uint64_t)length;
	sender->gave_up = length < 0;
	return length;
}

/* ---- Many under way ------------------------------------------------------------------------ */

static void send_completed(void *context, ntstatus status, uint32_t bytes)
{
	struct slot *slot = context;
	struct sender *sender = slot->sender;
	kirql irql = ke_acquire_spin_lock(&sender->lock);

	note_completion(sender, status, bytes);
	slot->next = sender->free;
	sender->free = slot;
	ke_set_event(&sender->progressed);
	ke_release_spin_lock(&sender->lock, irql);
}

/* Waits for a free slot; NULL after a send has failed. */
static struct slot *take_slot(struct sender *sender)
{
	for (;;) {
		kirql irql = ke_acquire_spin_lock(&sender->lock);
		bool failed = !nt_success(sender->status);
		struct slot *slot = failed ? NULL : sender->free;

		if (slot != NULL)
			sender->free = slot->next;
		ke_release_spin_lock(&sender->lock, irql);
		if (failed || slot != NULL)
			return slot;
		ke_wait_for_single_object(&sender->progressed, KE_WAIT_FOREVER);
	}
}

static void start_send(struct sender *sender, struct slot *slot, const void *block, uint32_t length)
{
	const struct send_options *options = sender->options;

	if (options->mode == SEND_NONBLOCKING)
		tdi_window_send(options->window, &slot->send, block, length, send_completed, slot);
	else
		tdi_start_send_buffer(sender->connection, block, length, 0, send_completed, slot);
}

/* What is under way ends, and what waits for room. */
static void abort_sends(struct sender *sender)
{
	if (sender->options->mode == SEND_NONBLOCKING)
		tdi_end_send_window(sender->options->window, STATUS_CANCELLED);
	tdi_disconnect(sender->connection, TDI_DISCONNECT_ABORT);
}

/* After a failure what is under way is of no use any more, and the peer may never take it. */
static void wait_for_all(struct sender *sender)
{
	bool aborted = false;

	for (;;) {
		kirql irql = ke_acquire_spin_lock(&sender->lock);
		bool done = sender->measure.outstanding == 0;
		bool failed = !nt_success(sender->status) || sender->gave_up;

		ke_release_spin_lock(&sender->lock, irql);
		if (failed && !aborted)
			abort_sends(sender);
		aborted = failed;
		if (done)
			return;
		ke_wait_for_single_object(&sender->progressed, KE_WAIT_FOREVER);
	}
}

static void send_async(struct sender *sender)
{
	struct slot *slot;

	while ((slot = take_slot(sender)) != NULL) {
		const void *block;
		int64_t length = next_block(sender, slot->buffer, &block);
		kirql irql;

		if (length <= 0)
			break;
		irql = ke_acquire_spin_lock(&sender->lock);
		note_start(sender);
		ke_release_spin_lock(&sender->lock, irql);
		start_send(sender, slot, block, (uint32_t)length);
	}
	wait_for_all(sender);
}

/* ---- One at a time ------------------------------------------------------------------------- */

/* Nobody else is there, so the lock is not needed. */
static void send_sync(struct sender *sender)
{
	const void *block;
	int64_t length;

	while ((length = next_block(sender, sender->buffers, &block)) > 0) {
		int64_t sent;

		note_start(sender);
		sent = tdi_send_stream(sender->connection, block, (uint32_t)length, 0);
		note_completion(sender, sent < 0 ? (ntstatus)sent : STATUS_SUCCESS,
				sent < 0 ? 0 : (uint32_t)sent);
		if (sent < 0)
			break;
	}
	if (length != 0)
		tdi_disconnect(sender->connection, TDI_DISCONNECT_ABORT);
}

/* ---- The whole ----------------------------------------------------------------------------- */

/*
 * Memory for the blocks, or NULL. Whole pages, untouched until they are used: a depth that the
 * connection never reaches costs address space only. Large ones where there are some, because the
 * transport looks at every page of a buffer for every send, which with small ones is a twentieth of
 * all the work.
 */
static void *allocate_buffers(const struct sender *sender)
{
	void *buffers;

	if (sender->options->mode == SEND_NONBLOCKING)
		return ex_allocate_pool(sender->buffers_bytes);
	buffers = mmap(NULL, sender->buffers_bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (buffers == MAP_FAILED)
		return NULL;
	madvise(buffers, sender->buffers_bytes, MADV_HUGEPAGE);
	return buffers;
}

static bool allocate_slots(struct sender *sender, uint32_t depth)
{
	uint32_t block = sender->options->block_bytes;

	sender->slots = calloc(depth, sizeof(*sender->slots));
	if (sender->slots == NULL)
		return false;
	if (sender->options->memory == NULL) {
		sender->buffers_bytes = (size_t)depth * block;
		sender->buffers = allocate_buffers(sender);
		if (sender->buffers == NULL) {
			free(sender->slots);
			return false;
		}
	}
	for (uint32_t i = depth; i-- > 0;) {
		struct slot *slot = &sender->slots[i];

		slot->sender = sender;
		slot->buffer = sender->buffers == NULL
				       ? NULL
				       : (char *)sender->buffers + (size_t)i * block;
		slot->next = sender->free;
		sender->free = slot;
	}
	return true;
}

static void free_slots(struct sender *sender)
{
	if (sender->options->mode == SEND_NONBLOCKING)
		ex_free_pool(sender->buffers);
	else if (sender->buffers != NULL)
		munmap(sender->buffers, sender->buffers_bytes);
	free(sender->slots);
}

ntstatus send_file(struct file_object *connection, const struct send_options *options,
		   struct send_report *report)
{
	struct sender sender = {.connection = connection, .options = options, .report = report};
	uint32_t depth = options->mode == SEND_SYNC ? 1 : options->depth;

	*report = (struct send_report){0};
	ke_initialize_spin_lock(&sender.lock);
	ke_initialize_event(&sender.progressed, SYNCHRONIZATION_EVENT, false);
	sender.measure.warm_up_blocks = (uint64_t)SEND_WARM_UP_ROUNDS * depth;
	if (!allocate_slots(&sender, depth)) {
		tdi_disconnect(connection, TDI_DISCONNECT_ABORT);
		return STATUS_INSUFFICIENT_RESOURCES;
	}
	if (options->mode == SEND_SYNC)
		send_sync(&sender);
	else
		send_async(&sender);
	finish_report(&sender);
	if (options->mode == SEND_NONBLOCKING)
		for (uint32_t i = 0; i < TDI_FLOW_VALUES; i++)
			report->window[i] = stat_read(&options->window->counters, i);
	free_slots(&sender);
	return sender.gave_up && nt_success(sender.status) ? STATUS_CANCELLED : sender.status;
}
