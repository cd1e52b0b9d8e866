/*
 * Any bytes, sent to a node by a caller: they go through the whole of the state machine, cut
 * anywhere by the link, while the node answers, asks and acknowledges. Whatever they are, the
 * connection comes to its end, and the node too, with nothing left of them; the simulated executive
 * and the verifier look at that.
 *
 * Every input is a run of the simulator, whose seed is made of its bytes: so it is the same each
 * time, and with it where the bytes are cut, and whether schedulers or threads read them.
 *
 * Runs with main.c beside it, or as it is with libFuzzer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link/link.h"
#include "nal/lnet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As the corpus has them. */
#define NODE_NID UINT64_C(0x000200000a000002)
#define CALLER_NID UINT64_C(0x000200000a000001)

enum { PLACED = 50, SHOWN = 51, PORTALS = 52, ROOM = 64, INCARNATION = 1 };

#define must(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct question {
	struct ksock_tx tx;
	int32_t asked, answered;
};

struct session {
	const uint8_t *bytes;
	uint32_t length;
	uint64_t seed;
	struct device_object *device;
	struct lnet_node *node;
	struct lnet_portal portals[PORTALS];
	struct ksock_peer *caller;
	struct question put, get; /* of the node's, with handles 1 and 2 */
	char *room;		  /* pool */
	struct lnet_iov piece;
	int32_t puts, dones;
};

/* ---- The node's side ----------------------------------------------------------------------- */

static void is_answered(void *context, ntstatus status, uint32_t length)
{
	struct question *question = context;

	(void)status;
	must(length <= ROOM);
	must(interlocked_increment(&question->answered) == 1);
}

/* With the first PUT that comes the node asks, too, so that there is something to be answered. */
static void ask(struct session *session)
{
	const struct lnet_put put = {.ptl_index = PLACED};
	const struct lnet_get get = {.ptl_index = PLACED};
	const struct lnet_payload all = {.length = ROOM, .count = 1, .iov = &session->piece};

	session->put.asked = session->get.asked = 1;
	lnet_put(session->caller, &session->put.tx, &put, NULL, LNET_ACK_WANTED, is_answered,
		 &session->put);
	lnet_get(session->caller, &session->get.tx, &get, &all, is_answered, &session->get);
}

static ntstatus on_put(void *owner, struct lnet_incoming *incoming)
{
	struct session *session = owner;

	incoming->into = (struct lnet_payload){.length = ROOM, .count = 1, .iov = &session->piece};
	if (interlocked_increment(&session->puts) == 1)
		ask(session);
	return STATUS_SUCCESS;
}

static void on_take(void *owner, struct lnet_incoming *incoming, uint32_t offset, const void *bytes,
		    uint32_t length)
{
	struct session *session = owner;

	must(offset + length <= incoming->header.payload_length);
	for (uint32_t i = 0; i < length; i++) /* so that the sanitizer sees each */
		session->room[i % ROOM] ^= ((const char *)bytes)[i];
}

static ntstatus on_done(void *owner, struct lnet_incoming *incoming, ntstatus status)
{
	(void)incoming;
	interlocked_increment(&((struct session *)owner)->dones);
	return status;
}

static ntstatus on_get(void *owner, const struct lnet_header *header, struct lnet_payload *from)
{
	(void)header;
	*from = (struct lnet_payload){
		.length = ROOM, .count = 1, .iov = &((struct session *)owner)->piece};
	return STATUS_SUCCESS;
}

static void open_node(struct session *session)
{
	static const struct transport_address any = {.address_type = TDI_ADDRESS_TYPE_IP};
	static const uint64_t nid = NODE_NID;
	const struct link_options link = {.buffered = true, .cut = true, .chained_bytes = 64};
	struct lnet_options options = {.listen = &any,
				       .backlog = 1,
				       .nids = &nid,
				       .nid_count = 1,
				       .portals = session->portals,
				       .portal_count = PORTALS,
				       .threads = session->seed % 2 != 0,
				       .zero_copy_bytes = ROOM / 2,
				       .incarnation = INCARNATION};
	ntstatus status;

	session->portals[PLACED] = (struct lnet_portal){
		.put = on_put, .done = on_done, .get = on_get, .owner = session};
	session->portals[SHOWN] = (struct lnet_portal){
		.put = on_put, .take = on_take, .done = on_done, .owner = session};
	session->room = ex_allocate_pool(ROOM);
	session->piece = (struct lnet_iov){session->room, ROOM};
	memset(session->room, 0, ROOM);
	options.device = session->device = link_create_device(&link);
	session->node = lnet_startup(&options, &status);
	must(session->node != NULL);
	session->caller =
		ksocknal_find_peer(lnet_find_ni(session->node, NODE_NID), CALLER_NID, NULL);
}

static void close_node(struct session *session)
{
	ksocknal_put_peer(session->caller);
	lnet_shutdown(session->node);
	must(session->puts == session->dones);
	must(session->put.asked == session->put.answered);
	must(session->get.asked == session->get.answered);
	ke_flush_queued_dpcs();
	link_delete_device(session->device);
	ex_free_pool(session->room);
}

/* ---- The caller's -------------------------------------------------------------------------- */

static void is_said(void *context, ntstatus status, uint32_t bytes)
{
	(void)status; /* the node need not listen to all of it */
	(void)bytes;
	ke_set_event(context);
}

static void say(struct session *session, struct tdi_stream *stream)
{
	char *bytes = ex_allocate_pool(session->length);
	struct tdi_window_send send;
	struct kevent said;

	memcpy(bytes, session->bytes, session->length);
	ke_initialize_event(&said, NOTIFICATION_EVENT, false);
	tdi_window_send(&stream->window, &send, bytes, session->length, is_said, &said);
	ke_wait_for_single_object(&said, KE_WAIT_FOREVER);
	ex_free_pool(bytes);
}

static void call(struct session *session)
{
	const struct transport_address any = {.address_type = TDI_ADDRESS_TYPE_IP};
	struct transport_address place;
	struct file_object address;
	struct tdi_stream *stream;
	ntstatus status;
	char heard[64];

	must(nt_success(lnet_query_listener(session->node, &place)));
	must(nt_success(tdi_open_stream_address(session->device, &any, &address)));
	stream = tdi_create_stream(&address, 0, &status);
	must(stream != NULL);
	must(nt_success(tdi_connect_peer(stream, &place, KE_WAIT_FOREVER)));
	if (session->length > 0)
		say(session, stream);
	tdi_disconnect(&stream->file, TDI_DISCONNECT_RELEASE);
	while (tdi_stream_read(stream, heard, sizeof(heard), KE_WAIT_FOREVER) > 0)
		continue;
	tdi_delete_stream(stream);
	tdi_close(&address);
}

static void run_session(void *context)
{
	struct session *session = context;

	open_node(session);
	call(session);
	close_node(session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct session session = {.bytes = data, .length = (uint32_t)size};
	struct ke_options options = {.processors = 2};

	for (size_t i = 0; i < size; i++)
		session.seed = (session.seed ^ data[i]) * UINT64_C(0x100000001b3);
	options.seed = session.seed >> 32;
	must(ke_run(&options, run_session, &session) == STATUS_SUCCESS);
	return 0;
}
