/* The verbs `xport sim` and `xport replay`: a program beside this one, linked with the simulator.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "xport.h"

enum { PATH_BYTES = 4096, MOST_ARGUMENTS = 64 };

/* "DIR/xport-sim" for "DIR/xport", and so for xport's other flavours. */
static bool find_program(char *path)
{
	char self[PATH_BYTES];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *name;

	if (length < 0)
		return false;
	self[length] = '\0';
	name = strrchr(self, '/');
	*name++ = '\0';
	return snprintf(path, PATH_BYTES, "%s/xport-sim%s", self, name + strlen("xport")) <
	       PATH_BYTES;
}

int cmd_sim(int argc, char **argv)
{
	char path[PATH_BYTES];
	char *arguments[MOST_ARGUMENTS + 2] = {path};

	if (argc > MOST_ARGUMENTS)
		return usage("%d words are too many", argc);
	if (!find_program(path))
		return fail("cannot tell where xport stands: %s", strerror(errno));
	memcpy(arguments + 1, argv, (size_t)argc * sizeof(argv[0]));
	execv(path, arguments);
	return fail("cannot run %s: %s; 'tools/build build' makes it", path, strerror(errno));
}
