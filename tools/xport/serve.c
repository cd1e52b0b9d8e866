/*
 * Many senders, few threads; see serve.h.
 *
 * The life of a sender here, an intake:
 *
 *   accepted   the first thread takes the stream from the daemon, opens a partial file for it,
 *              watches it, and makes it ready
 *   waiting    nobody works on it. What comes is taken in by its stream's queue, as far as there is
 *              room; then the sender has to stop
 *   ready      its watcher, at DISPATCH_LEVEL, has put it on a list for the worker. `ready` sees to
 *              it that it stands there once
 *   working    the worker has taken it off, cleared `ready` and then looks into the queue: news of
 *              what comes later puts it on the list again. A turn has an end, so that a fast sender
 *              does not keep the others from theirs; who is not done goes to the end of the list
 *   over       the peer's end has come, or an error, or it was silent for too long. The worker
 *              names or discards the file and deletes the stream. After that no watcher runs any
 *              more: it takes the intake off the lists, where news may have put it, and frees it
 *
 * So a thousand senders are a thousand queues, and two threads. Whatever the worker waits for, a
 * slow disk or being stopped, it waits with all: memory stays bounded because queues are.
 *
 * The order at the end is the same as for a single file: it gets its name, then the connection is
 * released. So a sender that sees this side close knows that the file is there.
 *
 * On the first signal nobody is let in any more, and who is under way is served to the end.
 */
#include "serve.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>

#include "directory.h"
#include "interrupt.h"
#include "progress.h"
#include "received.h"
#include "tcp/tcp.h"
#include "tdi/stream.h"

enum {
	TURN_BYTES = 1024 * 1024,
	LOOK_NS = 100000000, /* the first thread looks around */
	LONGEST_WAIT_NS = 1000000000,
};

struct serve {
	const struct serve_options *options;
	struct device_object *device;
	struct tdi_daemon daemon;
	struct kthread worker;
	struct kspin_lock lock;	  /* of the fields that follow, and the intakes' */
	struct list_entry ready;  /* intakes with news */
	struct list_entry living; /* all intakes */
	uint64_t under_way;	  /* how many these are */
	bool closing;		  /* there will be no more */
	uint64_t bytes;		  /* in all */
	uint64_t whole;		  /* files */
	uint64_t failed;	  /* senders */
	struct kevent news;	  /* synchronization: `ready` has grown, or closing */
	struct kevent drained;	  /* notification: closing, and no intake is left */

	uint64_t looked_ns; /* when the worker last looked for silent senders; its own */
	bool told;	    /* that there are too few descriptors; the first thread's own */
};

struct intake {
	struct serve *serve;
	struct list_entry entry; /* on `ready` */
	struct list_entry living;
	bool ready;

	/* The worker's. */
	struct tdi_stream *stream;
	struct output output;
	struct sha256_ctx hash;
	uint64_t bytes;
	uint64_t begin_ns;
	uint64_t last_ns; /* bytes have come */
};

/* ---- Lists --------------------------------------------------------------------------------- */

/* With the lock held. */
static void make_ready(struct intake *intake)
{
	struct serve *serve = intake->serve;

	if (intake->ready)
		return;
	intake->ready = true;
	insert_tail_list(&serve->ready, &intake->entry);
	ke_set_event(&serve->news);
}

/* The stream's watcher: data or an end has come, or there is a rest. At up to DISPATCH. */
static void stream_has_news(void *context)
{
	struct intake *intake = context;
	struct serve *serve = intake->serve; /* the intake may be gone once the lock is free */
	kirql irql = ke_acquire_spin_lock(&serve->lock);

	make_ready(intake);
	ke_release_spin_lock(&serve->lock, irql);
}

/* The worker's next intake, or NULL. */
static struct intake *next_ready(struct serve *serve)
{
	kirql irql = ke_acquire_spin_lock(&serve->lock);
	struct list_entry *entry = remove_head_list(&serve->ready);
	struct intake *intake =
		entry != NULL ? containing_record(entry, struct intake, entry) : NULL;

	if (intake != NULL)
		intake->ready = false; /* before it is looked at: news from now on is newer */
	ke_release_spin_lock(&serve->lock, irql);
	return intake;
}

