/* The labs that there are, and where their files and those of the build stand. */
#include "lab.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct lab_stage lab_stages[] = {
	{1,
	 "01-request",
	 "stack locations, pending, the walk up, cancelling",
	 "request.c",
	 "io/io.h",
	 {"src/io/irp.c", "src/io/cancel.c", "src/io/mdl.c"}},
	{2,
	 "02-send-sync",
	 "one send, one wait",
	 "send_sync.c",
	 "tdi/tdi.h",
	 {"src/tdi/send_sync.c"}},
	{3,
	 "03-send-async",
	 "a send with a callback and two references",
	 "send_async.c",
	 "tdi/tdi.h",
	 {"src/tdi/send_async.c"}},
	{4,
	 "04-flow-control",
	 "sends that take only what room there is",
	 "send_window.c",
	 "tdi/stream.h",
	 {"src/tdi/send_window.c"}},
	{5,
	 "05-connection",
	 "streams, and a daemon with a backlog",
	 "connection.c",
	 "tdi/stream.h",
	 {"src/tdi/stream.c", "src/tdi/daemon.c"}},
	{6,
	 "06-receive",
	 "a bounded queue of what comes, loans, backpressure",
	 "receive.c",
	 "tdi/stream.h",
	 {"src/tdi/tsdu.c", "src/tdi/receive.c"}},
	{7,
	 "07-message",
	 "messages out of a stream: headers, payloads, answers",
	 "message.c",
	 "nal/private.h",
	 {"src/nal/message.c", "src/nal/portal.c"}},
	{8,
	 "08-scheduler",
	 "connections that take turns, messages made into sends",
	 "scheduler.c",
	 "nal/private.h",
	 {"src/nal/scheduler.c", "src/nal/transmit.c"}},
	{.name = NULL},
};

static char build_folder[LAB_PATH];
static char work_folder[LAB_PATH];

const struct lab_stage *lab_find(const char *text)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	for (const struct lab_stage *stage = lab_stages; stage->name != NULL; stage++)
		if (strcmp(stage->name, text) == 0 || (*end == '\0' && stage->number == number))
			return stage;
	return NULL;
}

/* One of a few buffers in turn, so that several paths can stand in one call. */
static char *format_path(const char *folder, const char *format, va_list arguments)
{
	static char paths[16][LAB_PATH];
	static unsigned next;
	char *path = paths[next++ % 16];
	size_t used = strlen(folder);

	snprintf(path, LAB_PATH, "%s/", folder);
	if (used + 1 < LAB_PATH)
		vsnprintf(path + used + 1, LAB_PATH - used - 1, format, arguments);
	return path;
}

char *lab_source_path(const char *format, ...)
{
	char *path;
	va_list arguments;

	va_start(arguments, format);
	path = format_path(XPORT_SOURCE_ROOT, format, arguments);
	va_end(arguments);
	return path;
}

char *lab_build_path(const char *format, ...)
{
	char *path;
	va_list arguments;

	va_start(arguments, format);
	path = format_path(build_folder, format, arguments);
	va_end(arguments);
	return path;
}

char *lab_work_path(const char *format, ...)
{
	char *path;
	va_list arguments;

	va_start(arguments, format);
	path = format_path(work_folder, format, arguments);
	va_end(arguments);
	return path;
}

bool lab_find_places(void)
{
	ssize_t length = readlink("/proc/self/exe", build_folder, sizeof(build_folder) - 1);

	if (length <= 0) {
		fail("cannot tell where xport stands: /proc/self/exe cannot be read");
		return false;
	}
	build_folder[length] = '\0';
	*strrchr(build_folder, '/') = '\0';
	if (access(lab_source_path("labs"), R_OK) == 0)
		return true;
	fail("the labs are not at %s any more", lab_source_path("labs"));
	return false;
}

bool lab_begin_work(void)
{
	const char *folder = getenv("TMPDIR");

	snprintf(work_folder, sizeof(work_folder), "%s/xport-lab-XXXXXX",
		 folder != NULL ? folder : "/tmp");
	if (mkdtemp(work_folder) == NULL) {
		fail("cannot make a directory like %s: %s", work_folder, strerror(errno));
		work_folder[0] = '\0';
		return false;
	}
	setenv("TMPDIR", work_folder, 1); /* the compiler's files go with it */
	return true;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	(void)status;
	(void)kind;
	(void)where;
	return remove(path);
}

void lab_end_work(void)
{
	if (work_folder[0] != '\0')
		nftw(work_folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}
