/* The peer and the owner that do what an exercise tells them, see caller.h. */
#include "caller.h"

#include <string.h>

#include "link/link.h"

/* ---- Payloads ------------------------------------------------------------------------------ */

void make_sheet(struct sheet *sheet, const uint32_t sizes[PIECES], bool pages, bool filled)
{
	uint32_t whole = 0, at = 0;

	for (int i = 0; i < PIECES; i++)
		whole += sizes[i];
	*sheet = (struct sheet){.payload = {.length = whole, .count = PIECES}};
	for (int i = 0; i < PIECES; i++) {
		uint8_t *bytes = lab_allocate(sizes[i] + pages);

		for (uint32_t k = 0; k < sizes[i]; k++)
			bytes[k + pages] = filled ? payload_byte(whole, at + k) : 0;
		at += sizes[i];
		sheet->iov[i] = (struct lnet_iov){bytes, sizes[i]};
		sheet->kiov[i] = (struct lnet_kiov){bytes, 1, sizes[i]};
	}
	if (pages)
		sheet->payload.kiov = sheet->kiov;
	else
		sheet->payload.iov = sheet->iov;
}

void drop_sheet(struct sheet *sheet)
{
	for (int i = 0; i < PIECES; i++)
		ex_free_pool(sheet->iov[i].base);
}

bool payload_is(const struct lnet_payload *payload, uint32_t length, uint32_t whole)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < payload->count && at < length; i++) {
		const struct lnet_kiov *page = &payload->kiov[i];
		const uint8_t *bytes = payload->iov != NULL ? payload->iov[i].base
							    : (uint8_t *)page->page + page->offset;
		uint32_t size = payload->iov != NULL ? payload->iov[i].length : page->length;

		for (uint32_t k = 0; k < size && at < length; k++, at++)
			if (bytes[k] != payload_byte(whole, at))
				return false;
	}
	return at == length;
}

/* ---- The owner ----------------------------------------------------------------------------- */

/* Whether this one is answered with STATUS_PENDING. */
static bool holds(struct owner *owner, uint32_t *pending, struct lnet_incoming *incoming)
{
	if (*pending == 0)
		return false;
	(*pending)--;
	owner->held = incoming;
	owner->waiting = true;
	ke_set_event(&owner->holds);
	return true;
}

static ntstatus on_put(void *context, struct lnet_incoming *incoming)
{
	struct owner *owner = context;

	expect_true(RULE_HELD, !owner->waiting, "an owner who has said PENDING is left alone",
		    "he is asked again before lnet_resume");
	expect_true(RULE_DONE, !owner->taken, "the owner is told of one PUT's end first",
		    "the next PUT is there");
	owner->puts++;
	owner->header = incoming->header;
	if (holds(owner, &owner->pending_puts, incoming))
		return STATUS_PENDING;
	incoming->into = owner->into;
	owner->shown = 0;
	owner->taken = incoming->header.payload_length == 0 || nt_success(owner->put_answer);
	return owner->taken ? STATUS_SUCCESS : owner->put_answer;
}

static void on_take(void *context, struct lnet_incoming *incoming, uint32_t offset,
		    const void *bytes, uint32_t length)
{
	struct owner *owner = context;
	uint32_t whole = incoming->header.payload_length;

	expect_number(RULE_PLACE, "the offset of what is shown", owner->shown, offset);
	expect_true(RULE_PLACE, length > 0 && length <= whole - offset,
		    "some bytes of the payload, and none behind it", "more, or none");
	for (uint32_t i = 0; i < length; i++)
		expect_true(RULE_PLACE,
			    ((const uint8_t *)bytes)[i] == payload_byte(whole, offset + i),
			    "the payload's bytes are shown, each once and in order", "others are");
	owner->shown += length;
}

