/*
 * Lab 01: the walk down, the walk up, and the race with cancellation.
 *
 * Two devices stand on each other. What their drivers and the completion routines do is written
 * down in letters, in order: u and l for the dispatch routines of the upper and the lower driver,
 * U for the upper driver's completion routine, C for the creator's.
 */
#include <stdio.h>
#include <string.h>

#include "lab.h"
#include "requests.h"

/* ---- The walk ------------------------------------------------------------------------------ */

static void walk(void *context)
{
	struct stack stack;
	struct irp *irp;

	(void)context;
	build_stack(&stack, STATUS_SUCCESS);
	step(RULE_DOWN, "the upper driver passes a request on, the lower completes it at once");
	irp = build_request(&stack, IRP_MJ_READ);
	expect_status(RULE_DOWN, "what io_call_driver returns", STATUS_SUCCESS,
		      io_call_driver(&stack.upper, irp));
	expect_trace(RULE_UP, &stack, "ulUC");
	expect_number(RULE_UP, "the information that arrives", 42,
		      (int64_t)irp->io_status.information);
	expect_number(RULE_PENDING, "pending_returned for a request that nobody kept", 0,
		      stack.pending_seen);
	io_free_irp(irp);
	step(RULE_DOWN, "a request with a function that the driver does not have");
	irp = build_request(&stack, IRP_MJ_CREATE);
	expect_status(RULE_DOWN, "what io_call_driver returns", STATUS_INVALID_DEVICE_REQUEST,
		      io_call_driver(&stack.upper, irp));
	expect_trace(RULE_UP, &stack, "ulUCC");
	io_free_irp(irp);
}

static void invoked_as_asked(void *context)
{
	static const struct {
		bool on_success, on_error, on_cancel, cancelled;
		ntstatus outcome;
		const char *trace;
	} rows[] = {
		{true, false, false, false, STATUS_SUCCESS, "lU"},
		{false, true, false, false, STATUS_SUCCESS, "l"},
		{false, true, false, false, STATUS_CONNECTION_RESET, "lU"},
		{true, false, false, false, STATUS_CONNECTION_RESET, "l"},
		{false, false, true, true, STATUS_CANCELLED, "lU"},
		{false, false, true, false, STATUS_CONNECTION_RESET, "l"},
	};

	(void)context;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct io_status_block iosb = {STATUS_PENDING, 0};
		struct kevent event;
		struct stack stack;
		struct irp *irp;

		step(RULE_UP, "a routine set for%s%s%s; the request%s completes with %s",
		     rows[i].on_success ? " success" : "", rows[i].on_error ? " error" : "",
		     rows[i].on_cancel ? " cancel" : "",
		     rows[i].cancelled ? " is cancelled and" : "", nt_status_name(rows[i].outcome));
		build_stack(&stack, rows[i].outcome);
		ke_initialize_event(&event, NOTIFICATION_EVENT, false);
		irp = io_build_device_io_control_request(IRP_MJ_READ, &stack.lower, &event, &iosb);
		io_set_completion_routine(irp, note_routine, &stack, rows[i].on_success,
					  rows[i].on_error, rows[i].on_cancel);
		irp->cancel = rows[i].cancelled;
		io_call_driver(&stack.lower, irp);
		expect_trace(RULE_UP, &stack, rows[i].trace);
		expect_status(RULE_SYNCHRONOUS, "the status that the waiter finds", rows[i].outcome,
			      iosb.status);
	}
}

static void pending_is_told(void *context)
{
	struct stack stack;
	struct irp *irp;

	(void)context;
	build_stack(&stack, STATUS_SUCCESS);
	stack.pend = true;
	step(RULE_PENDING, "the lower driver keeps a request; the upper has a completion routine");
	irp = build_request(&stack, IRP_MJ_READ);
	expect_status(RULE_DOWN, "what io_call_driver returns", STATUS_PENDING,
		      io_call_driver(&stack.upper, irp));
	step(RULE_PENDING, "the lower driver completes it");
	io_finish_request(stack.kept, STATUS_SUCCESS, 7);
	expect_trace(RULE_UP, &stack, "ulUC");
	expect_number(RULE_PENDING, "pending_returned in the creator's routine", 1,
		      stack.pending_seen);
	io_free_irp(irp);

	step(RULE_PENDING, "the same, but the upper driver has no completion routine");
	stack.pending_seen = false;
	irp = build_request(&stack, IRP_MJ_WRITE);
	io_call_driver(&stack.upper, irp);
	io_finish_request(stack.kept, STATUS_SUCCESS, 7);
	expect_trace(RULE_UP, &stack, "ulUCulC");
	expect_number(RULE_PENDING, "pending_returned in the creator's routine", 1,
		      stack.pending_seen);
	io_free_irp(irp);
}