static bool nothing_left(struct serve *serve)
{
	kirql irql = ke_acquire_spin_lock(&serve->lock);
	bool left = !serve->closing || serve->under_way > 0;

	ke_release_spin_lock(&serve->lock, irql);
	return !left;
}

/* One that has nothing to be taken, and has sent nothing for too long. NULL: none. */
static struct intake *find_silent(struct serve *serve, uint64_t now)
{
	struct intake *silent = NULL;
	kirql irql = ke_acquire_spin_lock(&serve->lock);

	for (struct list_entry *e = serve->living.next; e != &serve->living; e = e->next) {
		struct intake *intake = containing_record(e, struct intake, living);

		if (!intake->ready && intake->last_ns + serve->options->timeout_ns <= now)
			silent = intake;
	}
	ke_release_spin_lock(&serve->lock, irql);
	return silent;
}

/* ---- The worker: the end of an intake ------------------------------------------------------ */

static void print_whole(struct intake *intake)
{
	const struct serve_options *options = intake->serve->options;
	const struct received received = {
		.peer = intake->stream->remote,
		.bytes = intake->bytes,
		.seconds = (double)(ke_query_interrupt_time() - intake->begin_ns) / 1e9,
		.hash = options->sha256 ? &intake->hash : NULL,
		.file = intake->output.path,
	};

	if (options->json) {
		print_received_json(&received);
	} else {
		print_received(stdout, &received);
		printf(": %s", received.file);
		if (received.hash != NULL)
			printf(", SHA-256 %s", hash_text(received.hash).text);
		puts("");
	}
	fflush(stdout); /* who waits for the file reads it here */
}

static bool name_file(struct intake *intake)
{
	int error = output_name(&intake->output);

	if (error != 0) {
		fail("%s: cannot write %s: %s", format_address(&intake->stream->remote).text,
		     intake->output.path, strerror(error));
		return false;
	}
	/* It has failed since if the sender has reset: too late to matter, the file is whole. */
	tdi_disconnect(&intake->stream->file, TDI_DISCONNECT_RELEASE);
	print_whole(intake);
	return true;
}

/* `whole`: the file has its name. Resets the sender unless released. */
static void end_intake(struct intake *intake, bool whole)
{
	struct serve *serve = intake->serve;
	kirql irql;

	tdi_delete_stream(intake->stream);
	if (whole)
		output_close(&intake->output);
	else
		output_discard(&intake->output);
	irql = ke_acquire_spin_lock(&serve->lock);
	remove_entry_list(&intake->living);
	serve->under_way--;
	if (intake->ready)
		remove_entry_list(&intake->entry);
	*(whole ? &serve->whole : &serve->failed) += 1;
	ke_release_spin_lock(&serve->lock, irql);
	ex_free_pool(intake);
}

/* ---- The worker: turns --------------------------------------------------------------------- */

/* Bytes at `bytes` into the file: 0 or an errno. */
static int take(struct intake *intake, const void *bytes, uint32_t length)
{
	struct serve *serve = intake->serve;
	int error = output_write(intake->output.fd, bytes, length);
	kirql irql;

	if (error != 0)
		return error;
	if (serve->options->sha256)
		sha256_update(&intake->hash, length, bytes);
	intake->bytes += length;
	intake->last_ns = ke_query_interrupt_time();
	irql = ke_acquire_spin_lock(&serve->lock);
	serve->bytes += length;
	ke_release_spin_lock(&serve->lock, irql);
	return 0;
}

/*
 * Takes what has come. STATUS_PENDING when that was all so far, STATUS_SUCCESS when there may be
 * more, STATUS_CANCELLED when it could not be written (and *error), or why no more will come.
 */
static ntstatus take_turn(struct intake *intake, int *error)
{
	struct tdi_receive_queue *queue = &intake->stream->normal;
	uint32_t taken = 0, length;
	ntstatus status;

	while (taken < TURN_BYTES) {
		const void *bytes = tdi_queue_peek(queue, &length, &status);

		if (bytes == NULL)
			return status;
		*error = take(intake, bytes, length);
		if (*error != 0)
			return STATUS_CANCELLED;
		tdi_queue_consume(queue, length);
		taken += length;
	}
	return STATUS_SUCCESS;
}

