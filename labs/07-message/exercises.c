/* Lab 07: messages out of a stream that is cut anywhere, from a peer that says what it likes. */
#include "exercises.h"

void place_at(struct scene *scene, struct sheet *sheet, uint32_t length, bool pages)
{
	const uint32_t sizes[PIECES] = {length / 3, 0, length / 2,
					length - length / 3 - length / 2};

	make_sheet(sheet, sizes, pages, false);
	scene->owner.into = sheet->payload;
}

/* The next PUT that was said has come, for so many bytes. */
static void expect_put(struct scene *scene, int rule, const struct lnet_header *put, uint32_t kept)
{
	uint32_t dones = scene->owner.dones;

	step(rule, "a PUT of %u bytes comes to portal %u; %u bytes of it are to be taken",
	     put->payload_length, put->msg.put.ptl_index, kept);
	say(scene, put, 0);
	send_said(scene, rule);
	expect_ack(scene, rule, put, kept);
	expect_number(RULE_DONE, "calls of `done` for it, when its ACK comes", 1,
		      scene->owner.dones - dones);
	expect_status(RULE_DONE, "what `done` is told", STATUS_SUCCESS, scene->owner.status);
}

void expect_order(struct scene *scene, int rule)
{
	const struct lnet_header put = put_header(PLACED, 0, LAST);

	step(rule, "an empty PUT that wants an ACK follows");
	say(scene, &put, 0);
	send_said(scene, rule);
	expect_ack(scene, rule, &put, 0);
}

/* ---- Where the stream is cut --------------------------------------------------------------- */

static void come_in_pieces(uint32_t piece, bool cut)
{
	const struct scene_options options = {.piece = piece, .cut = cut};
	const struct lnet_header puts[] = {put_header(PLACED, 0, 1), put_header(SHOWN, 41, 2),
					   put_header(PLACED, 90, 3)};
	const uint32_t takes[] = {0, 41, 90};
	struct scene scene;
	struct sheet into;

	open_scene(&scene, &options);
	place_at(&scene, &into, 90, false);
	step(RULE_HEADER, "a NOOP and three PUTs, of 0, 41 and 90 bytes, in one send");
	say_noop(&scene, 0, SOCKNAL_KEEPALIVE_PING);
	for (int i = 0; i < 3; i++)
		say(&scene, &puts[i], 0);
	send_said(&scene, RULE_HEADER);
	for (int i = 0; i < 3; i++)
		expect_ack(&scene, RULE_HEADER, &puts[i], takes[i]);
	expect_number(RULE_HEADER, "calls of `done`", 3, scene.owner.dones);
	close_scene(&scene);
	drop_sheet(&into);
}

static void come_whole(void *context)
{
	(void)context;
	come_in_pieces(0, false);
}

static void come_by_seven(void *context)
{
	(void)context;
	come_in_pieces(7, false);
}

static void come_by_headers(void *context)
{
	(void)context;
	come_in_pieces(24, false);
}

static void come_by_chance(void *context)
{
	(void)context;
	come_in_pieces(60, true);
}

/* ---- Payloads ------------------------------------------------------------------------------ */

static void in_places(void *context)
{
	const struct scene_options options = {.piece = 50};
	struct scene scene;
	struct sheet into;
	struct lnet_header put;

	(void)context;
	open_scene(&scene, &options);
	for (uint32_t pages = 0; pages < 2; pages++) {
		step(RULE_PLACE, "its place is 90 bytes, in four pieces of %s",
		     pages ? "pages" : "memory");
		place_at(&scene, &into, 90, pages != 0);
		put = put_header(PLACED, 90, 1);
		expect_put(&scene, RULE_PLACE, &put, 90);
		put = put_header(PLACED, 30, 2);
		expect_put(&scene, RULE_PLACE, &put, 30);
		drop_sheet(&into);
	}
	place_at(&scene, &into, 0, false);
	put = put_header(SHOWN, 130, 3);
	expect_put(&scene, RULE_PLACE, &put, 130);
	close_scene(&scene);
	drop_sheet(&into);
}

