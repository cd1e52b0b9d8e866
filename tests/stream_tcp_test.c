/* Stage 05 on kernel TCP: the town that the cases of stream_test.c are run in, and what it leaks.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "stream_client.h"
#include "suites.h"
#include "tcp/tcp.h"
#include "transport_client.h"

static struct device_object *create(struct stat_segment *segment)
{
	const struct tcp_options options = {.segment = segment,
					    .send_buffer_bytes = 64 << 10,
					    .receive_buffer_bytes = 64 << 10};

	return tcp_create_device(&options);
}

static struct transport_address loopback(void)
{
	return (struct transport_address){.address_type = TDI_ADDRESS_TYPE_IP,
					  .address = {127, 0, 0, 1}};
}

const struct ground tcp_ground = {"tcp", create, tcp_delete_device, loopback};

static int open_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	int count = 0;

	while (folder != NULL && readdir(folder) != NULL)
		count++;
	if (folder != NULL)
		closedir(folder);
	return count;
}

enum { CONNECTIONS = 1000, AT_ONCE = 40 };

/* Some part as friends, some are reset from one side, some say a word first. */
static void part(struct talk *talk, unsigned how)
{
	if (how & 1)
		CU_ASSERT_EQUAL(say(talk->caller, "a word"), STATUS_SUCCESS);
	if (how & 2)
		tdi_disconnect(&talk->called->file, TDI_DISCONNECT_ABORT);
	if (how & 4)
		tdi_disconnect(&talk->caller->file, TDI_DISCONNECT_RELEASE);
	if (how & 8) {
		tdi_delete_stream(talk->called);
		tdi_delete_stream(talk->caller);
	} else {
		end_talk(talk);
	}
}

static void come_and_go(void *context)
{
	struct talk talks[AT_ONCE];
	struct town town;
	unsigned seed = 1;
	int count = 0;

	(void)context;
	open_town(&town, &tcp_ground, 4);
	for (int i = 0; i < CONNECTIONS + AT_ONCE; i++) {
		if (count == AT_ONCE || (i >= CONNECTIONS && count > 0)) {
			int which = rand_r(&seed) % count;

			part(&talks[which], (unsigned)rand_r(&seed));
			talks[which] = talks[--count];
		}
		if (i < CONNECTIONS && begin_talk(&town, &talks[count]))
			count++;
	}
	CU_ASSERT_EQUAL(count, 0);
	CU_ASSERT_EQUAL(sum_of(&town.counted, "connection", "taken"), CONNECTIONS);
	close_town(&town);
}

static void test_come_and_go(void)
{
	int before = open_descriptors();

	in_executive(come_and_go, NULL);
	CU_ASSERT_EQUAL(open_descriptors(), before);
}

/* The daemon's end says goodbye first, so that it lingers on the port, which the system chose. */
static void open_again(void *context)
{
	struct town town;
	struct talk talk;

	(void)context;
	open_town(&town, &tcp_ground, 4);
	if (begin_talk(&town, &talk)) {
		release(talk.called);
		CU_ASSERT_EQUAL(hear_end(talk.caller), STATUS_GRACEFUL_DISCONNECT);
		release(talk.caller);
		CU_ASSERT_EQUAL(hear_end(talk.called), STATUS_GRACEFUL_DISCONNECT);
		end_talk(&talk);
	}
	tdi_stop_daemon(&town.daemon);
	CU_ASSERT_EQUAL(tdi_start_daemon(&town.daemon, town.device, &town.place, 4, 0),
			STATUS_SUCCESS);
	close_town(&town);
}

static void test_open_again(void)
{
	in_executive(open_again, NULL);
}

void register_stream_tcp_suite(void)
{
	static const struct test_case cases[] = {
		{"1000 connections come and go in any order, and leave nothing behind",
		 test_come_and_go},
		{"a daemon begins again on the port that the system chose", test_open_again},
		{NULL, NULL},
	};

	register_stream_suite(&tcp_ground);
	add_suite("05-connection on tcp", cases);
}