static void work_on(struct intake *intake)
{
	struct text peer = format_address(&intake->stream->remote);
	int error = 0;
	ntstatus status = take_turn(intake, &error);

	if (status == STATUS_PENDING)
		return;
	if (status == STATUS_SUCCESS) {
		stream_has_news(intake); /* behind those who have waited meanwhile */
		return;
	}
	if (error != 0)
		fail("%s: cannot write %s: %s after %" PRIu64 " bytes", peer.text,
		     intake->output.path, strerror(error), intake->bytes);
	else if (status != STATUS_GRACEFUL_DISCONNECT)
		fail("%s: %s after %" PRIu64 " bytes", peer.text, nt_status_text(status),
		     intake->bytes);
	end_intake(intake, status == STATUS_GRACEFUL_DISCONNECT && name_file(intake));
}

static int64_t longest_wait(const struct serve *serve)
{
	uint64_t timeout_ns = serve->options->timeout_ns;

	if (timeout_ns == 0)
		return KE_WAIT_FOREVER;
	return timeout_ns / 4 < LONGEST_WAIT_NS ? (int64_t)timeout_ns / 4 : LONGEST_WAIT_NS;
}

/* Now and then: gives up who has been silent for too long. */
static void end_silent(struct serve *serve)
{
	uint64_t now = ke_query_interrupt_time();
	struct intake *intake;

	if (serve->options->timeout_ns == 0 ||
	    now - serve->looked_ns < (uint64_t)longest_wait(serve))
		return;
	serve->looked_ns = now;
	while ((intake = find_silent(serve, now)) != NULL) {
		fail("%s has sent nothing for %s; gave up after %" PRIu64 " bytes",
		     format_address(&intake->stream->remote).text,
		     format_seconds((double)serve->options->timeout_ns / 1e9).text, intake->bytes);
		end_intake(intake, false);
	}
}

static void worker_main(void *context)
{
	struct serve *serve = context;

	while (!nothing_left(serve)) {
		struct intake *intake = next_ready(serve);

		if (intake != NULL)
			work_on(intake);
		else
			ke_wait_for_single_object(&serve->news, longest_wait(serve));
		end_silent(serve);
	}
	ke_set_event(&serve->drained);
}

/* ---- The first thread ---------------------------------------------------------------------- */

/* How many there are; and for those who watch, that this process lives, and how far it is. */
static uint64_t look_around(struct serve *serve, struct progress *progress)
{
	kirql irql = ke_acquire_spin_lock(&serve->lock);
	uint64_t living = serve->under_way, bytes = serve->bytes;

	ke_release_spin_lock(&serve->lock, irql);
	if (serve->options->segment != NULL)
		stat_beat(serve->options->segment);
	progress_update(progress, bytes);
	return living;
}

/*
 * A file for it. While there is no descriptor for one the sender waits, for another to be done; and
 * behind it those who are not accepted yet.
 */
static int open_output(struct serve *serve, struct intake *intake, struct progress *progress)
{
	int error;

	for (;;) {
		error = directory_open_output(&intake->output, serve->options->directory,
					      &intake->stream->remote);
		if ((error != EMFILE && error != ENFILE) || look_around(serve, progress) == 0)
			return error;
		if (!serve->told)
			fail("%s, so some senders have to wait; see 'ulimit -n'", strerror(error));
		serve->told = true;
		ke_delay_execution_thread(LOOK_NS);
	}
}

static void refuse(struct serve *serve, struct tdi_stream *stream, int error)
{
	kirql irql;

	fail("%s: cannot create a file for it: %s", format_address(&stream->remote).text,
	     strerror(error));
	tdi_delete_stream(stream);
	irql = ke_acquire_spin_lock(&serve->lock);
	serve->failed++;
	ke_release_spin_lock(&serve->lock, irql);
}

