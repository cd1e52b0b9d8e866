/* The transport that does what an exercise tells it, see line.h. */
#include "line.h"

#include <string.h>

/* A send that the transport has. */
struct line_send {
	struct line_end *end;
	struct irp *irp;
	struct kdpc dpc;
	uint32_t length;
	char bytes[]; /* as they were when it came */
};

struct ksock_conn *conn_at(const struct line_end *end)
{
	return end->stream->watcher_context;
}

/* ---- What the peer reads ------------------------------------------------------------------- */

static void expect_wire(bool holds, const char *what)
{
	expect_true(RULE_ORDER, holds, "messages, each whole, one behind the other", what);
}

/* The length of the message at the beginning of what is unread; 0: more is needed. */
static uint32_t read_put(struct line_end *end)
{
	const char *payload = end->unread + KSOCK_MESSAGE_BYTES + LNET_HEADER_BYTES;
	struct lnet_header header;
	uint32_t length;

	if (end->have < KSOCK_MESSAGE_BYTES + LNET_HEADER_BYTES)
		return 0;
	expect_wire(lnet_decode_header(end->unread + KSOCK_MESSAGE_BYTES, LNET_HEADER_BYTES,
				       &header, LNET_HEADER_SWAPPED) == LNET_WIRE_GOOD &&
			    header.type == LNET_MSG_PUT && header.msg.put.hdr_data > 0,
		    "something else stands where an LNet header must be");
	expect_number(RULE_ORDER, "the message that goes out next", end->puts,
		      (int64_t)header.msg.put.match_bits);
	length = KSOCK_MESSAGE_BYTES + LNET_HEADER_BYTES + header.payload_length;
	expect_wire(length <= LINE_UNREAD, "a message that is longer than any that was given");
	for (; end->checked < header.payload_length &&
	       payload + end->checked < end->unread + end->have;
	     end->checked++)
		if (payload[end->checked] !=
		    line_byte(end->puts, end->checked / header.msg.put.hdr_data))
			expect_wire(false, "another byte within a payload");
	if (end->have < length)
		return 0;
	end->checked = 0;
	end->puts++;
	return length;
}

static uint32_t read_message(struct line_end *end)
{
	struct ksock_message_header header;

	if (!end->greeted) {
		end->greeted = end->have >= KSOCK_HELLO_BYTES;
		ke_set_event(&end->line->greeting);
		return end->greeted ? KSOCK_HELLO_BYTES : 0;
	}
	if (end->have < KSOCK_MESSAGE_BYTES)
		return 0;
	expect_wire(ksock_decode_message(end->unread, KSOCK_MESSAGE_BYTES, &header, false) ==
			    LNET_WIRE_GOOD,
		    "something else stands where a message must begin");
	if (header.type == KSOCK_MSG_LNET)
		return read_put(end);
	end->noops++;
	return KSOCK_MESSAGE_BYTES;
}

static void read_stream(struct line_end *end, const char *bytes, uint32_t length)
{
	uint32_t used;

	while (length > 0) {
		uint32_t piece = LINE_UNREAD - end->have;

		piece = piece < length ? piece : length;
		memcpy(end->unread + end->have, bytes, piece);
		end->have += piece;
		bytes += piece;
		length -= piece;
		while ((used = read_message(end)) > 0) {
			end->have -= used;
			memmove(end->unread, end->unread + used, end->have);
		}
	}
}

/* ---- Sends --------------------------------------------------------------------------------- */

static void drop_user(struct line_end *end)
{
	struct line *line = end->line;
	kirql irql = ke_acquire_spin_lock(&line->lock);
	struct irp *irp = --end->users == 0 ? end->close_irp : NULL;

	line->opened -= irp != NULL;
	ke_release_spin_lock(&line->lock, irql);
	if (irp != NULL)
		io_finish_request(irp, STATUS_SUCCESS, 0);
}

/* Copies the bytes of the request's chain, or compares them; and how many pieces there are. */
static bool walk(const struct line_send *send, char *copy, uint32_t *pieces)
{
	uint32_t at = 0;
	bool same = true;

	*pieces = 0;
	for (struct mdl *mdl = send->irp->mdl_address; mdl != NULL; mdl = mdl->next) {
		uint32_t length = mm_get_mdl_byte_count(mdl);
		const char *bytes = mm_get_system_address_for_mdl(mdl);

		if (length > send->length - at)
			return false;
		if (copy != NULL)
			memcpy(copy + at, bytes, length);
		else
			same = same && memcmp(send->bytes + at, bytes, length) == 0;
		at += length;
		++*pieces;
	}
	return same && at == send->length;
}

static void complete(struct line_send *send, ntstatus outcome)
{
	struct line_end *end = send->end;
	struct irp *irp = send->irp;
	uint32_t length = nt_success(outcome) ? send->length : 0, pieces;
	kirql irql;

	expect_true(RULE_TWO_REFERENCES, walk(send, NULL, &pieces),
		    "a batch stays as it is until the transport is done with it", "it has changed");
	read_stream(end, send->bytes, length);
	ex_free_pool(send);
	irql = ke_acquire_spin_lock(&end->line->lock);
	end->sending = false;
	ke_release_spin_lock(&end->line->lock, irql);
	irql = ke_raise_irql(DISPATCH_LEVEL);
	io_finish_request(irp, outcome, length);
	ke_lower_irql(irql);
	drop_user(end);
}

static void complete_later(struct kdpc *dpc, void *context)
{
	struct line_send *send = context;

	(void)dpc;
	complete(send, send->end->line->outcome);
}

static bool is_ready(struct ksock_conn *conn, bool *scheduled)
{
	kirql irql = ke_acquire_spin_lock(&conn->peer->lock);
	bool ready = conn->tx_ready;

	*scheduled = conn->tx_scheduled;
	ke_release_spin_lock(&conn->peer->lock, irql);
	return ready;
}

