/*
 * The segment, byte by byte: what writer and reader agree on. Offsets are from the segment's first
 * byte and never pointers, for every process maps it elsewhere. All numbers are in host byte order,
 * all strings end with a zero byte. Readers take nothing of this for granted: see read.h.
 *
 *      0                 struct stat_header
 *      slots_offset      struct stat_slot [slots_capacity], slots_used of them in use: one a block
 *      data_offset ...   tables (stat_table_record, its counters, its laws) and values, in the
 *                        order in which they were needed
 */
#ifndef XPORT_STAT_LAYOUT_H
#define XPORT_STAT_LAYOUT_H

#include <stdint.h>

#define STAT_MAGIC UINT64_C(0x74617473746f7078) /* "xpotstat" */

enum {
	STAT_VERSION = 1,
	STAT_COMPATIBLE = 1, /* the oldest version whose readers can read this one */
	STAT_LARGEST_SEGMENT = 16 << 20,
};

struct stat_header {
	uint64_t magic; /* written last, with release */
	uint32_t version;
	uint32_t compatible_version;
	uint64_t total_bytes;
	uint32_t header_bytes;
	uint32_t slot_bytes;
	uint32_t slots_offset;
	uint32_t slots_capacity;
	uint32_t slots_used; /* only grows */
	uint32_t process;    /* for display; whether it lives, the lock on the file tells */
	uint64_t epoch;	     /* odd while blocks are added or removed */
	uint64_t begun_ns;   /* CLOCK_MONOTONIC */
	uint64_t heartbeat_ns;
	uint64_t begun_realtime_ns;
	uint64_t blocks_refused; /* for want of room: what they would count is missing */
	char name[32];
	char boot_id[40]; /* in which boot the times were taken */
};

enum stat_slot_state { STAT_SLOT_FREE, STAT_SLOT_LIVE, STAT_SLOT_ENDED };

struct stat_slot {
	uint32_t state;
	uint32_t instance; /* the object's number, from 1, among those of its table */
	uint32_t table_offset;
	uint32_t values_offset;
	uint32_t generation; /* odd while the slot changes hands; grows */
	uint32_t reserved;
	uint64_t added_ns;
	uint64_t removed_ns;
	uint64_t spare[3];
};

struct stat_table_record {
	char room[16];
	char object[16];
	uint32_t counter_count;
	uint32_t law_count;
	uint32_t value_count;
	uint32_t counters_offset;
	uint32_t laws_offset;
	uint32_t reserved[3];
};

struct stat_counter_record {
	char name[32];
	char unit[16];
	uint32_t kind;
	uint32_t value;
	char help[104];
};

struct stat_law_record {
	uint32_t first;
	uint32_t second;
	uint32_t equal_at_end;
	uint32_t reserved;
};

_Static_assert(sizeof(struct stat_header) == 160, "the layout is a contract");
_Static_assert(sizeof(struct stat_slot) == 64, "the layout is a contract");
_Static_assert(sizeof(struct stat_table_record) == 64, "the layout is a contract");
_Static_assert(sizeof(struct stat_counter_record) == 160, "the layout is a contract");
_Static_assert(sizeof(struct stat_law_record) == 16, "the layout is a contract");

#endif