static void too_long(void *context)
{
	const struct scene_options options = {.piece = 50};
	struct scene scene;
	struct sheet into;
	struct lnet_header put;

	(void)context;
	open_scene(&scene, &options);
	place_at(&scene, &into, 60, false);
	put = put_header(PLACED, 200, 1);
	expect_put(&scene, RULE_PLACE, &put, 60);
	scene.owner.into = (struct lnet_payload){0};
	put = put_header(PLACED, 70, 2);
	expect_put(&scene, RULE_PLACE, &put, 0);
	expect_order(&scene, RULE_PLACE);
	close_scene(&scene);
	drop_sheet(&into);
}

/* ---- PUTs that nobody wants ---------------------------------------------------------------- */

static void expect_drop(struct scene *scene, const struct lnet_header *put)
{
	uint32_t dones = scene->owner.dones;

	say(scene, put, 0);
	expect_order(scene, RULE_ACK);
	expect_number(RULE_DONE, "calls of `done` for both", 1, scene->owner.dones - dones);
}

static void unwanted(void *context)
{
	const struct scene_options options = {.piece = 60};
	struct lnet_header put = put_header(VACANT, 100, 1);
	struct scene scene;
	struct sheet into;

	(void)context;
	open_scene(&scene, &options);
	place_at(&scene, &into, 90, false);
	step(RULE_ACK, "a PUT comes to a portal at which there is nobody");
	expect_drop(&scene, &put);
	put.msg.put.ptl_index = 1000;
	step(RULE_ACK, "a PUT comes to a portal that there is not");
	expect_drop(&scene, &put);
	scene.owner.put_answer = STATUS_ACCESS_DENIED;
	put.msg.put.ptl_index = PLACED;
	step(RULE_DONE, "a PUT comes that its owner refuses");
	expect_drop(&scene, &put);
	expect_number(RULE_PLACE, "the first byte of a place for which nothing was taken", 0,
		      *(uint8_t *)into.iov[0].base);
	close_scene(&scene);
	drop_sheet(&into);
}

static void unwanted_in_the_end(void *context)
{
	const struct scene_options options = {.piece = 60};
	struct lnet_header put = put_header(PLACED, 90, 0);
	struct scene scene;
	struct sheet into;

	(void)context;
	open_scene(&scene, &options);
	place_at(&scene, &into, 90, false);
	step(RULE_ACK, "a PUT comes that wants no ACK");
	say(&scene, &put, 0);
	expect_order(&scene, RULE_ACK);
	scene.owner.done_answer = STATUS_ACCESS_DENIED;
	put = put_header(PLACED, 90, 1);
	step(RULE_ACK, "a PUT comes of which its owner says in the end that he can't use it");
	say(&scene, &put, 0);
	expect_order(&scene, RULE_ACK);
	expect_number(RULE_DONE, "calls of `done`", 4, scene.owner.dones);
	close_scene(&scene);
	drop_sheet(&into);
}

/* ---- Not now ------------------------------------------------------------------------------- */

void resume(struct scene *scene)
{
	step(RULE_HELD, "the owner resumes");
	scene->owner.waiting = false;
	lnet_resume(scene->owner.held);
}

static void not_now(void *context)
{
	const struct lnet_header put = put_header(PLACED, 90, 1), next = put_header(SHOWN, 41, 2);
	struct scene scene;
	struct sheet into;

	(void)context;
	open_scene(&scene, &(struct scene_options){.piece = 0});
	place_at(&scene, &into, 90, false);
	scene.owner.pending_puts = 2;
	step(RULE_HELD, "two PUTs come, and their owner says STATUS_PENDING twice");
	say(&scene, &put, 0);
	say(&scene, &next, 0);
	send_said(&scene, RULE_HELD);
	for (int i = 0; i < 2; i++) {
		expect_event(RULE_HELD, &scene.owner.holds, "the owner is asked");
		say_noop(&scene, 0, SOCKNAL_KEEPALIVE_PING); /* news that must not bring a turn */
		send_said(&scene, RULE_HELD);
		expect_silence(&scene, RULE_HELD, "no answer while the owner has said PENDING");
		resume(&scene);
	}
	expect_ack(&scene, RULE_CONSUME, &put, 90);
	expect_ack(&scene, RULE_CONSUME, &next, 41);
	expect_number(RULE_HELD, "times that the owner was asked", 4, scene.owner.puts);
	close_scene(&scene);
	drop_sheet(&into);
}

