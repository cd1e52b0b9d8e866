/* The node of the exercises, see desk.h. */
#include "desk.h"

#include <string.h>

enum { OUR_NID = 1, PEER_NID = 100, PORTAL = 1, ROUNDS = 100 };

struct ksock_sched *sched_of(struct desk *desk)
{
	return &desk->node->scheds[0];
}

static int length_of(const struct list_entry *list)
{
	enum { MOST = 4 };
	int length = 0;

	for (const struct list_entry *entry = list->next; entry != list && length < MOST;
	     entry = entry->next)
		length++;
	return length;
}

struct look look_at(struct desk *desk, int end)
{
	struct ksock_sched *sched = sched_of(desk);
	kirql irql = ke_acquire_spin_lock(&sched->lock);
	struct look look = {.rx_conns = length_of(&sched->rx_conns),
			    .tx_conns = length_of(&sched->tx_conns),
			    .batches = length_of(&sched->batches),
			    .references = desk->conns[end]->references,
			    .woken = sched->work.queued != 0};

	ke_release_spin_lock(&sched->lock, irql);
	return look;
}

/* ---- Waiting ------------------------------------------------------------------------------- */

/* A scheduler that has left a connection in a list, and nobody else, is to blame. */
static void await(struct desk *desk, int rule, struct kevent *event, const char *what)
{
	struct ksock_sched *sched = sched_of(desk);
	bool left;
	kirql irql;

	if (ke_wait_for_single_object(event, SOON) == STATUS_SUCCESS)
		return;
	irql = ke_acquire_spin_lock(&sched->lock);
	left = !is_list_empty(&sched->rx_conns) || !is_list_empty(&sched->tx_conns);
	ke_release_spin_lock(&sched->lock, irql);
	expect_true(RULE_AT_WORK, !left, what,
		    "a connection is in the scheduler's list, and the scheduler does not run");
	expect_true(rule, false, what,
		    "it has not happened, and nothing is left that could make it happen");
}

static void flushed(void *context)
{
	ke_set_event(context);
}

void settle(struct desk *desk, int rule)
{
	struct ksock_sched *sched = sched_of(desk);
	struct ex_work_item item;
	struct kevent done;
	bool busy = true;

	step(rule, "the scheduler goes on until it has nothing to do");
	ke_initialize_event(&done, SYNCHRONIZATION_EVENT, false);
	ex_initialize_work_item(&item, flushed, &done, sched->work.processor);
	for (int i = 0; busy && i < ROUNDS; i++) {
		kirql irql;

		ex_queue_work_item(&item);
		ke_wait_for_single_object(&done, KE_WAIT_FOREVER);
		irql = ke_acquire_spin_lock(&sched->lock);
		busy = sched->busy;
		ke_release_spin_lock(&sched->lock, irql);
	}
	expect_true(desk->line.ends[0].held != NULL ? RULE_ONE_BATCH : RULE_AT_WORK, !busy,
		    "the scheduler comes to its end", "it is busy again and again");
}

void bury(struct desk *desk, int rule)
{
	struct lnet_node *node = desk->node;
	struct list_entry *entry;
	struct ksock_conn *conn;

	step(rule, "a connection that is closed is deleted when nobody has it any more");
	while ((entry = ex_interlocked_remove_head_list(&node->dead, &node->lock)) == NULL)
		await(desk, rule, &node->wake, "everybody lets go of the connection");
	conn = containing_record(entry, struct ksock_conn, node_entry);
	for (int end = 0; end < LINE_ENDS; end++)
		if (desk->conns[end] == conn)
			desk->conns[end] = NULL;
	ksocknal_destroy_conn(conn);
}

void close_conn(struct desk *desk, int rule, int end)
{
	step(rule, "connection %d is closed", end);
	ksocknal_close_conn(desk->conns[end], STATUS_LOCAL_DISCONNECT);
}

/* ---- The portal ---------------------------------------------------------------------------- */

static ntstatus asked(void *owner, struct lnet_incoming *incoming)
{
	struct desk *desk = owner;

	desk->asked++;
	if (desk->says_not_now == 0) {
		if (desk->meanwhile != NULL)
			desk->meanwhile(desk);
		desk->meanwhile = NULL;
		return STATUS_SUCCESS;
	}
	desk->says_not_now--;
	if (desk->resumes_at_once)
		lnet_resume(incoming);
	else
		desk->kept = incoming;
	ke_set_event(&desk->came);
	return STATUS_PENDING;
}

static ntstatus read(void *owner, struct lnet_incoming *incoming, ntstatus status)
{
	struct desk *desk = owner;

	(void)incoming;
	(void)status;
	desk->read++;
	ke_set_event(&desk->came);
	return STATUS_SUCCESS;
}

