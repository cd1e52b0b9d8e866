/*
 * Stage 07, the bottom: what LNet sends over TCP, byte for byte, as socklnd's protocols 2 and 3
 * have it.
 *
 * The pieces of a connection, in order. Each has a size that is known before it comes, so that a
 * reader waits for that many bytes in one place and decodes them at once:
 *
 *   piece              bytes                    who sends it         what comes next
 *   acceptor request   LNET_ACCEPTOR_BYTES      who has called       its HELLO
 *   HELLO              KSOCK_HELLO_BYTES        both, caller first   address_count x 4 bytes
 *   addresses          4 each; of no use        -                    messages
 *   message header     KSOCK_MESSAGE_BYTES      both                 of a NOOP nothing
 *   LNet header        LNET_HEADER_BYTES        both                 payload_length bytes
 *
 * Byte order. Integers are sent in the sender's order, and who reads them finds out from a magic
 * whether it is his: the decoders of the acceptor request, of HELLO and of the ping reply say it in
 * *swapped. The header of a message has no magic; the connection remembers what its HELLO told, and
 * passes it. An encoder's `swapped` is false, but for a test that plays a peer of the other order.
 * Lustre itself keeps the LNet header in little-endian order whatever the sender: for that one a
 * connection passes LNET_HEADER_SWAPPED.
 *
 * Decoding judges all that can be judged by the piece alone, and either finds it LNET_WIRE_GOOD or
 * says what is wrong with it. A peer that has sent anything else can't be followed any further: the
 * connection ends. For the report the struct has what was read, also if that is refused; but of a
 * piece that is short, or begins with another magic, nothing is told.
 *
 * Everything here is a pure function: any IRQL, no lock, no pool; it keeps neither the bytes nor
 * the struct, and bytes need no alignment.
 *
 * Sources: Lustre's socklnd and LNet for the formats and the names, Wireshark's dissector for a
 * second opinion.
 */
#ifndef XPORT_NAL_WIRE_H
#define XPORT_NAL_WIRE_H

#include <stddef.h>

#include "ke/ntstatus.h"

/* Sizes and limits, in bytes where nothing else is said. */
enum {
	LNET_ACCEPTOR_PORT = 988,
	LNET_PID_LUSTRE = 12345,
	LNET_MTU = 1024 * 1024, /* the longest payload */
	LNET_MOST_ADDRESSES = 16,

	LNET_ACCEPTOR_BYTES = 16,
	KSOCK_HELLO_BYTES = 56,
	KSOCK_MESSAGE_BYTES = 24,
	LNET_HEADER_BYTES = 72,
	LNET_PING_BYTES = 16, /* and for each interface: */
	LNET_PING_STATUS_BYTES = 16,
	LNET_PING_MOST_BYTES = LNET_PING_BYTES + LNET_MOST_ADDRESSES * LNET_PING_STATUS_BYTES,

	LNET_HEADER_SWAPPED = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__,
};

/* ---- What can be wrong with a piece -------------------------------------------------------- */

enum lnet_wire_reason {
	LNET_WIRE_GOOD,
	LNET_WIRE_SHORT,
	LNET_WIRE_BAD_MAGIC,
	LNET_WIRE_BAD_VERSION,
	LNET_WIRE_BAD_NID,
	LNET_WIRE_BAD_CONNECTION_TYPE,
	LNET_WIRE_TOO_MANY_ADDRESSES,
	LNET_WIRE_BAD_MESSAGE_TYPE,
	LNET_WIRE_BAD_LNET_TYPE,
	LNET_WIRE_PAYLOAD_TOO_LONG,
	LNET_WIRE_UNWANTED_PAYLOAD,
	LNET_WIRE_BAD_LENGTH,
	LNET_WIRE_NO_LOOPBACK,
	LNET_WIRE_BAD_STATUS,
	LNET_WIRE_BAD_CHECKSUM,	    /* found by who reads the payload */
	LNET_WIRE_TOO_MANY_COOKIES, /* likewise */
	LNET_WIRE_REASONS
};

/* As a counter's name, "bad_magic", and as a sentence without a full stop. Static storage. */
const char *lnet_wire_reason_name(enum lnet_wire_reason reason);
const char *lnet_wire_reason_text(enum lnet_wire_reason reason);

/* ---- NIDs: who a node is, on a network ----------------------------------------------------- */

enum { SOCKLND = 2, LOLND = 9 }; /* types of network: "tcp", "lo" */

#define LNET_NID_ANY UINT64_MAX
#define LNET_NID_LO_0 lnet_make_nid(lnet_make_net(LOLND, 0), 0)

