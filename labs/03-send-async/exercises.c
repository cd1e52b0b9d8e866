/* Lab 03: a send that returns at once, against a transport that does what it is told. */
#include <string.h>

#include "transport.h"

/* The rules of the handout. */
enum {
	RULE_OWN_REQUEST = 1,
	RULE_LENT,
	RULE_GIVEN_BACK,
	RULE_TWO_REFERENCES,
	RULE_BOTH_DROP,
	RULE_TAKE_BACK,
	RULE_NOT_PENDING,
	RULE_ONE_CALL,
	RULE_ANSWER,
};

static void check_request(struct transport *transport, struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);

	expect_true(RULE_OWN_REQUEST, (irp->flags & IRP_SYNCHRONOUS_API) == 0,
		    "a request of io_allocate_irp's, which belongs to who allocated it",
		    "a request that is meant for a thread that waits on an event");
	expect_true(RULE_OWN_REQUEST,
		    location->minor_function == TDI_SEND &&
			    location->file_object == &transport->file,
		    "a TDI_SEND on the connection", "something else");
	expect_true(RULE_TAKE_BACK, location->completion_routine != NULL,
		    "a completion routine in the transport's stack location", "none");
	expect_number(RULE_TAKE_BACK, "the cases in which the completion routine is to run",
		      SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR | SL_INVOKE_ON_CANCEL,
		      location->control);
}

/* ---- One send ------------------------------------------------------------------------------ */

struct outcome {
	struct transport *transport;
	struct kevent done;
	int32_t calls;
	ntstatus status;
	uint32_t bytes;
};

static void record(void *context, ntstatus status, uint32_t bytes)
{
	struct outcome *outcome = context;
	const struct irp *irp = outcome->transport->in_dispatch;

	expect_true(RULE_GIVEN_BACK, irp == NULL || irp->mdl_address == NULL,
		    "the buffer is unlocked, and its MDL gone, when the callback runs",
		    "the request still has the MDL");
	outcome->status = status;
	outcome->bytes = bytes;
	if (interlocked_increment(&outcome->calls) == 1)
		ke_set_event(&outcome->done);
}

static void check_answer(ntstatus answer, int32_t calls_before, ntstatus wanted)
{
	if (answer == STATUS_PENDING)
		return;
	expect_number(RULE_ANSWER, "callbacks that have run when the start returns a final status",
		      1, calls_before);
	expect_status(RULE_ANSWER, "a final answer is the status of the callback", wanted, answer);
}

static void send_one(struct transport *transport, const void *buffer, uint32_t length,
		     ntstatus wanted)
{
	struct outcome outcome = {.transport = transport};
	int32_t calls_before; /* the start returned */
	ntstatus answer;

	ke_initialize_event(&outcome.done, NOTIFICATION_EVENT, false);
	step(RULE_TWO_REFERENCES, "start a send of %u bytes", length);
	answer = tdi_start_send_buffer(&transport->file, buffer, length, 0, record, &outcome);
	calls_before = interlocked_read(&outcome.calls);
	step(RULE_ONE_CALL, "the start has returned %s", nt_status_name(answer));
	expect_event(RULE_ONE_CALL, &outcome.done, "the callback runs");
	ke_flush_queued_dpcs();
	expect_number(RULE_ONE_CALL, "calls of the callback", 1, interlocked_read(&outcome.calls));
	expect_status(RULE_ONE_CALL, "the status that the callback is given", wanted,
		      outcome.status);
	expect_number(RULE_ONE_CALL, "the bytes that the callback is told",
		      nt_success(wanted) ? length : 0, outcome.bytes);
	check_answer(answer, calls_before, wanted);
}

static void send_with(enum when when, ntstatus outcome)
{
	struct transport transport;
	char buffer[100];

	memset(buffer, 'x', sizeof(buffer));
	open_transport(&transport, when, check_request, RULE_LENT);
	transport.outcome = outcome;
	step(RULE_OWN_REQUEST, "a transport completes each send with %s %s",
	     nt_status_name(outcome), when_words[when]);
	send_one(&transport, buffer, sizeof(buffer), outcome);
	send_one(&transport, NULL, 0, outcome);
	expect_number(RULE_OWN_REQUEST, "sends that reached the transport", 2, transport.sends);
	step(RULE_BOTH_DROP, "the run ends: everything that was allocated must have been freed");
}

static void completes_at_once(void *context)
{
	(void)context;
	send_with(AT_ONCE, STATUS_SUCCESS);
}

static void pends_and_completes_at_once(void *context)
{
	(void)context;
	send_with(PENDING_AT_ONCE, STATUS_SUCCESS);
}

static void completes_from_dpc(void *context)
{
	(void)context;
	send_with(FROM_DPC, STATUS_SUCCESS);
}

static void completes_later(void *context)
{
	(void)context;
	send_with(FROM_TIMER, STATUS_SUCCESS);
}

static void fails_whenever(void *context)
{
	(void)context;
	for (int when = 0; when < WHEN_COUNT; when++)
		send_with((enum when)when, STATUS_CONNECTION_RESET);
}

