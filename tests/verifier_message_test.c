/* The rules about messages and the owners of portals: broken, and kept. */
#include "executive.h"
#include "fixtures.h"
#include "link/link.h"
#include "nal/lnet.h"
#include "suites.h"

#define CALLER lnet_make_nid(lnet_make_net(SOCKLND, 0), 1)
#define CALLED lnet_make_nid(lnet_make_net(SOCKLND, 0), 2)

/* Two nodes; the one has a portal for the other's PUTs. */
struct post {
	struct device_object *device;
	struct lnet_portal portals[2];
	struct lnet_node *called, *caller;
	struct ksock_peer *peer;
	uint64_t nids[2];
	struct ksock_tx tx;
	char bytes[8];
	struct lnet_iov piece;
	struct kevent over;
	struct lnet_incoming *incoming;
	bool asked;
	bool resumes_twice;
};

static ntstatus put(void *owner, struct lnet_incoming *incoming)
{
	struct post *post = owner;

	if (post->asked) {
		incoming->into = (struct lnet_payload){
			.length = sizeof(post->bytes), .count = 1, .iov = &post->piece};
		return STATUS_SUCCESS;
	}
	post->asked = true;
	lnet_resume(incoming);
	if (post->resumes_twice)
		lnet_resume(incoming);
	return STATUS_PENDING;
}

static void over(void *context, ntstatus status, uint32_t length)
{
	(void)status;
	(void)length;
	ke_set_event(context);
}

static void open_post(struct post *post)
{
	const struct link_options link = {.buffered = true};
	const struct transport_address any = {.address_type = TDI_ADDRESS_TYPE_IP};
	struct transport_address place;
	struct lnet_options options;
	ntstatus status;

	*post = (struct post){.device = link_create_device(&link), .nids = {CALLER, CALLED}};
	post->piece = (struct lnet_iov){post->bytes, sizeof(post->bytes)};
	post->portals[1] = (struct lnet_portal){.put = put, .owner = post};
	ke_initialize_event(&post->over, SYNCHRONIZATION_EVENT, false);
	options = (struct lnet_options){.device = post->device,
					.listen = &any,
					.nids = &post->nids[1],
					.nid_count = 1,
					.portals = post->portals,
					.portal_count = 2};
	post->called = lnet_startup(&options, &status);
	lnet_query_listener(post->called, &place);
	options = (struct lnet_options){.device = post->device, .nids = post->nids, .nid_count = 1};
	post->caller = lnet_startup(&options, &status);
	post->peer = ksocknal_find_peer(lnet_find_ni(post->caller, CALLER), CALLED, &place);
}

static void send_one(struct post *post, const struct lnet_payload *payload)
{
	const struct lnet_put header = {.ptl_index = 1};

	lnet_put(post->peer, &post->tx, &header, payload, LNET_ACK_WANTED, over, &post->over);
}

static void close_post(struct post *post)
{
	lnet_shutdown(post->caller);
	lnet_shutdown(post->called);
	ke_flush_queued_dpcs();
	link_delete_device(post->device);
}

/* ---- Fixtures ------------------------------------------------------------------------------- */

static void give(bool again_at_once)
{
	struct post post;

	open_post(&post);
	post.asked = true;
	send_one(&post, NULL);
	if (again_at_once)
		send_one(&post, NULL);
	ke_wait_for_single_object(&post.over, SOON);
	send_one(&post, NULL);
	ke_wait_for_single_object(&post.over, SOON);
	ksocknal_put_peer(post.peer);
	close_post(&post);
}

static void gives_it_again(void *context)
{
	(void)context;
	give(true);
}

static void waits_before(void *context)
{
	(void)context;
	give(false);
}

static void send_pieces(uint32_t length)
{
	struct post post;
	struct lnet_payload payload;

	open_post(&post);
	post.asked = true;
	payload = (struct lnet_payload){.length = length, .count = 1, .iov = &post.piece};
	send_one(&post, &payload);
	ke_wait_for_single_object(&post.over, SOON);
	ksocknal_put_peer(post.peer);
	close_post(&post);
}

static void says_too_much(void *context)
{
	(void)context;
	send_pieces(9);
}

static void says_what_is_there(void *context)
{
	(void)context;
	send_pieces(8);
}

static void resume(bool twice)
{
	struct post post;

	open_post(&post);
	post.resumes_twice = twice;
	send_one(&post, NULL);
	ke_wait_for_single_object(&post.over, SOON);
	ksocknal_put_peer(post.peer);
	close_post(&post);
}

static void resumes_twice(void *context)
{
	(void)context;
	resume(true);
}

static void resumes_once(void *context)
{
	(void)context;
	resume(false);
}

static void shut_down(bool gives_back)
{
	struct post post;

	open_post(&post);
	if (gives_back)
		ksocknal_put_peer(post.peer);
	close_post(&post);
}

static void keeps_its_peer(void *context)
{
	(void)context;
	shut_down(false);
}

static void gives_its_peer_back(void *context)
{
	(void)context;
	shut_down(true);
}

static void test_messages(void)
{
	static const struct fixture fixtures[] = {
		{"MSG-GIVEN-TWICE", "still waits", gives_it_again, waits_before},
		{"MSG-PAYLOAD-SHORT", "of 9 bytes has only 8", says_too_much, says_what_is_there},
		{"MSG-RESUME-MISUSE", "a second time", resumes_twice, resumes_once},
		{"MSG-PEER-KEPT", "0.0.0.2@tcp", keeps_its_peer, gives_its_peer_back},
		{NULL, NULL, NULL, NULL},
	};

	run_fixtures(fixtures);
}

void register_verifier_message_suite(void)
{
	static const struct test_case cases[] = {
		{"a message is given once at a time, and a portal's owner resumes as often as he "
		 "waits",
		 test_messages},
		{NULL, NULL},
	};

	add_suite("verifier/messages", cases);
}
