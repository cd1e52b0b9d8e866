#ifndef XPORT_DIRECTORY_H
#define XPORT_DIRECTORY_H

/*
 * A directory of received files, each called by its sender's address: DIRECTORY/127.0.0.1-41234. A
 * file appears when it is whole; what has that name already stays, and the new one gets a number
 * behind it.
 */

#include "output.h"
#include "tdi/tdi.h"

/* Whether the name is that of a directory, which is there, or ends in '/' and will be made. */
bool directory_is_meant(const char *path);

/* Makes it if need be, and sees whether it takes files; XPORT_OK, or says why not. */
int directory_prepare(const char *directory);

/* A partial file in it, for the sender of this address. Returns 0 or an errno. */
int directory_open_output(struct output *output, const char *directory,
			  const struct transport_address *peer);

#endif