static inline uint32_t lnet_make_net(uint32_t type, uint32_t number)
{
	return type << 16 | number;
}

static inline uint64_t lnet_make_nid(uint32_t net, uint32_t address)
{
	return (uint64_t)net << 32 | address;
}

static inline uint32_t lnet_nid_net(uint64_t nid)
{
	return (uint32_t)(nid >> 32);
}

/* Of a tcp NID: the IPv4 address, in host order. */
static inline uint32_t lnet_nid_address(uint64_t nid)
{
	return (uint32_t)nid;
}

enum { LNET_NID_TEXT = 40 }; /* characters at most, with the NUL */

/* "10.0.0.1@tcp", "10.0.0.1@tcp2", "0@lo"; any other as "<0x0005000000000001>". Returns `text`. */
const char *lnet_nid_to_text(uint64_t nid, char text[LNET_NID_TEXT]);

/*
 * The first three forms, and nothing before, in or behind them; "tcp0" is "tcp". *nid is left alone
 * unless STATUS_SUCCESS; STATUS_INVALID_PARAMETER.
 */
ntstatus lnet_text_to_nid(const char *text, uint64_t *nid);

/* ---- How a connection begins --------------------------------------------------------------- */

#define LNET_PROTO_ACCEPTOR_MAGIC UINT32_C(0xacce7100)
#define LNET_PROTO_MAGIC UINT32_C(0x45726963)

enum { LNET_PROTO_ACCEPTOR_VERSION = 1, KSOCK_PROTO_V2 = 2, KSOCK_PROTO_V3 = 3 };

/* What a connection is for, as its sender sees it: bulk in to one side is bulk out to the other. */
enum {
	SOCKLND_CONN_ANY,
	SOCKLND_CONN_CONTROL,
	SOCKLND_CONN_BULK_IN,
	SOCKLND_CONN_BULK_OUT,
	SOCKLND_CONN_TYPES
};

struct lnet_acceptor_request {
	uint32_t version;
	uint64_t target_nid; /* whom the caller wants */
};

struct ksock_hello {
	uint32_t version;
	uint64_t src_nid;
	uint64_t dst_nid;
	uint32_t src_pid;
	uint32_t dst_pid;
	uint64_t src_incarnation; /* another one each time that the node is started */
	uint64_t dst_incarnation;
	uint32_t connection_type;
	uint32_t address_count; /* of 4 bytes each, that follow and mean nothing any more; send 0 */
};

/* What the peer answers to a connection of this type. */
static inline uint32_t ksock_invert_type(uint32_t connection_type)
{
	return connection_type < SOCKLND_CONN_BULK_IN
		       ? connection_type
		       : SOCKLND_CONN_BULK_IN + SOCKLND_CONN_BULK_OUT - connection_type;
}

/* SHORT, BAD_MAGIC, BAD_VERSION. `length`: how many bytes there are. */
enum lnet_wire_reason lnet_decode_acceptor_request(const void *bytes, uint32_t length,
						   struct lnet_acceptor_request *request,
						   bool *swapped);

/* SHORT, BAD_MAGIC, BAD_VERSION, BAD_NID, BAD_CONNECTION_TYPE, TOO_MANY_ADDRESSES. */
enum lnet_wire_reason ksock_decode_hello(const void *bytes, uint32_t length,
					 struct ksock_hello *hello, bool *swapped);

/* All encoders: the buffer has room for the piece. How many bytes were written. */
uint32_t lnet_encode_acceptor_request(void *buffer, const struct lnet_acceptor_request *request,
				      bool swapped);
uint32_t ksock_encode_hello(void *buffer, const struct ksock_hello *hello, bool swapped);

/* ---- Messages ------------------------------------------------------------------------------ */

enum { KSOCK_MSG_NOOP = 0xc0, KSOCK_MSG_LNET = 0xc1 };

enum { SOCKNAL_KEEPALIVE_PING = 1 }; /* stands for no message; cookies begin behind it */

/*
 * Zero-copy cookies: [0] asks for an ACK of this message, [1] is the ACK of another; 0: not so. A
 * NOOP has nothing to be acknowledged. It carries ACKs in both, in version 3: if [0] is the
 * greater, of these two messages; if it is the smaller and not 0, of all from [0] to [1]. With
 * SOCKNAL_KEEPALIVE_PING in [1] it only says that its sender is alive.
 */
struct ksock_message_header {
	uint32_t type;
	uint32_t checksum; /* 0: there is none */
	uint64_t zc_cookies[2];
};

