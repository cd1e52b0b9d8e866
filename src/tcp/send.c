/*
 * Sending. A send request goes through three lists:
 *
 *      base.sends      waiting; can be cancelled
 *      unsent          in the hands of the send pump, perhaps taken in part by the kernel
 *      inflight        direct only: all bytes taken, the kernel still reads them or the peer has
 *                      not acknowledged them
 *
 * Buffered, up to BATCH_SENDS requests or BATCH_BYTES bytes go out in one system call, and each is
 * done when its last byte was taken. A call that takes less than it was given leaves the rest, by
 * byte count, at the head of `unsent`; nothing is ever given twice.
 *
 * Direct, each call is for one request, because the kernel returns pages by call. It counts the
 * calls of a socket from 0 and reports ranges of counts on the error queue: these calls' pages are
 * free. That is half of the answer. The other half is how far the peer has acknowledged the stream:
 * a request is settled when its pages are back, and succeeds if the stream is acknowledged up to
 * its end. On a live connection pages come back with the acknowledgement, and where they come back
 * before it (the kernel had copied them) a timer looks again; on a broken one they come back too,
 * and the request fails with the connection's error.
 *
 * EFAULT does not say whose memory is bad, and may come for bytes behind a batch's first. So it is
 * repeated with the head of the batch alone, which is to blame if it fails again.
 *
 * ENOBUFS says that the kernel will lock no more memory for the socket or the user. Returned pages
 * change that, so the send waits for the next report; when none is out, the kernel is asked to copy
 * this one.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <linux/errqueue.h>

#include "tcp/private.h"

enum {
	BATCH_SENDS = 64,
	BATCH_BYTES = 1 << 20,
	MAXIMUM_PIECES = 128,
	ACK_POLL_NS = 500000,
};

static uint32_t length_of(struct irp *irp)
{
	return tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_send)
		->send_length;
}

static bool is_direct(const struct tcp_connection *connection)
{
	return tcp_options_of(connection->base.provider)->direct;
}

static struct irp *first_of(const struct list_entry *list)
{
	return is_list_empty(list) ? NULL : containing_record(list->next, struct irp, list_entry);
}

/* ---- What goes out ------------------------------------------------------------------------- */

static bool take_from_queue(struct tcp_connection *connection)
{
	uint32_t limit = is_direct(connection) ? 1 : BATCH_SENDS;
	bool taken = false;
	struct irp *irp;

	while (connection->unsent_count < limit &&
	       (irp = io_csq_remove_next_irp(&connection->base.sends)) != NULL) {
		*tcp_send_of(irp) = (struct tcp_send){0};
		insert_tail_list(&connection->unsent, &irp->list_entry);
		connection->unsent_count++;
		taken = true;
	}
	return taken;
}

/* Takes the head of `unsent`, whose bytes are all accepted, to where it goes. */
static void pop_accepted(struct tcp_connection *connection, struct irp *irp,
			 struct list_entry *completed)
{
	remove_entry_list(&irp->list_entry);
	connection->unsent_count--;
	tcp_send_of(irp)->end_offset = connection->sent_bytes;
	if (is_direct(connection))
		insert_tail_list(&connection->inflight, &irp->list_entry);
	else
		tdi_provider_finish(completed, irp, STATUS_SUCCESS, length_of(irp));
}

/* The kernel has taken `bytes` more of the stream. */
static void account(struct tcp_connection *connection, size_t bytes, struct list_entry *completed)
{
	struct irp *irp;

	while ((irp = first_of(&connection->unsent)) != NULL) {
		uint32_t left = length_of(irp) - tcp_send_of(irp)->accepted;
		uint32_t taken = bytes < left ? (uint32_t)bytes : left;

		tcp_send_of(irp)->accepted += taken;
		connection->sent_bytes += taken;
		stat_set(&connection->counters, TCP_SENT_BYTES, connection->sent_bytes);
		bytes -= taken;
		if (taken < left)
			return;
		pop_accepted(connection, irp, completed);
	}
}

