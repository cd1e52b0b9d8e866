#ifndef XPORT_RECEIVER_H
#define XPORT_RECEIVER_H

/*
 * Receives what arrives on a connection into a descriptor, with several receives outstanding, so
 * that the transport always has somewhere to put bytes while this side writes earlier ones out.
 */

#include <nettle/sha2.h>

#include "tdi/tdi.h"

enum {
	RECEIVE_BUFFERS = 8,
	RECEIVE_BUFFER_BYTES = 256 * 1024,
};

struct receive_options {
	int fd;			   /* where the bytes go; -1: nowhere */
	struct sha256_ctx *sha256; /* runs over them, initialised by the caller; NULL: none */
	uint64_t timeout_ns;	   /* without a byte, then the peer is given up; 0: never */
};

struct receive_report {
	uint64_t bytes; /* received and written */
	int file_error; /* the errno for which they could not be written, or 0 */

	/* ke_query_interrupt_time when the first and the last bytes came; 0 if none did. */
	uint64_t first_ns;
	uint64_t last_ns;
};

/*
 * Receives until the peer's end of stream. The connection is neither released nor closed; but after
 * an error it has been aborted. System thread, PASSIVE_LEVEL.
 *
 * Returns STATUS_SUCCESS at the end of stream; STATUS_IO_TIMEOUT; STATUS_CANCELLED when the bytes
 * could not be written, with report->file_error saying why; STATUS_INSUFFICIENT_RESOURCES; or the
 * connection's error. The report is filled in whatever happened.
 */
ntstatus receive_file(struct file_object *connection, const struct receive_options *options,
		      struct receive_report *report);

#endif
