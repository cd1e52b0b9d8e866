#include "stream_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport_client.h"

static void need(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "no town: %s\n", what);
	abort();
}

void open_town(struct town *town, const struct ground *ground, uint32_t backlog)
{
	struct transport_address any = ground->any();

	*town = (struct town){.ground = ground};
	begin_counted(&town->counted);
	town->device = ground->create(town->counted.segment);
	need(town->device != NULL, "no device");
	need(nt_success(tdi_start_daemon(&town->daemon, town->device, &any, backlog, 0)),
	     "no daemon");
	town->place = any;
	town->place.port = local_of(&town->daemon.address).port;
	need(nt_success(tdi_open_stream_address(town->device, &any, &town->callers)),
	     "no address to call from");
}

void close_town(struct town *town)
{
	if (!town->stopped)
		tdi_stop_daemon(&town->daemon);
	tdi_close(&town->callers);
	ke_flush_queued_dpcs();
	town->ground->destroy(town->device);
	end_counted(&town->counted);
}

struct tdi_stream *new_caller(struct town *town)
{
	ntstatus status;
	struct tdi_stream *stream = tdi_create_stream(&town->callers, 0, &status);

	need(stream != NULL, nt_status_name(status));
	return stream;
}

bool begin_talk(struct town *town, struct talk *talk)
{
	ntstatus status;

	talk->caller = new_caller(town);
	status = tdi_connect_peer(talk->caller, &town->place, SOON);
	CU_ASSERT_EQUAL(status, STATUS_SUCCESS);
	talk->called = NULL;
	if (nt_success(status))
		talk->called = tdi_accept_stream(&town->daemon, SOON, &status);
	CU_ASSERT_EQUAL(status, STATUS_SUCCESS);
	if (talk->called == NULL)
		tdi_delete_stream(talk->caller);
	return talk->called != NULL;
}

void end_talk(struct talk *talk)
{
	tdi_delete_stream(talk->caller);
	tdi_delete_stream(talk->called);
}

struct saying {
	struct tdi_window_send send;
	struct kevent said;
	ntstatus status;
};

static void said(void *context, ntstatus status, uint32_t bytes)
{
	struct saying *saying = context;

	(void)bytes;
	saying->status = status;
	ke_set_event(&saying->said);
}

ntstatus say(struct tdi_stream *stream, const char *text)
{
	uint32_t length = (uint32_t)strlen(text);
	char *words = need_pool(length);
	struct saying saying;

	memcpy(words, text, length);
	ke_initialize_event(&saying.said, NOTIFICATION_EVENT, false);
	tdi_window_send(&stream->window, &saying.send, words, length, said, &saying);
	ke_wait_for_single_object(&saying.said, KE_WAIT_FOREVER);
	ex_free_pool(words);
	return saying.status;
}

bool hears(struct tdi_stream *stream, const char *text)
{
	size_t length = strlen(text), have = 0;
	char heard[64] = "";
	int64_t got = 1;

	while (have < length && got > 0) {
		got = tdi_stream_read(stream, heard + have, (uint32_t)(length - have), SOON);
		have += got > 0 ? (size_t)got : 0;
	}
	if (strcmp(heard, text) == 0)
		return true;
	printf("\n    wanted \"%s\", heard \"%s\", then %s\n", text, heard,
	       got < 0 ? nt_status_name((ntstatus)got) : "more");
	return false;
}

ntstatus hear_end(struct tdi_stream *stream)
{
	char byte;

	return (ntstatus)tdi_stream_read(stream, &byte, 1, SOON);
}

void release(struct tdi_stream *stream)
{
	CU_ASSERT_EQUAL(tdi_disconnect(&stream->file, TDI_DISCONNECT_RELEASE), STATUS_SUCCESS);
}
