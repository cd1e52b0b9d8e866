/* Lab 05: streams and a daemon, at a door where peers knock. */
#include <string.h>

#include "door.h"

enum { TEXT = 32 };

/* A daemon at a door, and what a run leaves to be checked. */
struct house {
	struct door door;
	struct tdi_daemon *daemon;
	uint32_t live; /* streams that were taken and are not deleted */
	uint32_t owed; /* children that there was no memory for */
};

static void open_house(struct house *house, uint32_t backlog)
{
	const struct transport_address any = {.address_type = TDI_ADDRESS_TYPE_IP};

	open_door(&house->door);
	house->live = house->owed = 0;
	house->daemon = lab_allocate(sizeof(*house->daemon));
	step(RULE_STANDING, "start a daemon with a backlog of %u", backlog);
	expect_status(RULE_STANDING, "what tdi_start_daemon returns", STATUS_SUCCESS,
		      tdi_start_daemon(house->daemon, &house->door.device, &any, backlog, 0));
	expect_number(RULE_STANDING, "endpoints that stand ready", backlog, house->door.opened);
}

/* The daemon's memory goes as soon as it has stopped. */
static void close_house(struct house *house)
{
	step(RULE_STOP, "stop the daemon, and free it");
	tdi_stop_daemon(house->daemon);
	memset(house->daemon, '?', sizeof(*house->daemon));
	ex_free_pool(house->daemon);
	check_closed(&house->door);
}

static struct tdi_stream *take(struct house *house, int rule, uint16_t port)
{
	ntstatus status;
	struct tdi_stream *stream;

	step(rule, "take the next connection");
	stream = tdi_accept_stream(house->daemon, SOON, &status);
	expect_true(rule, stream != NULL, "a connection, as one was accepted",
		    nt_status_name(status));
	expect_number(rule, "the port that its peer has called from", port, stream->remote.port);
	expect_number(RULE_STANDING,
		      "endpoints that are open: those that were taken, and the backlog",
		      ++house->live + house->daemon->backlog - house->owed, house->door.opened);
	return stream;
}

static void drop(struct house *house, struct tdi_stream *stream)
{
	house->live--;
	step(RULE_DELETE, "delete the stream");
	tdi_delete_stream(stream);
}

static void expect_text(struct tdi_stream *stream, int rule, const char *text)
{
	char buffer[TEXT] = "";
	int64_t got;

	step(rule, "read what the peer has sent: \"%s\"", text);
	got = tdi_stream_read(stream, buffer, sizeof(buffer) - 1, SOON);
	expect_true(rule, got > 0, "some bytes", got == 0 ? "none" : nt_status_name((ntstatus)got));
	expect_true(rule, strcmp(buffer, text) == 0, text, buffer);
}

static void expect_end(struct tdi_stream *stream, int rule, ntstatus reason)
{
	char byte;

	step(rule, "read on: nothing more will come, for a reason");
	expect_status(rule, "the end that a reader is told", reason,
		      (ntstatus)tdi_stream_read(stream, &byte, 1, SOON));
}

/* ---- Beginnings ---------------------------------------------------------------------------- */

static void early_data(void *context)
{
	struct house house;
	struct peer peer;
	struct tdi_stream *stream;

	(void)context;
	open_house(&house, 1);
	prepare_peer(&peer, &house.door, 1);
	peer.early = "early";
	peer.later = true;
	step(RULE_EARLY, "a peer calls, and sends before its accept has completed");
	call_door(&peer);
	stream = take(&house, RULE_COMES_BACK, 1);
	expect_text(stream, RULE_EARLY, "early");
	step(RULE_EARLY, "more comes");
	show_data(&peer, "late");
	expect_text(stream, RULE_EARLY, "late");
	drop(&house, stream);
	close_house(&house);
}

