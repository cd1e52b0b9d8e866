/*
 * A client for the tests of transports: connected pairs, requests that can be watched and
 * cancelled, and streams whose bytes tell where they belong.
 *
 * All but the functions on bytes are for the main thread of a case, because they use CUnit's
 * assertions, which know of no threads. Nothing here waits for ever for a transport that has lost
 * something: after a while the test has failed, and the connection is aborted, which completes what
 * is outstanding.
 */
#ifndef XPORT_TESTS_TRANSPORT_CLIENT_H
#define XPORT_TESTS_TRANSPORT_CLIENT_H

#include "tdi/tdi.h"

/* ---- Memory and bytes ---------------------------------------------------------------------- */

/* Memory of the executive's pool; ends the test program when there is none. */
void *need_pool(size_t bytes);

/* The byte at an offset of a stream: no two streams, and no two stretches of one, look alike. */
void fill_pattern(uint8_t *buffer, uint32_t stream, uint64_t offset, uint32_t length);
bool is_pattern(const uint8_t *buffer, uint32_t stream, uint64_t offset, uint32_t length);

/* ---- Requests ------------------------------------------------------------------------------ */

/*
 * One request under way. Its memory stays in place until end_request, so it can be cancelled at any
 * time, and a completion that comes once too often is seen.
 */
struct request {
	struct irp *irp;
	struct file_object *file;
	struct kevent done;
	ntstatus status;
	uint32_t bytes;
	int32_t completions;
	int32_t *counter; /* if not NULL: counts completions of several requests, ... */
	int32_t order;	  /* ... and this was the how-manieth, from 1 */
};

void start_send(struct request *request, struct file_object *file, const void *buffer,
		uint32_t length, int32_t *counter);
void start_receive(struct request *request, struct file_object *file, void *buffer,
		   uint32_t length);
void start_counted_receive(struct request *request, struct file_object *file, void *buffer,
			   uint32_t length, int32_t *counter);

/* The same with this many empty descriptors before the buffer's. */
void start_send_behind(struct request *request, struct file_object *file, const void *buffer,
		       uint32_t length, uint32_t empties);
void start_receive_behind(struct request *request, struct file_object *file, void *buffer,
			  uint32_t length, uint32_t empties);

void start_connect(struct request *request, struct file_object *file,
		   const struct transport_address *remote);
void start_listen(struct request *request, struct file_object *file);

/* TDI_DISCONNECT_WAIT. */
void start_wait(struct request *request, struct file_object *file);

/* TDI_DISCONNECT_RELEASE. */
void start_release(struct request *request, struct file_object *file);

/* With flags. */
void start_flagged_send(struct request *request, struct file_object *file, const void *buffer,
			uint32_t length, uint32_t flags);
void start_flagged_receive(struct request *request, struct file_object *file, void *buffer,
			   uint32_t length, uint32_t flags);

/* Waits until the request has completed, and returns its status. `what` says what was hoped for. */
ntstatus wait_for_request(struct request *request, const char *what);

/* Frees a request, and fails the test unless it has completed exactly once. */
void end_request(struct request *request);

/* Start, wait and end: the status, or how many bytes were received. */
ntstatus send_all(struct file_object *file, const void *buffer, uint32_t length, const char *what);
int64_t receive_some(struct file_object *file, void *buffer, uint32_t length, const char *what);

/* Receives until `length` bytes are there or a receive fails; returns how many there are. */
uint32_t receive_all(struct file_object *file, void *buffer, uint32_t length, const char *what);

/* ---- Connections --------------------------------------------------------------------------- */

/* Two connected endpoints of a device, and their addresses. */
struct connected_pair {
	struct file_object client_address;
	struct file_object server_address;
	struct file_object client;
	struct file_object server;
};

/* Opens an endpoint and associates it. Fails the test and returns false when that does not work. */
bool open_endpoint(struct file_object *endpoint, struct device_object *device,
		   struct file_object *address);

/* Where an address was bound. */
struct transport_address local_of(struct file_object *address);

/* Fails the test and returns false, with nothing left open, when that does not work. */
bool open_pair(struct connected_pair *pair, struct device_object *device,
	       const struct transport_address *local);
void close_pair(struct connected_pair *pair);

/* What a connection says of itself. */
struct tdi_connection_info info_of(struct file_object *connection);

/* ---- Streams ------------------------------------------------------------------------------- */

/* A thread that receives until the stream ends, and compares it with the pattern of `stream`. */
struct reader {
	struct kthread thread;
	struct kevent finished;
	struct file_object *file;
	uint32_t stream;
	uint32_t receive_bytes; /* a receive's length */
	uint64_t received;
	bool matches;
	ntstatus status; /* of the last receive */
};

void start_reader(struct reader *reader, struct file_object *file, uint32_t stream,
		  uint32_t receive_bytes);
void wait_for_reader(struct reader *reader, const char *what);

/*
 * A thread that sends `total` bytes of a stream's pattern in blocks of odd sizes, several at a
 * time, and then releases the connection.
 */
struct writer {
	struct kthread thread;
	struct kevent finished;
	struct kevent room; /* one of the sends that were outstanding has completed */
	struct file_object *file;
	uint32_t stream;
	uint64_t total;
	int32_t outstanding; /* sends */
	int32_t callbacks;   /* that have not returned */
	int32_t failed;
	ntstatus release_status;
};

void start_writer(struct writer *writer, struct file_object *file, uint32_t stream, uint64_t total);
void wait_for_writer(struct writer *writer, const char *what);

#endif