void expect_read(struct desk *desk, int rule, uint32_t count)
{
	step(rule, "%u messages in all have come, to be read", count);
	while (desk->read < count)
		await(desk, rule, &desk->came, "a message that has come is read");
}

/* As a transport shows it. */
static void show_bytes(struct tdi_stream *stream, const char *bytes, uint32_t length)
{
	kirql irql = ke_raise_irql(DISPATCH_LEVEL);
	uint32_t taken = 0;

	tdi_queue_receive(&stream->normal, length, length, &taken, bytes);
	ke_lower_irql(irql);
	expect_number(0, "bytes that the queue takes", length, taken);
}

void show(struct desk *desk, int end)
{
	const struct ksock_message_header message = {.type = KSOCK_MSG_LNET};
	const struct lnet_header header = {
		.dest_nid = OUR_NID,
		.src_nid = PEER_NID + (uint64_t)end,
		.type = LNET_MSG_PUT,
		.msg.put = {.ack_wmd = {.interface_cookie = KSOCK_HANDLE_NONE},
			    .ptl_index = PORTAL}};
	char bytes[KSOCK_MESSAGE_BYTES + LNET_HEADER_BYTES];

	ksock_encode_message(bytes, &message, false);
	lnet_encode_header(bytes + KSOCK_MESSAGE_BYTES, &header, LNET_HEADER_SWAPPED);
	show_bytes(desk->line.ends[end].stream, bytes, sizeof(bytes));
}

/* ---- Messages that go out ------------------------------------------------------------------ */

static void told(void *context, ntstatus status, uint32_t length)
{
	struct note *note = context;

	(void)length;
	expect_true(RULE_CALLBACK, ke_get_current_irql() == PASSIVE_LEVEL,
		    "messages are called back at PASSIVE_LEVEL", "at DISPATCH_LEVEL");
	expect_number(RULE_CALLBACK, "callbacks of a message", 1,
		      interlocked_increment(&note->told));
	if (nt_success(status)) {
		expect_status(RULE_ANSWER, "how the sends of a message that is sent have ended",
			      STATUS_SUCCESS, note->desk->line.outcome);
		expect_true(RULE_CALLBACK, note->desk->line.ends[note->end].puts > note->number,
			    "a message is sent when the transport is done with its last byte",
			    "it is called back before");
	}
	note->status = status;
	ke_set_event(&note->done);
}

struct note *give(struct desk *desk, int rule, int end, uint32_t pieces, uint32_t piece_bytes)
{
	struct note *note = &desk->notes[desk->note_count++];
	struct lnet_put put = {.ptl_index = PORTAL};
	uint32_t length = pieces * piece_bytes;

	*note = (struct note){.desk = desk, .end = end, .number = desk->given[end]++};
	step(rule, "connection %d is given message %u, of %u bytes in %u pieces", end, note->number,
	     length, pieces);
	note->pieces = lab_allocate(pieces * sizeof(*note->pieces));
	note->bytes = lab_allocate(length);
	for (uint32_t i = 0; i < pieces; i++) {
		note->pieces[i] = (struct lnet_iov){note->bytes + i * piece_bytes, piece_bytes};
		memset(note->pieces[i].base, line_byte(note->number, i), piece_bytes);
	}
	note->payload =
		(struct lnet_payload){.length = length, .count = pieces, .iov = note->pieces};
	ke_initialize_event(&note->done, NOTIFICATION_EVENT, false);
	put.match_bits = note->number;
	put.hdr_data = piece_bytes;
	lnet_put(desk->peers[end], &note->tx, &put, &note->payload, 0, told, note);
	return note;
}

void expect_told(struct note *note, int rule, ntstatus status)
{
	step(rule, "message %u of connection %d is over", note->number, note->end);
	await(note->desk, rule, &note->done, "the message is called back");
	expect_status(rule, "the status of the message", status, note->status);
}

/* ---- Beginning and end --------------------------------------------------------------------- */

static void create_node(struct desk *desk)
{
	struct lnet_node *node = lab_allocate(sizeof(*node) + sizeof(node->nis[0]));

	*node = (struct lnet_node){
		.options = {.batches = 1,
			    .device = &desk->line.node_device,
			    .portals = desk->portals,
			    .portal_count = 2,
			    .nid_count = 1},
		.incarnation = 1,
		.callers.device_object = &desk->line.device,
	};
	ke_initialize_spin_lock(&node->lock);
	ke_initialize_event(&node->wake, SYNCHRONIZATION_EVENT, false);
	initialize_list_head(&node->conns);
	initialize_list_head(&node->dead);
	initialize_list_head(&node->calls);
	node->nis[0] = (struct lnet_ni){.node = node, .nid = OUR_NID};
	ke_initialize_spin_lock(&node->nis[0].lock);
	initialize_list_head(&node->nis[0].peers);
	desk->node = node;
	expect_status(0, "ksocknal_start_scheds", STATUS_SUCCESS, ksocknal_start_scheds(node));
}