/* All of the payload for which there is a place has come to it. */
static void check_payload(struct owner *owner, struct lnet_incoming *incoming)
{
	uint32_t whole = incoming->header.payload_length, place = owner->into.length;

	if (incoming->header.msg.put.ptl_index == SHOWN)
		expect_number(RULE_DONE, "bytes that were shown when `done` is told", whole,
			      owner->shown);
	else
		expect_true(RULE_PLACE,
			    payload_is(&owner->into, whole < place ? whole : place, whole),
			    "the payload is in its place when `done` is told", "it is not");
}

static ntstatus on_done(void *context, struct lnet_incoming *incoming, ntstatus status)
{
	struct owner *owner = context;

	expect_true(RULE_DONE, owner->taken,
		    "`done` is told once of a PUT that the owner has accepted, and of no other",
		    "it is told again, or of one that he has refused");
	owner->taken = false;
	owner->status = status;
	owner->dones++;
	if (nt_success(status)) {
		check_payload(owner, incoming);
		if (holds(owner, &owner->pending_dones, incoming))
			return STATUS_PENDING;
	}
	ke_set_event(&owner->told);
	return incoming->header.payload_length == 0 ? STATUS_SUCCESS : owner->done_answer;
}

static ntstatus on_get(void *context, const struct lnet_header *header, struct lnet_payload *from)
{
	struct owner *owner = context;

	(void)header;
	owner->gets++;
	if (nt_success(owner->get_answer))
		*from = owner->from;
	return owner->get_answer;
}

static void on_got(void *context, const struct lnet_payload *from, ntstatus status)
{
	struct owner *owner = context;

	(void)status;
	expect_true(RULE_REPLY, from->iov == owner->from.iov,
		    "`got` is told of what `get` has given", "it is told of another payload");
	owner->gots++;
	ke_set_event(&owner->back);
}

static void employ(struct scene *scene)
{
	struct owner *owner = &scene->owner;

	ke_initialize_event(&owner->holds, SYNCHRONIZATION_EVENT, false);
	ke_initialize_event(&owner->back, SYNCHRONIZATION_EVENT, false);
	ke_initialize_event(&owner->told, SYNCHRONIZATION_EVENT, false);
	scene->portals[PLACED] = (struct lnet_portal){
		.put = on_put, .done = on_done, .get = on_get, .got = on_got, .owner = owner};
	scene->portals[SHOWN] = (struct lnet_portal){
		.put = on_put, .take = on_take, .done = on_done, .owner = owner};
}

/* ---- The scene ----------------------------------------------------------------------------- */

static void start_node(struct scene *scene)
{
	static const struct transport_address any = {.address_type = TDI_ADDRESS_TYPE_IP};
	const struct lnet_options options = {.device = scene->device,
					     .listen = &any,
					     .backlog = 1,
					     .nids = &scene->nid,
					     .nid_count = 1,
					     .portals = scene->portals,
					     .portal_count = PORTALS,
					     .zero_copy_bytes = 1,
					     .incarnation = INCARNATION};
	ntstatus status;

	scene->nid = NODE_NID;
	scene->node = lnet_startup(&options, &status);
	expect_true(0, scene->node != NULL, "a node", nt_status_name(status));
	lnet_query_listener(scene->node, &scene->at);
	scene->peer = ksocknal_find_peer(lnet_find_ni(scene->node, NODE_NID), CALLER_NID, NULL);
	expect_true(0, scene->peer != NULL, "a peer", "none");
}

static void send_bytes(struct scene *scene, int rule, const void *bytes, uint32_t length)
{
	expect_number(rule, "bytes that the caller can send", length,
		      tdi_send_stream(&scene->stream->file, bytes, length, 0));
}

