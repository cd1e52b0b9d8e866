#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "executive.h"
#include "transport_client.h"

/* ---- Memory and bytes ---------------------------------------------------------------------- */

void *need_pool(size_t bytes)
{
	void *memory = ex_allocate_pool(bytes);

	if (memory == NULL) {
		fprintf(stderr, "no memory for a test\n");
		exit(1);
	}
	return memory;
}

static uint8_t pattern_byte(uint32_t stream, uint64_t offset)
{
	return (uint8_t)((offset * 0x9e3779b97f4a7c15u + stream * 0x85ebca6bu) >> 29);
}

void fill_pattern(uint8_t *buffer, uint32_t stream, uint64_t offset, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		buffer[i] = pattern_byte(stream, offset + i);
}

bool is_pattern(const uint8_t *buffer, uint32_t stream, uint64_t offset, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		if (buffer[i] != pattern_byte(stream, offset + i))
			return false;
	return true;
}

/* ---- Requests ------------------------------------------------------------------------------ */

static ntstatus request_completed(struct device_object *device, struct irp *irp, void *context)
{
	struct request *request = context;

	(void)device;
	request->status = irp->io_status.status;
	request->bytes = (uint32_t)irp->io_status.information;
	if (request->counter != NULL)
		request->order = interlocked_increment(request->counter);
	interlocked_increment(&request->completions);
	ke_set_event(&request->done);
	return STATUS_MORE_PROCESSING_REQUIRED; /* end_request frees it */
}

static void begin_request(struct request *request, struct file_object *file, const void *buffer,
			  uint32_t length, enum lock_operation operation)
{
	*request = (struct request){.file = file};
	ke_initialize_event(&request->done, NOTIFICATION_EVENT, false);
	request->irp = io_allocate_irp(io_get_related_device_object(file)->stack_size);
	if (request->irp == NULL ||
	    !nt_success(io_lock_buffer(request->irp, (void *)buffer, length, operation))) {
		fprintf(stderr, "no memory for a test's request\n");
		exit(1);
	}
}

static void submit(struct request *request)
{
	io_call_driver(io_get_related_device_object(request->file), request->irp);
}

void start_send(struct request *request, struct file_object *file, const void *buffer,
		uint32_t length, int32_t *counter)
{
	begin_request(request, file, buffer, length, IO_READ_ACCESS);
	request->counter = counter;
	tdi_build_send(request->irp, file, request_completed, request, request->irp->mdl_address, 0,
		       length);
	submit(request);
}

void start_receive(struct request *request, struct file_object *file, void *buffer, uint32_t length)
{
	start_counted_receive(request, file, buffer, length, NULL);
}

void start_counted_receive(struct request *request, struct file_object *file, void *buffer,
			   uint32_t length, int32_t *counter)
{
	begin_request(request, file, buffer, length, IO_WRITE_ACCESS);
	request->counter = counter;
	tdi_build_receive(request->irp, file, request_completed, request, request->irp->mdl_address,
			  0, length);
	submit(request);
}

/* Puts empty descriptors before the one that the request may have. */
static void prepend_empties(struct request *request, uint32_t empties)
{
	static char nowhere;
	struct mdl *last = request->irp->mdl_address;

	for (uint32_t i = 0; i < empties; i++) {
		struct mdl *mdl = io_allocate_mdl(&nowhere, 0, NULL);

		if (mdl == NULL)
			break;
		mm_build_mdl_for_non_paged_pool(mdl);
		mdl->next = last;
		last = mdl;
	}
	request->irp->mdl_address = last;
}

void start_send_behind(struct request *request, struct file_object *file, const void *buffer,
		       uint32_t length, uint32_t empties)
{
	begin_request(request, file, buffer, length, IO_READ_ACCESS);
	prepend_empties(request, empties);
	tdi_build_send(request->irp, file, request_completed, request, request->irp->mdl_address, 0,
		       length);
	submit(request);
}

void start_receive_behind(struct request *request, struct file_object *file, void *buffer,
			  uint32_t length, uint32_t empties)
{
	begin_request(request, file, buffer, length, IO_WRITE_ACCESS);
	prepend_empties(request, empties);
	tdi_build_receive(request->irp, file, request_completed, request, request->irp->mdl_address,
			  0, length);
	submit(request);
}

void start_connect(struct request *request, struct file_object *file,
		   const struct transport_address *remote)
{
	begin_request(request, file, NULL, 0, IO_READ_ACCESS);
	tdi_build_connect(request->irp, file, request_completed, request, remote);
	submit(request);
}

void start_listen(struct request *request, struct file_object *file)
{
	begin_request(request, file, NULL, 0, IO_READ_ACCESS);
	tdi_build_listen(request->irp, file, request_completed, request, NULL);
	submit(request);
}

void start_wait(struct request *request, struct file_object *file)
{
	begin_request(request, file, NULL, 0, IO_READ_ACCESS);
	tdi_build_disconnect(request->irp, file, request_completed, request, TDI_DISCONNECT_WAIT);
	submit(request);
}