static void not_quite(void *context)
{
	const struct lnet_header put = put_header(PLACED, 90, 1), next = put_header(SHOWN, 41, 2);
	const struct scene_options options = {.piece = 60};
	struct scene scene;
	struct sheet into;

	(void)context;
	open_scene(&scene, &options);
	place_at(&scene, &into, 90, false);
	scene.owner.pending_dones = 1;
	step(RULE_HELD, "two PUTs come, and of the first the owner says STATUS_PENDING in the end");
	say(&scene, &put, 0);
	say(&scene, &next, 0);
	send_said(&scene, RULE_HELD);
	expect_event(RULE_DONE, &scene.owner.holds, "`done` is told");
	expect_silence(&scene, RULE_HELD, "no ACK while the owner has said PENDING");
	expect_number(RULE_HELD, "PUTs that were asked for meanwhile", 1, scene.owner.puts);
	resume(&scene);
	expect_ack(&scene, RULE_HELD, &put, 90);
	expect_ack(&scene, RULE_HELD, &next, 41);
	expect_number(RULE_DONE, "calls of `done`", 2, scene.owner.dones);
	close_scene(&scene);
	drop_sheet(&into);
}

struct sending {
	struct kevent done;
	ntstatus status;
};

static void sending_done(void *context, ntstatus status, uint32_t bytes)
{
	struct sending *sending = context;

	(void)bytes;
	sending->status = status;
	ke_set_event(&sending->done);
}

/* The wait of the owner reaches who sends to him. */
static void has_to_stop(void *context)
{
	const struct scene_options options = {.window_bytes = 1000};
	const struct lnet_header put = put_header(PLACED, 5000, 1);
	struct sending sending;
	struct scene scene;
	struct sheet into;

	(void)context;
	open_scene(&scene, &options);
	place_at(&scene, &into, 5000, true);
	ke_initialize_event(&sending.done, NOTIFICATION_EVENT, false);
	scene.owner.pending_puts = 1;
	step(RULE_HELD, "a PUT of 5000 bytes is sent over a link that holds 1000, and its owner "
			"says STATUS_PENDING");
	say(&scene, &put, 0);
	tdi_start_send_buffer(&scene.stream->file, scene.said, scene.said_bytes, 0, sending_done,
			      &sending);
	expect_event(RULE_HELD, &scene.owner.holds, "the owner is asked");
	expect_true(RULE_HELD,
		    ke_wait_for_single_object(&sending.done, MILLISECONDS(1)) == STATUS_TIMEOUT,
		    "the caller's send waits for the owner", "all of it is gone");
	resume(&scene);
	expect_event(RULE_HELD, &sending.done, "the caller's send is over");
	expect_ack(&scene, RULE_HELD, &put, 5000);
	close_scene(&scene);
	drop_sheet(&into);
}

/* ---- GETs ---------------------------------------------------------------------------------- */

/* A REPLY of so many bytes of the owner's. */
static void expect_reply(struct scene *scene, const struct lnet_header *get, uint32_t length)
{
	const struct lnet_wire_handle *handle = &scene->header.msg.reply.dst_wmd;
	uint32_t whole = scene->owner.from.length;

	say(scene, get, 0);
	send_said(scene, RULE_REPLY);
	expect_message(scene, RULE_REPLY, LNET_MSG_REPLY);
	expect_number(RULE_REPLY, "bytes of the REPLY", length, scene->header.payload_length);
	expect_true(RULE_REPLY,
		    handle->interface_cookie == get->msg.get.return_wmd.interface_cookie &&
			    handle->object_cookie == get->msg.get.return_wmd.object_cookie,
		    "the REPLY gives the GET's handle back", "it has another one");
	for (uint32_t i = 0; i < length; i++)
		expect_number(RULE_REPLY, "a byte of the REPLY", payload_byte(whole, i),
			      scene->payload[i]);
	expect_number(RULE_REPLY, "calls of `got`, before the caller has the payload", 0,
		      scene->owner.gots);
	say_noop(scene, 0, scene->message.zc_cookies[0]);
	send_said(scene, RULE_REPLY);
	expect_event(RULE_REPLY, &scene->owner.back, "`got` is told when the caller has it");
}

