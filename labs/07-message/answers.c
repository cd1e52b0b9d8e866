/* Lab 07: answers, cookies, byte orders, checksums, and how a connection ends. */
#include "exercises.h"

#include <string.h>

/* ---- Answers ------------------------------------------------------------------------------- */

void is_acknowledged(void *context)
{
	struct lnet_header ack, wrong;
	struct letter get, put;
	struct sheet into;
	struct scene scene;

	(void)context;
	open_scene(&scene, &(struct scene_options){.piece = 60});
	place_at(&scene, &into, 50, false);
	step(RULE_HANDLE, "the node sends a GET, and a PUT that wants an ACK");
	get_letter(&scene, &get, &into.payload);
	wrong = answer_header(LNET_MSG_ACK, &scene.header, 1);
	put_letter(&scene, &put, NULL, LNET_ACK_WANTED);
	ack = answer_header(LNET_MSG_ACK, &scene.header, 33);
	step(RULE_HANDLE, "ACKs come with the GET's handle, with handles that never were, and one "
			  "of the node's last life");
	say(&scene, &wrong, 0);
	wrong = ack;
	wrong.msg.ack.dst_wmd.object_cookie += 100;
	say(&scene, &wrong, 0);
	wrong = ack;
	wrong.msg.ack.dst_wmd.interface_cookie--;
	say(&scene, &wrong, 0);
	expect_order(&scene, RULE_HANDLE);
	expect_number(RULE_HANDLE, "calls of the callbacks of both", 0, get.calls + put.calls);
	step(RULE_HANDLE, "the right ACK comes, for 33 bytes, twice");
	say(&scene, &ack, 0);
	say(&scene, &ack, 0);
	expect_order(&scene, RULE_HANDLE);
	expect_over(&put, RULE_HANDLE, STATUS_SUCCESS, 33);
	close_scene(&scene);
	expect_over(&get, RULE_END, STATUS_LOCAL_DISCONNECT, 0);
	drop_sheet(&into);
}

void is_replied(void *context)
{
	struct lnet_header reply, wrong;
	struct letter get, put;
	struct sheet into;
	struct scene scene;

	(void)context;
	open_scene(&scene, &(struct scene_options){.piece = 60});
	place_at(&scene, &into, 50, true);
	step(RULE_HANDLE, "the node sends a PUT that wants an ACK, and a GET of 50 bytes");
	put_letter(&scene, &put, NULL, LNET_ACK_WANTED);
	wrong = answer_header(LNET_MSG_REPLY, &scene.header, 20);
	get_letter(&scene, &get, &into.payload);
	reply = answer_header(LNET_MSG_REPLY, &scene.header, 80);
	step(RULE_HANDLE, "REPLYs come with the PUT's handle, and one of the node's last life");
	say(&scene, &wrong, 0);
	wrong = reply;
	wrong.msg.reply.dst_wmd.interface_cookie--;
	say(&scene, &wrong, 0);
	expect_order(&scene, RULE_HANDLE);
	expect_number(RULE_HANDLE, "calls of the callbacks of both", 0, get.calls + put.calls);
	step(RULE_HANDLE, "the right REPLY comes, with 80 bytes, and then the same again");
	say(&scene, &reply, 0);
	say(&scene, &reply, 0);
	expect_order(&scene, RULE_HANDLE);
	expect_over(&get, RULE_PLACE, STATUS_SUCCESS, 50);
	expect_true(RULE_PLACE, payload_is(&into.payload, 50, 80),
		    "the first 50 bytes of the REPLY are in the GET's place", "others are");
	close_scene(&scene);
	expect_over(&put, RULE_END, STATUS_LOCAL_DISCONNECT, 0);
	drop_sheet(&into);
}

/* ---- Zero-copy cookies --------------------------------------------------------------------- */

enum { LETTERS = 7 };

/* Sends PUTs whose payloads must stay until the caller has them, by their cookies. */
static void send_letters(struct scene *scene, struct letter letters[], uint64_t cookies[],
			 const struct lnet_payload *payload)
{
	step(RULE_NOOP, "the node sends %d PUTs, each with a cookie to be acknowledged", LETTERS);
	for (int i = 0; i < LETTERS; i++) {
		put_letter(scene, &letters[i], payload, 0);
		cookies[i] = scene->message.zc_cookies[0];
		expect_true(RULE_NOOP, cookies[i] > SOCKNAL_KEEPALIVE_PING, "a cookie", "none");
	}
}

/* Which of them have been called back, as bits, when all that was said is done. */
static void expect_acked(struct scene *scene, struct letter letters[], uint32_t expected)
{
	send_said(scene, RULE_NOOP);
	expect_order(scene, RULE_NOOP);
	for (int i = 0; i < LETTERS; i++) {
		if ((expected & 1u << i) != 0)
			expect_over(&letters[i], RULE_NOOP, STATUS_SUCCESS, 0);
		else
			expect_number(RULE_NOOP,
				      "callbacks of a PUT of which the caller has said nothing", 0,
				      letters[i].calls);
	}
}

