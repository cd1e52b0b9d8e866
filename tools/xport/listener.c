/* The peer's direction of a connection that only sends, see listener.h. */
#include "listener.h"

#include <sys/eventfd.h>

enum { LISTENER_BUFFER_BYTES = 64 * 1024 };

static void listener_received(void *context, ntstatus status, uint32_t bytes)
{
	struct listener *listener = context;

	(void)bytes;
	if (nt_success(status)) {
		tdi_start_receive_buffer(&listener->stream->file, listener->buffer,
					 LISTENER_BUFFER_BYTES, 0, listener_received, listener);
		return;
	}
	listener->status = status;
	if (status != STATUS_GRACEFUL_DISCONNECT) {
		tdi_end_send_window(&listener->stream->window, status);
		eventfd_write(listener->stop_fd, 1);
	}
	ke_set_event(&listener->ended);
}

bool listener_start(struct listener *listener, struct tdi_stream *stream)
{
	listener->stream = stream;
	ke_initialize_event(&listener->ended, NOTIFICATION_EVENT, false);
	listener->buffer = ex_allocate_pool(LISTENER_BUFFER_BYTES);
	if (listener->buffer == NULL)
		return false;
	tdi_start_receive_buffer(&stream->file, listener->buffer, LISTENER_BUFFER_BYTES, 0,
				 listener_received, listener);
	return true;
}
