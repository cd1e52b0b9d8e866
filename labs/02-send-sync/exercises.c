/* Lab 02: one send, one wait, against a transport that does what it is told. */
#include <stdio.h>
#include <string.h>

#include "transport.h"

/* The rules of the handout. */
enum {
	RULE_REQUEST = 1,
	RULE_PARAMETERS,
	RULE_WAIT,
	RULE_STATUS_BLOCK,
	RULE_RESULT,
	RULE_NOT_SENT,
	RULE_OWN_STACK,
};

enum { BYTES = 100, FLAGS = 0x20 };

/* ---- One send ------------------------------------------------------------------------------ */

static void check_request(struct transport *transport, struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	const struct tdi_request_send *parameters = tdi_parameters(location, tdi_request_send);

	expect_true(RULE_REQUEST,
		    (irp->flags & IRP_SYNCHRONOUS_API) != 0 && irp->user_event != NULL &&
			    irp->user_iosb != NULL,
		    "a request for a thread that waits, with its event and its status block",
		    "a request that knows of no event");
	expect_true(RULE_PARAMETERS,
		    location->minor_function == TDI_SEND &&
			    location->file_object == &transport->file,
		    "a TDI_SEND on the connection", "something else");
	expect_number(RULE_PARAMETERS, "the flags of the send", FLAGS, parameters->send_flags);
	if (parameters->send_length == 0)
		return;
	expect_true(RULE_PARAMETERS, irp->mdl_address != NULL,
		    "an MDL on the request, for there are bytes to send", "none");
	expect_number(RULE_PARAMETERS, "the bytes that the MDL describes", parameters->send_length,
		      mm_get_mdl_byte_count(irp->mdl_address));
}

static int64_t send(struct transport *transport, const char *buffer, uint32_t length)
{
	int64_t result;

	step(RULE_WAIT, "send %u bytes", length);
	result = tdi_send_stream(&transport->file, buffer, length, FLAGS);
	expect_number(RULE_WAIT, "sends that the transport still works on after the return", 0,
		      interlocked_read(&transport->owned));
	return result;
}

static void expect_sent(int rule, struct transport *transport, uint32_t length, int64_t wanted)
{
	char buffer[BYTES];

	memset(buffer, 'x', sizeof(buffer));
	expect_number(rule, "the bytes that were sent, by the result", wanted,
		      send(transport, buffer, length));
}

static void expect_failure(int rule, struct transport *transport, const char *buffer,
			   uint32_t length, ntstatus wanted)
{
	int64_t result = send(transport, buffer, length);
	char actual[48];

	snprintf(actual, sizeof(actual), "%lld", (long long)result);
	expect_true(rule, result < 0, "the result of a send that failed is negative", actual);
	expect_status(rule, "the result of a send that failed", wanted, (ntstatus)result);
}

/* ---- Exercises ------------------------------------------------------------------------------ */

static void open_told(struct transport *transport, enum when when, ntstatus outcome)
{
	step(RULE_REQUEST, "a transport completes each send with %s %s", nt_status_name(outcome),
	     when_words[when]);
	open_transport(transport, when, check_request, RULE_REQUEST);
	transport->outcome = outcome;
}

static void end(void)
{
	step(RULE_REQUEST,
	     "the run ends: everything that was allocated must have been freed, once");
}

static void completes_from_dpc(void *context)
{
	struct transport transport;

	(void)context;
	open_told(&transport, FROM_DPC, STATUS_SUCCESS);
	expect_sent(RULE_RESULT, &transport, BYTES, BYTES);
	expect_sent(RULE_RESULT, &transport, 0, 0);
	expect_number(RULE_PARAMETERS, "sends that reached the transport", 2, transport.sends);
	end();
}

static void completes_at_once(void *context)
{
	struct transport transport;

	(void)context;
	open_told(&transport, PENDING_AT_ONCE, STATUS_SUCCESS);
	expect_sent(RULE_STATUS_BLOCK, &transport, BYTES, BYTES);
	open_told(&transport, AT_ONCE, STATUS_SUCCESS);
	expect_sent(RULE_STATUS_BLOCK, &transport, BYTES, BYTES);
	end();
}

