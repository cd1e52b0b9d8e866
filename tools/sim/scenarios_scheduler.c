/*
 * Stage 08 on the link: what only the schedulers decide, and a thread for each connection instead.
 */
#include "post.h"

struct giver {
	struct kthread thread;
	struct post *post;
	int first, count;
};

/* Gives every other message: those of one connection. */
static void run_giver(void *context)
{
	struct giver *giver = context;

	for (int i = 0; i < giver->count; i++)
		start_put(giver->post, giver->first + 2 * i, i % 2 != 0 ? LNET_ACK_WANTED : 0);
	for (int i = 0; i < giver->count; i++)
		wait_for(giver->post, giver->first + 2 * i);
}

static void give_from_two_threads(void *context, bool cut)
{
	const struct link_options link = {.buffered = true, .cut = cut, .window_bytes = 150};
	struct post *post = ex_allocate_pool(sizeof(*post));
	struct giver givers[2] = {{.post = post, .first = 0}, {.post = post, .first = 1}};

	if (post == NULL)
		return;
	givers[0].count = givers[1].count = count_of(context) / 2;
	if (open_post(post, &link, &(struct lnet_options){0}, BYTES)) {
		bool two = nt_success(
			ps_create_system_thread(&givers[1].thread, run_giver, &givers[1]));

		run_giver(&givers[0]);
		if (two)
			ke_wait_for_thread(&givers[1].thread);
	}
	close_post(post);
	ex_free_pool(post);
}

static void ready(void *context)
{
	give_from_two_threads(context, false);
}

/* With a window so small that a batch seldom goes out at once. */
static void pending(void *context)
{
	give_from_two_threads(context, true);
}

static void shutdown_at_once(void *context)
{
	const struct link_options link = {.buffered = true};
	struct post *post = ex_allocate_pool(sizeof(*post));
	struct kthread thread;
	int count = count_of(context);

	if (post == NULL)
		return;
	if (open_post(post, &link, &(struct lnet_options){0}, BYTES) &&
	    nt_success(ps_create_system_thread(&thread, stop_server, post))) {
		for (int i = 0; i < count; i++)
			start_put(post, i, LNET_ACK_WANTED);
		if (ke_choose(2, "whether the client waits") == 1)
			wait_for(post, 0);
		stop_client(post);
		for (int i = 0; i < count; i++) {
			wait_for(post, i);
			expect_received(post, i);
		}
		ke_wait_for_thread(&thread);
	}
	close_post(post);
	ex_free_pool(post);
}

static void transfer_by_threads(void *context)
{
	const struct link_options link = {.buffered = true};

	put_and_get(context, &link, &(struct lnet_options){.threads = true}, BYTES);
}

static void faults_by_threads(void *context)
{
	const struct link_options link = {.buffered = true, .faults = true, .cut = true};

	put_and_get(
		context, &link,
		&(struct lnet_options){.threads = true, .timeout_ns = TIMEOUT, .reconnect_ns = 1},
		BYTES);
}

static void held_by_thread(void *context)
{
	held_while_closed(context, true);
}
const struct sim_scenario scheduler_scenarios[] = {
	{"scheduler/ready", "small messages from two threads on two connections", ready, 4, true},
	{"scheduler/pending", "the same through a window that holds hardly one", pending, 4, true},
	{"scheduler/shutdown", "two nodes end at any moment, with messages under way",
	 shutdown_at_once, 2, true},
	{"scheduler/threads", "PUTs and GETs, by a thread for each connection", transfer_by_threads,
	 3, true},
	{"scheduler/faults", "the same over a link that cuts, refuses and breaks",
	 faults_by_threads, 3, true},
	{"scheduler/held", "a thread whose connection is held by an owner, and may be closed",
	 held_by_thread, 2, true},
	{0},
};