static void take_back(void *context)
{
	struct stack stack;
	struct irp *irp;

	(void)context;
	build_stack(&stack, STATUS_SUCCESS);
	stack.upper_keeps = true;
	step(RULE_TAKEN, "the upper driver's routine takes a completed request back");
	irp = build_request(&stack, IRP_MJ_READ);
	io_call_driver(&stack.upper, irp);
	expect_trace(RULE_TAKEN, &stack, "ulU");
	step(RULE_TAKEN, "later it completes the request itself");
	io_complete_request(irp);
	expect_trace(RULE_TAKEN, &stack, "ulUC");
	io_free_irp(irp);

	step(RULE_TAKEN, "a creator frees its request in its completion routine");
	irp = build_request(&stack, IRP_MJ_READ);
	stack.creator_frees = true;
	io_call_driver(&stack.upper, irp);
	expect_trace(RULE_TAKEN, &stack, "ulUCulUC");
}

/* ---- Synchronous requests ------------------------------------------------------------------ */

static void complete_kept(void *context)
{
	io_finish_request(context, STATUS_CONNECTION_RESET, 11);
}

/* The waiter's stack is gone as soon as it has seen the event: so everything comes before that. */
static void wait_for_answer(struct stack *stack)
{
	struct io_status_block iosb = {STATUS_PENDING, 0};
	char buffer[16];
	struct kthread thread;
	struct kevent event;
	struct mdl *mdl;
	struct irp *irp;

	ke_initialize_event(&event, NOTIFICATION_EVENT, false);
	irp = io_build_device_io_control_request(IRP_MJ_READ, &stack->upper, &event, &iosb);
	mdl = io_allocate_mdl(buffer, 6, irp);
	mm_build_mdl_for_non_paged_pool(mdl);
	mdl = io_allocate_mdl(buffer + 6, 10, irp);
	mm_build_mdl_for_non_paged_pool(mdl);
	step(RULE_SYNCHRONOUS, "a thread sends a request for a buffer in two pieces, and waits");
	io_call_driver(&stack->upper, irp);
	ps_create_system_thread(&thread, complete_kept, stack->kept);
	expect_event(RULE_SYNCHRONOUS, &event, "the event is set when the request is over");
	expect_status(RULE_SYNCHRONOUS, "the status that the waiter finds", STATUS_CONNECTION_RESET,
		      iosb.status);
	expect_number(RULE_SYNCHRONOUS, "the information that the waiter finds", 11,
		      (int64_t)iosb.information);
	ke_wait_for_thread(&thread);
}

static void synchronous(void *context)
{
	struct stack stack;

	(void)context;
	build_stack(&stack, STATUS_SUCCESS);
	stack.pend = true;
	wait_for_answer(&stack);
	step(RULE_SYNCHRONOUS, "the run ends: the request and both MDLs must have been freed");
}

/* ---- The cancel-safe queue ------------------------------------------------------------------ */

static void queue_in_order(void *context)
{
	struct queue queue;

	(void)context;
	build_queue(&queue);
	step(RULE_ORDER, "four requests are queued");
	for (int i = 0; i < QUEUED; i++) {
		expect_status(RULE_MARK, "what the queueing driver returns", STATUS_PENDING,
			      io_call_driver(&queue.device, queue.irps[i]));
		expect_number(RULE_USERS, "users of the queue", i + 1, queue.users);
	}
	step(RULE_OWNER, "the second is cancelled");
	expect_true(RULE_OWNER, io_cancel_irp(queue.irps[1]),
		    "io_cancel_irp finds a cancel routine", "it found none");
	expect_number(RULE_OWNER, "completions of the cancelled request", 1, queue.completed[1]);
	expect_number(RULE_USERS, "users of the queue", QUEUED - 1, queue.users);
	for (int i = 0; i < QUEUED; i++) {
		struct irp *irp;

		if (i == 1)
			continue;
		irp = remove_next(&queue);
		step(RULE_ORDER, "the oldest is removed: it must be number %d", i + 1);
		expect_true(RULE_ORDER, irp == queue.irps[i], "the requests come as they went in",
			    irp == NULL ? "there was none" : "another one came");
		expect_true(RULE_OWNER, !io_cancel_irp(irp),
			    "who removes a request has it to itself: cancelling it does nothing",
			    "the cancel routine was still there");
		io_finish_request(irp, STATUS_SUCCESS, 0);
	}
	expect_number(RULE_USERS, "users of the empty queue", 0, queue.users);
	end_queue(&queue);
}

