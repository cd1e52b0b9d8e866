#ifndef XPORT_RECEIVED_H
#define XPORT_RECEIVED_H

/* What came of a reception, in words and as JSON. */

#include <nettle/sha2.h>
#include <stdio.h>

#include "xport.h"

struct received {
	struct transport_address peer;
	uint64_t bytes;
	double seconds;		 /* since the sender came */
	struct sha256_ctx *hash; /* over all of it; NULL: not wanted */
	const char *file;
};

/* "received 17 bytes from 127.0.0.1:4444 in 1.24 s, 14 B/s", without a newline. */
void print_received(FILE *stream, const struct received *received);

/* One object, on a line of standard output. The hash is over then. */
void print_received_json(const struct received *received);

/* The digest in hexadecimal. The hash is over then. */
struct text hash_text(struct sha256_ctx *hash);

#endif
