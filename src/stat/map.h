/*
 * Between map.c and read.c: a segment that is mapped, and the one way to its bytes.
 */
#ifndef XPORT_STAT_MAP_H
#define XPORT_STAT_MAP_H

#include <sys/types.h>

#include "stat/read.h"

enum { STAT_WORD = sizeof(uint64_t) };

struct stat_reader {
	const char *memory;
	size_t mapped;
	size_t bytes; /* of the segment, not more than mapped; nothing beyond is read */
	uint32_t slots_offset;
	uint32_t slots_capacity;
	uint32_t slot_bytes;
	int fd;
	dev_t device;
	ino_t inode;
	char path[256];
};

/*
 * Copies words, first to last, each with acquire. The offset need not be believed: it is checked
 * against what is mapped. `bytes` is a multiple of 8. 0, EBADMSG, or EIO when the file was cut
 * short.
 */
int stat_fetch(const struct stat_reader *reader, uint64_t offset, void *to, size_t bytes);

#endif
