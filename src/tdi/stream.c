/*
 * Stage 05: a stream, the client's end of a connection that nobody waits in; and client mode.
 *
 * A stream joins an endpoint with what its events work on: a send window and two receive queues.
 * The endpoint's ConnectionContext is the stream, so every handler that tdi_open_stream_address has
 * set at the address is told whose event it is. The handlers for data are receive.c's; here are the
 * two others:
 *
 *   SEND_POSSIBLE   the window goes on
 *   DISCONNECT      the last event: both queues learn why nothing more will come, and tell it
 *                   behind what is unread. An abort ends the window, too. A release does not: this
 *                   side may go on sending. But no SEND_POSSIBLE can come any more, so the window
 *                   is sent on its way now; its pieces then wait in the transport
 *
 * Beginning. Data may be shown as soon as the endpoint has a peer, and it may have one before
 * anybody here knows: a called daemon's transport shows data before the accept has completed, and a
 * caller's before tdi_connect has returned. So the window and the queues begin before the endpoint
 * is opened, not when the connection stands.
 *
 * Ending. Events and callbacks run on any processor until the close of the endpoint has completed,
 * and they work on the stream. So its end is in this order:
 *
 *      window ended, queues closed     no piece is started any more; what the transport has lent is
 *                                      given back, and events that still come leave all with it
 *      endpoint closed                 what is outstanding completes; no event or callback runs
 *      counters, memory                nobody is left to use them
 *
 * A close resets the peer, unless the client's release has completed: then the transport still
 * delivers what was sent. A stream that calls again goes the same way without the close: it waits
 * until the old connection is over, which also waits for its events and callbacks.
 *
 * Sources: the Tdinal design (connection objects as contexts of their events, client mode,
 * NAL_CMD_CONNECT_PEER); the public TDI documentation of ClientEventDisconnect.
 */
#include "tdi/stream.h"

/* ---- Events -------------------------------------------------------------------------------- */

static void send_possible(void *event_context, void *connection_context, uint32_t bytes_available)
{
	struct tdi_stream *stream = connection_context;

	(void)event_context;
	(void)bytes_available; /* it promises nothing: the window asks by sending */
	tdi_window_send_possible(&stream->window);
}

static void disconnected(void *event_context, void *connection_context, uint32_t flags,
			 ntstatus reason)
{
	struct tdi_stream *stream = connection_context;

	(void)event_context;
	if (flags == TDI_DISCONNECT_RELEASE) {
		reason = STATUS_GRACEFUL_DISCONNECT;
		tdi_window_send_possible(&stream->window); /* the event itself will not come */
	} else {
		tdi_end_send_window(&stream->window, reason);
	}
	tdi_end_receive_queue(&stream->normal, reason);
	tdi_end_receive_queue(&stream->expedited, reason);
}

static ntstatus set_handlers(struct file_object *address)
{
	ntstatus status = tdi_set_receive_handlers(address);

	if (nt_success(status))
		status = tdi_set_event_handler(address, TDI_EVENT_SEND_POSSIBLE,
					       (tdi_event_handler *)send_possible, NULL);
	if (nt_success(status))
		status = tdi_set_event_handler(address, TDI_EVENT_DISCONNECT,
					       (tdi_event_handler *)disconnected, NULL);
	return status;
}

ntstatus tdi_open_stream_address(struct device_object *device,
				 const struct transport_address *local, struct file_object *address)
{
	ntstatus status = tdi_open_transport_address(device, local, address);

	if (!nt_success(status))
		return status;
	status = set_handlers(address);
	if (!nt_success(status))
		tdi_close(address);
	return status;
}

/* ---- Waiting ------------------------------------------------------------------------------- */

/* Data or an end has come, in either queue. */
static void stream_changed(void *context)
{
	struct tdi_stream *stream = context;

	if (interlocked_read(&stream->watched) != 0)
		stream->watcher(stream->watcher_context);
	else
		ke_set_event(&stream->changed);
}

void tdi_watch_stream(struct tdi_stream *stream, tdi_queue_changed *watcher, void *context)
{
	stream->watcher = watcher;
	stream->watcher_context = context;
	interlocked_exchange(&stream->watched, 1); /* last: who finds it finds the other two */
	watcher(context);			   /* for what has come before */
}