static void take_in(struct serve *serve, struct tdi_stream *stream, struct progress *progress)
{
	struct intake *intake = ex_allocate_pool(sizeof(*intake));
	int error = ENOMEM;
	kirql irql;

	if (intake != NULL) {
		*intake = (struct intake){.serve = serve, .stream = stream};
		error = open_output(serve, intake, progress);
	}
	if (error != 0) {
		ex_free_pool(intake);
		refuse(serve, stream, error);
		return;
	}
	sha256_init(&intake->hash);
	intake->begin_ns = intake->last_ns = ke_query_interrupt_time();
	intake->ready = true; /* as if it were on the list: nobody ends it while the watch begins */
	tdi_watch_stream(stream, stream_has_news, intake);
	irql = ke_acquire_spin_lock(&serve->lock);
	insert_tail_list(&serve->living, &intake->living);
	serve->under_way++;
	intake->ready = false;
	make_ready(intake); /* from then on it is the worker's */
	ke_release_spin_lock(&serve->lock, irql);
}

static void accept_senders(struct serve *serve, struct progress *progress)
{
	uint64_t taken = 0;

	while (!interrupt_asked() &&
	       (serve->options->count == 0 || taken < serve->options->count)) {
		ntstatus status;
		struct tdi_stream *stream = tdi_accept_stream(&serve->daemon, LOOK_NS, &status);

		if (stream != NULL) {
			taken++;
			take_in(serve, stream, progress);
		}
		look_around(serve, progress);
	}
}

/* Nobody is let in any more; waits until all who are have been served. */
static void drain(struct serve *serve, struct progress *progress)
{
	uint64_t living = look_around(serve, progress);
	kirql irql;

	tdi_wake_daemon(&serve->daemon);
	if (interrupt_asked() && living > 0)
		fail("takes no more senders; %" PRIu64 " under way, interrupt again to end them",
		     living);
	irql = ke_acquire_spin_lock(&serve->lock);
	serve->closing = true;
	ke_set_event(&serve->news);
	ke_release_spin_lock(&serve->lock, irql);
	while (ke_wait_for_single_object(&serve->drained, LOOK_NS) == STATUS_TIMEOUT)
		look_around(serve, progress);
	ke_wait_for_thread(&serve->worker);
}

static int print_summary(const struct serve *serve)
{
	fprintf(stderr, "received %" PRIu64 " file%s, %s", serve->whole,
		serve->whole == 1 ? "" : "s", format_bytes(serve->bytes).text);
	if (serve->failed > 0)
		fprintf(stderr, "; %" PRIu64 " sender%s failed", serve->failed,
			serve->failed == 1 ? "" : "s");
	fputc('\n', stderr);
	return serve->failed > 0 ? XPORT_FAILED : XPORT_OK;
}

static int serve_daemon(struct serve *serve)
{
	struct transport_address local;
	struct progress progress;
	ntstatus status = tdi_query_information(&serve->daemon.address, TDI_QUERY_ADDRESS_INFO,
						&local, sizeof(local));

	if (nt_success(status))
		status = ps_create_system_thread(&serve->worker, worker_main, serve);
	if (!nt_success(status))
		return fail("cannot start a thread: %s", nt_status_text(status));
	fprintf(stderr, "listening on %s\n", format_address(&local).text);
	progress_begin(&progress, 0);
	accept_senders(serve, &progress);
	drain(serve, &progress);
	progress_end(&progress);
	return print_summary(serve);
}

/* Two descriptors for each sender: as many as one may have. */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int serve(const struct serve_options *options)
{
	const struct tcp_options tcp = {.timeout_ns = options->dead_peer_ns,
					.segment = options->segment};
	struct serve serve = {.options = options, .device = tcp_create_device(&tcp)};
	ntstatus status = STATUS_INSUFFICIENT_RESOURCES;
	int result;

	ke_initialize_spin_lock(&serve.lock);
	ke_initialize_event(&serve.news, SYNCHRONIZATION_EVENT, false);
	ke_initialize_event(&serve.drained, NOTIFICATION_EVENT, false);
	initialize_list_head(&serve.ready);
	initialize_list_head(&serve.living);
	allow_descriptors();
	interrupt_ask_first();
	if (serve.device == NULL)
		return fail("not enough memory");
	status = tdi_start_daemon(&serve.daemon, serve.device, options->local, options->backlog, 0);
	if (nt_success(status)) {
		result = serve_daemon(&serve);
		tdi_stop_daemon(&serve.daemon);
	} else {
		result = fail("cannot listen on %s: %s", format_address(options->local).text,
			      nt_status_text(status));
	}
	ke_flush_queued_dpcs();
	tcp_delete_device(serve.device);
	return result;
}
