/*
 * The verbs `xport mount` and `xport umount`: start and end xportfs, the daemon that shows the
 * counters of all processes as files. It is found beside this program.
 *
 * A mount is in one of the states of mounts.h. mount makes it MOUNT_LIVING from MOUNT_NONE or
 * MOUNT_STALE; umount makes it MOUNT_NONE from whatever was ours. Two that are started at once take
 * turns by a lock on the directory.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mounts.h"
#include "xport.h"

enum { MOST_STALE = 8, END_MILLISECONDS = 5000 };

static const char mount_help[] =
	"usage: xport mount [--allow-other] [--foreground] [DIR]\n"
	"\n"
	"Shows the counters of all xport processes of this user as files under DIR, " MOUNT_DEFAULT
	" when\n"
	"it is not given. A directory that is missing is made; README in it tells what is there.\n"
	"\n"
	"  --allow-other   other users may read them, too\n"
	"  --foreground    stay, and end with Ctrl-C\n";

static const char umount_help[] =
	"usage: xport umount [DIR]\n"
	"\n"
	"Ends what xport mount started on DIR, " MOUNT_DEFAULT " when it is not given. Files that\n"
	"are open there answer with an error from then on.\n";

/* ---- mount --------------------------------------------------------------------------------- */

#ifdef XPORTFS_NAME

static int fail_elsewhere(const char *what, const char *path, int error)
{
	return fail("%s %s: %s%s", what, path, strerror(error),
		    geteuid() != 0 ? "; a directory of your own will do: xport mount ~/xport" : "");
}

static bool is_empty(int fd)
{
	DIR *directory = fdopendir(dup(fd));
	struct dirent *entry;
	unsigned count = 0;

	if (directory == NULL)
		return false;
	while ((entry = readdir(directory)) != NULL)
		count++;
	closedir(directory);
	return count <= 2; /* . and .. */
}

/* Whatever earlier daemons left behind, one upon the other. */
static int clear_stale(struct mount *mount, const char *directory)
{
	for (int i = 0; i <= MOST_STALE; i++) {
		int error = mount_find(mount, directory);

		if (error != 0)
			return fail_elsewhere("no directory", directory, error);
		if (mount->state != MOUNT_STALE)
			return XPORT_OK;
		error = mount_detach(mount);
		if (error != 0)
			return fail("%s is a mount whose daemon is gone, and cannot be cleared: %s",
				    mount->path, strerror(error));
	}
	return fail("%s: too many stale mounts there", mount->path);
}