int64_t tdi_stream_read(struct tdi_stream *stream, void *buffer, uint32_t length,
			int64_t timeout_ns)
{
	uint64_t begun_ns = ke_query_interrupt_time();
	int64_t got;

	/* The event may speak of what has been read already: so look, wait, and look again. */
	while ((got = tdi_queue_read(&stream->normal, buffer, length)) == 0) {
		int64_t left_ns = tdi_time_left(begun_ns, timeout_ns);

		if (left_ns <= 0)
			return STATUS_IO_TIMEOUT;
		ke_wait_for_single_object(&stream->changed, left_ns);
	}
	return got;
}

/* ---- Beginning and ending ------------------------------------------------------------------ */

/* Before anything can happen on the endpoint; also again, when nothing can happen any more. */
static void begin_stream(struct tdi_stream *stream, uint32_t limit, bool buffers)
{
	tdi_initialize_send_window(&stream->window, &stream->file, buffers);
	tdi_initialize_receive_queue(&stream->normal, &stream->file, TDI_RECEIVE_NORMAL, limit,
				     stream_changed, stream);
	tdi_initialize_receive_queue(&stream->expedited, &stream->file, TDI_RECEIVE_EXPEDITED,
				     limit, stream_changed, stream);
}

/* From now on events find nothing to do; loans go back, as they must before the close. */
static void end_stream(struct tdi_stream *stream, ntstatus reason)
{
	tdi_end_send_window(&stream->window, reason);
	tdi_close_receive_queue(&stream->normal);
	tdi_close_receive_queue(&stream->expedited);
}

static ntstatus open_endpoint(struct tdi_stream *stream, struct file_object *address)
{
	ntstatus status =
		tdi_open_connection_endpoint(address->device_object, stream, &stream->file);

	if (!nt_success(status))
		return status;
	status = tdi_associate_address(&stream->file, address);
	if (!nt_success(status))
		tdi_close(&stream->file);
	return status;
}

struct tdi_stream *tdi_create_stream(struct file_object *address, uint32_t limit, ntstatus *status)
{
	struct tdi_stream *stream = ex_allocate_pool(sizeof(*stream));
	struct tdi_provider_info info;

	if (stream == NULL) {
		*status = STATUS_INSUFFICIENT_RESOURCES;
		return NULL;
	}
	*status = tdi_query_information(address, TDI_QUERY_PROVIDER_INFO, &info, sizeof(info));
	if (!nt_success(*status)) {
		ex_free_pool(stream);
		return NULL;
	}
	*stream = (struct tdi_stream){.file.device_object = address->device_object,
				      .processor = ke_get_current_processor_number()};
	ke_initialize_event(&stream->changed, SYNCHRONIZATION_EVENT, false);
	begin_stream(stream, limit != 0 ? limit : TDI_QUEUE_BYTES,
		     (info.service_flags & TDI_SERVICE_INTERNAL_BUFFERING) != 0);
	*status = open_endpoint(stream, address);
	if (nt_success(*status))
		return stream;
	end_stream(stream, *status);
	tdi_remove_send_window(&stream->window);
	ex_free_pool(stream);
	return NULL;
}

void tdi_delete_stream(struct tdi_stream *stream)
{
	end_stream(stream, STATUS_LOCAL_DISCONNECT);
	tdi_close(&stream->file);
	tdi_remove_send_window(&stream->window);
	if (stream->accept_irp != NULL)
		io_free_irp(stream->accept_irp);
	ex_free_pool(stream);
}

/* ---- Client mode --------------------------------------------------------------------------- */

/* The old connection, if there was one, is over, or will be soon: then all begins anew. */
static ntstatus begin_again(struct tdi_stream *stream, int64_t timeout_ns)
{
	uint32_t limit = stream->normal.limit;
	bool buffers = stream->window.buffers;
	ntstatus status = tdi_wait_for_end(&stream->file, timeout_ns);

	if (!nt_success(status))
		return status == STATUS_IO_TIMEOUT ? STATUS_CONNECTION_ACTIVE : status;
	end_stream(stream, STATUS_LOCAL_DISCONNECT);
	tdi_remove_send_window(&stream->window);
	ke_clear_event(&stream->changed);
	begin_stream(stream, limit, buffers);
	return STATUS_SUCCESS;
}

ntstatus tdi_connect_peer(struct tdi_stream *stream, const struct transport_address *remote,
			  int64_t timeout_ns)
{
	ntstatus status = STATUS_SUCCESS;

	if (stream->remote.address_type != 0) /* it has had a peer, or called for one */
		status = begin_again(stream, timeout_ns);
	if (!nt_success(status))
		return status;
	stream->remote = *remote;
	return tdi_connect(&stream->file, remote, timeout_ns);
}
