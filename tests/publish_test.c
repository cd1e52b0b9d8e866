/* Publishing a segment: a real file, a real lock, and a writer that is killed. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "executive.h"
#include "stat/publish.h"
#include "suites.h"

static char runtime[] = "/tmp/xport-test-XXXXXX";

/* Whether somebody holds the writer's lock on the file; -1 when there is no such file. */
static int is_locked(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), result;

	if (fd < 0)
		return -1;
	result = flock(fd, LOCK_SH | LOCK_NB) != 0;
	close(fd);
	return result;
}

static void publish_and_withdraw(void *context)
{
	struct stat_publication publication;
	struct stat status;
	char path[256];

	(void)context;
	CU_ASSERT_EQUAL_FATAL(stat_publish(&publication, "test"), 0);
	CU_ASSERT_PTR_NOT_NULL(publication.segment);
	CU_ASSERT_EQUAL(stat(publication.path, &status), 0);
	CU_ASSERT_EQUAL(status.st_mode & 0777, 0600);
	CU_ASSERT_EQUAL(is_locked(publication.path), 1);
	snprintf(path, sizeof(path), "%s", publication.path);
	stat_withdraw(&publication);
	CU_ASSERT_EQUAL(is_locked(path), -1);
	stat_withdraw(&publication); /* of nothing: does nothing */
}

/* The first case of the suite; the last removes the directory. */
static void test_publish_and_withdraw(void)
{
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(runtime));
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	in_executive(publish_and_withdraw, NULL);
}

static void publish_and_wait(void *context)
{
	struct stat_publication publication;
	int fd = *(int *)context;

	if (stat_publish(&publication, "killed") != 0 ||
	    write(fd, publication.path, sizeof(publication.path)) < 0)
		_exit(1);
	pause();
}

/* What a killed process leaves: its file, without the lock. A later reap keeps it for a while. */
static void test_killed_writer(void)
{
	struct ke_options options = {.processors = 1};
	char path[256] = "";
	int fds[2];
	pid_t child;

	CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
	child = fork();
	if (child == 0) {
		ke_run(&options, publish_and_wait, &fds[1]);
		_exit(1);
	}
	CU_ASSERT_EQUAL(read(fds[0], path, sizeof(path)), sizeof(path));
	CU_ASSERT_EQUAL(is_locked(path), 1);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	CU_ASSERT_EQUAL(is_locked(path), 0);
	stat_reap();
	CU_ASSERT_EQUAL(is_locked(path), 0);
	unlink(path);
	close(fds[0]);
	close(fds[1]);
}

static void refused(void *context)
{
	struct stat_publication publication;

	(void)context;
	CU_ASSERT(stat_publish(&publication, "refused") != 0);
	CU_ASSERT_PTR_NULL(publication.segment);
}

static void test_refused(void)
{
	char directory[300];

	snprintf(directory, sizeof(directory), "%s/xport-%u", runtime, (unsigned)getuid());
	CU_ASSERT_EQUAL(chmod(directory, 0777), 0);
	in_executive(refused, NULL);
	chmod(directory, 0700);
	rmdir(directory);
	rmdir(runtime);
}

void register_publish_suite(void)
{
	static const struct test_case cases[] = {
		{"a segment is a private, locked file, and goes with an orderly end",
		 test_publish_and_withdraw},
		{"a killed writer leaves its file, and not the lock", test_killed_writer},
		{"nothing is published in a directory that others can write to", test_refused},
		{NULL, NULL},
	};

	add_suite("publish", cases);
}