enum { LNET_MSG_ACK, LNET_MSG_PUT, LNET_MSG_GET, LNET_MSG_REPLY };

#define LNET_RESERVED_PORTAL 0
#define LNET_PROTO_PING_MATCHBITS UINT64_C(0x8000000000000000) /* of a GET at that portal */

/* A memory descriptor of a node, which only that node can read. */
struct lnet_wire_handle {
	uint64_t interface_cookie;
	uint64_t object_cookie;
};

struct lnet_ack {
	struct lnet_wire_handle dst_wmd;
	uint64_t match_bits;
	uint32_t mlength; /* bytes that were taken */
};

struct lnet_put {
	struct lnet_wire_handle ack_wmd;
	uint64_t match_bits;
	uint64_t hdr_data;
	uint32_t ptl_index;
	uint32_t offset;
};

struct lnet_get {
	struct lnet_wire_handle return_wmd;
	uint64_t match_bits;
	uint32_t ptl_index;
	uint32_t src_offset;
	uint32_t sink_length; /* bytes that are wanted */
};

struct lnet_reply {
	struct lnet_wire_handle dst_wmd;
};

struct lnet_header {
	uint64_t dest_nid;
	uint64_t src_nid;
	uint32_t dest_pid;
	uint32_t src_pid;
	uint32_t type;
	uint32_t payload_length;
	union {
		struct lnet_ack ack;
		struct lnet_put put;
		struct lnet_get get;
		struct lnet_reply reply;
	} msg; /* by `type` */
};

/* SHORT, BAD_MESSAGE_TYPE. */
enum lnet_wire_reason ksock_decode_message(const void *bytes, uint32_t length,
					   struct ksock_message_header *header, bool swapped);

/*
 * SHORT, BAD_LNET_TYPE; PAYLOAD_TOO_LONG; UNWANTED_PAYLOAD of an ACK or a GET; BAD_LENGTH when the
 * mlength of the one or the sink_length of the other is more than a payload can have.
 */
enum lnet_wire_reason lnet_decode_header(const void *bytes, uint32_t length,
					 struct lnet_header *header, bool swapped);

uint32_t ksock_encode_message(void *buffer, const struct ksock_message_header *header,
			      bool swapped);
uint32_t lnet_encode_header(void *buffer, const struct lnet_header *header, bool swapped);

/* ---- The checksum of a message ------------------------------------------------------------- */

/*
 * A CRC-32 over the message's header, its LNet header and its payload, as they are sent, with the
 * checksum itself counted as 0:
 *
 *   sum = ksock_checksum_begin(header);	the KSOCK_MESSAGE_BYTES that were encoded, or came
 *   sum = ksock_checksum_add(sum, bytes, length);	for what follows, in pieces of any size
 *
 * That is it, not inverted in the end. A message whose sum happens to be 0 is not checked.
 */
uint32_t ksock_checksum_begin(const void *header);
uint32_t ksock_checksum_add(uint32_t sum, const void *bytes, size_t length);

/* Puts the sum into an encoded header. */
void ksock_set_checksum(void *header, uint32_t sum, bool swapped);

/* ---- The payload of the REPLY to a ping ---------------------------------------------------- */

#define LNET_PROTO_PING_MAGIC UINT32_C(0x70696e67)
#define LNET_NI_STATUS_UP UINT32_C(0x15aac0de)
#define LNET_NI_STATUS_DOWN UINT32_C(0xdeadface)

enum { LNET_PING_FEAT_BASE = 1, LNET_PING_FEAT_NI_STATUS = 2 };

struct lnet_ni_status {
	uint64_t nid;
	uint32_t status; /* if the features have NI_STATUS */
};

struct lnet_ping_reply {
	uint32_t features;
	uint32_t pid;
	uint32_t count; /* at least 1: the first is LNET_NID_LO_0 */
	struct lnet_ni_status interfaces[LNET_MOST_ADDRESSES];
};

/*
 * SHORT (also if it is by the count that it has), BAD_MAGIC, TOO_MANY_ADDRESSES, NO_LOOPBACK,
 * BAD_STATUS. Bytes behind the last interface are those of later features, and are left alone.
 */
enum lnet_wire_reason lnet_decode_ping_reply(const void *bytes, uint32_t length,
					     struct lnet_ping_reply *reply, bool *swapped);

/* Up to LNET_PING_MOST_BYTES. */
uint32_t lnet_encode_ping_reply(void *buffer, const struct lnet_ping_reply *reply, bool swapped);

#endif
