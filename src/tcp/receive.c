/*
 * Receiving: one system call for each receive request that waits, right into its buffers; or, where
 * none waits and the client has handlers, one for each chunk.
 *
 * A read that brings less than it had room for has emptied the kernel, and the interrupt will tell
 * of more: so there is no second read that finds nothing (`readable`). Only the end of the stream
 * can be behind the data unseen, if the interrupt told of both at once; then reads go on.
 */
#include <errno.h>
#include <sys/socket.h>

#include "tcp/private.h"

enum { MAXIMUM_PIECES = 64 };

/*
 * Reads into the request's buffers: how many bytes, 0 at the end of the stream, -1 and errno.
 * *room: how many it could have been.
 */
static ssize_t read_socket(int fd, const struct irp *irp, size_t length, size_t *room)
{
	struct iovec pieces[MAXIMUM_PIECES];
	struct msghdr message = {.msg_iov = pieces};
	ssize_t bytes;

	*room = 0;
	for (const struct mdl *mdl = irp->mdl_address;
	     mdl != NULL && length > 0 && message.msg_iovlen < MAXIMUM_PIECES; mdl = mdl->next) {
		struct iovec *piece = &pieces[message.msg_iovlen];

		piece->iov_base = mm_get_system_address_for_mdl(mdl);
		piece->iov_len = mm_get_mdl_byte_count(mdl);
		if (piece->iov_len > length)
			piece->iov_len = length;
		length -= piece->iov_len;
		*room += piece->iov_len;
		message.msg_iovlen += piece->iov_len > 0; /* else 0 bytes would mean the end */
	}
	do {
		bytes = recvmsg(fd, &message, MSG_DONTWAIT);
	} while (bytes < 0 && errno == EINTR);
	return bytes;
}

/* Nothing there: the request waits again, unless it was cancelled while it was out. */
static void wait_for_data(struct tdi_connection *base, struct irp *irp,
			  struct list_entry *completed)
{
	if (base->state == TDI_STATE_DISCONNECTED)
		tdi_provider_finish(completed, irp, base->failure, 0);
	else if (!io_csq_return_irp(&base->receives[TDI_NORMAL], irp))
		tdi_provider_finish(completed, irp, STATUS_CANCELLED, 0);
}

/* The connection is reset, of which another system call has been told already. */
static bool is_reset(const struct tcp_connection *connection)
{
	return !connection->end_sent && tcp_socket_is_closed(connection->fd);
}

/* `room`: how many bytes it could have been. */
static void note_received(struct tcp_connection *connection, ssize_t bytes, size_t room)
{
	connection->readable |= bytes == (ssize_t)room || (bytes > 0 && connection->hung_up);
	stat_count(&connection->counters, TCP_RECEIVE_CALLS, 1);
	if (bytes <= 0)
		return;
	connection->received_bytes += (uint64_t)bytes;
	stat_set(&connection->counters, TCP_RECEIVED_BYTES, connection->received_bytes);
	connection->base.receive_pump.again = true;
}

/* Right into the buffers of a request, which nothing unread may come before. */
static void receive_into(struct tcp_connection *connection, struct irp *irp,
			 struct list_entry *completed)
{
	struct tdi_connection *base = &connection->base;
	uint32_t length =
		tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_receive)
			->receive_length;
	ssize_t bytes;
	size_t room;
	int error;

	connection->readable = false; /* before the call, lest its news be forgotten after it */
	ke_release_spin_lock(&base->lock, DISPATCH_LEVEL);
	bytes = read_socket(connection->fd, irp, length, &room);
	error = errno;
	ke_acquire_spin_lock(&base->lock);
	note_received(connection, bytes, room);
	if (bytes > 0) {
		base->blocked[TDI_NORMAL] = false;
		tdi_provider_finish(completed, irp, STATUS_SUCCESS, (uintptr_t)bytes);
	} else if (bytes == 0 && base->state == TDI_STATE_DISCONNECTED) {
		tdi_provider_finish(completed, irp, base->failure, 0);
	} else if (bytes == 0 && is_reset(connection)) {
		tdi_provider_finish(completed, irp, STATUS_CONNECTION_RESET, 0);
		tdi_provider_fail_locked(base, STATUS_CONNECTION_RESET, completed);
	} else if (bytes == 0) {
		tdi_provider_finish(completed, irp, STATUS_GRACEFUL_DISCONNECT, 0);
		base->peer_ended = true;
	} else if (error == EFAULT) { /* its own fault; nothing has been taken */
		connection->readable = true;
		tdi_provider_finish(completed, irp, STATUS_INVALID_USER_BUFFER, 0);
		base->receive_pump.again = true;
	} else if (error == EAGAIN || base->state == TDI_STATE_DISCONNECTED) {
		wait_for_data(base, irp, completed);
	} else {
		tdi_provider_finish(completed, irp, tcp_status_of(error), 0);
		tdi_provider_fail_locked(base, tcp_status_of(error), completed);
	}
}

