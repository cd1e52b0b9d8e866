/*
 * Deliveries on every transport that there is: a whole arrives once and in order, whoever loses a
 * connection or his memory meanwhile.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keeper.h"
#include "link/link.h"
#include "stream_client.h"
#include "suites.h"
#include "transport_client.h"

enum { MOST = 256 << 10 };

/* ---- Grounds ------------------------------------------------------------------------------- */

static struct device_object *create_buffering(struct stat_segment *segment)
{
	const struct link_options options = {.buffered = true, .segment = segment};

	return link_create_device(&options);
}

static struct device_object *create_cutting(struct stat_segment *segment)
{
	const struct link_options options = {.rtt_ns = 10000,
					     .cut = true,
					     .buffered = true,
					     .window_bytes = 16 << 10,
					     .segment = segment};

	return link_create_device(&options);
}

static struct transport_address any_address(void)
{
	return (struct transport_address){.address_type = TDI_ADDRESS_TYPE_IP};
}

static const struct ground buffering_link = {"link", create_buffering, link_delete_device,
					     any_address};
static const struct ground cutting_link = {"link that cuts", create_cutting, link_delete_device,
					   any_address};

/* The last is the program's own, if it has one. */
static const struct ground *grounds[3] = {&buffering_link, &cutting_link};

/* A keeper that lives, and a whole for it. */
struct scene {
	struct keeper keeper;
	struct mailer mailer;
	char *whole;
	struct counted counted;
};

typedef void scene_case(struct scene *scene);

struct visit {
	const struct ground *ground;
	scene_case *body;
};

/* Also from threads, where there are no assertions. */
static void must_live(struct keeper *keeper)
{
	if (begin_life(keeper))
		return;
	puts("there is no keeper to be had");
	exit(1);
}

static void must_run(struct kthread *thread, ke_thread_routine *routine, void *context)
{
	if (nt_success(ps_create_system_thread(thread, routine, context)))
		return;
	puts("there is no thread to be had");
	exit(1);
}

static void run_visit(void *context)
{
	const struct visit *visit = context;
	const struct transport_address place = visit->ground->any();
	struct scene *scene = need_pool(sizeof(*scene));
	struct device_object *device;

	begin_counted(&scene->counted);
	device = visit->ground->create(scene->counted.segment);
	initialize_keeper(&scene->keeper, device, &place);
	scene->keeper.timeout_ns = MILLISECONDS(5000);
	scene->whole = need_pool(MOST);
	fill_pattern((uint8_t *)scene->whole, 1, 0, MOST);
	for (int i = 0; i < DISKS; i++) {
		scene->keeper.disks[i].bytes = need_pool(MOST);
		scene->keeper.disks[i].room = MOST;
	}
	must_live(&scene->keeper);
	visit->body(scene);
	end_life(&scene->keeper);
	CU_ASSERT_EQUAL(scene->keeper.wrong, 0);
	for (int i = 0; i < DISKS; i++) {
		CU_ASSERT_EQUAL(scene->keeper.disks[i].opened, scene->keeper.disks[i].closed);
		ex_free_pool(scene->keeper.disks[i].bytes);
	}
	ke_flush_queued_dpcs();
	visit->ground->destroy(device);
	end_counted(&scene->counted);
	ex_free_pool(scene->whole);
	ex_free_pool(scene);
}

static void everywhere(scene_case *body)
{
	for (unsigned i = 0; i < sizeof(grounds) / sizeof(grounds[0]); i++) {
		struct visit visit = {grounds[i], body};
		unsigned failures = CU_get_number_of_failures();

		if (grounds[i] == NULL)
			continue;
		in_executive(run_visit, &visit);
		if (CU_get_number_of_failures() != failures)
			printf("    on %s\n", grounds[i]->name);
	}
}