/* Adds the request's bytes from its first unaccepted one; returns how many. */
static size_t add_pieces(struct irp *irp, struct iovec *pieces, size_t *count)
{
	size_t skip = tcp_send_of(irp)->accepted;
	size_t left = length_of(irp) - skip;
	size_t added = 0;

	for (const struct mdl *mdl = irp->mdl_address;
	     mdl != NULL && left > 0 && *count < MAXIMUM_PIECES; mdl = mdl->next) {
		size_t bytes = mm_get_mdl_byte_count(mdl);

		if (skip >= bytes) {
			skip -= bytes;
			continue;
		}
		bytes -= skip;
		if (bytes > left)
			bytes = left;
		pieces[(*count)++] =
			(struct iovec){mm_get_system_address_for_mdl(mdl) + skip, bytes};
		skip = 0;
		left -= bytes;
		added += bytes;
	}
	return added;
}

static size_t gather(const struct tcp_connection *connection, struct iovec *pieces)
{
	const struct list_entry *entry;
	size_t limit = connection->head_alone ? 1 : BATCH_BYTES;
	size_t count = 0, bytes = 0;

	for (entry = connection->unsent.next;
	     entry != &connection->unsent && bytes < limit && count < MAXIMUM_PIECES;
	     entry = entry->next)
		bytes += add_pieces(containing_record(entry, struct irp, list_entry), pieces,
				    &count);
	return count;
}

/*
 * The next direct call will be for the head of `unsent`. It is noted before it is made: the kernel
 * may report it to another processor before the call has returned here. A call that fails uses up
 * no count, and is taken back.
 */
static void note_call(struct tcp_connection *connection)
{
	struct tcp_send *send = tcp_send_of(first_of(&connection->unsent));

	if (send->calls == 0)
		send->first_call = connection->next_call;
	send->calls++;
	send->outstanding++;
	connection->next_call++;
}

static void take_call_back(struct tcp_connection *connection)
{
	struct tcp_send *send = tcp_send_of(first_of(&connection->unsent));

	send->calls--;
	send->outstanding--;
	connection->next_call--;
}

/* For one piece, which is what most messages are, the kernel has less to read without a header. */
static ssize_t write_pieces(int fd, struct iovec *pieces, size_t count, int flags)
{
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};

	return count == 1 ? send(fd, pieces->iov_base, pieces->iov_len, flags)
			  : sendmsg(fd, &message, flags);
}

/* One system call on the unsent; with the lock dropped meanwhile. Bytes taken, or -1 and *error. */
static ssize_t write_socket(struct tcp_connection *connection, bool direct, int *error)
{
	struct iovec pieces[MAXIMUM_PIECES];
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (direct ? MSG_ZEROCOPY : 0);
	size_t count = gather(connection, pieces);
	ssize_t bytes;

	if (direct)
		note_call(connection);
	connection->writable = false; /* before the call, lest its news be forgotten after it */
	ke_release_spin_lock(&connection->base.lock, DISPATCH_LEVEL);
	do {
		bytes = write_pieces(connection->fd, pieces, count, flags);
	} while (bytes < 0 && errno == EINTR);
	*error = errno;
	ke_acquire_spin_lock(&connection->base.lock);
	stat_count(&connection->counters, TCP_SEND_CALLS, 1);
	if (direct && bytes < 0)
		take_call_back(connection);
	return bytes;
}

static bool pages_are_out(const struct tcp_connection *connection)
{
	const struct list_entry *entry;

	for (entry = connection->inflight.next; entry != &connection->inflight; entry = entry->next)
		if (tcp_send_of(containing_record(entry, struct irp, list_entry))->outstanding > 0)
			return true;
	return false;
}

/* What the kernel has taken nothing of waits in the queue again, where it can be cancelled. */
static void return_untouched(struct tcp_connection *connection, struct list_entry *completed)
{
	while (!is_list_empty(&connection->unsent)) {
		struct irp *last =
			containing_record(connection->unsent.prev, struct irp, list_entry);

		if (tcp_send_of(last)->accepted > 0)
			return;
		remove_entry_list(&last->list_entry);
		connection->unsent_count--;
		if (!io_csq_return_irp(&connection->base.sends, last))
			tdi_provider_finish(completed, last, STATUS_CANCELLED, 0);
	}
}