/* What a peer says who has called. */
static void greet(struct tdi_stream *stream, int end)
{
	const struct lnet_acceptor_request request = {LNET_PROTO_ACCEPTOR_VERSION, OUR_NID};
	const struct ksock_hello hello = {.version = KSOCK_PROTO_V3,
					  .src_nid = PEER_NID + (uint64_t)end,
					  .dst_nid = OUR_NID,
					  .src_incarnation = 1};
	char bytes[LNET_ACCEPTOR_BYTES + KSOCK_HELLO_BYTES];

	lnet_encode_acceptor_request(bytes, &request, false);
	ksock_encode_hello(bytes + LNET_ACCEPTOR_BYTES, &hello, false);
	show_bytes(stream, bytes, sizeof(bytes));
}

static void open_conn(struct desk *desk, int end)
{
	struct lnet_node *node = desk->node;
	struct tdi_stream *stream;
	ntstatus status;

	desk->peers[end] = ksocknal_find_peer(&node->nis[0], PEER_NID + (uint64_t)end, NULL);
	stream = tdi_create_stream(&node->callers, 0, &status);
	expect_true(0, desk->peers[end] != NULL && stream != NULL, "memory for the exercise",
		    "there is none");
	stream->processor = 0;
	step(RULE_LOOKS, "a peer has called; connection %d reads its HELLO and answers it", end);
	greet(stream, end);
	ksocknal_accept(node, stream);
	desk->conns[end] = conn_at(&desk->line.ends[end]);
	while (!desk->line.ends[end].greeted)
		await(desk, RULE_LOOKS, &desk->line.greeting, "the HELLO is answered");
	settle(desk, RULE_LOOKS);
}

struct desk *open_desk(int ends)
{
	struct desk *desk = lab_allocate(sizeof(*desk));

	memset(desk, 0, sizeof(*desk));
	desk->portals[PORTAL] = (struct lnet_portal){.put = asked, .done = read, .owner = desk};
	ke_initialize_event(&desk->came, SYNCHRONIZATION_EVENT, false);
	open_line(&desk->line);
	create_node(desk);
	for (int end = 0; end < ends; end++)
		open_conn(desk, end);
	return desk;
}

void close_desk(struct desk *desk)
{
	struct lnet_node *node = desk->node;

	for (int end = 0; end < LINE_ENDS; end++) {
		if (desk->conns[end] == NULL)
			continue;
		close_conn(desk, RULE_REFERENCE, end);
		bury(desk, RULE_REFERENCE);
	}
	for (int end = 0; end < LINE_ENDS && desk->peers[end] != NULL; end++)
		ksocknal_put_peer(desk->peers[end]);
	step(RULE_AT_WORK, "the schedulers are stopped");
	ksocknal_stop_scheds(node);
	expect_true(RULE_REFERENCE, is_list_empty(&node->dead), "a connection dies once",
		    "it does so again");
	expect_number(0, "endpoints that are open in the end", 0, desk->line.opened);
	step(RULE_REFERENCE, "the run ends: everything that was allocated must have been freed");
	ke_flush_queued_dpcs();
	for (uint32_t i = 0; i < desk->note_count; i++) {
		expect_number(RULE_CALLBACK, "callbacks of a message", 1, desk->notes[i].told);
		ex_free_pool(desk->notes[i].pieces);
		ex_free_pool(desk->notes[i].bytes);
	}
	ex_free_pool(node);
	ex_free_pool(desk);
}

/* ---- A script ------------------------------------------------------------------------------ */

/* One more batch, which is idle. */
static void lend(struct desk *desk)
{
	struct ksock_batch *batch = ksocknal_create_batch(&desk->line.node_device);

	expect_true(0, batch != NULL, "another batch", "there is no memory");
	step(0, "there is one more batch, which is idle");
	ksocknal_return_batch(desk->node->scheds, batch);
}

void keep_order(int count, uint32_t large, int lent)
{
	struct desk *desk = open_desk(1);
	struct note *notes[NOTES];

	step(0, "the transport keeps sends until it is told to complete them");
	desk->line.when = HELD;
	notes[0] = give(desk, RULE_ORDER, 0, 1, SMALL);
	settle(desk, RULE_ORDER);
	for (int i = 0; i < lent; i++)
		lend(desk);
	for (int i = 1; i <= count + 1; i++)
		notes[i] = give(desk, RULE_ORDER, 0, 1, i <= count ? large : SMALL);
	step(RULE_ORDER, "the first send is done, and all others are at once");
	desk->line.when = AT_ONCE;
	let_go(&desk->line.ends[0]);
	for (int i = 0; i <= count + 1; i++)
		expect_told(notes[i], RULE_ORDER, STATUS_SUCCESS);
	close_desk(desk);
}