static void prepare(struct scene *scene, struct mailer *mailer, uint32_t id, uint64_t length)
{
	initialize_mailer(mailer, &scene->keeper, id, scene->whole, length);
	mailer->timeout_ns = MILLISECONDS(5000);
	mailer->what.patience_ns = MILLISECONDS(20000);
}

static void has_arrived(struct scene *scene, const struct mailer *mailer)
{
	const struct disk *disk = &scene->keeper.disks[mailer->id];

	CU_ASSERT_EQUAL(mailer->wrong, 0);
	CU_ASSERT_EQUAL(disk->kept, mailer->what.length);
	CU_ASSERT(disk->finished);
	CU_ASSERT_EQUAL(memcmp(disk->bytes, mailer->bytes, disk->kept), 0);
}

/* ---- Nothing goes wrong -------------------------------------------------------------------- */

static void deliver_lengths(struct scene *scene)
{
	static const struct {
		uint64_t length;
		uint32_t block, window;
	} wholes[DISKS] = {{0, 8, 1}, {7, 8, 4}, {24, 8, 2}, {100003, 4096, 8}};

	for (uint32_t i = 0; i < DISKS; i++) {
		prepare(scene, &scene->mailer, i, wholes[i].length);
		scene->mailer.what.block_bytes = wholes[i].block;
		scene->mailer.what.window = wholes[i].window;
		CU_ASSERT_EQUAL(deliver(&scene->mailer), STATUS_SUCCESS);
		has_arrived(scene, &scene->mailer);
		CU_ASSERT_EQUAL(scene->mailer.report.attempts, 1);
		CU_ASSERT_EQUAL(scene->mailer.report.sent, wholes[i].length);
	}
}

static void test_lengths(void)
{
	everywhere(deliver_lengths);
}

static void deliver_typed(struct scene *scene)
{
	prepare(scene, &scene->mailer, 1, 5 * 2048 + 9); /* a last block on another connection */
	scene->mailer.typed = true;
	scene->mailer.what.block_bytes = 2048;
	scene->mailer.what.window = 4;
	CU_ASSERT_EQUAL(deliver(&scene->mailer), STATUS_SUCCESS);
	has_arrived(scene, &scene->mailer);
	CU_ASSERT_EQUAL(scene->mailer.report.attempts, 1);
}

static void test_typed(void)
{
	everywhere(deliver_typed);
}

static void run_mailer(void *context)
{
	deliver(context);
}

/* More than there is room for: some have to wait until others are finished. */
static void deliver_many(struct scene *scene)
{
	struct mailer *mailers = need_pool(DISKS * sizeof(*mailers));
	struct kthread threads[DISKS];

	end_life(&scene->keeper);
	scene->keeper.most = 2;
	scene->keeper.idle_ns = MILLISECONDS(60000);
	must_live(&scene->keeper);
	for (uint32_t i = 0; i < DISKS; i++) {
		prepare(scene, &mailers[i], i, 100 + i);
		mailers[i].what.patience_ns = 0;
		mailers[i].what.pause_ns = MILLISECONDS(5);
		must_run(&threads[i], run_mailer, &mailers[i]);
	}
	for (uint32_t i = 0; i < DISKS; i++) {
		ke_wait_for_thread(&threads[i]);
		has_arrived(scene, &mailers[i]);
	}
	ex_free_pool(mailers);
}

static void test_many(void)
{
	everywhere(deliver_many);
}

/* One that was left alone gives way to another, and can be gone on with later. */
static void give_way(struct scene *scene)
{
	end_life(&scene->keeper);
	scene->keeper.most = 1;
	scene->keeper.idle_ns = MILLISECONDS(30);
	must_live(&scene->keeper);
	for (uint32_t id = 1; id <= 2; id++) {
		prepare(scene, &scene->mailer, id, 1000);
		scene->mailer.read_fails = STATUS_ACCESS_DENIED;
		scene->mailer.fails_at = 8 * 50 * id;
		CU_ASSERT_EQUAL(deliver(&scene->mailer), STATUS_ACCESS_DENIED);
	}
	prepare(scene, &scene->mailer, 1, 1000);
	CU_ASSERT_EQUAL(deliver(&scene->mailer), STATUS_SUCCESS);
	has_arrived(scene, &scene->mailer);
	CU_ASSERT_EQUAL(scene->mailer.report.began_at, 8 * 50);
	CU_ASSERT_EQUAL(scene->keeper.disks[2].kept, 8 * 100);
}