/* A chunk to read into, the pump's; NULL when there are enough, or there is no pool. */
static struct tcp_chunk *take_chunk(struct tcp_connection *connection)
{
	struct tcp_chunk *chunk;

	if (connection->chunks == TCP_MAXIMUM_CHUNKS)
		return NULL;
	chunk = ex_allocate_pool(sizeof(*chunk));
	if (chunk != NULL)
		connection->chunks++;
	else
		tcp_arm_timer(connection); /* the socket's news will not come again */
	return chunk;
}

static void give_chunk_back(struct tcp_connection *connection, struct tcp_chunk *chunk)
{
	connection->chunks--;
	ex_free_pool(chunk);
}

void tcp_free_arrival(struct tdi_connection *base, struct tdi_arrival *arrival)
{
	give_chunk_back(tcp_connection_of(base),
			containing_record(arrival, struct tcp_chunk, arrival));
}

/* What no request waits for, for the client's handlers. */
static void read_chunk(struct tcp_connection *connection, struct list_entry *completed)
{
	struct tdi_connection *base = &connection->base;
	struct tcp_chunk *chunk = take_chunk(connection);
	ssize_t bytes;
	int error;

	if (chunk == NULL)
		return; /* what is lent comes back, or the timer */
	connection->readable = false;
	ke_release_spin_lock(&base->lock, DISPATCH_LEVEL);
	do {
		bytes = recv(connection->fd, chunk->bytes, TCP_CHUNK_BYTES, MSG_DONTWAIT);
	} while (bytes < 0 && errno == EINTR);
	error = errno;
	ke_acquire_spin_lock(&base->lock);
	note_received(connection, bytes, TCP_CHUNK_BYTES);
	if (bytes > 0 && base->state == TDI_STATE_CONNECTED) {
		chunk->arrival.mdl.mapped_system_va = chunk->bytes;
		chunk->arrival.mdl.byte_count = (uint32_t)bytes;
		tdi_provider_add_arrival(base, TDI_NORMAL, &chunk->arrival);
		return;
	}
	give_chunk_back(connection, chunk);
	if (base->state != TDI_STATE_CONNECTED || (bytes < 0 && error == EAGAIN))
		return;
	if (bytes == 0 && !is_reset(connection))
		base->peer_ended = true;
	else
		tdi_provider_fail_locked(
			base, bytes == 0 ? STATUS_CONNECTION_RESET : tcp_status_of(error),
			completed);
}

void tcp_receive_step(struct tdi_connection *base, struct list_entry *completed)
{
	struct tcp_connection *connection = tcp_connection_of(base);
	struct irp *irp = NULL;

	if (base->state != TDI_STATE_CONNECTED || base->peer_ended || !connection->readable)
		return;
	if (base->unread_bytes[TDI_NORMAL] == 0)
		irp = io_csq_remove_next_irp(&base->receives[TDI_NORMAL]);
	if (irp != NULL)
		receive_into(connection, irp, completed);
	else if (tdi_provider_wants_arrivals(base))
		read_chunk(connection, completed);
}
