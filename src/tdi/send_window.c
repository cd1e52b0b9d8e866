/*
 * Stage 04: sends that take only what room there is, and go on when there is more.
 *
 * A transport that buffers can be asked not to make a send wait (TDI_SEND_NON_BLOCKING): it takes
 * what it has room for and says how much that was. The rest is the client's again, and so is the
 * work to send it: in order, from where the transport stopped, no byte twice, none left out. That
 * is a window's job.
 *
 *      tdi_window_send ──▶ waiting ──▶ a piece: all that is left of the first send
 *                             ▲               │
 *                             │               ├─ all taken, or an error ──▶ done ──▶ callback
 *                             └───────────────┴─ short, or DEVICE_NOT_READY: wait for room
 *
 * One piece at a time is with the transport. Behind one that comes back short the next would have
 * gone out already, and the stream would be scrambled. How fast a connection is does not suffer: a
 * piece is not under way until the peer has acknowledged it, only until it is copied, and what
 * fills the line is the transport's buffer.
 *
 * The answer to a piece comes through its callback, before or after the start has returned. What
 * the start returns decides nothing here: STATUS_PENDING means that there is no answer yet, and who
 * sends the piece again then, as after "no room", sends it twice.
 *
 * The news that there is room (ClientEventSendPossible) can come at any moment, also between the
 * transport's refusal and our hearing of it. Were it kept for those who are known to wait, it would
 * be lost just then, and there is only one. So it is a flag, `possible`: cleared when a piece
 * begins, which sees for itself how much room there is; set by the news; and a piece that found too
 * little leaves it as it is. Then the order of the two does not matter. The news promises nothing,
 * for another client's send may be there first: to be refused again is no error, and neither is
 * news that nobody waits for. How many bytes it speaks of is not even passed on.
 *
 * As with a transport's pump, one context at a time works (`running`), and who changes something
 * meanwhile leaves it to that one, which looks at everything again before it stops. So a callback
 * that sends again finds the window running, and returns: the stack does not grow. It works
 * as long as there are sends and the transport has room at once. Callbacks that are due are called
 * before the next piece begins, so one that hears of an error can end the window before anything
 * goes out behind the gap.
 *
 * On a transport that does not buffer there is no room, and no news of it. It holds the client's
 * pages until the peer has acknowledged them, and a client has as many sends under way as it cares
 * to: stage 03. Who waited for news there would wait for ever.
 *
 * Sources: the first seed thread (TDI_SEND_NON_BLOCKING, ClientEventSendPossible, "no guarantee it
 * will succeed"), the Tdinal design (partial sends, and PENDING taken for EAGAIN).
 */
#include "tdi/counters.h"
#include "tdi/stream.h"

/* ---- With the lock held -------------------------------------------------------------------- */

static struct tdi_window_send *first_of(struct list_entry *sends)
{
	return is_list_empty(sends) ? NULL
				    : containing_record(sends->next, struct tdi_window_send, entry);
}

/* The send is over: its callback is due. */
static void finish(struct tdi_send_window *window, struct tdi_window_send *send, ntstatus status)
{
	remove_entry_list(&send->entry);
	send->status = status;
	insert_tail_list(&window->done, &send->entry);
}

/* The transport has answered the piece: `bytes` of it were taken, if it succeeded. */
static void take_answer(struct tdi_send_window *window, ntstatus status, uint32_t bytes)
{
	struct tdi_window_send *send = first_of(&window->waiting);

	window->sending = false;
	stat_count(&window->counters, TDI_FLOW_ANSWERED, 1);
	if (status == STATUS_DEVICE_NOT_READY) {
		stat_count(&window->counters, TDI_FLOW_REFUSED, 1);
		return;
	}
	if (nt_success(status)) {
		send->sent += bytes;
		stat_count(&window->counters, TDI_FLOW_SENT_BYTES, bytes);
		if (send->sent < send->length) {
			stat_count(&window->counters, TDI_FLOW_SHORT, 1);
			return;
		}
	}
	window->possible = true;
	finish(window, send, status);
}

/* The first send, if its next piece may begin now, which it then has. */
static struct tdi_window_send *next_piece(struct tdi_send_window *window)
{
	if (window->sending || !window->possible || is_list_empty(&window->waiting))
		return NULL;
	window->sending = true;
	window->possible = false; /* before the piece looks for room: news from now on is newer */
	stat_count(&window->counters, TDI_FLOW_PIECES, 1);
	return first_of(&window->waiting);
}