static void test_give_way(void)
{
	everywhere(give_way);
}

/* ---- Somebody loses something -------------------------------------------------------------- */

enum { BLOWS = 6 };

struct blows {
	struct scene *scene;
	void (*strike)(struct scene *scene);
	struct kthread thread;
	int32_t over; /* interlocked */
};

static void rain(void *context)
{
	struct blows *blows = context;

	for (int i = 0; i < BLOWS && interlocked_read(&blows->over) == 0; i++) {
		ke_delay_execution_thread((uint64_t)(1 + i) * 70000);
		blows->strike(blows->scene);
	}
}

/* Delivers while the blows rain. */
static void deliver_under(struct scene *scene, void (*strike)(struct scene *scene))
{
	struct blows blows = {.scene = scene, .strike = strike};

	prepare(scene, &scene->mailer, 1, EXECUTIVE_HOST ? MOST : 2000);
	scene->mailer.what.block_bytes = EXECUTIVE_HOST ? 1000 : 100;
	scene->mailer.what.window = 3;
	must_run(&blows.thread, rain, &blows);
	CU_ASSERT_EQUAL(deliver(&scene->mailer), STATUS_SUCCESS);
	interlocked_exchange(&blows.over, 1);
	ke_wait_for_thread(&blows.thread);
	has_arrived(scene, &scene->mailer);
}

static void strike_connections(struct scene *scene)
{
	cut_connections(&scene->mailer);
}

static void strike_mailer(struct scene *scene)
{
	kill_mailer(&scene->mailer);
}

static void strike_keeper(struct scene *scene)
{
	end_life(&scene->keeper);
	must_live(&scene->keeper);
}

static void lose_connections(struct scene *scene)
{
	deliver_under(scene, strike_connections);
}

static void lose_mailer(struct scene *scene)
{
	deliver_under(scene, strike_mailer);
}

static void lose_keeper(struct scene *scene)
{
	deliver_under(scene, strike_keeper);
}

static void test_lose_connections(void)
{
	everywhere(lose_connections);
}

static void test_lose_mailer(void)
{
	everywhere(lose_mailer);
}

static void test_lose_keeper(void)
{
	everywhere(lose_keeper);
}

/* What was kept is not sent again, by another mailer to another life. */
static void resume_both(struct scene *scene)
{
	prepare(scene, &scene->mailer, 1, 1000);
	scene->mailer.what.block_bytes = 100;
	scene->mailer.read_fails = STATUS_ACCESS_DENIED;
	scene->mailer.fails_at = 450;
	CU_ASSERT_EQUAL(deliver(&scene->mailer), STATUS_ACCESS_DENIED);
	CU_ASSERT_EQUAL(scene->keeper.disks[1].kept, 400);
	strike_keeper(scene);
	scene->mailer.read_fails = STATUS_SUCCESS;
	CU_ASSERT_EQUAL(deliver(&scene->mailer), STATUS_SUCCESS);
	has_arrived(scene, &scene->mailer);
	CU_ASSERT_EQUAL(scene->mailer.report.began_at, 400);
	CU_ASSERT_EQUAL(scene->mailer.report.sent, 600);
}

static void test_resume_both(void)
{
	everywhere(resume_both);
}