void has_pages(void *context)
{
	static const uint32_t sizes[PIECES] = {10};
	struct letter letters[LETTERS];
	uint64_t cookies[LETTERS];
	struct scene scene;
	struct sheet from;

	(void)context;
	open_scene(&scene, &(struct scene_options){.piece = 60});
	make_sheet(&from, sizes, false, true);
	send_letters(&scene, letters, cookies, &from.payload);
	step(RULE_NOOP, "NOOPs of version 3: a keepalive, and one for the second PUT");
	say_noop(&scene, 0, SOCKNAL_KEEPALIVE_PING);
	say_noop(&scene, 0, cookies[1]);
	expect_acked(&scene, letters, 0x02);
	step(RULE_NOOP, "a NOOP for the sixth and the first: the greater stands first");
	say_noop(&scene, cookies[5], cookies[0]);
	expect_acked(&scene, letters, 0x23);
	step(RULE_NOOP, "a NOOP for those from the third to the fifth");
	say_noop(&scene, cookies[2], cookies[4]);
	expect_acked(&scene, letters, 0x3f);
	close_scene(&scene);
	expect_over(&letters[6], RULE_END, STATUS_LOCAL_DISCONNECT, 0);
	drop_sheet(&from);
}

void has_pages_by_version_2(void *context)
{
	static const uint32_t sizes[PIECES] = {10};
	struct lnet_header put = put_header(PLACED, 0, 1);
	struct letter letters[LETTERS];
	uint64_t cookies[LETTERS];
	struct scene scene;
	struct sheet from;

	(void)context;
	open_scene(&scene, &(struct scene_options){.version = KSOCK_PROTO_V2});
	make_sheet(&from, sizes, false, true);
	send_letters(&scene, letters, cookies, &from.payload);
	step(RULE_NOOP, "NOOPs of version 2, which counts for their second cookie only");
	say_noop(&scene, cookies[0], cookies[2]);
	expect_acked(&scene, letters, 0x04);
	say_noop(&scene, cookies[5], cookies[3]);
	expect_acked(&scene, letters, 0x0c);
	step(RULE_NOOP, "a PUT whose header acknowledges the last");
	say(&scene, &put, 0);
	memcpy(scene.said + KSOCK_MESSAGE_BYTES - sizeof(cookies[6]), &cookies[6],
	       sizeof(cookies[6]));
	send_said(&scene, RULE_NOOP);
	expect_ack(&scene, RULE_NOOP, &put, 0);
	expect_acked(&scene, letters, 0x4c);
	close_scene(&scene);
	drop_sheet(&from);
}

/* By the time at which what follows has its ACK, this cookie has been acknowledged, once. */
static void expect_cookie(struct scene *scene, uint64_t cookie)
{
	const struct lnet_header last = put_header(PLACED, 0, LAST);
	uint32_t times = 0;

	step(RULE_COOKIE, "an empty PUT that wants an ACK follows");
	say(scene, &last, 0);
	send_said(scene, RULE_COOKIE);
	do {
		expect_true(RULE_COOKIE, hear_within(scene, RULE_COOKIE, SOON), "an ACK of it",
			    "the node says nothing");
		times += scene->message.zc_cookies[1] == cookie;
	} while (scene->message.type == KSOCK_MSG_NOOP ||
		 scene->header.msg.ack.dst_wmd.object_cookie != LAST);
	expect_number(RULE_COOKIE, "times that its cookie was acknowledged", 1, times);
}

void lends_pages(void *context)
{
	const struct lnet_header put = put_header(PLACED, 90, 1), none = put_header(VACANT, 90, 2);
	struct scene scene;
	struct sheet into;

	(void)context;
	open_scene(&scene, &(struct scene_options){.piece = 60});
	place_at(&scene, &into, 90, false);
	step(RULE_COOKIE, "a PUT with a cookie comes, but for its last byte");
	say(&scene, &put, 7);
	scene.said_bytes--;
	send_said(&scene, RULE_COOKIE);
	expect_silence(&scene, RULE_COOKIE, "nothing before all of it is there");
	step(RULE_COOKIE, "the last byte comes");
	scene.said_bytes = 1;
	scene.said[0] = payload_byte(90, 89);
	send_said(&scene, RULE_COOKIE);
	expect_cookie(&scene, 7);
	step(RULE_COOKIE, "a PUT with a cookie comes that nobody wants");
	say(&scene, &none, 8);
	send_said(&scene, RULE_COOKIE);
	expect_cookie(&scene, 8);
	scene.owner.pending_dones = 1;
	step(RULE_COOKIE,
	     "a PUT with a cookie comes, and its owner says STATUS_PENDING in the end");
	say(&scene, &put, 9);
	send_said(&scene, RULE_COOKIE);
	expect_event(RULE_COOKIE, &scene.owner.holds, "`done` is told");
	expect_silence(&scene, RULE_COOKIE, "nothing before its owner has done with it");
	resume(&scene);
	expect_cookie(&scene, 9);
	close_scene(&scene);
	drop_sheet(&into);
}

