/* Receiving: one system call for each receive request that waits. */
#include <errno.h>
#include <sys/socket.h>

#include "tcp/private.h"

enum { MAXIMUM_PIECES = 64 };

/* Reads into the request's buffers: how many bytes, 0 at the end of the stream, -1 and errno. */
static ssize_t read_socket(int fd, const struct irp *irp, size_t length)
{
	struct iovec pieces[MAXIMUM_PIECES];
	struct msghdr message = {.msg_iov = pieces};
	ssize_t bytes;

	for (const struct mdl *mdl = irp->mdl_address;
	     mdl != NULL && length > 0 && message.msg_iovlen < MAXIMUM_PIECES; mdl = mdl->next) {
		struct iovec *piece = &pieces[message.msg_iovlen];

		piece->iov_base = mm_get_system_address_for_mdl(mdl);
		piece->iov_len = mm_get_mdl_byte_count(mdl);
		if (piece->iov_len > length)
			piece->iov_len = length;
		length -= piece->iov_len;
		message.msg_iovlen += piece->iov_len > 0; /* else 0 bytes would mean the end */
	}
	do {
		bytes = recvmsg(fd, &message, MSG_DONTWAIT);
	} while (bytes < 0 && errno == EINTR);
	return bytes;
}

/* The peer has sent all it will: so say this and all further receives. */
static void end_receiving(struct tdi_connection *base, struct irp *irp,
			  struct list_entry *completed)
{
	base->receive_ended = true;
	while (irp != NULL) {
		tdi_provider_finish(completed, irp, STATUS_GRACEFUL_DISCONNECT, 0);
		irp = io_csq_remove_next_irp(&base->receives);
	}
}

/* Nothing there: the request waits again, unless it was cancelled while it was out. */
static void wait_for_data(struct tdi_connection *base, struct irp *irp,
			  struct list_entry *completed)
{
	if (base->state == TDI_STATE_DISCONNECTED)
		tdi_provider_finish(completed, irp, base->failure, 0);
	else if (!io_csq_return_irp(&base->receives, irp))
		tdi_provider_finish(completed, irp, STATUS_CANCELLED, 0);
}

void tcp_receive_step(struct tdi_connection *base, struct list_entry *completed)
{
	struct tcp_connection *connection = tcp_connection_of(base);
	struct irp *irp = NULL;
	uint32_t length;
	ssize_t bytes;
	int error;

	if (base->state == TDI_STATE_CONNECTED)
		irp = io_csq_remove_next_irp(&base->receives);
	if (irp == NULL)
		return;
	length = tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_receive)
			 ->receive_length;
	ke_release_spin_lock(&base->lock, DISPATCH_LEVEL);
	bytes = read_socket(connection->fd, irp, length);
	error = errno;
	ke_acquire_spin_lock(&base->lock);
	stat_count(&connection->counters, TCP_RECEIVE_CALLS, 1);
	if (bytes > 0) {
		connection->received_bytes += (uint64_t)bytes;
		stat_set(&connection->counters, TCP_RECEIVED_BYTES, connection->received_bytes);
		tdi_provider_finish(completed, irp, STATUS_SUCCESS, (uintptr_t)bytes);
		base->receive_pump.again = true;
	} else if (bytes == 0 && base->state == TDI_STATE_DISCONNECTED) {
		tdi_provider_finish(completed, irp, base->failure, 0);
	} else if (bytes == 0 && !connection->end_sent && tcp_socket_is_closed(connection->fd)) {
		tdi_provider_finish(completed, irp, STATUS_CONNECTION_RESET, 0);
		tdi_provider_fail_locked(base, STATUS_CONNECTION_RESET, completed);
	} else if (bytes == 0) {
		end_receiving(base, irp, completed);
	} else if (error == EFAULT) { /* its own fault; nothing has been taken */
		tdi_provider_finish(completed, irp, STATUS_INVALID_USER_BUFFER, 0);
		base->receive_pump.again = true;
	} else if (error == EAGAIN || base->state == TDI_STATE_DISCONNECTED) {
		wait_for_data(base, irp, completed);
	} else {
		tdi_provider_finish(completed, irp, tcp_status_of(error), 0);
		tdi_provider_fail_locked(base, tcp_status_of(error), completed);
	}
}
