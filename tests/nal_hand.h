/*
 * A peer played by hand: what it sends is made of pieces, or of any bytes, and what it hears is
 * read piece by piece. Of either byte order, and of version 2 or 3.
 */
#ifndef XPORT_TESTS_NAL_HAND_H
#define XPORT_TESTS_NAL_HAND_H

#include "nal_host.h"

#define HAND_NID UINT64_C(0x000200000a000009) /* 10.0.0.9@tcp */

struct hand {
	struct file_object address;
	struct tdi_stream *stream;
	bool swapped;
	uint32_t version;     /* 0: 3 */
	uint64_t incarnation; /* 0: 1 */
};

/* Any bytes, sent; the status. */
ntstatus hand_say(struct hand *hand, const void *bytes, uint32_t length);

/* So many bytes, heard; false when there is an end before. */
bool hand_hear(struct hand *hand, void *bytes, uint32_t length);

/* Hears what there is until the end: how that is told. */
ntstatus hand_hear_end(struct hand *hand);

/* Calls the server; ends the program when nobody answers. `limit` of unread bytes; 0: the usual. */
void hand_call(struct hand *hand, struct nodes *nodes, uint32_t limit);
void hand_hang_up(struct hand *hand);

enum { GREETING_BYTES = LNET_ACCEPTOR_BYTES + KSOCK_HELLO_BYTES };

/* The request and the HELLO of a caller. */
void encode_greeting(const struct hand *hand, void *bytes);

/* Greets the server and hears its HELLO. */
void hand_greet(struct hand *hand);

/* A message's headers, with the checksum of all of it. `payload` NULL: none. */
enum { HEADERS_BYTES = KSOCK_MESSAGE_BYTES + LNET_HEADER_BYTES };
void encode_headers(const struct hand *hand, void *bytes, const struct lnet_header *header,
		    const void *payload, uint64_t zc_cookie);

/* A header of this type, from the hand to the server. */
struct lnet_header hand_header(uint32_t type, uint32_t payload_length);

void hand_send(struct hand *hand, const struct lnet_header *header, const void *payload,
	       uint64_t zc_cookie);
void hand_noop(struct hand *hand, uint64_t first, uint64_t second);

/* The next message's headers; its payload is hand_hear's. False at the end. */
bool hand_hear_message(struct hand *hand, struct ksock_message_header *message,
		       struct lnet_header *header);

#endif
