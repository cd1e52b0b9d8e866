/*
 * Stage 05: streams, client mode and daemon mode, on every transport that there is. A case runs on
 * each of them.
 */
#include <stdio.h>
#include <string.h>

#include "link/link.h"
#include "stream_client.h"
#include "suites.h"
#include "transport_client.h"

/* ---- Grounds ------------------------------------------------------------------------------- */

static struct device_object *create_buffering(struct stat_segment *segment)
{
	const struct link_options options = {
		.buffered = true, .window_bytes = 64 << 10, .segment = segment};

	return link_create_device(&options);
}

static struct device_object *create_direct(struct stat_segment *segment)
{
	const struct link_options options = {
		.rtt_ns = 10000, .cut = true, .window_bytes = 64 << 10, .segment = segment};

	return link_create_device(&options);
}

static struct transport_address any_address(void)
{
	return (struct transport_address){.address_type = TDI_ADDRESS_TYPE_IP};
}

static const struct ground buffering_link = {"link that buffers", create_buffering,
					     link_delete_device, any_address};
static const struct ground direct_link = {"link that does not buffer, and cuts", create_direct,
					  link_delete_device, any_address};

/* The last is the program's own, if it has one. */
static const struct ground *grounds[3] = {&buffering_link, &direct_link};

typedef void town_case(struct town *town);

struct visit {
	const struct ground *ground;
	town_case *body;
	uint32_t backlog;
};

static void run_visit(void *context)
{
	const struct visit *visit = context;
	struct town town;

	open_town(&town, visit->ground, visit->backlog);
	visit->body(&town);
	close_town(&town);
}

static void everywhere(town_case *body, uint32_t backlog)
{
	for (unsigned i = 0; i < sizeof(grounds) / sizeof(grounds[0]); i++) {
		struct visit visit = {grounds[i], body, backlog};
		unsigned failures = CU_get_number_of_failures();

		if (grounds[i] == NULL)
			continue;
		in_executive(run_visit, &visit);
		if (CU_get_number_of_failures() != failures)
			printf("    on %s\n", grounds[i]->name);
	}
}

/* ---- Talking ------------------------------------------------------------------------------- */

static void talk_both_ways(struct town *town)
{
	struct talk talk;

	if (!begin_talk(town, &talk))
		return;
	CU_ASSERT_EQUAL(say(talk.caller, "hello"), STATUS_SUCCESS);
	CU_ASSERT(hears(talk.called, "hello"));
	CU_ASSERT_EQUAL(say(talk.called, "welcome"), STATUS_SUCCESS);
	CU_ASSERT(hears(talk.caller, "welcome"));
	CU_ASSERT_EQUAL(talk.called->remote.address_type, town->place.address_type);
	CU_ASSERT_NOT_EQUAL(talk.called->remote.port, 0);
	release(talk.caller);
	release(talk.called);
	CU_ASSERT_EQUAL(hear_end(talk.caller), STATUS_GRACEFUL_DISCONNECT);
	CU_ASSERT_EQUAL(hear_end(talk.called), STATUS_GRACEFUL_DISCONNECT);
	end_talk(&talk);
}

static void test_talk(void)
{
	everywhere(talk_both_ways, 1);
}