/* A whole that is finished is not written again by one who has not heard of it. */
static void deliver_twice(struct scene *scene)
{
	prepare(scene, &scene->mailer, 1, 100);
	CU_ASSERT_EQUAL(deliver(&scene->mailer), STATUS_SUCCESS);
	strike_keeper(scene);
	CU_ASSERT_EQUAL(deliver(&scene->mailer), STATUS_SUCCESS);
	has_arrived(scene, &scene->mailer);
	CU_ASSERT_EQUAL(scene->mailer.report.sent, 0);
}

static void test_twice(void)
{
	everywhere(deliver_twice);
}

/* ---- It can't be --------------------------------------------------------------------------- */

static void fill_disk(struct scene *scene)
{
	prepare(scene, &scene->mailer, 1, 1000);
	scene->mailer.what.block_bytes = 100;
	scene->keeper.disks[1].room = 350;
	CU_ASSERT_EQUAL(deliver(&scene->mailer), STATUS_DATA_NOT_ACCEPTED);
	CU_ASSERT_EQUAL(scene->keeper.disks[1].kept, 300);
	scene->keeper.disks[1].room = MOST;
	CU_ASSERT_EQUAL(deliver(&scene->mailer), STATUS_SUCCESS);
	has_arrived(scene, &scene->mailer);
	CU_ASSERT_EQUAL(scene->mailer.report.sent, 700);
}

static void test_full_disk(void)
{
	everywhere(fill_disk);
}

static void end_when_it_gives_up(void *context)
{
	struct keeper *keeper = context;

	/* The sender may know, and be gone, before the answer has been acknowledged. */
	ke_wait_for_single_object(&keeper->gave_up, MILLISECONDS(3000));
	end_life(keeper);
}

/* As a program does that can do nothing more. */
static void give_up(struct scene *scene)
{
	struct kthread thread;

	prepare(scene, &scene->mailer, 1, 1000);
	scene->mailer.what.block_bytes = 100;
	scene->keeper.disks[1].room = 350;
	must_run(&thread, end_when_it_gives_up, &scene->keeper);
	CU_ASSERT_EQUAL(deliver(&scene->mailer), STATUS_DATA_NOT_ACCEPTED);
	ke_wait_for_thread(&thread);
	must_live(&scene->keeper);
}

static void test_give_up(void)
{
	everywhere(give_up);
}

static void ask_nobody(struct scene *scene)
{
	prepare(scene, &scene->mailer, 1, 100);
	scene->mailer.what.patience_ns = MILLISECONDS(20);
	end_life(&scene->keeper);
	CU_ASSERT_EQUAL(deliver(&scene->mailer), STATUS_CONNECTION_REFUSED);
	CU_ASSERT_EQUAL(scene->mailer.report.attempts, 0);
	must_live(&scene->keeper);
}

static void test_nobody(void)
{
	everywhere(ask_nobody);
}

/* What the keeper has of this id is more than the whole; and one that it will not have. */
static void refuse_wholes(struct scene *scene)
{
	scene->keeper.disks[1].kept = 101;
	prepare(scene, &scene->mailer, 1, 100);
	CU_ASSERT_EQUAL(deliver(&scene->mailer), STATUS_INVALID_NETWORK_RESPONSE);
	prepare(scene, &scene->mailer, 1, 100);
	scene->mailer.what.id = DISKS;
	CU_ASSERT_EQUAL(deliver(&scene->mailer), STATUS_DATA_NOT_ACCEPTED);
	CU_ASSERT_EQUAL(scene->keeper.disks[1].kept, 101);
}

static void test_refused(void)
{
	everywhere(refuse_wholes);
}

/* ---- PUTs that no delivery would send ------------------------------------------------------ */

struct stray {
	struct ksock_tx tx;
	struct kevent done;
	ntstatus status;
};

static void stray_done(void *context, ntstatus status, uint32_t length)
{
	struct stray *stray = context;

	(void)length;
	stray->status = status;
	ke_set_event(&stray->done);
}