void start_release(struct request *request, struct file_object *file)
{
	begin_request(request, file, NULL, 0, IO_READ_ACCESS);
	tdi_build_disconnect(request->irp, file, request_completed, request,
			     TDI_DISCONNECT_RELEASE);
	submit(request);
}

void start_flagged_send(struct request *request, struct file_object *file, const void *buffer,
			uint32_t length, uint32_t flags)
{
	begin_request(request, file, buffer, length, IO_READ_ACCESS);
	tdi_build_send(request->irp, file, request_completed, request, request->irp->mdl_address,
		       flags, length);
	submit(request);
}

void start_flagged_receive(struct request *request, struct file_object *file, void *buffer,
			   uint32_t length, uint32_t flags)
{
	begin_request(request, file, buffer, length, IO_WRITE_ACCESS);
	tdi_build_receive(request->irp, file, request_completed, request, request->irp->mdl_address,
			  flags, length);
	submit(request);
}

/* Waits for an event; when it takes too long the test has failed, and the connection is ended. */
static void wait_or_abort(struct kevent *event, struct file_object *file, const char *what)
{
	if (ke_wait_for_single_object(event, SOON) == STATUS_SUCCESS)
		return;
	printf("\n    took too long: %s\n", what);
	CU_FAIL("something took too long");
	tdi_disconnect(file, TDI_DISCONNECT_ABORT);
	ke_wait_for_single_object(event, KE_WAIT_FOREVER);
}

ntstatus wait_for_request(struct request *request, const char *what)
{
	wait_or_abort(&request->done, request->file, what);
	return request->status;
}

void end_request(struct request *request)
{
	CU_ASSERT_EQUAL(read_count(&request->completions), 1);
	io_unlock_buffer(request->irp);
	io_free_irp(request->irp);
}

ntstatus send_all(struct file_object *file, const void *buffer, uint32_t length, const char *what)
{
	struct request request;
	ntstatus status;

	start_send(&request, file, buffer, length, NULL);
	status = wait_for_request(&request, what);
	if (nt_success(status))
		CU_ASSERT_EQUAL(request.bytes, length);
	end_request(&request);
	return status;
}

int64_t receive_some(struct file_object *file, void *buffer, uint32_t length, const char *what)
{
	struct request request;
	ntstatus status;

	start_receive(&request, file, buffer, length);
	status = wait_for_request(&request, what);
	end_request(&request);
	return nt_success(status) ? (int64_t)request.bytes : status;
}

uint32_t receive_all(struct file_object *file, void *buffer, uint32_t length, const char *what)
{
	uint32_t received = 0;

	while (received < length) {
		int64_t bytes =
			receive_some(file, (char *)buffer + received, length - received, what);

		if (bytes <= 0)
			return received;
		received += (uint32_t)bytes;
	}
	return received;
}

/* ---- Connections --------------------------------------------------------------------------- */

struct transport_address local_of(struct file_object *address)
{
	struct transport_address local = {0};

	CU_ASSERT_EQUAL(
		tdi_query_information(address, TDI_QUERY_ADDRESS_INFO, &local, sizeof(local)),
		STATUS_SUCCESS);
	return local;
}

struct tdi_connection_info info_of(struct file_object *connection)
{
	struct tdi_connection_info info = {0};

	CU_ASSERT_EQUAL(
		tdi_query_information(connection, TDI_QUERY_CONNECTION_INFO, &info, sizeof(info)),
		STATUS_SUCCESS);
	return info;
}

bool open_endpoint(struct file_object *endpoint, struct device_object *device,
		   struct file_object *address)
{
	ntstatus status = tdi_open_connection_endpoint(device, NULL, endpoint);

	CU_ASSERT_EQUAL(status, STATUS_SUCCESS);
	if (!nt_success(status))
		return false;
	status = tdi_associate_address(endpoint, address);
	CU_ASSERT_EQUAL(status, STATUS_SUCCESS);
	if (nt_success(status))
		return true;
	tdi_close(endpoint);
	return false;
}

static bool open_address(struct file_object *address, struct device_object *device,
			 const struct transport_address *local)
{
	ntstatus status = tdi_open_transport_address(device, local, address);

	CU_ASSERT_EQUAL(status, STATUS_SUCCESS);
	return nt_success(status);
}

/* An address and an endpoint at it. */
static bool open_end(struct file_object *endpoint, struct file_object *address,
		     struct device_object *device, const struct transport_address *local)
{
	if (!open_address(address, device, local))
		return false;
	if (open_endpoint(endpoint, device, address))
		return true;
	tdi_close(address);
	return false;
}

static void close_end(struct file_object *endpoint, struct file_object *address)
{
	tdi_close(endpoint);
	tdi_close(address);
}

static bool connect_pair(struct connected_pair *pair)
{
	struct transport_address remote = local_of(&pair->server_address);
	struct request listen, call;
	bool connected;

	start_listen(&listen, &pair->server);
	start_connect(&call, &pair->client, &remote);
	wait_for_request(&call, "a connect to one who listens");
	wait_for_request(&listen, "a listen that is called");
	CU_ASSERT_EQUAL(call.status, STATUS_SUCCESS);
	CU_ASSERT_EQUAL(listen.status, STATUS_SUCCESS);
	connected = nt_success(call.status) && nt_success(listen.status);
	end_request(&listen);
	end_request(&call);
	return connected;
}