static void used_up(void *context)
{
	struct house house;
	struct peer peers[3];

	(void)context;
	open_house(&house, 1);
	for (uint16_t i = 0; i < 3; i++)
		prepare_peer(&peers[i], &house.door, i);
	peers[0].later = true;
	step(RULE_REFUSED, "two peers call at once where one may wait");
	start_call(&peers[0]);
	start_call(&peers[1]);
	expect_event(RULE_COMES_BACK, &peers[0].done, "the first caller is answered");
	expect_event(RULE_COMES_BACK, &peers[1].done, "the second caller is answered");
	expect_number(RULE_REFUSED, "callers that are accepted", 1,
		      nt_success(peers[0].answer) + nt_success(peers[1].answer));
	expect_status(RULE_REFUSED, "what the other is told", STATUS_INSUFFICIENT_RESOURCES,
		      nt_success(peers[0].answer) ? peers[1].answer : peers[0].answer);
	step(RULE_REFUSED, "the daemon is told to stop, and then a third calls");
	tdi_wake_daemon(house.daemon);
	call_door(&peers[2]);
	expect_status(RULE_REFUSED, "what it is told", STATUS_CONNECTION_REFUSED, peers[2].answer);
	close_house(&house);
	expect_number(RULE_STOP, "accepted peers that nobody took, and that were reset", 1,
		      house.door.resets);
}

static void call_at_once(struct house *house, struct peer *peers, uint16_t count)
{
	step(RULE_GIVEN_ONCE, "%u peers call at once, where as many may wait", count);
	for (uint16_t i = 0; i < count; i++) {
		prepare_peer(&peers[i], &house->door, i);
		start_call(&peers[i]);
	}
	for (uint16_t i = 0; i < count; i++) {
		expect_event(RULE_COMES_BACK, &peers[i].done, "each caller is answered");
		expect_status(RULE_GIVEN_ONCE, "what a caller is told", STATUS_SUCCESS,
			      peers[i].answer);
	}
}

static void all_at_once(void *context)
{
	struct house house;
	struct peer peers[3];
	bool seen[3] = {false};

	(void)context;
	open_house(&house, 3);
	call_at_once(&house, peers, 3);
	for (int i = 0; i < 3; i++) {
		ntstatus status;
		struct tdi_stream *stream = tdi_accept_stream(house.daemon, SOON, &status);

		expect_true(RULE_COMES_BACK, stream != NULL, "each of them is there to be taken",
			    nt_status_name(status));
		expect_true(RULE_GIVEN_ONCE, !seen[stream->remote.port], "each of them once",
			    "one came twice");
		seen[stream->remote.port] = true;
		house.live++;
		drop(&house, stream);
	}
	close_house(&house);
}

static void in_order(void *context)
{
	struct house house;
	struct peer peers[3];
	struct tdi_stream *streams[3];

	(void)context;
	open_house(&house, 3);
	step(RULE_IN_ORDER, "three peers call, one after the other; then all are taken");
	for (uint16_t i = 0; i < 3; i++) {
		prepare_peer(&peers[i], &house.door, i);
		call_door(&peers[i]);
	}
	for (uint16_t i = 0; i < 3; i++)
		streams[i] = take(&house, RULE_IN_ORDER, i);
	for (uint16_t i = 0; i < 3; i++)
		drop(&house, streams[i]);
	close_house(&house);
}

static void failed_accept(void *context)
{
	struct house house;
	struct peer peer;

	(void)context;
	open_house(&house, 1);
	for (uint16_t i = 0; i < 3; i++) {
		prepare_peer(&peer, &house.door, i);
		peer.later = i == 1;
		peer.outcome = i < 2 ? STATUS_CONNECTION_RESET : STATUS_SUCCESS;
		step(RULE_COMES_BACK, "caller %u: its accept completes with %s", i,
		     nt_status_name(peer.outcome));
		call_door(&peer);
		expect_status(RULE_COMES_BACK, "how the accept has completed", peer.outcome,
			      peer.answer);
		ke_flush_queued_dpcs();
	}
	drop(&house, take(&house, RULE_COMES_BACK, 2));
	close_house(&house);
}

