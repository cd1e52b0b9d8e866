/*
 * What the demo lets people watch: it mounts the counters for as long as it runs, where that is
 * possible, and says where to look. The daemon is a child that ends with this process, however that
 * ends; one that was there before stays.
 */
#include "demo.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mounts.h"
#include "xport.h"

static _Noreturn void be_daemon(pid_t parent)
{
	char *words[] = {"mount", "--foreground", NULL};

	prctl(PR_SET_PDEATHSIG, SIGTERM); /* on which xportfs unmounts */
	if (getppid() != parent || freopen("/dev/null", "w", stdout) == NULL ||
	    freopen("/dev/null", "w", stderr) == NULL)
		_exit(XPORT_FAILED);
	setpgid(0, 0); /* Ctrl-C is for the demo, and its end is for the daemon */
	_exit(cmd_mount(2, words));
}

/* A mount that is coming is there at once; one that can't come has ended by then. */
static bool is_mounted(pid_t *daemon)
{
	const struct timespec step = {.tv_nsec = 10000000};
	struct mount mount;

	for (int i = 0; i < 50; i++) {
		if (mount_find(&mount, MOUNT_DEFAULT) == 0 && mount.state == MOUNT_LIVING)
			return true;
		if (*daemon <= 0)
			return false;
		if (waitpid(*daemon, NULL, WNOHANG) != 0)
			*daemon = -1;
		nanosleep(&step, NULL);
	}
	return false;
}

pid_t demo_watch_begin(void)
{
	pid_t parent = getpid(), daemon = -1;
	bool mounted = is_mounted(&daemon);

	fflush(NULL);
	if (!mounted) {
		daemon = fork();
		if (daemon == 0)
			be_daemon(parent);
		mounted = is_mounted(&daemon);
	}
	printf("Watch it from another terminal: xport stat --watch demo");
	if (mounted)
		printf(", or the files in " MOUNT_DEFAULT "/demo.*/");
	puts("");
	if (mounted)
		return daemon;
	demo_watch_end(daemon);
	return -1;
}

void demo_watch_end(pid_t daemon)
{
	if (daemon <= 0)
		return;
	kill(daemon, SIGTERM);
	waitpid(daemon, NULL, 0);
}