bool open_pair(struct connected_pair *pair, struct device_object *device,
	       const struct transport_address *local)
{
	if (!open_end(&pair->client, &pair->client_address, device, local))
		return false;
	if (!open_end(&pair->server, &pair->server_address, device, local)) {
		close_end(&pair->client, &pair->client_address);
		return false;
	}
	if (connect_pair(pair))
		return true;
	close_pair(pair);
	return false;
}

void close_pair(struct connected_pair *pair)
{
	close_end(&pair->client, &pair->client_address);
	close_end(&pair->server, &pair->server_address);
}

/* ---- Streams ------------------------------------------------------------------------------- */

static void read_stream(void *context)
{
	struct reader *reader = context;
	uint8_t *buffer = need_pool(reader->receive_bytes);
	int64_t bytes;

	for (;;) {
		bytes = tdi_receive_stream(reader->file, buffer, reader->receive_bytes);
		if (bytes <= 0 || bytes > reader->receive_bytes)
			break;
		if (!is_pattern(buffer, reader->stream, reader->received, (uint32_t)bytes))
			reader->matches = false;
		reader->received += (uint64_t)bytes;
	}
	if (bytes >= 0)
		reader->matches = false; /* no receive gives nothing, or more than was asked for */
	reader->status = (ntstatus)bytes;
	ex_free_pool(buffer);
	ke_set_event(&reader->finished);
}

void start_reader(struct reader *reader, struct file_object *file, uint32_t stream,
		  uint32_t receive_bytes)
{
	*reader = (struct reader){
		.file = file, .stream = stream, .receive_bytes = receive_bytes, .matches = true};
	ke_initialize_event(&reader->finished, NOTIFICATION_EVENT, false);
	ps_create_system_thread(&reader->thread, read_stream, reader);
}

void wait_for_reader(struct reader *reader, const char *what)
{
	wait_or_abort(&reader->finished, reader->file, what);
	ke_wait_for_thread(&reader->thread);
	CU_ASSERT(reader->matches);
}

enum { WRITER_DEPTH = 8 };

struct block {
	struct writer *writer;
	uint32_t length;
	uint8_t bytes[];
};

static void block_sent(void *context, ntstatus status, uint32_t bytes)
{
	struct block *block = context;
	struct writer *writer = block->writer;

	if (!nt_success(status) || bytes != block->length)
		interlocked_increment(&writer->failed);
	ex_free_pool(block);
	interlocked_decrement(&writer->outstanding);
	ke_set_event(&writer->room);
	interlocked_decrement(&writer->callbacks); /* last: now the writer may go */
}

/* From a single byte to 37 KiB, no power of two among them. */
static uint32_t block_length(uint32_t index)
{
	static const uint32_t lengths[] = {1, 37888 - 5, 3, 1021, 7, 16411, 65, 4099};

	return lengths[index % (sizeof(lengths) / sizeof(lengths[0]))];
}

static void wait_until_outstanding_below(struct writer *writer, int32_t limit)
{
	while (read_count(&writer->outstanding) >= limit)
		ke_wait_for_single_object(&writer->room, KE_WAIT_FOREVER);
}

static void write_stream(void *context)
{
	struct writer *writer = context;
	uint64_t offset = 0;

	for (uint32_t i = 0; offset < writer->total && read_count(&writer->failed) == 0; i++) {
		uint32_t length = block_length(i);
		struct block *block;

		if (length > writer->total - offset)
			length = (uint32_t)(writer->total - offset);
		block = need_pool(sizeof(*block) + length);
		block->writer = writer;
		block->length = length;
		fill_pattern(block->bytes, writer->stream, offset, length);
		offset += length;
		interlocked_increment(&writer->outstanding);
		interlocked_increment(&writer->callbacks);
		tdi_start_send_buffer(writer->file, block->bytes, length, 0, block_sent, block);
		wait_until_outstanding_below(writer, WRITER_DEPTH);
	}
	wait_until_outstanding_below(writer, 1);
	while (read_count(&writer->callbacks) > 0)
		ke_delay_execution_thread(MILLISECONDS(1));
	writer->release_status = tdi_disconnect(writer->file, TDI_DISCONNECT_RELEASE);
	ke_set_event(&writer->finished);
}

void start_writer(struct writer *writer, struct file_object *file, uint32_t stream, uint64_t total)
{
	*writer = (struct writer){.file = file, .stream = stream, .total = total};
	ke_initialize_event(&writer->finished, NOTIFICATION_EVENT, false);
	ke_initialize_event(&writer->room, SYNCHRONIZATION_EVENT, false);
	ps_create_system_thread(&writer->thread, write_stream, writer);
}

void wait_for_writer(struct writer *writer, const char *what)
{
	wait_or_abort(&writer->finished, writer->file, what);
	ke_wait_for_thread(&writer->thread);
	CU_ASSERT_EQUAL(writer->failed, 0);
	CU_ASSERT_EQUAL(writer->release_status, STATUS_SUCCESS);
}