/* The directory, made if need be, and locked; -1 with a line printed. */
static int open_directory(const char *path)
{
	int fd;

	if (mkdir(path, 0755) != 0 && errno != EEXIST) {
		fail_elsewhere("cannot make", path, errno);
		return -1;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX) != 0) {
		fail_elsewhere("cannot use", path, errno);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

static int check_free(const struct mount *mount, int fd)
{
	if (mount->state == MOUNT_FOREIGN)
		return fail("another file system is mounted on %s", mount->path);
	if (mount->state == MOUNT_SILENT)
		return fail("xportfs on %s does not answer; 'xport umount %s' ends it", mount->path,
			    mount->path);
	if (!is_empty(fd))
		return fail("%s is not empty", mount->path);
	if (access(mount->path, W_OK) != 0)
		return fail_elsewhere("cannot mount on", mount->path, errno);
	return XPORT_OK;
}

static int find_daemon(char *path, size_t room)
{
	ssize_t length = readlink("/proc/self/exe", path, room - 1);
	char *slash;

	if (length < 0)
		return fail("/proc/self/exe: %s", strerror(errno));
	path[length] = '\0';
	slash = strrchr(path, '/');
	if ((size_t)(slash + 1 - path) + sizeof(XPORTFS_NAME) > room)
		return fail("%s is too long a path", path);
	strcpy(slash + 1, XPORTFS_NAME);
	return access(path, X_OK) == 0 ? XPORT_OK : fail("%s: %s", path, strerror(errno));
}

/* What libfuse or fusermount3 said, as one line. */
static void read_complaint(int fd, char *text, size_t room)
{
	size_t length = 0;
	ssize_t got;

	while (length < room - 1 && (got = read(fd, text + length, room - 1 - length)) > 0)
		length += (size_t)got;
	while (length > 0 && text[length - 1] == '\n')
		length--;
	text[length] = '\0';
	for (char *end = text; (end = strchr(end, '\n')) != NULL;)
		*end = ';';
}

/* It tells when it is mounted by its exit: the daemon is a child of the child. */
static int start_daemon(char **words)
{
	char complaint[512];
	int ends[2], status = -1;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return fail("%s", strerror(errno));
	child = fork();
	if (child == 0) {
		dup2(ends[1], STDERR_FILENO);
		execv(words[0], words);
		dprintf(STDERR_FILENO, "%s: %s\n", words[0], strerror(errno));
		_exit(XPORT_FAILED);
	}
	close(ends[1]);
	read_complaint(ends[0], complaint, sizeof(complaint));
	close(ends[0]);
	if (child < 0 || waitpid(child, &status, 0) != child)
		return fail("cannot start %s: %s", words[0], strerror(errno));
	if (status != 0)
		return fail("%s; see 'xport doctor'; 'xport stat' needs no mount",
			    complaint[0] != '\0' ? complaint : "xportfs has died");
	return XPORT_OK;
}

static int mount_on(const char *directory, bool allow_other, bool foreground)
{
	char daemon[PATH_MAX];
	struct mount mount;
	char *words[5] = {daemon};
	int count = 1, fd = -1, status = clear_stale(&mount, directory);

	if (status == XPORT_OK)
		status = find_daemon(daemon, sizeof(daemon));
	if (status != XPORT_OK)
		return status;
	if (mount.state == MOUNT_NONE) {
		fd = open_directory(mount.path);
		if (fd < 0)
			return XPORT_FAILED;
		mount_find(&mount, directory); /* somebody else may have been first */
	}
	if (mount.state == MOUNT_LIVING) {
		printf("already mounted on %s\n", mount.path);
		return XPORT_OK;
	}
	status = check_free(&mount, fd);
	if (status != XPORT_OK)
		return status;
	if (allow_other)
		words[count++] = "--allow-other";
	if (foreground)
		words[count++] = "--foreground";
	words[count] = mount.path;
	if (foreground) {
		execv(daemon, words);
		return fail("%s: %s", daemon, strerror(errno));
	}
	status = start_daemon(words);
	if (status == XPORT_OK &&
	    (mount_find(&mount, directory) != 0 || mount.state != MOUNT_LIVING))
		status = fail("xportfs was started on %s and does not answer", mount.path);
	if (status == XPORT_OK)
		printf("mounted on %s; begin with %s/README\n", mount.path, mount.path);
	close(fd);
	return status;
}

#else

static int mount_on(const char *directory, bool allow_other, bool foreground)
{
	(void)directory, (void)allow_other, (void)foreground;
	return fail("this xport was built without libfuse3; 'xport stat' shows the same");
}

#endif

int cmd_mount(int argc, char **argv)
{
	static const struct option table[] = {{"allow-other", no_argument, NULL, 'o'},
					      {"foreground", no_argument, NULL, 'f'},
					      {NULL, 0, NULL, 0}};
	bool allow_other = false, foreground = false, first = true;
	int option;

	if (wants_help(argc, argv)) {
		fputs(mount_help, stdout);
		return XPORT_OK;
	}
	for (; (option = next_option(argc, argv, ":", table, first)) != -1; first = false) {
		if (option == '?')
			return XPORT_USAGE;
		allow_other = allow_other || option == 'o';
		foreground = foreground || option == 'f';
	}
	if (argc - optind > 1)
		return usage("'%s' is too much", argv[optind + 1]);
	return mount_on(optind < argc ? argv[optind] : MOUNT_DEFAULT, allow_other, foreground);
}

/* ---- umount -------------------------------------------------------------------------------- */

static bool is_xportfs(pid_t process)
{
	char path[32], name[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)process);
	file = fopen(path, "re");
	if (file == NULL)
		return false;
	if (fgets(name, sizeof(name), file) == NULL)
		name[0] = '\0';
	fclose(file);
	return strncmp(name, "xportfs", strlen("xportfs")) == 0;
}

/*
 * Ends the daemon, which unmounts, and waits for it. False when that can't be done: it is not ours,
 * or of another process namespace.
 */
static bool end_daemon(pid_t process)
{
	struct pollfd gone = {.events = POLLIN};
	bool ended;

	if (process == 0)
		return false;
	/* A descriptor first: from then on the number can't become somebody else's. */
	gone.fd = (int)syscall(SYS_pidfd_open, process, 0);
	if (gone.fd < 0)
		return false;
	ended = is_xportfs(process) &&
		syscall(SYS_pidfd_send_signal, gone.fd, SIGTERM, NULL, 0) == 0 &&
		poll(&gone, 1, END_MILLISECONDS) == 1;
	close(gone.fd);
	return ended;
}

static int unmount_from(const char *directory)
{
	struct mount mount;
	int error = mount_find(&mount, directory);

	if (error != 0)
		return fail("%s: %s", directory, strerror(error));
	if (mount.state == MOUNT_NONE || mount.state == MOUNT_FOREIGN)
		return fail("xportfs is not mounted on %s", mount.path);
	/* A daemon that ended by itself has left nothing to detach, unless it died of it. */
	if (end_daemon(mount.daemon)) {
		error = mount_find(&mount, directory);
		if (error == 0 && mount.state != MOUNT_STALE)
			return XPORT_OK;
	}
	error = mount_detach(&mount);
	return error == 0 ? XPORT_OK : fail("cannot unmount %s: %s", mount.path, strerror(error));
}

int cmd_umount(int argc, char **argv)
{
	static const struct option table[] = {{NULL, 0, NULL, 0}};

	if (wants_help(argc, argv)) {
		fputs(umount_help, stdout);
		return XPORT_OK;
	}
	if (next_option(argc, argv, ":", table, true) != -1)
		return XPORT_USAGE;
	if (argc - optind > 1)
		return usage("'%s' is too much", argv[optind + 1]);
	return unmount_from(optind < argc ? argv[optind] : MOUNT_DEFAULT);
}
