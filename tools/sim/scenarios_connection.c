/*
 * Stage 05 on the link: streams begin and end in every order that the link's choices and the
 * scheduler allow, at a daemon that may have no place for them.
 *
 * A caller says one word and releases; the daemon's end answers it and does the same. So each side
 * knows, from what it has heard, what the other must have done.
 */
#include <string.h>

#include "link/link.h"
#include "scenarios.h"
#include "tdi/stream.h"

enum { WORD = 8, PATIENCE = 1000000000 };

struct town {
	struct device_object *device;
	struct tdi_daemon daemon;
	struct transport_address place;
	struct file_object callers;
	int32_t talking;  /* callers that are not done */
	int32_t heard;	  /* whole words, at the daemon */
	int32_t answered; /* whole answers, at the callers */
};

/* ---- Words --------------------------------------------------------------------------------- */

struct saying {
	struct tdi_window_send send;
	struct kevent said;
	ntstatus status;
};

static void said(void *context, ntstatus status, uint32_t bytes)
{
	struct saying *saying = context;

	scenario_expect(!nt_success(status) || bytes == WORD, "of a word %u bytes were sent",
			bytes);
	saying->status = status;
	ke_set_event(&saying->said);
}

/* Says a word and that this was all. */
static bool say(struct tdi_stream *stream)
{
	char *word = ex_allocate_pool(WORD);
	struct saying saying;

	if (word == NULL)
		return false;
	memset(word, 'w', WORD);
	ke_initialize_event(&saying.said, NOTIFICATION_EVENT, false);
	tdi_window_send(&stream->window, &saying.send, word, WORD, said, &saying);
	ke_wait_for_single_object(&saying.said, KE_WAIT_FOREVER);
	ex_free_pool(word);
	return nt_success(saying.status) &&
	       nt_success(tdi_disconnect(&stream->file, TDI_DISCONNECT_RELEASE));
}

/* Hears all there is: true for one whole word and the right end. */
static bool hear(struct tdi_stream *stream)
{
	char word[WORD];
	uint32_t heard = 0;
	int64_t got;

	while ((got = tdi_stream_read(stream, word, WORD, KE_WAIT_FOREVER)) > 0) {
		heard += (uint32_t)got;
		scenario_expect(word[0] == 'w' && heard <= WORD, "what is heard was never said");
	}
	scenario_expect(got != STATUS_GRACEFUL_DISCONNECT || heard == WORD,
			"%u bytes are taken for the whole word", heard);
	return got == STATUS_GRACEFUL_DISCONNECT;
}

/* ---- Both sides ---------------------------------------------------------------------------- */

static void serve(struct town *town, struct tdi_stream *stream)
{
	if (hear(stream)) {
		interlocked_increment(&town->heard);
		say(stream);
	}
	tdi_delete_stream(stream);
}

/* Serves who comes until nobody will. */
static void run_daemon(struct town *town)
{
	ntstatus status = STATUS_SUCCESS;
	struct tdi_stream *stream;

	while ((stream = tdi_accept_stream(&town->daemon, KE_WAIT_FOREVER, &status)) != NULL)
		serve(town, stream);
	scenario_expect(status == STATUS_CANCELLED, "the daemon's wait has ended with %s",
			nt_status_name(status));
}

static bool converse(struct town *town, struct tdi_stream *stream, int64_t patience)
{
	if (!nt_success(tdi_connect_peer(stream, &town->place, patience)))
		return false;
	return say(stream) && hear(stream);
}

/* The last caller to be done wakes the daemon, for good. */
static void caller_is_done(struct town *town)
{
	if (interlocked_decrement(&town->talking) == 0)
		tdi_wake_daemon(&town->daemon);
}

static void run_caller(void *context)
{
	struct town *town = context;
	ntstatus status;
	struct tdi_stream *stream = tdi_create_stream(&town->callers, 0, &status);

	if (stream != NULL) {
		if (converse(town, stream, PATIENCE))
			interlocked_increment(&town->answered);
		tdi_delete_stream(stream);
	}
	caller_is_done(town);
}

/* Connects and goes away without a word. */
static void run_aborter(void *context)
{
	struct town *town = context;
	ntstatus status;
	struct tdi_stream *stream = tdi_create_stream(&town->callers, 0, &status);

	if (stream != NULL) {
		if (nt_success(tdi_connect_peer(stream, &town->place, PATIENCE)))
			tdi_disconnect(&stream->file, TDI_DISCONNECT_ABORT);
		tdi_delete_stream(stream);
	}
	caller_is_done(town);
}

