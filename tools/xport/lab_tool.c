/* Running the compiler and its friends. */
#include "lab.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static bool redirect(posix_spawn_file_actions_t *actions, int descriptor, const char *path)
{
	return path == NULL ||
	       posix_spawn_file_actions_addopen(actions, descriptor, path,
						O_WRONLY | O_CREAT | O_TRUNC, 0666) == 0;
}

int lab_run_tool(char *const *arguments, const char *output, const char *errors)
{
	posix_spawn_file_actions_t actions;
	int status = -1;
	pid_t child;

	fflush(stdout);
	if (posix_spawn_file_actions_init(&actions) != 0)
		return -1;
	if (!redirect(&actions, STDOUT_FILENO, output) ||
	    !redirect(&actions, STDERR_FILENO, errors) ||
	    posix_spawnp(&child, arguments[0], &actions, NULL, arguments, environ) != 0 ||
	    waitpid(child, &status, 0) < 0)
		status = -1;
	posix_spawn_file_actions_destroy(&actions);
	return status != -1 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

char *lab_read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t length = 0, room = 0, got;

	if (file == NULL)
		return NULL;
	do {
		if (length + 4096 >= room) {
			char *larger = realloc(text, room = room * 2 + 8192);

			if (larger == NULL)
				break;
			text = larger;
		}
		got = fread(text + length, 1, room - length - 1, file);
		length += got;
	} while (got > 0);
	fclose(file);
	if (text != NULL)
		text[length] = '\0';
	return text;
}
