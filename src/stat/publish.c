/* Segments in files; who may see them and how they go, see publish.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "stat/layout.h"
#include "stat/publish.h"

enum { SEGMENT_BYTES = 1 << 20 };

int stat_directory(char *path, size_t room, bool make)
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	struct stat status;

	if (base == NULL || base[0] != '/')
		base = "/dev/shm";
	if ((size_t)snprintf(path, room, "%s/xport-%u", base, (unsigned)geteuid()) >= room)
		return ENAMETOOLONG;
	if (make && mkdir(path, 0700) != 0 && errno != EEXIST)
		return errno;
	if (lstat(path, &status) != 0)
		return errno;
	/* Others could put files there under anybody's name. */
	if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077) != 0)
		return EPERM;
	return 0;
}

static uint64_t realtime_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void read_boot_id(char *boot_id, size_t room)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, boot_id, room - 1);

	if (fd >= 0)
		close(fd);
	boot_id[got > 0 ? got : 0] = '\0';
	boot_id[strcspn(boot_id, "\n")] = '\0';
}

/* A file without a name yet, locked and mapped. 0 or the errno. */
static int make_file(struct stat_publication *publication, const char *directory)
{
	publication->fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (publication->fd < 0)
		return errno;
	/* All of it now: a full disk must fail here, not as a signal at some count. */
	if (posix_fallocate(publication->fd, 0, SEGMENT_BYTES) != 0)
		return ENOSPC;
	if (flock(publication->fd, LOCK_EX | LOCK_NB) != 0)
		return errno;
	publication->memory =
		mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, publication->fd, 0);
	if (publication->memory == MAP_FAILED) {
		publication->memory = NULL;
		return errno;
	}
	return 0;
}

/* Gives the file its name, in the place of what a dead process of the same id may have left. */
static int name_file(struct stat_publication *publication)
{
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", publication->fd);
	unlink(publication->path);
	return linkat(AT_FDCWD, self, AT_FDCWD, publication->path, AT_SYMLINK_FOLLOW) == 0 ? 0
											   : errno;
}

static int publish(struct stat_publication *publication, const char *name)
{
	char directory[128];
	struct stat_header *header;
	int error = stat_directory(directory, sizeof(directory), true);

	if (error != 0)
		return error;
	snprintf(publication->path, sizeof(publication->path), "%s/%s.%d", directory, name,
		 (int)getpid());
	error = make_file(publication, directory);
	if (error != 0)
		return error;
	publication->segment =
		stat_format_segment(publication->memory, SEGMENT_BYTES, name, (uint32_t)getpid());
	header = publication->memory;
	header->begun_realtime_ns = realtime_ns();
	read_boot_id(header->boot_id, sizeof(header->boot_id));
	return name_file(publication);
}

/* Lets go of all that there is; the file, if it has a name, keeps it. */
static void let_go(struct stat_publication *publication)
{
	if (publication->memory != NULL)
		munmap(publication->memory, SEGMENT_BYTES);
	if (publication->fd >= 0)
		close(publication->fd);
	*publication = (struct stat_publication){.fd = -1};
}

int stat_publish(struct stat_publication *publication, const char *name)
{
	int error;

	*publication = (struct stat_publication){.fd = -1};
	stat_reap();
	error = publish(publication, name);
	if (error != 0)
		let_go(publication);
	return error;
}

void stat_withdraw(struct stat_publication *publication)
{
	if (publication->segment == NULL)
		return;
	unlink(publication->path);
	let_go(publication);
}

/* ---- Reaping ------------------------------------------------------------------------------- */

/* Whether the file's writer is dead, and has been since long. Its header is not to be trusted. */
static bool is_old_and_dead(int fd)
{
	struct stat status;
	struct stat_header header;
	struct timespec monotonic;
	uint64_t now, last;

	/* Shared, or who looks at the same moment would take the writer for alive. */
	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) ||
	    flock(fd, LOCK_SH | LOCK_NB) != 0)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &monotonic);
	now = (uint64_t)monotonic.tv_sec * 1000000000u + (uint64_t)monotonic.tv_nsec;
	if (pread(fd, &header, sizeof(header), 0) == (ssize_t)sizeof(header) &&
	    header.magic == STAT_MAGIC && header.heartbeat_ns <= now) {
		last = header.heartbeat_ns;
	} else {
		now = realtime_ns();
		last = (uint64_t)status.st_mtim.tv_sec * 1000000000u;
	}
	return now > last && now - last >= STAT_DEAD_NS;
}

void stat_reap(void)
{
	char path[128];
	struct dirent *entry;
	DIR *directory;

	if (stat_directory(path, sizeof(path), false) != 0 || (directory = opendir(path)) == NULL)
		return;
	while ((entry = readdir(directory)) != NULL) {
		int fd = openat(dirfd(directory), entry->d_name,
				O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

		if (fd < 0)
			continue;
		if (is_old_and_dead(fd))
			unlinkat(dirfd(directory), entry->d_name, 0);
		close(fd);
	}
	closedir(directory);
}