/* False: nothing comes in time. Anything else is an error. */
static bool hear_bytes(struct scene *scene, int rule, void *bytes, uint32_t length,
		       int64_t timeout_ns)
{
	uint32_t have = 0;

	while (have < length) {
		int64_t got = tdi_stream_read(scene->stream, (char *)bytes + have, length - have,
					      have == 0 ? timeout_ns : SOON);

		if (got == STATUS_IO_TIMEOUT && have == 0)
			return false;
		expect_true(rule, got > 0, "what the node says, to its end",
			    nt_status_name((ntstatus)got));
		have += (uint32_t)got;
	}
	return true;
}

static void greet(struct scene *scene)
{
	const struct lnet_acceptor_request request = {LNET_PROTO_ACCEPTOR_VERSION, NODE_NID};
	const struct ksock_hello hello = {
		.version = scene->options.version, .src_nid = CALLER_NID, .dst_nid = NODE_NID};
	uint8_t bytes[LNET_ACCEPTOR_BYTES + KSOCK_HELLO_BYTES];
	struct ksock_hello answer;
	bool swapped;

	step(RULE_HEADER, "the caller says whom it wants, and HELLO");
	lnet_encode_acceptor_request(bytes, &request, scene->options.swapped);
	ksock_encode_hello(bytes + LNET_ACCEPTOR_BYTES, &hello, scene->options.swapped);
	send_bytes(scene, RULE_HEADER, bytes, sizeof(bytes));
	expect_true(RULE_HEADER, hear_bytes(scene, RULE_HEADER, bytes, KSOCK_HELLO_BYTES, SOON),
		    "the node's HELLO", "none comes");
	expect_number(RULE_HEADER, "what is wrong with it (enum lnet_wire_reason)", LNET_WIRE_GOOD,
		      ksock_decode_hello(bytes, KSOCK_HELLO_BYTES, &answer, &swapped));
}

static void call(struct scene *scene)
{
	ntstatus status;

	scene->stream = tdi_create_stream(&scene->address, 0, &status);
	expect_true(0, scene->stream != NULL, "a stream", nt_status_name(status));
	expect_status(0, "the call", STATUS_SUCCESS,
		      tdi_connect_peer(scene->stream, &scene->at, SOON));
	greet(scene);
}

void call_again(struct scene *scene)
{
	step(0, "the caller calls again");
	tdi_delete_stream(scene->stream);
	call(scene);
}

void open_scene(struct scene *scene, const struct scene_options *options)
{
	const struct link_options link = {.buffered = true,
					  .segment_bytes = options->piece,
					  .window_bytes = options->window_bytes,
					  .chained_bytes = 1,
					  .cut = options->cut};
	const struct transport_address any = {.address_type = TDI_ADDRESS_TYPE_IP};

	*scene = (struct scene){.options = *options};
	if (options->version == 0)
		scene->options.version = KSOCK_PROTO_V3;
	if (options->piece != 0)
		step(0, "a node, and a caller whose bytes come in pieces of %u", options->piece);
	else
		step(0, "a node, and a caller");
	scene->said = lab_allocate(SAID_BYTES);
	scene->device = link_create_device(&link);
	expect_true(0, scene->device != NULL, "a link", "none");
	employ(scene);
	start_node(scene);
	expect_status(0, "the caller's address", STATUS_SUCCESS,
		      tdi_open_stream_address(scene->device, &any, &scene->address));
	call(scene);
}

void close_scene(struct scene *scene)
{
	step(RULE_END, "the node ends");
	ksocknal_put_peer(scene->peer);
	lnet_shutdown(scene->node);
	tdi_delete_stream(scene->stream);
	tdi_close(&scene->address);
	ke_flush_queued_dpcs();
	link_delete_device(scene->device);
	ex_free_pool(scene->said);
	expect_true(RULE_DONE, !scene->owner.taken,
		    "`done` is told of every PUT before the node ends", "it is not");
}

/* ---- What the caller says ------------------------------------------------------------------ */

static struct lnet_header header_of(uint32_t type)
{
	return (struct lnet_header){.dest_nid = NODE_NID,
				    .src_nid = CALLER_NID,
				    .dest_pid = LNET_PID_LUSTRE,
				    .src_pid = LNET_PID_LUSTRE,
				    .type = type};
}