/* What does not wait for room has its answer now, short or refused. */
static void answer_non_blocking(struct tcp_connection *connection, struct list_entry *completed)
{
	struct list_entry *entry, *next;

	for (entry = connection->unsent.next; entry != &connection->unsent; entry = next) {
		struct irp *irp = containing_record(entry, struct irp, list_entry);
		uint32_t accepted = tcp_send_of(irp)->accepted;

		next = entry->next;
		if (!tdi_provider_is_non_blocking(&connection->base, irp))
			continue;
		remove_entry_list(&irp->list_entry);
		connection->unsent_count--;
		connection->base.room_owed = true;
		tdi_provider_finish(completed, irp,
				    accepted > 0 ? STATUS_SUCCESS : STATUS_DEVICE_NOT_READY,
				    accepted);
	}
}

/* The kernel would not take more. */
static void write_refused(struct tcp_connection *connection, int error,
			  struct list_entry *completed)
{
	struct irp *irp = first_of(&connection->unsent);

	switch (error) {
	case EAGAIN: /* the interrupt will say when there is room */
		answer_non_blocking(connection, completed);
		return_untouched(connection, completed);
		return;
	case ENOBUFS:
		if (!is_direct(connection) || connection->copy_once)
			break; /* no pages of ours are the reason */
		connection->delayed_sends++;
		stat_set(&connection->counters, TCP_DELAYED_SENDS, connection->delayed_sends);
		if (pages_are_out(connection) || tcp_send_of(irp)->outstanding > 0)
			return; /* their return will be news */
		connection->copy_once = true;
		connection->base.send_pump.again = true;
		return;
	case EFAULT:
		if (!connection->head_alone && connection->unsent_count > 1) {
			connection->head_alone = true;
			connection->base.send_pump.again = true;
			return;
		}
		if (tcp_send_of(irp)->accepted == 0) { /* its own fault, and nobody else's */
			remove_entry_list(&irp->list_entry);
			connection->unsent_count--;
			connection->head_alone = false;
			tdi_provider_finish(completed, irp, STATUS_INVALID_USER_BUFFER, 0);
			connection->base.send_pump.again = true;
			return;
		}
		break;
	}
	tdi_provider_fail_locked(&connection->base, tcp_status_of(error), completed);
}

void tcp_fail_unsent(struct tcp_connection *connection, struct list_entry *completed)
{
	struct list_entry *entry, *next;

	for (entry = connection->unsent.next; entry != &connection->unsent; entry = next) {
		struct irp *irp = containing_record(entry, struct irp, list_entry);

		next = entry->next;
		remove_entry_list(&irp->list_entry);
		connection->unsent_count--;
		if (tcp_send_of(irp)->outstanding > 0) { /* pages are out: settle later */
			tcp_send_of(irp)->end_offset = UINT64_MAX;
			insert_tail_list(&connection->inflight, &irp->list_entry);
		} else {
			tdi_provider_finish(completed, irp, connection->base.failure, 0);
		}
	}
}

void tcp_send_step(struct tdi_connection *base, struct list_entry *completed)
{
	struct tcp_connection *connection = tcp_connection_of(base);
	bool direct = is_direct(connection) && connection->zerocopy && !connection->copy_once;
	ssize_t bytes;
	int error;

	if (base->state == TDI_STATE_CONNECTED) {
		/* Those without a byte need no call; behind them there may be more. */
		while (take_from_queue(connection))
			account(connection, 0, completed);
	}
	if (base->state == TDI_STATE_CONNECTED && connection->unsent_count > 0) {
		bytes = write_socket(connection, direct, &error);
		if (bytes >= 0) {
			connection->writable = true;
			connection->copy_once = connection->head_alone = false;
			base->send_pump.again = true;
			account(connection, (size_t)bytes, completed);
		} else if (base->state == TDI_STATE_CONNECTED) {
			write_refused(connection, error, completed);
		}
	} else if (base->state == TDI_STATE_CONNECTED && base->release_wanted &&
		   !connection->end_sent) {
		connection->end_sent = true;
		tcp_release_socket(connection->fd);
	}
	base->backlogged = connection->unsent_count > 0;
	if (base->state == TDI_STATE_CONNECTED && base->room_owed && connection->writable)
		base->room = tcp_socket_room(connection->fd);
	if (base->state == TDI_STATE_DISCONNECTED)
		tcp_fail_unsent(connection, completed);
	tcp_settle(connection, completed);
	/* The release completes behind all sends, so that a close after it has nothing to reset. */
	if (base->state == TDI_STATE_CONNECTED && connection->end_sent &&
	    is_list_empty(&connection->inflight))
		base->send_ended = true;
}

