/* Received files by their senders' addresses, see directory.h. */
#include "directory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "xport.h"

bool directory_is_meant(const char *path)
{
	size_t length = strlen(path);
	struct stat status;

	return (length > 0 && path[length - 1] == '/') ||
	       (stat(path, &status) == 0 && S_ISDIR(status.st_mode));
}

/* Without the slashes at its end. */
static int length_of(const char *directory)
{
	size_t length = strlen(directory);

	while (length > 0 && directory[length - 1] == '/')
		length--;
	return (int)length;
}

static int open_output(struct output *output, const char *directory, const char *name)
{
	char *path;
	int error;

	if (asprintf(&path, "%.*s/%s", length_of(directory), directory, name) < 0)
		return ENOMEM;
	error = output_open_fresh(output, path);
	free(path);
	return error;
}

int directory_prepare(const char *directory)
{
	struct output probe;
	int error;

	if (mkdir(directory, 0777) < 0 && errno != EEXIST)
		return fail("cannot make the directory %s: %s", directory, strerror(errno));
	error = open_output(&probe, directory, "probe");
	if (error != 0)
		return fail("cannot write into the directory %s: %s", directory, strerror(error));
	output_discard(&probe);
	return XPORT_OK;
}

/* "127.0.0.1-41234", "::1-41234". */
static struct text name_of(const struct transport_address *peer)
{
	struct text name = format_address(peer);
	char *colon = strrchr(name.text, ':');

	*colon = '-';
	if (name.text[0] == '[') {
		memmove(colon - 1, colon, strlen(colon) + 1);
		memmove(name.text, name.text + 1, strlen(name.text));
	}
	return name;
}

/* There are file systems that do not take colons, which an IPv6 address is made of. */
int directory_open_output(struct output *output, const char *directory,
			  const struct transport_address *peer)
{
	struct text name = name_of(peer);
	int error = open_output(output, directory, name.text);

	if (error != EINVAL)
		return error;
	for (char *colon = name.text; (colon = strchr(colon, ':')) != NULL;)
		*colon = '_';
	return open_output(output, directory, name.text);
}