struct lnet_header put_header(uint32_t portal, uint32_t length, uint64_t handle)
{
	struct lnet_header header = header_of(LNET_MSG_PUT);

	header.payload_length = length;
	header.msg.put.ptl_index = portal;
	header.msg.put.match_bits = 0x1234567890 + handle;
	header.msg.put.ack_wmd =
		(struct lnet_wire_handle){handle != 0 ? 0xcafe : UINT64_MAX, handle};
	return header;
}

struct lnet_header get_header(uint32_t portal, uint32_t sink_length)
{
	struct lnet_header header = header_of(LNET_MSG_GET);

	header.msg.get.ptl_index = portal;
	header.msg.get.sink_length = sink_length;
	header.msg.get.return_wmd = (struct lnet_wire_handle){0xcafe, sink_length};
	return header;
}

struct lnet_header answer_header(uint32_t type, const struct lnet_header *question, uint32_t length)
{
	struct lnet_header header = header_of(type);

	if (type == LNET_MSG_ACK)
		header.msg.ack.mlength = length;
	else
		header.payload_length = length;
	/* The handle is the first in all variants. */
	header.msg.reply.dst_wmd = question->type == LNET_MSG_PUT ? question->msg.put.ack_wmd
								  : question->msg.get.return_wmd;
	return header;
}

void say(struct scene *scene, const struct lnet_header *header, uint64_t cookie)
{
	const struct ksock_message_header message = {.type = KSOCK_MSG_LNET,
						     .zc_cookies = {cookie, 0}};
	uint8_t *begin = scene->said + scene->said_bytes, *at = begin;

	expect_true(0, scene->said_bytes + 96 + header->payload_length <= SAID_BYTES,
		    "an exercise that says no more than there is room for", "more");
	at += ksock_encode_message(at, &message, scene->options.swapped);
	at += lnet_encode_header(at, header, LNET_HEADER_SWAPPED);
	for (uint32_t i = 0; i < header->payload_length; i++)
		*at++ = payload_byte(header->payload_length, i);
	if (scene->options.checksums)
		ksock_set_checksum(begin,
				   ksock_checksum_add(ksock_checksum_begin(begin),
						      begin + KSOCK_MESSAGE_BYTES,
						      (size_t)(at - begin) - KSOCK_MESSAGE_BYTES),
				   scene->options.swapped);
	scene->said_bytes = (uint32_t)(at - scene->said);
}

void say_noop(struct scene *scene, uint64_t first, uint64_t second)
{
	const struct ksock_message_header noop = {.type = KSOCK_MSG_NOOP,
						  .zc_cookies = {first, second}};

	scene->said_bytes += ksock_encode_message(scene->said + scene->said_bytes, &noop,
						  scene->options.swapped);
}

void send_said(struct scene *scene, int rule)
{
	send_bytes(scene, rule, scene->said, scene->said_bytes);
	scene->said_bytes = 0;
}

/* ---- What it hears -------------------------------------------------------------------------- */

bool hear_within(struct scene *scene, int rule, int64_t timeout_ns)
{
	uint8_t bytes[LNET_HEADER_BYTES];

	if (!hear_bytes(scene, rule, bytes, KSOCK_MESSAGE_BYTES, timeout_ns))
		return false;
	expect_number(rule, "what is wrong with the node's message (enum lnet_wire_reason)",
		      LNET_WIRE_GOOD,
		      ksock_decode_message(bytes, KSOCK_MESSAGE_BYTES, &scene->message, false));
	if (scene->message.type == KSOCK_MSG_NOOP)
		return true;
	hear_bytes(scene, rule, bytes, LNET_HEADER_BYTES, SOON);
	expect_number(
		rule, "what is wrong with its LNet header (enum lnet_wire_reason)", LNET_WIRE_GOOD,
		lnet_decode_header(bytes, LNET_HEADER_BYTES, &scene->header, LNET_HEADER_SWAPPED));
	expect_true(rule, scene->header.payload_length <= HEARD_BYTES, "a payload of a few bytes",
		    "a longer one");
	hear_bytes(scene, rule, scene->payload, scene->header.payload_length, SOON);
	return true;
}