static void are_asked_for(void *context)
{
	static const uint32_t sizes[PIECES] = {30, 0, 60, 10};
	struct lnet_header get = get_header(PLACED, 500);
	struct scene scene;
	struct sheet from;

	(void)context;
	open_scene(&scene, &(struct scene_options){.piece = 60});
	make_sheet(&from, sizes, false, true);
	scene.owner.from = from.payload;
	step(RULE_REPLY, "a GET for up to 500 bytes comes, and there are 100");
	expect_reply(&scene, &get, 100);
	scene.owner.gots = 0;
	get = get_header(PLACED, 40);
	step(RULE_REPLY, "a GET for up to 40 bytes comes");
	expect_reply(&scene, &get, 40);
	scene.owner.get_answer = STATUS_ACCESS_DENIED;
	step(RULE_REPLY, "a GET comes that the owner refuses, and one for a vacant portal");
	say(&scene, &get, 0);
	get = get_header(VACANT, 40);
	say(&scene, &get, 0);
	expect_order(&scene, RULE_REPLY);
	expect_number(RULE_REPLY, "GETs that the owner was asked for", 3, scene.owner.gets);
	expect_number(RULE_REPLY, "calls of `got`", 1, scene.owner.gots);
	close_scene(&scene);
	drop_sheet(&from);
}

static void is_pinged(void *context)
{
	struct lnet_header ping = get_header(LNET_RESERVED_PORTAL, LNET_PING_MOST_BYTES);
	struct lnet_ping_reply reply;
	struct scene scene;
	bool swapped;

	(void)context;
	open_scene(&scene, &(struct scene_options){.piece = 0});
	step(RULE_REPLY, "a ping comes: a GET of portal 0, with its match bits");
	ping.msg.get.match_bits = LNET_PROTO_PING_MATCHBITS;
	say(&scene, &ping, 0);
	send_said(&scene, RULE_REPLY);
	expect_message(&scene, RULE_REPLY, LNET_MSG_REPLY);
	expect_number(RULE_REPLY, "what is wrong with it (enum lnet_wire_reason)", LNET_WIRE_GOOD,
		      lnet_decode_ping_reply(scene.payload, scene.header.payload_length, &reply,
					     &swapped));
	expect_number(RULE_REPLY, "interfaces in it: 0@lo, and the node's", 2, reply.count);
	close_scene(&scene);
}

static const struct lab_cause causes[] = {
	{"use-after-free", RULE_CONSUME},
	{"heap-buffer-overflow", RULE_PLACE},
	{"null pointer", RULE_PLACE},
	{NULL, 0},
};

static const struct lab_exercise exercises[] = {
	{"messages in one piece", come_whole},
	{"messages in pieces of 7 bytes", come_by_seven},
	{"messages in pieces of 24 bytes", come_by_headers},
	{"messages in pieces of any size", come_by_chance},
	{"payloads, and places of several pieces", in_places},
	{"payloads that are longer than their places", too_long},
	{"PUTs that nobody wants", unwanted},
	{"PUTs that nobody wants in the end, and that want no ACK", unwanted_in_the_end},
	{"an owner who says: not now", not_now},
	{"an owner who says: not quite", not_quite},
	{"a caller that has to stop", has_to_stop},
	{"GETs", are_asked_for},
	{"a ping", is_pinged},
	{"ACKs, right and wrong", is_acknowledged},
	{"REPLYs, right and wrong", is_replied},
	{"the caller has the node's pages", has_pages},
	{"the caller has them, by version 2", has_pages_by_version_2},
	{"the node has the caller's pages", lends_pages},
	{"checksums", is_checked},
	{"checksums of what is spoilt", is_spoilt},
	{"a caller of the other byte order", is_swapped},
	{"what can't be a message", is_no_message},
	{"messages for others", is_for_another},
	{"the end of the stream", ends},
	{"a connection that is closed", is_closed},
	{NULL, NULL},
};

/* Most mistakes here are of bytes, and show in any order of events. */
const struct lab lab_under_check = {
	.name = "07-message", .causes = causes, .exercises = exercises, .orders = 100};
