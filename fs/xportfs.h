/* What the commands know of the daemon: how to ask the one that serves a mount who it is. */
#ifndef XPORTFS_H
#define XPORTFS_H

#include <stdint.h>
#include <sys/ioctl.h>

/* On the file README: the process id of the daemon, as uint32_t. */
#define XPORTFS_PROCESS _IOR('x', 1, uint32_t)

#endif