static void many_live(void *context)
{
	struct house house;
	struct peer peers[6];
	struct tdi_stream *streams[6];

	(void)context;
	open_house(&house, 2);
	step(RULE_STANDING, "six peers call and are taken, and all of them live on");
	for (uint16_t i = 0; i < 6; i++) {
		prepare_peer(&peers[i], &house.door, i);
		call_door(&peers[i]);
		expect_status(RULE_STANDING, "what a caller is told when none waits",
			      STATUS_SUCCESS, peers[i].answer);
		streams[i] = take(&house, RULE_STANDING, i);
	}
	for (int i = 0; i < 6; i++)
		drop(&house, streams[i]);
	close_house(&house);
}

static void no_memory(void *context)
{
	struct house house;
	struct peer peers[2];
	struct tdi_stream *stream;
	ntstatus status;

	(void)context;
	open_house(&house, 1);
	prepare_peer(&peers[0], &house.door, 0);
	prepare_peer(&peers[1], &house.door, 1);
	call_door(&peers[0]);
	house.door.refuses = house.owed = 1;
	step(RULE_STANDING, "a connection is taken when there is no memory for another child");
	stream = take(&house, RULE_STANDING, 0);
	house.owed = 0;
	step(RULE_STANDING, "there is memory again, and the daemon waits for peers");
	expect_true(RULE_STANDING,
		    tdi_accept_stream(house.daemon, MILLISECONDS(1), &status) == NULL &&
			    status == STATUS_IO_TIMEOUT,
		    "nobody has called", "a connection");
	call_door(&peers[1]);
	expect_status(RULE_STANDING, "what the next caller is told", STATUS_SUCCESS,
		      peers[1].answer);
	drop(&house, stream);
	close_house(&house);
}

/* ---- Endings ------------------------------------------------------------------------------- */

struct sent {
	struct tdi_window_send send;
	struct kevent done;
	char *buffer;
	ntstatus status;
	int32_t calls;
};

static void sent(void *context, ntstatus status, uint32_t bytes)
{
	struct sent *sent = context;

	(void)bytes;
	sent->status = status;
	interlocked_increment(&sent->calls);
	ke_set_event(&sent->done);
}

static void start_sending(struct sent *one, struct tdi_stream *stream)
{
	*one = (struct sent){.buffer = lab_allocate(TEXT)};
	memset(one->buffer, 'x', TEXT);
	ke_initialize_event(&one->done, NOTIFICATION_EVENT, false);
	tdi_window_send(&stream->window, &one->send, one->buffer, TEXT, sent, one);
}

static void expect_sent(struct sent *one, int rule, ntstatus wanted)
{
	expect_event(rule, &one->done, "the send's callback runs");
	expect_status(rule, "the status that the send's callback is given", wanted, one->status);
	expect_number(rule, "calls of that callback", 1, interlocked_read(&one->calls));
	ex_free_pool(one->buffer);
}

/* A connection with unread data, of which some is lent, and a send that waits for room. */
static struct tdi_stream *open_busy(struct house *house, struct peer *peer, struct sent *one)
{
	struct tdi_stream *stream;

	open_house(house, 1);
	prepare_peer(peer, &house->door, 7);
	call_door(peer);
	stream = take(house, RULE_COMES_BACK, 7);
	step(RULE_UNREAD,
	     "the peer has sent \"copied, \", and \"lent\", which is the transport's still");
	show_data(peer, "copied, ");
	lend_data(peer, "lent");
	house->door.no_room = true;
	step(RULE_RELEASE, "a send of %u bytes finds no room, and waits", TEXT);
	start_sending(one, stream);
	expect_number(RULE_RELEASE, "sends that were refused for want of room", 1,
		      house->door.refusals);
	return stream;
}