/* ---- What comes back ----------------------------------------------------------------------- */

/* Of the request's calls, how many are in the range first..last. Counts wrap at 2^32. */
static uint32_t calls_within(const struct tcp_send *send, uint32_t first, uint32_t last)
{
	uint32_t within = 0;

	for (uint32_t i = 0; i < send->calls; i++)
		within += send->first_call + i - first <= last - first;
	return within;
}

static void return_pages(struct list_entry *list, uint32_t first, uint32_t last)
{
	struct list_entry *entry;

	for (entry = list->next; entry != list; entry = entry->next) {
		struct tcp_send *send =
			tcp_send_of(containing_record(entry, struct irp, list_entry));

		send->outstanding -= calls_within(send, first, last);
	}
}

static void read_report(struct tcp_connection *connection, struct msghdr *message)
{
	struct cmsghdr *part;

	for (part = CMSG_FIRSTHDR(message); part != NULL; part = CMSG_NXTHDR(message, part)) {
		struct sock_extended_err report;

		if (part->cmsg_len < CMSG_LEN(sizeof(report)))
			continue;
		memcpy(&report, CMSG_DATA(part), sizeof(report));
		if (report.ee_origin != SO_EE_ORIGIN_ZEROCOPY)
			continue;
		if (report.ee_code & SO_EE_CODE_ZEROCOPY_COPIED)
			connection->copied_sends += report.ee_data - report.ee_info + 1;
		stat_set(&connection->counters, TCP_COPIED_SENDS, connection->copied_sends);
		return_pages(&connection->inflight, report.ee_info, report.ee_data);
		return_pages(&connection->unsent, report.ee_info, report.ee_data);
	}
}

void tcp_reap(struct tcp_connection *connection)
{
	char control[256];
	struct msghdr message;

	for (;;) {
		message =
			(struct msghdr){.msg_control = control, .msg_controllen = sizeof(control)};
		if (recvmsg(connection->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			break;
		read_report(connection, &message);
	}
}

void tcp_arm_timer(struct tcp_connection *connection)
{
	if (connection->ack_timer_armed)
		return;
	connection->ack_timer_armed = true;
	tdi_provider_hold(&connection->base); /* the timer's */
	ke_set_timer(&connection->ack_timer, ACK_POLL_NS, &connection->ack_dpc);
}

void tcp_ack_timer_expired(struct kdpc *dpc, void *context)
{
	struct tcp_connection *connection = context;
	kirql irql = ke_acquire_spin_lock(&connection->base.lock);

	(void)dpc;
	connection->ack_timer_armed = false;
	tdi_provider_run_pump_and_unlock(&connection->base, &connection->base.send_pump, irql);
	tdi_provider_run_pump(&connection->base, &connection->base.receive_pump);
	tdi_provider_drop(&connection->base); /* the timer's */
}

static bool is_acknowledged(struct tcp_connection *connection, uint64_t end_offset)
{
	if (end_offset > connection->acknowledged_bytes &&
	    connection->base.state == TDI_STATE_CONNECTED)
		tcp_look_up_acknowledged(connection);
	return end_offset <= connection->acknowledged_bytes;
}

/*
 * Completes the requests whose pages are back, in order, up to one that has to wait. Only the send
 * pump does this while it runs, or a request could overtake one that is just being completed.
 */
void tcp_settle(struct tcp_connection *connection, struct list_entry *completed)
{
	struct irp *irp;

	while ((irp = first_of(&connection->inflight)) != NULL &&
	       tcp_send_of(irp)->outstanding == 0) {
		bool acknowledged = is_acknowledged(connection, tcp_send_of(irp)->end_offset);

		if (!acknowledged && connection->base.state == TDI_STATE_CONNECTED) {
			tcp_arm_timer(connection); /* pages are back before the acknowledgement */
			return;
		}
		remove_entry_list(&irp->list_entry);
		if (acknowledged)
			tdi_provider_finish(completed, irp, STATUS_SUCCESS, length_of(irp));
		else
			tdi_provider_finish(completed, irp, connection->base.failure, 0);
	}
	if (connection->base.state == TDI_STATE_DISCONNECTED &&
	    is_list_empty(&connection->inflight) && is_list_empty(&connection->unsent))
		tcp_detach(connection);
}