/* Calls twice with one stream; whether its first connection has worked does not matter. */
static void run_repeater(void *context)
{
	struct town *town = context;
	ntstatus status;
	struct tdi_stream *stream = tdi_create_stream(&town->callers, 0, &status);

	if (stream != NULL) {
		for (int i = 0; i < 2; i++) {
			if (converse(town, stream, PATIENCE))
				interlocked_increment(&town->answered);
			else
				tdi_disconnect(&stream->file, TDI_DISCONNECT_ABORT);
		}
		tdi_delete_stream(stream);
	}
	caller_is_done(town);
}

/* Sometimes has no patience at all: then its connect is cancelled at any moment. */
static void run_impatient(void *context)
{
	struct town *town = context;
	ntstatus status;
	struct tdi_stream *stream = tdi_create_stream(&town->callers, 0, &status);

	if (stream != NULL) {
		int64_t patience =
			ke_choose(2, "whether a caller has patience") == 0 ? PATIENCE : 0;

		if (converse(town, stream, patience))
			interlocked_increment(&town->answered);
		tdi_delete_stream(stream);
	}
	caller_is_done(town);
}

/* ---- The town ------------------------------------------------------------------------------ */

static bool open_town(struct town *town, const struct link_options *options)
{
	const struct transport_address any = {.address_type = TDI_ADDRESS_TYPE_IP};

	*town = (struct town){.device = link_create_device(options)};
	if (town->device == NULL)
		return false;
	if (nt_success(tdi_start_daemon(&town->daemon, town->device, &any, 1, 0))) {
		if (nt_success(tdi_query_information(&town->daemon.address, TDI_QUERY_ADDRESS_INFO,
						     &town->place, sizeof(town->place))) &&
		    nt_success(tdi_open_stream_address(town->device, &any, &town->callers)))
			return true;
		tdi_stop_daemon(&town->daemon);
	}
	ke_flush_queued_dpcs();
	link_delete_device(town->device);
	return false;
}

static void close_town(struct town *town)
{
	tdi_stop_daemon(&town->daemon);
	tdi_close(&town->callers);
	ke_flush_queued_dpcs();
	link_delete_device(town->device);
}

enum { MOST = 2 };

/* Whoever has heard an answer was heard; and so many must be, as nothing is in their way. */
static void run_town(const struct link_options *options, ke_thread_routine *const *routines,
		     int count, int answers)
{
	struct kthread threads[MOST];
	struct town town;
	int started = 0;

	if (!open_town(&town, options))
		return;
	town.talking = count;
	while (started < count &&
	       nt_success(ps_create_system_thread(&threads[started], routines[started], &town)))
		started++;
	for (int i = started; i < count; i++)
		caller_is_done(&town);
	run_daemon(&town);
	while (started-- > 0)
		ke_wait_for_thread(&threads[started]);
	scenario_expect(town.answered <= town.heard, "%d answers to %d words", town.answered,
			town.heard);
	scenario_expect(town.answered >= answers, "only %d answers, not %d", town.answered,
			answers);
	close_town(&town);
}

static void two_callers(void *context)
{
	static ke_thread_routine *const routines[MOST] = {run_caller, run_aborter};
	const struct link_options options = {.buffered = true};

	(void)context;
	run_town(&options, routines, 2, 0);
}

static void early_close(void *context)
{
	static ke_thread_routine *const routines[MOST] = {run_caller, run_aborter};
	const struct link_options options = {.buffered = true, .chained_bytes = 1};

	(void)context;
	run_town(&options, routines, 2, 0);
}

static void half_close(void *context)
{
	static ke_thread_routine *const routines[MOST] = {run_caller};
	const struct link_options options = {.buffered = true, .cut = true, .window_bytes = WORD};

	(void)context;
	run_town(&options, routines, 1, 1);
}

static void faults(void *context)
{
	static ke_thread_routine *const routines[MOST] = {run_impatient};
	const struct link_options options = {.faults = true};

	(void)context;
	run_town(&options, routines, 1, 0);
}

static void reuse(void *context)
{
	static ke_thread_routine *const routines[MOST] = {run_repeater};
	const struct link_options options = {.buffered = true};

	(void)context;
	run_town(&options, routines, 1, 2);
}

const struct sim_scenario connection_scenarios[] = {
	{"connection/daemon", "a daemon with one place, a caller that talks and one that goes away",
	 two_callers, 1, true},
	{"connection/chained", "a caller that closes early; all data is shown as a chain",
	 early_close, 1, true},
	{"connection/half-close", "a caller releases, and the daemon's end answers it", half_close,
	 1, false},
	{"connection/faults",
	 "a caller that may give up, over a link that refuses calls and breaks connections", faults,
	 1, true},
	{"connection/reuse", "a stream calls again when its connection is over", reuse, 1, false},
	{0},
};
