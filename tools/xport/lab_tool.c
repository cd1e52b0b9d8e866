/* Running the compiler and its friends, and leaving nothing behind when interrupted meanwhile. */
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- Signals -------------------------------------------------------------------------------- */

static volatile sig_atomic_t caught;
static volatile pid_t running; /* the tool, which leads a process group of its own */

static void end_tool(int number)
{
	caught = number;
	if (running > 0)
		kill(-running, SIGTERM);
}

void lab_watch_signals(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = end_tool}, before;

	prctl(PR_SET_CHILD_SUBREAPER, 1ul, 0ul, 0ul, 0ul); /* see end_group */
	signal(SIGPIPE,
	       SIG_IGN); /* a reader who has seen enough does not keep the work from going */
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaction(numbers[i], &action, NULL);
}

static void end_if_caught(void)
{
	if (caught == 0)
		return;
	lab_end_work();
	fail("ended by SIG%s", sigabbrev_np(caught));
	_exit(128 + caught);
}

/* ---- Tools ---------------------------------------------------------------------------------- */

static bool redirect(posix_spawn_file_actions_t *actions, int descriptor, const char *path)
{
	return path == NULL ||
	       posix_spawn_file_actions_addopen(actions, descriptor, path,
						O_WRONLY | O_CREAT | O_TRUNC, 0666) == 0;
}

static int start(pid_t *child, char *const *arguments, const char *output, const char *errors)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int error = ENOMEM;

	if (posix_spawn_file_actions_init(&actions) != 0)
		return ENOMEM;
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
	if (posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0) ==
		    0 &&
	    redirect(&actions, STDOUT_FILENO, output) && redirect(&actions, STDERR_FILENO, errors))
		error = posix_spawnp(child, arguments[0], &actions, &attributes, arguments,
				     environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

/*
 * Its leader is gone, and whoever else is in the group, as the linker that cc has started, is our
 * child now. What it writes is in the folder that is about to be removed.
 */
static void end_group(pid_t group)
{
	kill(-group, SIGKILL);
	while (waitpid(-group, NULL, 0) > 0 || errno == EINTR)
		;
}

int lab_run_tool(char *const *arguments, const char *output, const char *errors)
{
	int status = 0, error;
	pid_t child;

	fflush(stdout);
	end_if_caught();
	error = start(&child, arguments, output, errors);
	if (error != 0) {
		fail("cannot run %s: %s; 'tools/setup run' installs what is needed", arguments[0],
		     strerror(error));
		return -1;
	}
	running = child;
	if (caught)
		kill(-child, SIGTERM);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	running = 0;
	if (caught)
		end_group(child);
	end_if_caught();
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	fail("%s died of signal %d", arguments[0], WTERMSIG(status));
	return -1;
}

/* ---- Text ----------------------------------------------------------------------------------- */

char *lab_read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t room = 0;

	if (file == NULL)
		return NULL;
	if (getdelim(&text, &room, '\0', file) < 0) {
		free(text);
		text = ferror(file) ? NULL : strdup("");
	}
	fclose(file);
	return text;
}