/* A canceller has taken the first request's routine, and has not come to the lock yet. */
static void canceller_on_its_way(void *context)
{
	driver_cancel *routine;
	struct queue queue;
	struct irp *irp;

	(void)context;
	build_queue(&queue);
	io_call_driver(&queue.device, queue.irps[0]);
	io_call_driver(&queue.device, queue.irps[1]);
	step(RULE_OWNER, "two requests are queued; a canceller takes the cancel routine of the "
			 "first, and is held up");
	routine = io_set_cancel_routine(queue.irps[0], NULL);
	expect_true(RULE_OWNER, routine != NULL, "a queued request has a cancel routine",
		    "it has none");
	step(RULE_OWNER, "the oldest is removed: it must be the second");
	irp = remove_next(&queue);
	expect_true(RULE_OWNER, irp == queue.irps[1], "the second request",
		    irp == NULL ? "none" : "the first, which is the canceller's");
	io_finish_request(irp, STATUS_SUCCESS, 0);
	step(RULE_OWNER, "the canceller goes on");
	routine(&queue.device, queue.irps[0]);
	expect_number(RULE_OWNER, "completions of the first request", 1, queue.completed[0]);
	expect_number(RULE_USERS, "users of the empty queue", 0, queue.users);
	end_queue(&queue);
}

static void cancelled_before(void *context)
{
	struct queue queue;

	(void)context;
	build_queue(&queue);
	step(RULE_BOTH_SEE, "a request is cancelled before it is queued");
	io_cancel_irp(queue.irps[0]);
	step(RULE_BOTH_SEE, "then it is queued");
	expect_status(RULE_MARK, "what the queueing driver returns", STATUS_PENDING,
		      io_call_driver(&queue.device, queue.irps[0]));
	expect_number(RULE_BOTH_SEE, "completions of the request", 1, queue.completed[0]);
	expect_number(RULE_MARK,
		      "pending_returned of a request whose driver returned "
		      "STATUS_PENDING",
		      1, queue.pending_seen[0]);
	expect_number(RULE_USERS, "users of the queue", 0, queue.users);
	end_queue(&queue);
}

static void race(void *context)
{
	struct kthread canceller, server;
	struct queue queue;

	(void)context;
	build_queue(&queue);
	step(RULE_OWNER,
	     "one thread queues %d requests, one removes and completes them, and one "
	     "cancels them all",
	     QUEUED);
	ps_create_system_thread(&canceller, cancel_all, &queue);
	ps_create_system_thread(&server, serve_all, &queue);
	for (int i = 0; i < QUEUED; i++)
		io_call_driver(&queue.device, queue.irps[i]);
	ke_wait_for_thread(&canceller);
	ke_wait_for_thread(&server);
	step(RULE_BOTH_SEE, "all three are done: every request was cancelled or served");
	for (int i = 0; i < QUEUED; i++) {
		expect_true(RULE_BOTH_SEE, queue.completed[i] > 0,
			    "a request that was cancelled while it was being queued is completed",
			    "nobody completed it, and nobody ever will");
		expect_number(RULE_OWNER, "completions of a request", 1, queue.completed[i]);
	}
	end_queue(&queue);
}

static void completed_without_lock(void *context)
{
	struct queue queue;

	(void)context;
	build_queue(&queue);
	queue.routine_locks = true;
	step(RULE_NO_LOCK, "a completion routine looks at the queue, under the queue's lock");
	io_call_driver(&queue.device, queue.irps[0]);
	step(RULE_NO_LOCK, "the queued request is cancelled");
	io_cancel_irp(queue.irps[0]);
	expect_number(RULE_OWNER, "completions of the cancelled request", 1, queue.completed[0]);
	end_queue(&queue);
}

static const struct lab_cause causes[] = {
	{"REQ-DOUBLE-COMPLETE", RULE_OWNER},
	{"REQ-LOST", RULE_TAKEN},
	{"LEAK-AT-UNLOAD", RULE_SYNCHRONOUS},
	{NULL, 0},
};

static const struct lab_exercise exercises[] = {
	{"the walk down to the lowest driver, and up to the creator", walk},
	{"a completion routine runs in the cases that it was set for", invoked_as_asked},
	{"that a request was pending is told to everybody above", pending_is_told},
	{"a completion routine takes the request back", take_back},
	{"a thread waits for its request", synchronous},
	{"the queue keeps its order, and cancelled requests leave it", queue_in_order},
	{"a canceller is on its way while a request is removed", canceller_on_its_way},
	{"a request is cancelled before it is queued", cancelled_before},
	{"a cancelled request is completed with no lock held", completed_without_lock},
	{"insert, remove and cancel at the same time", race},
	{NULL, NULL},
};

const struct lab lab_under_check = {.name = "01-request", .causes = causes, .exercises = exercises};