/* So many sends in a row, while the other connection has waited for its turn. */
static void look_for_fairness(struct line_end *end)
{
	struct line *line = end->line;
	struct line_end *other = &line->ends[end == line->ends];
	bool scheduled;
	bool waits = is_ready(conn_at(other), &scheduled) && scheduled;

	line->streak = waits ? (line->last == end ? line->streak : 0) + 1 : 0;
	line->last = end;
	expect_true(RULE_TAIL, line->streak <= LINE_TURN,
		    "at most TURN_BATCHES sends of one connection while another is in the list",
		    "there are more");
}

static struct line_send *take_send(struct line_end *end, struct irp *irp)
{
	uint32_t length = tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_send)
				  ->send_length;
	struct line_send *send = lab_allocate(sizeof(*send) + length);
	bool scheduled, second;
	uint32_t pieces;
	kirql irql;

	*send = (struct line_send){.end = end, .irp = irp, .length = length};
	ke_initialize_dpc(&send->dpc, complete_later, send, KE_ANY_PROCESSOR);
	expect_true(RULE_ORDER,
		    length > 0 && walk(send, send->bytes, &pieces) && pieces <= KSOCK_BATCH_PIECES,
		    "a chain of at most KSOCK_BATCH_PIECES MDLs, as long as the send", "another");
	irql = ke_acquire_spin_lock(&end->line->lock);
	second = end->sending;
	end->sending = true;
	end->users++;
	end->sends++;
	ke_release_spin_lock(&end->line->lock, irql);
	expect_true(RULE_ONE_BATCH, !second, "one batch of a connection at a time",
		    "a second one comes to the transport");
	expect_true(RULE_ONE_BATCH, !is_ready(conn_at(end), &scheduled),
		    "a connection whose batch comes to the transport is not ready",
		    "tx_ready is set");
	return send;
}

static ntstatus send(struct line_end *end, struct irp *irp)
{
	struct line *line = end->line;
	struct line_send *send = take_send(end, irp);
	enum when when = line->when;
	ntstatus outcome = line->outcome;

	if (line->fair)
		look_for_fairness(end);
	if (when == ANYHOW)
		when = FROM_DPC - ke_choose(3, "when a send completes");
	if (when == AT_ONCE) {
		complete(send, outcome);
		return outcome;
	}
	io_mark_irp_pending(irp);
	if (when == PENDING_AT_ONCE)
		complete(send, outcome);
	else if (when == FROM_DPC)
		ke_insert_queue_dpc(&send->dpc);
	else
		end->held = send;
	return STATUS_PENDING;
}

void let_go(struct line_end *end)
{
	struct line_send *send = end->held;

	end->held = NULL;
	complete(send, end->line->outcome);
}

/* ---- The other requests -------------------------------------------------------------------- */

static ntstatus create(struct device_object *device, struct irp *irp)
{
	struct line *line = device->device_extension;
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);
	const struct tdi_create *parameters = tdi_parameters(location, tdi_create);
	struct line_end *end = &line->ends[line->opened++];

	*end = (struct line_end){.line = line, .users = 1};
	memcpy(&end->stream, parameters->eas[0].value, sizeof(void *));
	location->file_object->fs_context = end;
	return io_finish_request(irp, STATUS_SUCCESS, 0);
}

static ntstatus cleanup(struct device_object *device, struct irp *irp)
{
	(void)device;
	return io_finish_request(irp, STATUS_SUCCESS, 0);
}

/* A send that is held ends with the connection. */
static ntstatus close_end(struct device_object *device, struct irp *irp)
{
	struct line_end *end = io_get_current_irp_stack_location(irp)->file_object->fs_context;
	struct line_send *held = end->held;

	(void)device;
	io_mark_irp_pending(irp);
	end->held = NULL;
	end->close_irp = irp;
	if (held != NULL)
		complete(held, STATUS_LOCAL_DISCONNECT);
	drop_user(end);
	return STATUS_PENDING;
}

static ntstatus query(struct irp *irp)
{
	const struct tdi_request_query *request =
		tdi_parameters(io_get_current_irp_stack_location(irp), tdi_request_query);
	const struct tdi_provider_info info = {.service_flags = TDI_SERVICE_CONNECTION_MODE};

	memcpy(request->buffer, &info, sizeof(info));
	return io_finish_request(irp, STATUS_SUCCESS, sizeof(info));
}

static ntstatus control(struct device_object *device, struct irp *irp)
{
	struct io_stack_location *location = io_get_current_irp_stack_location(irp);

	(void)device;
	switch (location->minor_function) {
	case TDI_SEND:
		return send(location->file_object->fs_context, irp);
	case TDI_QUERY_INFORMATION:
		return query(irp);
	default:
		return io_finish_request(irp, STATUS_SUCCESS, 0);
	}
}

static const struct driver_object driver = {
	.driver_name = "line",
	.major_function = {[IRP_MJ_CREATE] = create,
			   [IRP_MJ_CLEANUP] = cleanup,
			   [IRP_MJ_CLOSE] = close_end,
			   [IRP_MJ_INTERNAL_DEVICE_CONTROL] = control}};

void open_line(struct line *line)
{
	*line = (struct line){.when = AT_ONCE, .outcome = STATUS_SUCCESS};
	io_initialize_device(&line->device, &driver, NULL, line);
	io_initialize_device(&line->node_device, &driver, NULL, line);
	ke_initialize_spin_lock(&line->lock);
	ke_initialize_event(&line->greeting, SYNCHRONIZATION_EVENT, false);
}

void set_shortage(struct line *line, bool shortage)
{
	line->node_device.stack_size = shortage ? UINT8_MAX : 1;
}
