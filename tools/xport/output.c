/*
 * Files that appear when they are whole, see output.h.
 *
 * `lock` decides between the thread that commits and one that has to leave on a signal: the file is
 * either there, whole, or it is not. It guards the two variables beside it and every change of
 * names.
 */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "xport.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct output *current; /* the one that is open */
static bool leaving;		     /* output_discard_any was here */

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

/* ".NAME.XXXXXX.part" beside `path`; NULL without memory. */
static char *part_template(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;
	char *part;

	if (asprintf(&part, "%.*s.%.*s.XXXXXX.part", (int)(name - path), path, LONGEST_NAME_KEPT,
		     name) < 0)
		return NULL;
	return part;
}

static void free_output(struct output *output)
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
		current = output;
	pthread_mutex_unlock(&lock);
	return output->fd >= 0 ? 0 : error;
}

int output_open(struct output *output, const char *path)
{
	int error;

	if (refuse_target(path) != XPORT_OK)
		return XPORT_FAILED;
	output->fd = -1;
	output->path = resolve_path(path);
	output->part = output->path != NULL ? part_template(output->path) : NULL;
	error = output->part != NULL ? create_part(output) : ENOMEM;
	if (error == 0)
		return XPORT_OK;
	free(output->path);
	free(output->part);
	return fail("cannot create %s: %s", path, strerror(error));
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

static int rename_part(struct output *output)
{
	int error = 0;

	pthread_mutex_lock(&lock);
	if (rename(output->part, output->path) < 0)
		error = errno;
	else
		current = NULL;
	pthread_mutex_unlock(&lock);
	return error;
}

int output_commit(struct output *output)
{
	int error = 0;

	if (fchmod(output->fd, final_mode(output->path)) < 0 || fsync(output->fd) < 0)
		error = errno;
	if (error == 0)
		error = rename_part(output);
	if (error != 0) {
		fail("cannot write %s: %s", output->path, strerror(error));
		output_discard(output);
		return XPORT_FAILED;
	}
	sync_directory(output->path);
	free_output(output);
	return XPORT_OK;
}

void output_discard(struct output *output)
{
	pthread_mutex_lock(&lock);
	unlink(output->part);
	current = NULL;
	pthread_mutex_unlock(&lock);
	free_output(output);
}

void output_discard_any(void)
{
	pthread_mutex_lock(&lock);
	if (current != NULL)
		unlink(current->part);
	current = NULL;
	leaving = true;
	pthread_mutex_unlock(&lock);
}