/* The transport needs no such buffer to say so; a real one would. */
static void counts_bytes(void *context)
{
	static const int64_t some = 60, many = 3000000000;
	struct transport transport;

	(void)context;
	open_told(&transport, FROM_DPC, STATUS_SUCCESS);
	step(RULE_RESULT, "it says that it has sent %lld bytes, not all", (long long)some);
	transport.bytes = some;
	expect_sent(RULE_RESULT, &transport, BYTES, some);
	step(RULE_RESULT, "it says that it has sent %lld bytes", (long long)many);
	transport.bytes = many;
	expect_sent(RULE_RESULT, &transport, BYTES, many);
	end();
}

static void fails_whenever(void *context)
{
	char buffer[BYTES];

	(void)context;
	memset(buffer, 'x', sizeof(buffer));
	for (int when = WHEN_COUNT - 1; when >= 0; when--) {
		struct transport transport;

		open_told(&transport, (enum when)when, STATUS_CONNECTION_RESET);
		expect_failure(RULE_RESULT, &transport, buffer, BYTES, STATUS_CONNECTION_RESET);
	}
	end();
}

/* On the host an hour would be one. */
static void takes_its_time(void *context)
{
	struct transport transport;

	(void)context;
	open_told(&transport, FROM_TIMER, STATUS_SUCCESS);
	if (ke_choose(2, "how long the peer is silent") == 1) {
		step(RULE_WAIT, "which may be an hour: the peer is alive, and silent");
		transport.delay_ns = (uint64_t)MILLISECONDS(3600000);
	}
	expect_sent(RULE_RESULT, &transport, BYTES, BYTES);
	end();
}

static void refuse_request(struct transport *transport, struct irp *irp)
{
	(void)transport;
	(void)irp;
	expect_true(RULE_NOT_SENT, false, "nothing is sent", "a request reached the transport");
}

static void cannot_lock(void *context)
{
	struct transport transport;

	(void)context;
	open_told(&transport, FROM_DPC, STATUS_SUCCESS);
	transport.check = refuse_request;
	step(RULE_NOT_SENT, "the buffer is at address 0, where no pages can be locked");
	expect_failure(RULE_NOT_SENT, &transport, NULL, 10, STATUS_INVALID_USER_BUFFER);
	step(RULE_NOT_SENT, "the run ends: the request that was not sent must have been freed");
}

/* A thread that sends all of a buffer of its own. */
struct sender {
	struct kthread thread;
	struct transport *transport;
	uint32_t length;
};

static void send_as_thread(void *context)
{
	struct sender *sender = context;
	char buffer[BYTES];

	memset(buffer, 'x', sizeof(buffer));
	for (int i = 0; i < 3; i++)
		expect_number(
			RULE_OWN_STACK, "the bytes that this thread has sent, by the result",
			sender->length,
			tdi_send_stream(&sender->transport->file, buffer, sender->length, FLAGS));
}

static void two_threads(void *context)
{
	struct transport transport;
	struct sender senders[2];

	(void)context;
	open_told(&transport, FROM_DPC, STATUS_SUCCESS);
	step(RULE_OWN_STACK, "two threads send, three times each, one 60 bytes and one 100");
	for (int i = 0; i < 2; i++) {
		senders[i].transport = &transport;
		senders[i].length = i == 0 ? 60 : BYTES;
		ps_create_system_thread(&senders[i].thread, send_as_thread, &senders[i]);
	}
	for (int i = 0; i < 2; i++)
		ke_wait_for_thread(&senders[i].thread);
	end();
}

static const struct lab_cause causes[] = {
	{"REQ-LOST", RULE_REQUEST},
	{"REQ-FREE-IN-USE", RULE_REQUEST},
	{"POOL-DOUBLE-FREE", RULE_REQUEST},
	{"POOL-BAD-FREE", RULE_REQUEST},
	{"MDL-MISUSE", RULE_REQUEST},
	{NULL, 0},
};

static const struct lab_exercise exercises[] = {
	{"a send that completes at any moment", completes_from_dpc},
	{"a send that completes before io_call_driver returns", completes_at_once},
	{"the result counts the bytes", counts_bytes},
	{"sends that fail, at once or later", fails_whenever},
	{"a transport that takes its time", takes_its_time},
	{"a buffer that cannot be locked", cannot_lock},
	{"two threads send at the same time", two_threads},
	{NULL, NULL},
};

const struct lab lab_under_check = {
	.name = "02-send-sync", .causes = causes, .exercises = exercises};
