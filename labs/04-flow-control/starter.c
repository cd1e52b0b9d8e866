/*
 * Lab 04: your part of src/tdi/send_window.c. See README.md. Only these functions are yours; graft
 * puts each in place of the one of the same name.
 */
#include "tdi/stream.h"

/*
 * The transport has answered the piece that was with it, a piece of the first send that waits:
 * `bytes` of it were taken, if it succeeded. Lock held.
 */
static void take_answer(struct tdi_send_window *window, ntstatus status, uint32_t bytes)
{
	(void)window;
	(void)status;
	(void)bytes;
	(void)finish; /* TODO: for a send that is over */
	ke_bug_check("NOT-WRITTEN", "take_answer is yours to write");
}

/* The send whose next piece begins now, or NULL when none may. Lock held. */
static struct tdi_window_send *next_piece(struct tdi_send_window *window)
{
	(void)window;
	return NULL; /* TODO */
}

/* Calls back and starts pieces until there is nothing to do; gives the lock back. */
static void run_and_unlock(struct tdi_send_window *window, kirql irql)
{
	ke_release_spin_lock(&window->lock, irql);
	(void)give_up; /* TODO: it is made of these */
	(void)next_done;
	(void)next_piece;
	(void)piece_answered;
	ke_bug_check("NOT-WRITTEN", "run_and_unlock is yours to write");
}

void tdi_window_send(struct tdi_send_window *window, struct tdi_window_send *send,
		     const void *buffer, uint32_t length, tdi_completion_callback *callback,
		     void *context)
{
	(void)window;
	*send = (struct tdi_window_send){
		.buffer = buffer, .length = length, .callback = callback, .context = context};
	ke_bug_check("NOT-WRITTEN", "tdi_window_send is yours to write");
}

/* There is room, or was a moment ago. */
void tdi_window_send_possible(struct tdi_send_window *window)
{
	(void)window;
	ke_bug_check("NOT-WRITTEN", "tdi_window_send_possible is yours to write");
}
