/*
 * A peer that calls a node over a link, and says what an exercise tells it to, byte for byte; and
 * the owner of the node's portals, who answers what he is told to, and looks after what he is told.
 *
 * The link shows all that comes as loans of at most `piece` bytes: so that is where the stream is
 * cut, and what is consumed is freed. A payload's bytes follow from its length (payload_byte).
 */
#ifndef XPORT_LABS_CALLER_H
#define XPORT_LABS_CALLER_H

#include "lab.h"
#include "nal/lnet.h"

/* The rules of the handout. */
enum {
	RULE_HEADER = 1,
	RULE_CONSUME,
	RULE_PLACE,
	RULE_HELD,
	RULE_DONE,
	RULE_ACK,
	RULE_REPLY,
	RULE_HANDLE,
	RULE_NOOP,
	RULE_COOKIE,
	RULE_ORDER,
	RULE_CHECKSUM,
	RULE_REFUSED,
	RULE_END,
};

enum { PLACED = 1, SHOWN, VACANT, PORTALS }; /* the node's portals; there is nothing at VACANT */

enum { INCARNATION = 0x1f2e3d4c, SAID_BYTES = 32 * 1024, HEARD_BYTES = 4096, PIECES = 4 };

#define NODE_NID lnet_make_nid(lnet_make_net(SOCKLND, 0), 0x0a000001)
#define CALLER_NID lnet_make_nid(lnet_make_net(SOCKLND, 0), 0x0a000002)

struct owner {
	/* What he answers; but empty PUTs are always welcome. */
	struct lnet_payload into; /* where PUTs go */
	struct lnet_payload from; /* what a GET gets */
	ntstatus put_answer, done_answer, get_answer;
	uint32_t pending_puts, pending_dones; /* so many times STATUS_PENDING first */

	/* What he was told. */
	struct lnet_header header; /* the last PUT's */
	uint32_t puts, dones, gets, gots;
	uint32_t shown;	 /* bytes of its payload */
	bool taken;	 /* he has said that it comes; `done` is still to be told */
	bool waiting;	 /* he has said PENDING, and not resumed */
	ntstatus status; /* that `done` was told last */
	struct lnet_incoming *held;
	struct kevent holds, told, back; /* synchronization: PENDING was said; `done`; `got` */
};

struct scene_options {
	uint32_t piece;	       /* 0: as long as they come */
	uint32_t window_bytes; /* of the link; 0: much */
	uint32_t version;      /* of the caller's protocol; 0: 3 */
	bool cut;	       /* also where chance will */
	bool swapped;	       /* the caller has the other byte order */
	bool checksums;	       /* of what the caller says */
};

struct scene {
	struct scene_options options;
	struct device_object *device;
	struct lnet_node *node;
	uint64_t nid; /* the node's */
	struct lnet_portal portals[PORTALS];
	struct owner owner;
	struct ksock_peer *peer;     /* the caller, as the node knows it */
	struct transport_address at; /* where the node listens */
	struct file_object address;  /* that the caller calls from */
	struct tdi_stream *stream;
	uint8_t *said; /* and not sent yet */
	uint32_t said_bytes;

	/* What was heard last. */
	struct ksock_message_header message;
	struct lnet_header header;
	uint8_t payload[HEARD_BYTES];
};

/* A node, and a caller that it knows. */
void open_scene(struct scene *scene, const struct scene_options *options);

/* Both end, whatever is under way. */
void close_scene(struct scene *scene);

/* The caller hangs up, if it has not been hung up on, and calls again. */
void call_again(struct scene *scene);

/* ---- What the caller says: kept until it is sent -------------------------------------------- */

/* Headers with nothing left out. `handle`: of an ACK that is wanted, 0: none is. */
struct lnet_header put_header(uint32_t portal, uint32_t length, uint64_t handle);
struct lnet_header get_header(uint32_t portal, uint32_t sink_length);
struct lnet_header answer_header(uint32_t type, const struct lnet_header *question,
				 uint32_t length);

/* A message, with its payload. `cookie`: that is to be acknowledged, or 0. */
void say(struct scene *scene, const struct lnet_header *header, uint64_t cookie);
void say_noop(struct scene *scene, uint64_t first, uint64_t second);

/* Sends what was said, in one go. */
void send_said(struct scene *scene, int rule);

/* ---- What it hears -------------------------------------------------------------------------- */

/* The next message, or NOOP; false: nothing comes in time. */
bool hear_within(struct scene *scene, int rule, int64_t timeout_ns);

/* The next message, which is of this type. */
void expect_message(struct scene *scene, int rule, uint32_t type);

/* The next is the ACK of this PUT, for so many bytes. */
void expect_ack(struct scene *scene, int rule, const struct lnet_header *put, uint32_t length);

/* Nothing comes, for a while. What has been said may still be on its way: this finds what comes too
 * soon in most orders of events, and is no sign that anything is over. */
void expect_silence(struct scene *scene, int rule, const char *expected);

/* The node hangs up. */
void expect_hung_up(struct scene *scene, int rule);

/* ---- Payloads ------------------------------------------------------------------------------- */

static inline uint8_t payload_byte(uint32_t length, uint32_t number)
{
	return (uint8_t)(number * 31 + (number >> 8) * 7 + length * 13 + 1);
}

/* A payload in pieces of pool memory, each of just its size, filled as one of so many bytes is, or
 * with zeros. */
struct sheet {
	struct lnet_payload payload;
	struct lnet_iov iov[PIECES];
	struct lnet_kiov kiov[PIECES];
};

void make_sheet(struct sheet *sheet, const uint32_t sizes[PIECES], bool pages, bool filled);
void drop_sheet(struct sheet *sheet);

/* Whether it begins with the first `length` bytes of a payload of `whole`. */
bool payload_is(const struct lnet_payload *payload, uint32_t length, uint32_t whole);

/* ---- What the node says --------------------------------------------------------------------- */

/* A message of the node's to the caller, and how it has ended. */
struct letter {
	struct ksock_tx tx;
	struct kevent over;
	uint32_t calls;
	ntstatus status;
	uint32_t length;
};

void put_letter(struct scene *scene, struct letter *letter, const struct lnet_payload *payload,
		uint32_t flags);
void get_letter(struct scene *scene, struct letter *letter, const struct lnet_payload *payload);

/* It is called back, once, so. */
void expect_over(struct letter *letter, int rule, ntstatus status, uint32_t length);

#endif