void expect_message(struct scene *scene, int rule, uint32_t type)
{
	static const char *const names[] = {"an ACK", "a PUT", "a GET", "a REPLY"};

	expect_true(rule, hear_within(scene, rule, SOON), names[type], "the node says nothing");
	expect_true(rule, scene->message.type == KSOCK_MSG_LNET, names[type], "a NOOP");
	expect_true(rule, scene->header.type == type, names[type], names[scene->header.type]);
}

void expect_ack(struct scene *scene, int rule, const struct lnet_header *put, uint32_t length)
{
	const struct lnet_ack *ack = &scene->header.msg.ack;

	expect_message(scene, rule, LNET_MSG_ACK);
	expect_true(RULE_ACK,
		    ack->dst_wmd.interface_cookie == put->msg.put.ack_wmd.interface_cookie &&
			    ack->dst_wmd.object_cookie == put->msg.put.ack_wmd.object_cookie,
		    "the ACK gives the PUT's handle back", "it has another one");
	expect_number(RULE_ACK, "the match bits of the ACK", (int64_t)put->msg.put.match_bits,
		      (int64_t)ack->match_bits);
	expect_number(RULE_ACK, "bytes that were taken, by the ACK", length, ack->mlength);
}

void expect_silence(struct scene *scene, int rule, const char *expected)
{
	static const char *const names[] = {"it sends an ACK", "it sends a PUT", "it sends a GET",
					    "it sends a REPLY"};

	if (hear_within(scene, rule, MILLISECONDS(1)))
		expect_true(rule, false, expected,
			    scene->message.type == KSOCK_MSG_NOOP ? "it sends a NOOP"
								  : names[scene->header.type]);
}

void expect_hung_up(struct scene *scene, int rule)
{
	int64_t got;
	char byte;

	do
		got = tdi_stream_read(scene->stream, &byte, 1, SOON);
	while (got > 0);
	expect_true(rule, got != STATUS_IO_TIMEOUT, "the node ends the connection", "it does not");
}

/* ---- What the node says -------------------------------------------------------------------- */

static void letter_over(void *context, ntstatus status, uint32_t length)
{
	struct letter *letter = context;

	letter->calls++;
	letter->status = status;
	letter->length = length;
	ke_set_event(&letter->over);
}

void put_letter(struct scene *scene, struct letter *letter, const struct lnet_payload *payload,
		uint32_t flags)
{
	const struct lnet_put put = {.ptl_index = 1};

	letter->calls = 0;
	ke_initialize_event(&letter->over, NOTIFICATION_EVENT, false);
	lnet_put(scene->peer, &letter->tx, &put, payload, flags, letter_over, letter);
	expect_message(scene, RULE_HANDLE, LNET_MSG_PUT);
}

void get_letter(struct scene *scene, struct letter *letter, const struct lnet_payload *payload)
{
	const struct lnet_get get = {.ptl_index = 1};

	letter->calls = 0;
	ke_initialize_event(&letter->over, NOTIFICATION_EVENT, false);
	lnet_get(scene->peer, &letter->tx, &get, payload, letter_over, letter);
	expect_message(scene, RULE_HANDLE, LNET_MSG_GET);
}

void expect_over(struct letter *letter, int rule, ntstatus status, uint32_t length)
{
	expect_event(rule, &letter->over, "the node's message is called back");
	expect_status(rule, "the status that its callback is given", status, letter->status);
	expect_number(rule, "bytes, by its callback", length, letter->length);
	expect_number(rule, "calls of its callback", 1, letter->calls);
}