/* ---- Byte order and checksums -------------------------------------------------------------- */

void is_swapped(void *context)
{
	const struct lnet_header put = put_header(PLACED, 90, 1);
	static const uint32_t sizes[PIECES] = {10};
	struct letter letters[LETTERS];
	uint64_t cookies[LETTERS];
	struct sheet into, from;
	struct scene scene;

	(void)context;
	open_scene(&scene, &(struct scene_options){.swapped = true, .checksums = true});
	step(RULE_ORDER, "the caller has the other byte order");
	place_at(&scene, &into, 90, false);
	make_sheet(&from, sizes, false, true);
	say(&scene, &put, 0);
	send_said(&scene, RULE_ORDER);
	expect_ack(&scene, RULE_ORDER, &put, 90);
	send_letters(&scene, letters, cookies, &from.payload);
	step(RULE_ORDER, "it acknowledges all of the node's PUTs");
	say_noop(&scene, cookies[0], cookies[LETTERS - 1]);
	send_said(&scene, RULE_ORDER);
	expect_over(&letters[LETTERS - 1], RULE_ORDER, STATUS_SUCCESS, 0);
	close_scene(&scene);
	drop_sheet(&into);
	drop_sheet(&from);
}

void is_checked(void *context)
{
	const struct scene_options options = {.piece = 60, .checksums = true};
	struct lnet_header put = put_header(PLACED, 200, 1);
	struct scene scene;
	struct sheet into;

	(void)context;
	open_scene(&scene, &options);
	place_at(&scene, &into, 90, false);
	step(RULE_CHECKSUM, "the caller's messages have checksums; the first is longer than its "
			    "place");
	say(&scene, &put, 0);
	send_said(&scene, RULE_CHECKSUM);
	expect_ack(&scene, RULE_CHECKSUM, &put, 90);
	put = put_header(SHOWN, 70, 2);
	say(&scene, &put, 0);
	send_said(&scene, RULE_CHECKSUM);
	expect_ack(&scene, RULE_CHECKSUM, &put, 70);
	expect_order(&scene, RULE_CHECKSUM);
	close_scene(&scene);
	drop_sheet(&into);
}

/* One bit of a PUT is not what it was: in its LNet header, its payload, or its slop. */
void is_spoilt(void *context)
{
	static const uint32_t bits[] = {KSOCK_MESSAGE_BYTES + 48, 96 + 10, 96 + 190};
	const struct scene_options options = {.piece = 60, .checksums = true};
	const struct lnet_header put = put_header(PLACED, 200, 1);
	struct scene scene;
	struct sheet into;

	(void)context;
	open_scene(&scene, &options);
	for (int i = 0; i < 3; i++) {
		place_at(&scene, &into, 90, false);
		scene.owner.status = STATUS_SUCCESS;
		step(RULE_CHECKSUM, "a PUT comes with a checksum, and byte %u of it is spoilt",
		     bits[i]);
		say(&scene, &put, 0);
		scene.said[bits[i]] ^= 4;
		send_said(&scene, RULE_CHECKSUM);
		expect_hung_up(&scene, RULE_CHECKSUM);
		expect_event(RULE_DONE, &scene.owner.told, "`done` is told");
		expect_status(RULE_CHECKSUM, "what `done` is told", STATUS_INVALID_NETWORK_RESPONSE,
			      scene.owner.status);
		call_again(&scene);
		drop_sheet(&into);
	}
	close_scene(&scene);
}

/* ---- What can't be a message --------------------------------------------------------------- */

static void spoil(struct scene *scene, struct lnet_header *put, int how)
{
	static const char *const what[] = {
		"is from another node than its caller", "is of a type that LNet has not",
		"has a payload of more than 1 MiB", "has a message header of an unknown type"};

	step(RULE_REFUSED, "a PUT comes that %s", what[how]);
	if (how == 0)
		put->src_nid++;
	say(scene, put, 0);
	if (how == 1)
		scene->said[KSOCK_MESSAGE_BYTES + 24] = 9;
	if (how == 2)
		scene->said[KSOCK_MESSAGE_BYTES + 28 + 3] = 0x7f;
	if (how == 3)
		scene->said[0] = 0x17;
	send_said(scene, RULE_REFUSED);
}