/* The next send whose callback is due: it will have been called. */
static struct tdi_window_send *next_done(struct tdi_send_window *window)
{
	struct tdi_window_send *send = first_of(&window->done);

	if (send == NULL)
		return NULL;
	remove_entry_list(&send->entry);
	stat_count(&window->counters, TDI_FLOW_CALLED_BACK, 1);
	if (!nt_success(send->status))
		stat_count(&window->counters, TDI_FLOW_FAILED, 1);
	return send;
}

/* In an ended window nothing waits, except behind a piece that the transport still has. */
static void give_up(struct tdi_send_window *window)
{
	struct tdi_window_send *send;

	if (nt_success(window->ended) || window->sending)
		return;
	while ((send = first_of(&window->waiting)) != NULL)
		finish(window, send, window->ended);
}

/* ---- Running ------------------------------------------------------------------------------- */

static void piece_answered(void *context, ntstatus status, uint32_t bytes);

/* Does what there is to do, and gives the lock back, which was taken at `irql`. */
static void run_and_unlock(struct tdi_send_window *window, kirql irql)
{
	struct tdi_window_send *send;

	if (window->running) { /* who runs it will see what has changed */
		ke_release_spin_lock(&window->lock, irql);
		return;
	}
	window->running = true;
	for (;;) {
		give_up(window);
		if ((send = next_done(window)) != NULL) {
			ke_release_spin_lock(&window->lock, irql);
			send->callback(send->context, send->status, send->sent);
		} else if ((send = next_piece(window)) != NULL) {
			ke_release_spin_lock(&window->lock, irql);
			tdi_start_send_buffer(window->connection, send->buffer + send->sent,
					      send->length - send->sent, TDI_SEND_NON_BLOCKING,
					      piece_answered, window);
		} else {
			break;
		}
		irql = ke_acquire_spin_lock(&window->lock);
	}
	window->running = false;
	ke_release_spin_lock(&window->lock, irql);
}

static void piece_answered(void *context, ntstatus status, uint32_t bytes)
{
	struct tdi_send_window *window = context;
	kirql irql = ke_acquire_spin_lock(&window->lock);

	take_answer(window, status, bytes);
	run_and_unlock(window, irql);
}

/* ---- The window's client ------------------------------------------------------------------- */

void tdi_initialize_send_window(struct tdi_send_window *window, struct file_object *connection,
				bool buffers)
{
	*window = (struct tdi_send_window){.connection = connection,
					   .buffers = buffers,
					   .possible = true,
					   .ended = STATUS_SUCCESS};
	ke_initialize_spin_lock(&window->lock);
	initialize_list_head(&window->waiting);
	initialize_list_head(&window->done);
	stat_add_block(&window->counters, connection->device_object->segment,
		       &tdi_flow_control_table);
}

void tdi_window_send(struct tdi_send_window *window, struct tdi_window_send *send,
		     const void *buffer, uint32_t length, tdi_completion_callback *callback,
		     void *context)
{
	kirql irql = ke_acquire_spin_lock(&window->lock);

	if (!window->buffers && nt_success(window->ended)) {
		ke_release_spin_lock(&window->lock, irql);
		tdi_start_send_buffer(window->connection, buffer, length, 0, callback, context);
		return;
	}
	*send = (struct tdi_window_send){
		.buffer = buffer, .length = length, .callback = callback, .context = context};
	insert_tail_list(&window->waiting, &send->entry);
	stat_count(&window->counters, TDI_FLOW_POSTED, 1);
	run_and_unlock(window, irql);
}

void tdi_window_send_possible(struct tdi_send_window *window)
{
	kirql irql = ke_acquire_spin_lock(&window->lock);

	stat_count(&window->counters, TDI_FLOW_POSSIBLE, 1);
	window->possible = true;
	run_and_unlock(window, irql);
}

void tdi_end_send_window(struct tdi_send_window *window, ntstatus reason)
{
	kirql irql = ke_acquire_spin_lock(&window->lock);

	if (nt_success(window->ended)) /* the first reason is the one that counts */
		window->ended = reason;
	run_and_unlock(window, irql);
}

void tdi_remove_send_window(struct tdi_send_window *window)
{
	stat_remove_block(&window->counters);
}
