/* The rules about what a receive event shows and lends: broken, and kept. */
#include "executive.h"
#include "fixtures.h"
#include "link/link.h"
#include "suites.h"
#include "tdi/tdi.h"

/* Two ends of a link, of which one has a handler. */
struct line {
	struct device_object *device;
	struct file_object address, listener, caller;
	struct kthread thread;
	struct kevent shown;
	uint32_t too_much; /* that the plain handler says it has taken */
	void *loan;
};

static ntstatus show_plain(void *context, void *connection, uint32_t flags, uint32_t indicated,
			   uint32_t available, uint32_t *taken, const void *tsdu,
			   struct irp **receive_irp)
{
	struct line *line = context;

	(void)connection;
	(void)flags;
	(void)available;
	(void)tsdu;
	(void)receive_irp;
	*taken = indicated + line->too_much;
	ke_set_event(&line->shown);
	return STATUS_SUCCESS;
}

static ntstatus show_chained(void *context, void *connection, uint32_t flags, uint32_t length,
			     uint32_t offset, const struct mdl *tsdu, void *descriptor)
{
	struct line *line = context;

	(void)connection;
	(void)flags;
	(void)length;
	(void)offset;
	(void)tsdu;
	line->loan = descriptor;
	ke_set_event(&line->shown);
	return STATUS_PENDING;
}

static void call(void *context)
{
	struct line *line = context;
	struct transport_address remote = {0};

	tdi_query_information(&line->address, TDI_QUERY_ADDRESS_INFO, &remote, sizeof(remote));
	tdi_connect(&line->caller, &remote, SOON);
	tdi_send_stream(&line->caller, "data", 4, 0);
}

static void open_line(struct line *line, enum tdi_event_type type, tdi_event_handler *handler)
{
	const struct link_options options = {.buffered = true};
	const struct transport_address any = {.address_type = TDI_ADDRESS_TYPE_IP};

	*line = (struct line){.device = link_create_device(&options)};
	ke_initialize_event(&line->shown, NOTIFICATION_EVENT, false);
	tdi_open_transport_address(line->device, &any, &line->address);
	tdi_set_event_handler(&line->address, type, handler, line);
	tdi_open_connection_endpoint(line->device, NULL, &line->listener);
	tdi_open_connection_endpoint(line->device, NULL, &line->caller);
	tdi_associate_address(&line->listener, &line->address);
	tdi_associate_address(&line->caller, &line->address);
}

static void close_line(struct line *line)
{
	tdi_close(&line->caller);
	tdi_close(&line->listener);
	tdi_close(&line->address);
	ke_flush_queued_dpcs();
	link_delete_device(line->device);
}

static void be_shown(struct line *line)
{
	ps_create_system_thread(&line->thread, call, line);
	tdi_listen(&line->listener, NULL, SOON);
	ke_wait_for_single_object(&line->shown, SOON);
	ke_wait_for_thread(&line->thread);
}

static void take(uint32_t too_much)
{
	struct line line;

	open_line(&line, TDI_EVENT_RECEIVE, (tdi_event_handler *)show_plain);
	line.too_much = too_much;
	be_shown(&line);
	close_line(&line);
}

static void takes_too_much(void *context)
{
	(void)context;
	take(1);
}

static void takes_all(void *context)
{
	(void)context;
	take(0);
}

static void borrow(bool returns)
{
	struct line line;

	open_line(&line, TDI_EVENT_CHAINED_RECEIVE, (tdi_event_handler *)show_chained);
	be_shown(&line);
	if (returns)
		tdi_return_chained_receives(&line.loan, 1);
	close_line(&line);
}

static void closes_before_returning(void *context)
{
	(void)context;
	borrow(false);
}

static void returns_before_closing(void *context)
{
	(void)context;
	borrow(true);
}

static void test_receives(void)
{
	static const struct fixture fixtures[] = {
		{"RX-TAKEN-TOO-MUCH", "has taken 5 of 4", takes_too_much, takes_all},
		{"RX-LOAN-MISUSE", "has not returned 1", closes_before_returning,
		 returns_before_closing},
		{NULL, NULL, NULL, NULL},
	};

	run_fixtures(fixtures);
}

void register_verifier_receive_suite(void)
{
	static const struct test_case cases[] = {
		{"a receive handler takes what it was shown, and returns what it was lent",
		 test_receives},
		{NULL, NULL},
	};

	add_suite("verifier/receives", cases);
}