static void half_close(struct town *town)
{
	struct talk talk;

	if (!begin_talk(town, &talk))
		return;
	CU_ASSERT_EQUAL(say(talk.caller, "question"), STATUS_SUCCESS);
	release(talk.caller);
	CU_ASSERT(hears(talk.called, "question"));
	CU_ASSERT_EQUAL(hear_end(talk.called), STATUS_GRACEFUL_DISCONNECT);
	CU_ASSERT_EQUAL(say(talk.called, "first answer, "), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(say(talk.called, "second answer"), STATUS_SUCCESS);
	release(talk.called);
	CU_ASSERT(hears(talk.caller, "first answer, second answer"));
	CU_ASSERT_EQUAL(hear_end(talk.caller), STATUS_GRACEFUL_DISCONNECT);
	end_talk(&talk);
}

static void test_half_close(void)
{
	everywhere(half_close, 1);
}

/* All of it before the daemon's thread looks. */
static void gone_before_taken(struct town *town)
{
	struct tdi_stream *caller = new_caller(town), *called;
	ntstatus status;

	CU_ASSERT_EQUAL(tdi_connect_peer(caller, &town->place, SOON), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(say(caller, "early"), STATUS_SUCCESS);
	release(caller);
	tdi_delete_stream(caller);
	called = tdi_accept_stream(&town->daemon, SOON, &status);
	CU_ASSERT_PTR_NOT_NULL(called);
	if (called == NULL)
		return;
	CU_ASSERT(hears(called, "early"));
	CU_ASSERT_EQUAL(hear_end(called), STATUS_GRACEFUL_DISCONNECT);
	tdi_delete_stream(called);
}

static void test_gone_before_taken(void)
{
	everywhere(gone_before_taken, 1);
}

/* The peer has released and closed; what it had sent is there. */
static void unread_stays(struct town *town)
{
	struct talk talk;

	if (!begin_talk(town, &talk))
		return;
	CU_ASSERT_EQUAL(say(talk.caller, "unread"), STATUS_SUCCESS);
	release(talk.caller);
	tdi_delete_stream(talk.caller);
	ke_delay_execution_thread((uint64_t)MILLISECONDS(5));
	CU_ASSERT(hears(talk.called, "unread"));
	CU_ASSERT_EQUAL(hear_end(talk.called), STATUS_GRACEFUL_DISCONNECT);
	tdi_delete_stream(talk.called);
}

static void test_unread_stays(void)
{
	everywhere(unread_stays, 1);
}

struct watch {
	struct tdi_stream *stream;
	struct kevent ended;
	int32_t calls;
	int32_t after; /* the end was told */
};

static void look(void *context)
{
	struct watch *watch = context;
	ntstatus status = STATUS_PENDING;
	uint32_t length = 0;

	interlocked_increment(&watch->calls);
	while (tdi_queue_peek(&watch->stream->normal, &length, &status) != NULL)
		tdi_queue_consume(&watch->stream->normal, length);
	if (status != STATUS_GRACEFUL_DISCONNECT)
		return;
	interlocked_increment(&watch->after);
	ke_set_event(&watch->ended);
}

/* Both queues tell their end, each once. */
static void end_is_told_once(struct town *town)
{
	struct watch watch = {.calls = 0};
	struct talk talk;

	if (!begin_talk(town, &talk))
		return;
	watch.stream = talk.called;
	ke_initialize_event(&watch.ended, NOTIFICATION_EVENT, false);
	tdi_watch_stream(talk.called, look, &watch);
	CU_ASSERT(read_count(&watch.calls) >= 1);
	CU_ASSERT_EQUAL(say(talk.caller, "something"), STATUS_SUCCESS);
	release(talk.caller);
	CU_ASSERT_EQUAL(ke_wait_for_single_object(&watch.ended, SOON), STATUS_SUCCESS);
	release(talk.called);
	ke_delay_execution_thread((uint64_t)MILLISECONDS(5));
	CU_ASSERT(read_count(&watch.after) >= 1 && read_count(&watch.after) <= 2);
	end_talk(&talk);
}

static void test_end_is_told_once(void)
{
	everywhere(end_is_told_once, 1);
}

/* ---- Many ---------------------------------------------------------------------------------- */

struct caller {
	struct kthread thread;
	struct town *town;
	struct tdi_stream *stream;
	int32_t *left;
	bool served;
	bool refused;
};

/* Refused at the door, or, where the machine opens before it asks, right behind it. */
static void call_once(void *context)
{
	struct caller *caller = context;
	char byte;
	int64_t got = tdi_connect_peer(caller->stream, &caller->town->place, SOON);

	if (nt_success((ntstatus)got))
		got = tdi_stream_read(caller->stream, &byte, 1, SOON);
	caller->served = got == 1;
	caller->refused = got < 0 && got != STATUS_IO_TIMEOUT;
	interlocked_decrement(caller->left);
}

enum { CALLERS = 20 };

/* Takes whom it can while there are callers without an answer, and gives each an answer. */
static int serve_callers(struct town *town, const int32_t *left, struct tdi_stream **taken)
{
	int count = 0;

	while (read_count(left) > 0) {
		ntstatus status;
		struct tdi_stream *stream =
			tdi_accept_stream(&town->daemon, MILLISECONDS(20), &status);

		if (stream == NULL)
			continue;
		CU_ASSERT_EQUAL(say(stream, "x"), STATUS_SUCCESS);
		taken[count++] = stream;
	}
	return count;
}

static void more_than_the_backlog(struct town *town)
{
	struct caller callers[CALLERS];
	struct tdi_stream *taken[CALLERS];
	int32_t left = CALLERS;
	int served = 0, refused = 0, count;

	for (int i = 0; i < CALLERS; i++) {
		callers[i] =
			(struct caller){.town = town, .stream = new_caller(town), .left = &left};
		CU_ASSERT_EQUAL(ps_create_system_thread(&callers[i].thread, call_once, &callers[i]),
				STATUS_SUCCESS);
	}
	count = serve_callers(town, &left, taken);
	for (int i = 0; i < CALLERS; i++) {
		ke_wait_for_thread(&callers[i].thread);
		served += callers[i].served;
		refused += callers[i].refused;
		tdi_delete_stream(callers[i].stream);
	}
	CU_ASSERT(count >= 1);
	CU_ASSERT_EQUAL(served, count);
	CU_ASSERT_EQUAL(served + refused, CALLERS);
	CU_ASSERT_EQUAL(sum_of(&town->counted, "connection", "called"), CALLERS);
	CU_ASSERT_EQUAL(sum_of(&town->counted, "connection", "refused"), refused);
	while (count-- > 0)
		tdi_delete_stream(taken[count]);
}

static void test_more_than_the_backlog(void)
{
	everywhere(more_than_the_backlog, 1);
}

enum { LIVE = EXECUTIVE_HOST ? 200 : 20 };

static void many_live(struct town *town)
{
	struct talk *talks = need_pool(LIVE * sizeof(*talks));
	int count = 0;

	while (count < LIVE && begin_talk(town, &talks[count]))
		count++;
	CU_ASSERT_EQUAL(count, LIVE);
	for (int i = 0; i < count; i++)
		CU_ASSERT_EQUAL(say(talks[i].caller, "ping"), STATUS_SUCCESS);
	for (int i = 0; i < count; i++)
		CU_ASSERT(hears(talks[i].called, "ping"));
	while (count-- > 0)
		end_talk(&talks[count]);
	ex_free_pool(talks);
}

static void test_many_live(void)
{
	everywhere(many_live, 4);
}

/* ---- Ending in the middle ------------------------------------------------------------------ */

static void call_until_refused(void *context)
{
	struct caller *caller = context;

	for (int i = 0; i < 1000 && !caller->refused; i++) {
		ntstatus status = tdi_connect_peer(caller->stream, &caller->town->place, SOON);

		if (nt_success(status))
			tdi_disconnect(&caller->stream->file, TDI_DISCONNECT_ABORT);
		else
			caller->refused = true;
	}
	interlocked_decrement(caller->left);
}

enum { FEW = 4 };

static void stop_while_peers_call(struct town *town)
{
	struct caller callers[FEW];
	int32_t left = FEW;

	for (int i = 0; i < FEW; i++) {
		callers[i] =
			(struct caller){.town = town, .stream = new_caller(town), .left = &left};
		CU_ASSERT_EQUAL(ps_create_system_thread(&callers[i].thread, call_until_refused,
							&callers[i]),
				STATUS_SUCCESS);
	}
	ke_delay_execution_thread((uint64_t)MILLISECONDS(1) * ke_choose(3, "when it stops"));
	tdi_stop_daemon(&town->daemon);
	town->stopped = true;
	for (int i = 0; i < FEW; i++) {
		ke_wait_for_thread(&callers[i].thread);
		CU_ASSERT(callers[i].refused);
		tdi_delete_stream(callers[i].stream);
	}
}

static void test_stop_while_peers_call(void)
{
	everywhere(stop_while_peers_call, 3);
}

static void wake_it(void *context)
{
	tdi_wake_daemon(&((struct town *)context)->daemon);
}

static void woken(struct town *town)
{
	struct kthread thread;
	ntstatus status;

	CU_ASSERT_PTR_NULL(tdi_accept_stream(&town->daemon, MILLISECONDS(1), &status));
	CU_ASSERT_EQUAL(status, STATUS_IO_TIMEOUT);
	CU_ASSERT_EQUAL(ps_create_system_thread(&thread, wake_it, town), STATUS_SUCCESS);
	CU_ASSERT_PTR_NULL(tdi_accept_stream(&town->daemon, KE_WAIT_FOREVER, &status));
	CU_ASSERT_EQUAL(status, STATUS_CANCELLED);
	CU_ASSERT_PTR_NULL(tdi_accept_stream(&town->daemon, KE_WAIT_FOREVER, &status));
	CU_ASSERT_EQUAL(status, STATUS_CANCELLED);
	ke_wait_for_thread(&thread);
}

static void test_woken(void)
{
	everywhere(woken, 1);
}

enum { BULK = 100 << 10, BULKS = 12 };

struct bulk {
	struct tdi_window_send sends[BULKS];
	int32_t calls;
	int32_t failed;
};

static void bulk_sent(void *context, ntstatus status, uint32_t bytes)
{
	struct bulk *bulk = context;

	(void)bytes;
	if (!nt_success(status))
		interlocked_increment(&bulk->failed);
	interlocked_increment(&bulk->calls);
}

/* More, from both, than anybody takes; then one is deleted, and then the other. */
static void delete_while_busy(struct town *town)
{
	struct bulk bulks[2] = {{.calls = 0}, {.calls = 0}};
	char *bytes = need_pool(BULK);
	struct talk talk;

	memset(bytes, 'b', BULK);
	if (begin_talk(town, &talk)) {
		for (int i = 0; i < BULKS; i++) {
			tdi_window_send(&talk.caller->window, &bulks[0].sends[i], bytes, BULK,
					bulk_sent, &bulks[0]);
			tdi_window_send(&talk.called->window, &bulks[1].sends[i], bytes, BULK,
					bulk_sent, &bulks[1]);
		}
		ke_delay_execution_thread((uint64_t)MILLISECONDS(2) * ke_choose(2, "how busy"));
		tdi_delete_stream(talk.caller);
		CU_ASSERT_EQUAL(read_count(&bulks[0].calls), BULKS);
		tdi_delete_stream(talk.called);
		CU_ASSERT_EQUAL(read_count(&bulks[1].calls), BULKS);
	}
	ex_free_pool(bytes);
}

static void test_delete_while_busy(void)
{
	everywhere(delete_while_busy, 1);
}

/* Where an address was a moment ago. */
static uint16_t closed_port(struct town *town)
{
	struct transport_address any = town->ground->any();
	struct file_object address;
	uint16_t port;

	CU_ASSERT_EQUAL(tdi_open_transport_address(town->device, &any, &address), STATUS_SUCCESS);
	port = local_of(&address).port;
	tdi_close(&address);
	return port;
}

enum { UNREAD = 40000 };

static void call_again(struct town *town)
{
	struct tdi_stream *caller = new_caller(town), *called;
	struct transport_address nobody = town->place;
	char *unread = need_pool(UNREAD + 1);
	ntstatus status;

	memset(unread, 'u', UNREAD);
	unread[UNREAD] = '\0';
	nobody.port = closed_port(town);
	CU_ASSERT_EQUAL(tdi_connect_peer(caller, &nobody, SOON), STATUS_CONNECTION_REFUSED);
	nobody.port = local_of(&town->callers).port; /* where nobody answers, or refuses */
	CU_ASSERT_FALSE(nt_success(tdi_connect_peer(caller, &nobody, MILLISECONDS(1))));
	for (int i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(tdi_connect_peer(caller, &town->place, SOON), STATUS_SUCCESS);
		called = tdi_accept_stream(&town->daemon, SOON, &status);
		CU_ASSERT_PTR_NOT_NULL(called);
		if (called == NULL)
			break;
		CU_ASSERT_EQUAL(say(called, "again"), STATUS_SUCCESS);
		if (i == 0)
			CU_ASSERT_EQUAL(tdi_connect_peer(caller, &town->place, MILLISECONDS(1)),
					STATUS_CONNECTION_ACTIVE);
		CU_ASSERT(hears(caller, "again"));
		CU_ASSERT_EQUAL(say(called, unread), STATUS_SUCCESS); /* some of it is lent */
		release(called);
		release(caller);
		CU_ASSERT_EQUAL(hear_end(called), STATUS_GRACEFUL_DISCONNECT);
		if (i == 1) /* the client may give up a connection, and call again */
			tdi_disconnect(&caller->file, TDI_DISCONNECT_ABORT);
		tdi_delete_stream(called);
	}
	tdi_delete_stream(caller);
	ex_free_pool(unread);
}

static void test_call_again(void)
{
	everywhere(call_again, 1);
}

void register_stream_suite(const struct ground *more)
{
	static const struct test_case cases[] = {
		{"a caller and the daemon's stream for it talk, and part", test_talk},
		{"after a release the other direction goes on", test_half_close},
		{"what a peer says before it is taken is not lost, even if it is gone by then",
		 test_gone_before_taken},
		{"what is unread when the peer has closed can be read", test_unread_stays},
		{"a watcher is told the end behind the data, and nothing after it",
		 test_end_is_told_once},
		{"20 callers at a backlog of 1: each is served, or knows that it was refused",
		 test_more_than_the_backlog},
		{"more connections live than the backlog", test_many_live},
		{"a daemon stops while peers call", test_stop_while_peers_call},
		{"a daemon's thread can be woken for good", test_woken},
		{"streams are deleted with data unread, loans out and sends waiting",
		 test_delete_while_busy},
		{"a stream can call again, after a refusal and after a connection",
		 test_call_again},
		{NULL, NULL},
	};

	grounds[2] = more;
	add_suite("05-connection", cases);
}