void is_no_message(void *context)
{
	struct scene scene;
	struct letter letter;

	(void)context;
	open_scene(&scene, &(struct scene_options){.piece = 0});
	for (int how = 0; how < 4; how++) {
		struct lnet_header put = put_header(PLACED, 10, 1);

		put_letter(&scene, &letter, NULL, LNET_ACK_WANTED);
		spoil(&scene, &put, how);
		expect_hung_up(&scene, RULE_REFUSED);
		expect_over(&letter, RULE_REFUSED, STATUS_INVALID_NETWORK_RESPONSE, 0);
		expect_number(RULE_REFUSED, "PUTs that the owner was asked for", 0,
			      scene.owner.puts);
		call_again(&scene);
	}
	expect_order(&scene, RULE_REFUSED);
	close_scene(&scene);
}

void is_for_another(void *context)
{
	struct lnet_header put = put_header(PLACED, 90, 1);
	struct scene scene;
	struct sheet into;

	(void)context;
	open_scene(&scene, &(struct scene_options){.piece = 60});
	place_at(&scene, &into, 90, false);
	step(RULE_REFUSED, "a PUT comes that is for another node: this one is no router");
	put.dest_nid++;
	say(&scene, &put, 0);
	expect_order(&scene, RULE_REFUSED);
	expect_number(RULE_REFUSED, "PUTs that the owner was asked for", 1, scene.owner.puts);
	close_scene(&scene);
	drop_sheet(&into);
}

/* ---- Ends ---------------------------------------------------------------------------------- */

/* The caller goes after so many bytes of a PUT. */
static void go_after(struct scene *scene, uint32_t bytes, ntstatus reason)
{
	const struct lnet_header whole = put_header(SHOWN, 41, 0), put = put_header(PLACED, 90, 1);
	uint32_t dones = scene->owner.dones;
	struct letter letter;

	put_letter(scene, &letter, NULL, LNET_ACK_WANTED);
	step(RULE_END, "a PUT, and %u bytes of another, and then the caller says that it is done",
	     bytes);
	say(scene, &whole, 0);
	say(scene, &put, 0);
	scene->said_bytes -= 96 + 90 - bytes;
	send_said(scene, RULE_END);
	tdi_disconnect(&scene->stream->file, TDI_DISCONNECT_RELEASE);
	expect_over(&letter, RULE_END, reason, 0);
	expect_number(RULE_END, "calls of `done`", bytes < 96 ? 1 : 2, scene->owner.dones - dones);
	expect_status(RULE_END, "what it was told last", bytes < 96 ? STATUS_SUCCESS : reason,
		      scene->owner.status);
	scene->owner.puts = scene->owner.dones = 0;
}

void ends(void *context)
{
	struct scene scene;
	struct sheet into;

	(void)context;
	open_scene(&scene, &(struct scene_options){.piece = 60});
	place_at(&scene, &into, 90, false);
	go_after(&scene, 0, STATUS_GRACEFUL_DISCONNECT);
	call_again(&scene);
	go_after(&scene, 10, STATUS_CONNECTION_ABORTED);
	call_again(&scene);
	go_after(&scene, 24, STATUS_CONNECTION_ABORTED);
	call_again(&scene);
	go_after(&scene, 96 + 50, STATUS_CONNECTION_ABORTED);
	close_scene(&scene);
	drop_sheet(&into);
}

/* The node's side ends while a payload comes in, and while an owner has said PENDING. */
void is_closed(void *context)
{
	const struct lnet_header put = put_header(PLACED, 90, 1);
	struct scene scene;
	struct sheet into;

	(void)context;
	open_scene(&scene, &(struct scene_options){.piece = 60});
	place_at(&scene, &into, 90, false);
	step(RULE_END, "half of a PUT comes, and the node closes the connection");
	say(&scene, &put, 0);
	scene.said_bytes -= 45;
	send_said(&scene, RULE_END);
	ksocknal_close_peer(scene.peer, STATUS_CANCELLED);
	expect_hung_up(&scene, RULE_END);
	if (scene.owner.puts > 0) { /* it may not have come so far */
		expect_event(RULE_DONE, &scene.owner.told, "`done` is told");
		expect_status(RULE_END, "what `done` is told", STATUS_CANCELLED,
			      scene.owner.status);
	}
	call_again(&scene);
	scene.owner.pending_dones = 1;
	step(RULE_END, "a PUT comes, its owner says PENDING in the end, and the node closes the "
		       "connection");
	say(&scene, &put, 0);
	send_said(&scene, RULE_END);
	expect_event(RULE_DONE, &scene.owner.holds, "`done` is told");
	ksocknal_close_peer(scene.peer, STATUS_CANCELLED);
	resume(&scene);
	expect_hung_up(&scene, RULE_END);
	close_scene(&scene);
	drop_sheet(&into);
}