/* STATUS_SUCCESS: it was acknowledged. */
static ntstatus put_stray(struct scene *scene, struct ksock_peer *peer, uint64_t position,
			  uint32_t length)
{
	const struct lnet_put put = {
		.match_bits = 1, .hdr_data = position, .ptl_index = DELIVERY_PORTAL};
	const struct lnet_iov piece = {scene->whole + position, length};
	const struct lnet_payload payload = {.length = length, .count = 1, .iov = &piece};
	struct stray stray;

	ke_initialize_event(&stray.done, SYNCHRONIZATION_EVENT, false);
	lnet_put(peer, &stray.tx, &put, &payload, LNET_ACK_WANTED, stray_done, &stray);
	ke_wait_for_single_object(&stray.done, KE_WAIT_FOREVER);
	return stray.status;
}

static void send_strays(struct scene *scene)
{
	const uint64_t nid = lnet_make_nid(lnet_make_net(SOCKLND, 0), 0x0a000063);
	const struct lnet_options options = {.device = scene->keeper.device,
					     .nids = &nid,
					     .nid_count = 1,
					     .timeout_ns = MILLISECONDS(5000)};
	const struct disk *disk = &scene->keeper.disks[1];
	ntstatus status;
	struct lnet_node *node = lnet_startup(&options, &status);
	struct ksock_peer *peer = ksocknal_find_peer(lnet_find_ni(node, nid), scene->keeper.nid,
						     &scene->keeper.place);

	CU_ASSERT_EQUAL(put_stray(scene, peer, 0, 20), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(put_stray(scene, peer, 0, 20), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(put_stray(scene, peer, 5, 10), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(disk->kept, 20);
	CU_ASSERT_FALSE(nt_success(put_stray(scene, peer, 21, 10))); /* a gap */
	CU_ASSERT_FALSE(nt_success(put_stray(scene, peer, 5, 16)));  /* of both */
	CU_ASSERT_FALSE(nt_success(put_stray(scene, peer, 21, 0)));
	CU_ASSERT_FALSE(nt_success(put_stray(scene, peer, 20, (64 << 10) + 1)));
	CU_ASSERT_EQUAL(disk->kept, 20);
	CU_ASSERT_EQUAL(put_stray(scene, peer, 20, 10), STATUS_SUCCESS);
	CU_ASSERT_FALSE(disk->finished);
	CU_ASSERT_EQUAL(put_stray(scene, peer, 30, 0), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(put_stray(scene, peer, 30, 0), STATUS_SUCCESS);
	CU_ASSERT(disk->finished);
	CU_ASSERT_FALSE(nt_success(put_stray(scene, peer, 30, 1)));
	CU_ASSERT_EQUAL(disk->kept, 30);
	CU_ASSERT_EQUAL(memcmp(disk->bytes, scene->whole, 30), 0);
	ksocknal_put_peer(peer);
	lnet_shutdown(node);
}

static void test_strays(void)
{
	everywhere(send_strays);
}

void register_delivery_suite(const struct ground *more)
{
	static const struct test_case cases[] = {
		{"wholes of any length arrive", test_lengths},
		{"one arrives where small messages have a connection of their own", test_typed},
		{"several arrive at a time, more than there is room for", test_many},
		{"one that was left alone gives way to another", test_give_way},
		{"one arrives though its connections are lost", test_lose_connections},
		{"one arrives though its sender is killed", test_lose_mailer},
		{"one arrives though its receiver is killed", test_lose_keeper},
		{"a new sender and a new receiver go on where the old ones stopped",
		 test_resume_both},
		{"what is finished is not sent again", test_twice},
		{"a full disk is told, and when there is room it goes on", test_full_disk},
		{"a receiver that ends when it has given up has told the sender", test_give_up},
		{"a receiver that is not there is given up", test_nobody},
		{"a whole that the receiver has more of, or will not have, is refused",
		 test_refused},
		{"of PUTs that no sender would send, those are acknowledged that are kept",
		 test_strays},
		{NULL, NULL},
	};

	grounds[2] = more;
	add_suite("delivery", cases);
}