static void released(void *context)
{
	struct house house;
	struct peer peer;
	struct sent one, more;
	struct tdi_stream *stream;

	(void)context;
	stream = open_busy(&house, &peer, &one);
	step(RULE_RELEASE, "the peer releases; from now on sends are taken as room allows");
	house.door.no_room = false; /* the flag counts for nothing any more */
	show_end(&peer, TDI_DISCONNECT_RELEASE, STATUS_SUCCESS);
	expect_sent(&one, RULE_RELEASE, STATUS_SUCCESS);
	step(RULE_RELEASE, "another send, after the peer's release");
	start_sending(&more, stream);
	expect_sent(&more, RULE_RELEASE, STATUS_SUCCESS);
	expect_number(RULE_RELEASE, "bytes that were sent after the peer's release", 2 * TEXT,
		      (int64_t)house.door.sent);
	expect_text(stream, RULE_UNREAD, "copied, lent");
	expect_end(stream, RULE_UNREAD, STATUS_GRACEFUL_DISCONNECT);
	step(RULE_NOT_FREED, "the client looks at its stream again, and deletes it");
	expect_number(RULE_NOT_FREED, "the peer's port", 7, stream->remote.port);
	drop(&house, stream);
	close_house(&house);
}

static void aborted(void *context)
{
	struct house house;
	struct peer peer;
	struct sent one;
	struct tdi_stream *stream;

	(void)context;
	stream = open_busy(&house, &peer, &one);
	step(RULE_ABORT, "the connection breaks");
	show_end(&peer, TDI_DISCONNECT_ABORT, STATUS_CONNECTION_RESET);
	expect_sent(&one, RULE_ABORT, STATUS_CONNECTION_RESET);
	expect_text(stream, RULE_UNREAD, "copied, lent");
	expect_end(stream, RULE_UNREAD, STATUS_CONNECTION_RESET);
	drop(&house, stream);
	close_house(&house);
}

static void deleted_while_busy(void *context)
{
	struct house house;
	struct peer peer;
	struct sent one;
	struct tdi_stream *stream;

	(void)context;
	stream = open_busy(&house, &peer, &one);
	step(RULE_DELETE, "the stream is deleted: data unread, some of it lent, a send waiting");
	tdi_delete_stream(stream);
	expect_sent(&one, RULE_DELETE, STATUS_LOCAL_DISCONNECT);
	close_house(&house);
}

static void stopped_while_accepting(void *context)
{
	struct house house;
	struct peer peers[2];

	(void)context;
	open_house(&house, 2);
	for (uint16_t i = 0; i < 2; i++) {
		prepare_peer(&peers[i], &house.door, i);
		peers[i].later = true;
		peers[i].outcome = i == 0 ? STATUS_SUCCESS : STATUS_CONNECTION_RESET;
	}
	step(RULE_STOP, "two peers call, and the daemon is stopped at any moment meanwhile");
	start_call(&peers[0]);
	start_call(&peers[1]);
	close_house(&house);
	expect_event(RULE_STOP, &peers[0].done, "the first caller is answered");
	expect_event(RULE_STOP, &peers[1].done, "the second caller is answered");
}

static const struct lab_cause causes[] = {
	{"LEAK-AT-UNLOAD", RULE_DELETE},
	{"REQ-REUSE-IN-FLIGHT", RULE_REQUEST_KEPT},
	{"REQ-FREE-IN-USE", RULE_REQUEST_KEPT},
	{"REQ-", RULE_REQUEST_KEPT},
	{"POOL-DOUBLE-FREE", RULE_NOT_FREED},
	{" in disconnected", RULE_NOT_FREED}, /* it has freed what is used afterwards */
	{"use-after-free", RULE_LETS_GO},
	{NULL, 0},
};

static const struct lab_exercise exercises[] = {
	{"data that comes before the accept has completed", early_data},
	{"more callers than may wait, and a daemon that stops", used_up},
	{"callers that come at once", all_at_once},
	{"callers are taken in order", in_order},
	{"accepts that fail", failed_accept},
	{"more connections than the backlog", many_live},
	{"no memory for the next child", no_memory},
	{"the peer releases", released},
	{"the connection breaks", aborted},
	{"a stream is deleted while it is busy", deleted_while_busy},
	{"a daemon is stopped while peers call", stopped_while_accepting},
	{NULL, NULL},
};

const struct lab lab_under_check = {
	.name = "05-connection", .causes = causes, .exercises = exercises};
