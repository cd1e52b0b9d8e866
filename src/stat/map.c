/* Finding, opening and mapping segments that are not to be believed, see read.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include "stat/layout.h"
#include "stat/map.h"
#include "stat/publish.h"

enum { LARGEST_SLOT = 4096 };

/* ---- A file that is cut short while it is mapped --------------------------------------------- */

struct guard {
	sigjmp_buf back;
	uintptr_t begin;
	size_t bytes;
};

/* A signal handler has nobody to ask. The action stays as long as any reader is open. */
static _Thread_local struct guard *volatile current_guard;
static pthread_mutex_t action_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned readers_open;
static struct sigaction action_before;

static void on_bus_error(int number, siginfo_t *info, void *context)
{
	struct guard *guard = current_guard;

	if (guard != NULL && info->si_code > 0 &&
	    (uintptr_t)info->si_addr - guard->begin < guard->bytes) {
		/* sigsetjmp kept no mask, which would be a system call for each access. */
		pthread_sigmask(SIG_SETMASK, &((ucontext_t *)context)->uc_sigmask, NULL);
		siglongjmp(guard->back, 1);
	}
	/* Not ours: as if we were not here. */
	if ((action_before.sa_flags & SA_SIGINFO) != 0) {
		action_before.sa_sigaction(number, info, context);
	} else if (action_before.sa_handler != SIG_DFL && action_before.sa_handler != SIG_IGN) {
		action_before.sa_handler(number);
	} else {
		sigaction(SIGBUS, &action_before, NULL);
		if (info->si_code <= 0)
			raise(SIGBUS); /* a fault happens again by itself */
	}
}

static void count_readers(int by)
{
	struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};

	pthread_mutex_lock(&action_lock);
	if (by > 0 && readers_open == 0)
		sigaction(SIGBUS, &action, &action_before);
	readers_open += (unsigned)by;
	if (by < 0 && readers_open == 0)
		sigaction(SIGBUS, &action_before, NULL);
	pthread_mutex_unlock(&action_lock);
}

/* The only access to the mapping. */
int stat_fetch(const struct stat_reader *reader, uint64_t offset, void *to, size_t bytes)
{
	struct guard guard = {.begin = (uintptr_t)reader->memory, .bytes = reader->mapped};
	const uint64_t *from;
	char *next = to;

	if (offset % STAT_WORD != 0 || offset > reader->bytes || bytes > reader->bytes - offset)
		return EBADMSG;
	from = (const void *)(reader->memory + offset);
	if (sigsetjmp(guard.back, 0) != 0) {
		current_guard = NULL;
		return EIO;
	}
	current_guard = &guard;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	for (size_t i = 0; i < bytes / STAT_WORD; i++) {
		uint64_t word = __atomic_load_n(&from[i], __ATOMIC_ACQUIRE);

		memcpy(next + i * STAT_WORD, &word, STAT_WORD);
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	current_guard = NULL;
	return 0;
}

/* ---- Finding and opening ------------------------------------------------------------------- */

/* NAME.PID, of which one can make a directory's name as it is. */
static bool is_segment_name(const char *name)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
	const char *dot = strrchr(name, '.');

	return name[0] != '.' && dot != NULL && dot[1] != '\0' &&
	       strspn(dot + 1, "0123456789") == strlen(dot + 1) &&
	       strspn(name, letters) == strlen(name) && strlen(name) < STAT_FILE_NAME;
}

static int may_be_segment(const struct dirent *entry)
{
	return is_segment_name(entry->d_name);
}

int stat_each_segment(void (*take)(void *context, const char *name), void *context)
{
	struct dirent **entries;
	char directory[128];
	int count, error = stat_directory(directory, sizeof(directory), false);

	if (error != 0)
		return error == ENOENT ? 0 : error; /* nobody has published yet */
	count = scandir(directory, &entries, may_be_segment, alphasort);
	if (count < 0)
		return errno;
	for (int i = 0; i < count; i++) {
		take(context, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return 0;
}

static int map_file(struct stat_reader *reader)
{
	struct stat status;

	/* Without waiting for the other end of a fifo, or following a link. */
	reader->fd = open(reader->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (reader->fd < 0)
		return errno == ELOOP ? EPERM : errno;
	if (fstat(reader->fd, &status) != 0)
		return errno;
	if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077) != 0)
		return EPERM;
	if (status.st_size < STAT_SMALLEST_SEGMENT || status.st_size > STAT_LARGEST_SEGMENT)
		return EBADMSG;
	reader->mapped = reader->bytes = (size_t)status.st_size / STAT_WORD * STAT_WORD;
	reader->device = status.st_dev;
	reader->inode = status.st_ino;
	reader->memory = mmap(NULL, reader->mapped, PROT_READ, MAP_SHARED, reader->fd, 0);
	if (reader->memory == MAP_FAILED) {
		reader->memory = NULL;
		return errno;
	}
	return 0;
}

/* What does not change in a header, and is kept once it was found to make sense. */
static int check_header(struct stat_reader *reader)
{
	struct stat_header header;
	int error = stat_fetch(reader, 0, &header, sizeof(header));

	if (error != 0)
		return error;
	if (header.magic != STAT_MAGIC || header.version < STAT_VERSION ||
	    header.compatible_version > STAT_VERSION || header.header_bytes < sizeof(header) ||
	    header.total_bytes < sizeof(header) || header.total_bytes > reader->mapped ||
	    header.slot_bytes < sizeof(struct stat_slot) || header.slot_bytes > LARGEST_SLOT ||
	    header.slot_bytes % STAT_WORD != 0 || header.slots_offset > header.total_bytes ||
	    header.slots_capacity > (header.total_bytes - header.slots_offset) / header.slot_bytes)
		return EBADMSG;
	reader->bytes = header.total_bytes / STAT_WORD * STAT_WORD;
	reader->slots_offset = header.slots_offset;
	reader->slots_capacity = header.slots_capacity;
	reader->slot_bytes = header.slot_bytes;
	return 0;
}

int stat_open_reader(struct stat_reader **result, const char *name)
{
	char directory[128];
	struct stat_reader *reader;
	int error = stat_directory(directory, sizeof(directory), false);

	*result = NULL;
	if (error != 0)
		return error;
	if (!is_segment_name(name))
		return ENOENT;
	reader = calloc(1, sizeof(*reader));
	if (reader == NULL)
		return ENOMEM;
	snprintf(reader->path, sizeof(reader->path), "%s/%s", directory, name);
	count_readers(1);
	error = map_file(reader);
	if (error == 0)
		error = check_header(reader);
	if (error != 0)
		stat_close_reader(reader);
	else
		*result = reader;
	return error;
}

void stat_close_reader(struct stat_reader *reader)
{
	if (reader->memory != NULL)
		munmap((void *)(uintptr_t)reader->memory, reader->mapped);
	if (reader->fd >= 0)
		close(reader->fd);
	count_readers(-1);
	free(reader);
}

bool stat_is_current(const struct stat_reader *reader)
{
	struct stat status;

	return lstat(reader->path, &status) == 0 && status.st_dev == reader->device &&
	       status.st_ino == reader->inode;
}

bool stat_is_live(const struct stat_reader *reader)
{
	if (flock(reader->fd, LOCK_SH | LOCK_NB) != 0)
		return errno == EWOULDBLOCK;
	flock(reader->fd, LOCK_UN);
	return false;
}