static void cannot_start(void *context)
{
	struct transport transport;

	(void)context;
	open_transport(&transport, AT_ONCE, check_request, RULE_LENT);
	step(RULE_ONE_CALL, "the buffer is at address 0, where no pages can be locked");
	send_one(&transport, NULL, 10, STATUS_INVALID_USER_BUFFER);
	expect_number(RULE_ONE_CALL, "sends that reached the transport", 0, transport.sends);
	step(RULE_BOTH_DROP, "the run ends: everything that was allocated must have been freed");
}

/* ---- Many, and chains ---------------------------------------------------------------------- */

enum { MANY = 16, BLOCK = 64 };

struct many {
	struct transport transport;
	struct kevent all;
	int32_t left;
};

struct one {
	struct many *many;
	char *buffer;
	int32_t calls;
};

/* What a client of many sends does: the buffer is its own again, so it goes. */
static void free_buffer(void *context, ntstatus status, uint32_t bytes)
{
	struct one *one = context;

	expect_number(RULE_ONE_CALL, "calls of this send's callback", 1,
		      interlocked_increment(&one->calls));
	expect_status(RULE_ONE_CALL, "the status that the callback is given", STATUS_SUCCESS,
		      status);
	expect_number(RULE_ONE_CALL, "the bytes that the callback is told", BLOCK, bytes);
	memset(one->buffer, '?', BLOCK); /* a transport that still sends would see it */
	ex_free_pool(one->buffer);
	if (interlocked_decrement(&one->many->left) == 0)
		ke_set_event(&one->many->all);
}

static void many_outstanding(void *context)
{
	struct many many = {.left = MANY};
	struct one ones[MANY];

	(void)context;
	open_transport(&many.transport, FROM_DPC, check_request, RULE_LENT);
	ke_initialize_event(&many.all, NOTIFICATION_EVENT, false);
	step(RULE_TWO_REFERENCES,
	     "start %d sends, none waiting for another; each callback frees its "
	     "buffer",
	     MANY);
	for (int i = 0; i < MANY; i++) {
		ones[i] = (struct one){.many = &many, .buffer = lab_allocate(BLOCK)};
		memset(ones[i].buffer, 'x', BLOCK);
		tdi_start_send_buffer(&many.transport.file, ones[i].buffer, BLOCK, 0, free_buffer,
				      &ones[i]);
	}
	step(RULE_ONE_CALL, "wait until all %d callbacks have run", MANY);
	expect_event(RULE_ONE_CALL, &many.all, "all callbacks run");
	ke_flush_queued_dpcs();
	step(RULE_BOTH_DROP, "the run ends: everything that was allocated must have been freed");
}

struct chain {
	struct transport transport;
	struct kevent end;
	char *buffer;
	int32_t left;
};

static void send_next(void *context, ntstatus status, uint32_t bytes)
{
	struct chain *chain = context;

	(void)bytes;
	expect_status(RULE_ONE_CALL, "the status that the callback is given", STATUS_SUCCESS,
		      status);
	if (--chain->left == 0)
		ke_set_event(&chain->end);
	else
		tdi_start_send_buffer(&chain->transport.file, chain->buffer, BLOCK, 0, send_next,
				      chain);
}

static void callback_sends(void *context)
{
	struct chain chain = {.left = 10};

	(void)context;
	open_transport(&chain.transport, FROM_DPC, check_request, RULE_LENT);
	ke_initialize_event(&chain.end, NOTIFICATION_EVENT, false);
	chain.buffer = lab_allocate(BLOCK);
	memset(chain.buffer, 'x', BLOCK);
	step(RULE_GIVEN_BACK, "start a send whose callback starts the next from the same buffer, "
			      "ten times");
	tdi_start_send_buffer(&chain.transport.file, chain.buffer, BLOCK, 0, send_next, &chain);
	expect_event(RULE_ONE_CALL, &chain.end, "the tenth callback runs");
	ke_flush_queued_dpcs();
	ex_free_pool(chain.buffer);
	step(RULE_BOTH_DROP, "the run ends: everything that was allocated must have been freed");
}

static const struct lab_cause causes[] = {
	{"REQ-MARKED-NOT-PENDING", RULE_NOT_PENDING},
	{"REQ-LOST", RULE_TAKE_BACK},
	{"REQ-FREE-IN-USE: a request", RULE_TWO_REFERENCES},
	{"REQ-FREE-IN-USE: an MDL", RULE_GIVEN_BACK},
	{"REQ-FREE-IN-USE: memory", RULE_LENT},
	{"MDL-MISUSE", RULE_GIVEN_BACK},
	{"use-after-free", RULE_TWO_REFERENCES},
	{"POOL-DOUBLE-FREE", RULE_BOTH_DROP},
	{"POOL-BAD-FREE", RULE_BOTH_DROP},
	{"LEAK-AT-UNLOAD", RULE_BOTH_DROP},
	{NULL, 0},
};

static const struct lab_exercise exercises[] = {
	{"a send that completes at once", completes_at_once},
	{"a send that is pended, and completes before the transport returns",
	 pends_and_completes_at_once},
	{"a send that completes on another processor, at any moment", completes_from_dpc},
	{"a send that completes much later", completes_later},
	{"sends that fail, at once or later", fails_whenever},
	{"a send that cannot even start", cannot_start},
	{"many sends under way", many_outstanding},
	{"a callback that starts the next send", callback_sends},
	{NULL, NULL},
};

const struct lab lab_under_check = {
	.name = "03-send-async", .causes = causes, .exercises = exercises};
