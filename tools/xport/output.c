/*
 * Files that appear when they are whole, see output.h.
 *
 * `lock` decides between the thread that commits and one that has to leave on a signal: the file is
 * either there, whole, or it is not. It guards the two variables beside it and every change of
 * names. An output is on the list from when it has a partial file until that has another name.
 */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "xport.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list_entry parts = {&parts, &parts}; /* outputs with a partial file */
static bool leaving;				   /* output_discard_any was here */

enum { LONGEST_NAME_KEPT = 200 }; /* of NAME_MAX 255, so that the partial name fits */

/* The path behind symbolic links when there is a file, else as given. NULL without memory. */
static char *resolve_path(const char *path)
{
	char *resolved = realpath(path, NULL);

	return resolved != NULL || errno == ENOMEM ? resolved : strdup(path);
}

static int refuse_target(const char *path)
{
	size_t length = strlen(path);
	struct stat status;

	if (length == 0)
		return fail("the name of the output file is empty");
	if (path[length - 1] == '/')
		return fail("cannot write %s: is a directory", path);
	if (stat(path, &status) < 0)
		return XPORT_OK; /* nothing there, or creating the partial file will tell */
	if (S_ISDIR(status.st_mode))
		return fail("cannot write %s: is a directory", path);
	if (!S_ISREG(status.st_mode))
		return fail("cannot write %s: is not a regular file; leave -o out and write '> %s'",
			    path, path);
	return XPORT_OK;
}

int output_check(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
	int error = directory == NULL ? ENOMEM : 0;

	if (refuse_target(path) != XPORT_OK) {
		free(directory);
		return XPORT_FAILED;
	}
	if (error == 0 && access(directory, W_OK | X_OK) < 0)
		error = errno;
	free(directory);
	return error == 0 ? XPORT_OK : fail("cannot create %s: %s", path, strerror(error));
}

/* ".NAME.TAG.part" beside `path`; NULL without memory. */
static char *part_name(const char *path, const char *tag)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;
	char *part;

	if (asprintf(&part, "%.*s.%.*s.%s.part", (int)(name - path), path, LONGEST_NAME_KEPT, name,
		     tag) < 0)
		return NULL;
	return part;
}

void output_close(struct output *output)
{
	close(output->fd);
	free(output->path);
	free(output->part);
}

static int create_part(struct output *output)
{
	int error;

	pthread_mutex_lock(&lock);
	output->fd = leaving ? -1 : mkostemps(output->part, (int)strlen(".part"), O_CLOEXEC);
	error = errno;
	if (output->fd >= 0)
		insert_tail_list(&parts, &output->entry);
	pthread_mutex_unlock(&lock);
	return output->fd >= 0 ? 0 : error;
}

/* `path` is the output's from now on; NULL: there was no memory for it. */
static int begin(struct output *output, char *path, bool fresh)
{
	int error;

	*output = (struct output){.fd = -1, .path = path, .fresh = fresh};
	output->part = path != NULL ? part_name(path, "XXXXXX") : NULL;
	error = output->part != NULL ? create_part(output) : ENOMEM;
	if (error == 0)
		return 0;
	free(output->path);
	free(output->part);
	return error;
}

int output_open(struct output *output, const char *path)
{
	int error;

	if (refuse_target(path) != XPORT_OK)
		return XPORT_FAILED;
	error = begin(output, resolve_path(path), false);
	return error == 0 ? XPORT_OK : fail("cannot create %s: %s", path, strerror(error));
}

int output_open_fresh(struct output *output, const char *path)
{
	return begin(output, strdup(path), true);
}

/* 0 or an errno. What is closed by the end of a process is no longer locked. */
static int lock_part(int fd, uint64_t *bytes)
{
	struct stat status;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &status) < 0)
		return errno;
	*bytes = (uint64_t)status.st_size;
	return 0;
}

int output_resume(struct output *output, const char *path, uint64_t id, uint64_t *bytes)
{
	char tag[17];
	int error = ENOMEM;

	snprintf(tag, sizeof(tag), "%016" PRIx64, id);
	*output = (struct output){.fd = -1, .path = resolve_path(path)};
	initialize_list_head(&output->entry); /* not one of `parts`, which go */
	output->part = output->path != NULL ? part_name(output->path, tag) : NULL;
	if (output->part != NULL) {
		output->fd = open(output->part, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
		error = output->fd >= 0 ? lock_part(output->fd, bytes) : errno;
	}
	if (error == 0)
		return 0;
	if (output->fd >= 0)
		close(output->fd);
	free(output->path);
	free(output->part);
	return error;
}

int output_write(int fd, const char *bytes, size_t count)
{
	while (count > 0) {
		ssize_t written = write(fd, bytes, count);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return errno;
		bytes += written;
		count -= (size_t)written;
	}
	return 0;
}

/* The permissions of the file that is replaced, or those that a new one ordinarily gets. */
static mode_t final_mode(const char *path)
{
	struct stat status;
	mode_t mask;

	if (stat(path, &status) == 0)
		return status.st_mode & 0777;
	mask = umask(0);
	umask(mask);
	return 0666 & ~mask;
}

/* The new name is on the disk when the directory is. Not every file system can do that. */
static void sync_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
	int fd = directory != NULL ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	free(directory);
}

/* The partial file gets this name, unless it is taken: 0 or an errno. */
static int rename_fresh(const char *part, const char *path)
{
	if (renameat2(AT_FDCWD, part, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return errno;
	if (link(part, path) < 0) /* a file system that can't do it in one step */
		return errno;
	unlink(part);
	return 0;
}

/* The first of the names that is not taken. */
static int choose_name(struct output *output)
{
	int error = rename_fresh(output->part, output->path);

	for (unsigned i = 1; error == EEXIST; i++) {
		char *path;

		if (asprintf(&path, "%s.%u", output->path, i) < 0)
			return ENOMEM;
		error = rename_fresh(output->part, path);
		if (error == 0) {
			free(output->path);
			output->path = path;
		} else {
			free(path);
		}
	}
	return error;
}

static int rename_part(struct output *output)
{
	int error = 0;

	pthread_mutex_lock(&lock);
	if (output->fresh)
		error = choose_name(output);
	else if (rename(output->part, output->path) < 0)
		error = errno;
	if (error == 0)
		remove_entry_list(&output->entry);
	pthread_mutex_unlock(&lock);
	return error;
}

int output_name(struct output *output)
{
	mode_t mode = final_mode(output->fresh ? "" : output->path);
	int error;

	if (fchmod(output->fd, mode) < 0 || fsync(output->fd) < 0)
		return errno;
	error = rename_part(output);
	if (error == 0)
		sync_directory(output->path);
	return error;
}

int output_commit(struct output *output)
{
	int error = output_name(output);

	if (error == 0) {
		output_close(output);
		return XPORT_OK;
	}
	fail("cannot write %s: %s", output->path, strerror(error));
	output_discard(output);
	return XPORT_FAILED;
}

void output_discard(struct output *output)
{
	pthread_mutex_lock(&lock);
	unlink(output->part);
	remove_entry_list(&output->entry);
	pthread_mutex_unlock(&lock);
	output_close(output);
}

void output_discard_any(void)
{
	pthread_mutex_lock(&lock);
	for (struct list_entry *e = parts.next; e != &parts; e = e->next)
		unlink(containing_record(e, struct output, entry)->part);
	leaving = true;
	pthread_mutex_unlock(&lock);
}
