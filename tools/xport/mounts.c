/* Looking at mounts without getting stuck in them, see mounts.h. */
#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "xportfs.h"

extern char **environ;

enum { ANSWER_MILLISECONDS = 3000 };

struct answer {
	int error;
	uint32_t daemon;
};

/* In the child. */
static struct answer ask(const char *path)
{
	char file[PATH_MAX + 8];
	struct answer answer = {.error = 0};
	struct stat status;
	int fd;

	if (stat(path, &status) != 0)
		return (struct answer){.error = errno};
	snprintf(file, sizeof(file), "%s/README", path);
	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, XPORTFS_PROCESS, &answer.daemon) != 0)
		answer.error = errno;
	return answer;
}

/*
 * ETIMEDOUT when there is none in time. A child whose question the daemon has taken and does not
 * answer can't even be killed: it is left behind, and holds nothing that anybody waits for.
 */
static struct answer ask_in_child(const char *path)
{
	struct answer answer = {.error = ETIMEDOUT};
	struct pollfd ready = {.events = POLLIN};
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return answer;
	child = fork();
	if (child == 0) {
		dup2(ends[1], STDIN_FILENO);
		close_range(STDIN_FILENO + 1, ~0U, 0);
		answer = ask(path);
		_exit(write(STDIN_FILENO, &answer, sizeof(answer)) != sizeof(answer));
	}
	close(ends[1]);
	ready.fd = ends[0];
	if (child > 0 && (poll(&ready, 1, ANSWER_MILLISECONDS) != 1 ||
			  read(ends[0], &answer, sizeof(answer)) != sizeof(answer)))
		answer = (struct answer){.error = ETIMEDOUT};
	close(ends[0]);
	if (child > 0) {
		kill(child, SIGKILL);
		waitpid(child, NULL, WNOHANG);
	}
	return answer;
}

static enum mount_state judge(struct mount *mount)
{
	struct answer answer = ask_in_child(mount->path);

	mount->daemon = answer.error == 0 ? (pid_t)answer.daemon : 0;
	if (answer.error == ENOTCONN || answer.error == ECONNABORTED)
		return MOUNT_STALE;
	return answer.error == ETIMEDOUT ? MOUNT_SILENT : MOUNT_LIVING;
}

/* The path that /proc would show, also when its last part does not exist or does not answer. */
static int resolve(char *path, const char *directory)
{
	char parent[PATH_MAX], real[PATH_MAX];
	const char *last;
	char *slash;
	size_t length;

	if (realpath(directory, path) != NULL)
		return 0;
	length = strlen(directory);
	while (length > 1 && directory[length - 1] == '/')
		length--;
	if (length == 0 || length >= sizeof(parent))
		return length == 0 ? ENOENT : ENAMETOOLONG;
	memcpy(parent, directory, length);
	parent[length] = '\0';
	slash = strrchr(parent, '/');
	last = slash != NULL ? slash + 1 : parent;
	if (slash != NULL)
		*slash = '\0';
	if (realpath(slash == NULL ? "." : slash == parent ? "/" : parent, real) == NULL)
		return errno;
	if (snprintf(path, PATH_MAX, "%s/%s", strcmp(real, "/") == 0 ? "" : real, last) >= PATH_MAX)
		return ENAMETOOLONG;
	return 0;
}

int mount_find(struct mount *mount, const char *directory)
{
	FILE *table;
	struct mntent *entry;
	bool ours = false;
	int error;

	*mount = (struct mount){.state = MOUNT_NONE};
	error = resolve(mount->path, directory);
	if (error != 0)
		return error;
	table = setmntent("/proc/self/mounts", "re");
	if (table == NULL)
		return errno;
	/* The last is the one on top. */
	while ((entry = getmntent(table)) != NULL) {
		if (strcmp(entry->mnt_dir, mount->path) != 0)
			continue;
		ours = strcmp(entry->mnt_type, "fuse.xport") == 0;
		mount->state = MOUNT_FOREIGN;
	}
	endmntent(table);
	if (ours)
		mount->state = judge(mount);
	return 0;
}

int mount_detach(const struct mount *mount)
{
	char *words[] = {"fusermount3", "-u", "-z", "-q", (char *)mount->path, NULL};
	pid_t child;
	int error, status;

	/* Root needs no helper, which may be missing. Force: who waits for an answer gets an error.
	 */
	if (geteuid() == 0)
		return umount2(mount->path, MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW) == 0 ? 0
											   : errno;
	error = posix_spawnp(&child, words[0], NULL, NULL, words, environ);
	if (error != 0)
		return error;
	if (waitpid(child, &status, 0) != child)
		return errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EPERM;
}
