/*
 * Blocks in a segment: where they go, and how a reader that looks meanwhile is not misled.
 *
 * A slot goes FREE -> LIVE -> ENDED, and from ENDED to LIVE again for a block of the same table
 * once it has cooled off, so that a reader who has just looked it up does not find another object's
 * counts there. Slots and data are only ever appended otherwise. Every change is made with the
 * segment's epoch odd, and a slot that changes hands makes its own generation odd too: a reader
 * retries a few times, and then says that what it has is not consistent.
 *
 * There are no system calls here. A segment is memory; publish.c finds some that others can map.
 */
#include <string.h>

#include "stat/layout.h"
#include "stat/stat.h"

enum {
	TABLES = 16, /* kinds of objects in one process */
	LINE = 64,   /* blocks begin on a cache line of their own */
	BYTES_PER_SLOT = 1024,
};

struct known_table {
	const struct stat_table *table;
	uint32_t offset;
	uint32_t instances;
};

/* The writer's view, behind the segment that readers see: in the last bytes of its memory. */
struct stat_segment {
	struct kspin_lock lock; /* guards all below, and the structure of the segment */
	struct stat_header *header;
	struct stat_slot *slots;
	char *memory;
	size_t bytes;
	size_t used;
	uint32_t table_count;
	struct known_table tables[TABLES];
};

/* ---- Making one ---------------------------------------------------------------------------- */

static void copy_text(char *to, size_t room, const char *from)
{
	size_t length = strlen(from);

	if (length >= room)
		length = room - 1;
	memcpy(to, from, length);
	to[length] = '\0';
}

static size_t round_up(size_t value)
{
	return (value + LINE - 1) / LINE * LINE;
}

struct stat_segment *stat_format_segment(void *memory, size_t bytes, const char *name,
					 uint32_t process)
{
	struct stat_segment *segment;
	struct stat_header *header = memory;
	uint32_t slots_offset = (uint32_t)round_up(sizeof(*header));

	if (bytes % LINE != 0 || bytes < STAT_SMALLEST_SEGMENT || bytes > STAT_LARGEST_SEGMENT)
		return NULL;
	bytes -= round_up(sizeof(*segment));
	segment = (void *)((char *)memory + bytes);
	*header = (struct stat_header){
		.version = STAT_VERSION,
		.compatible_version = STAT_COMPATIBLE,
		.total_bytes = bytes,
		.header_bytes = sizeof(*header),
		.slot_bytes = sizeof(struct stat_slot),
		.slots_offset = slots_offset,
		.slots_capacity = (uint32_t)(bytes / BYTES_PER_SLOT),
		.process = process,
		.begun_ns = ke_query_interrupt_time(),
	};
	header->heartbeat_ns = header->begun_ns;
	copy_text(header->name, sizeof(header->name), name);
	*segment = (struct stat_segment){
		.header = header,
		.slots = (struct stat_slot *)(void *)((char *)memory + slots_offset),
		.memory = memory,
		.bytes = bytes,
		.used = slots_offset + bytes / BYTES_PER_SLOT * sizeof(struct stat_slot),
	};
	ke_initialize_spin_lock(&segment->lock);
	/* Release: who finds the magic finds the header. */
	__atomic_store_n(&header->magic, STAT_MAGIC, __ATOMIC_RELEASE);
	return segment;
}

void stat_beat(struct stat_segment *segment)
{
	if (segment != NULL)
		__atomic_store_n(&segment->header->heartbeat_ns, ke_query_interrupt_time(),
				 __ATOMIC_RELAXED);
}

/* ---- Space --------------------------------------------------------------------------------- */

/* Bytes of the data part, zero and never given twice; 0 when it is full. */
static uint32_t take_space(struct stat_segment *segment, size_t bytes)
{
	size_t offset = segment->used;

	if (round_up(bytes) > segment->bytes - offset)
		return 0;
	segment->used += round_up(bytes);
	return (uint32_t)offset;
}

/* Describes the table in the segment; 0 when there is no room. */
static uint32_t write_table(struct stat_segment *segment, const struct stat_table *table)
{
	size_t counters = sizeof(struct stat_table_record);
	size_t laws = counters + table->counter_count * sizeof(struct stat_counter_record);
	uint32_t offset =
		take_space(segment, laws + table->law_count * sizeof(struct stat_law_record));
	struct stat_table_record *record = (void *)(segment->memory + offset);
	struct stat_counter_record *counter = (void *)(segment->memory + offset + counters);
	struct stat_law_record *law = (void *)(segment->memory + offset + laws);

	if (offset == 0)
		return 0;
	*record = (struct stat_table_record){.counter_count = table->counter_count,
					     .law_count = table->law_count,
					     .value_count = table->value_count,
					     .counters_offset = offset + (uint32_t)counters,
					     .laws_offset = offset + (uint32_t)laws};
	copy_text(record->room, sizeof(record->room), table->room);
	copy_text(record->object, sizeof(record->object), table->object);
	for (uint32_t i = 0; i < table->counter_count; i++) {
		copy_text(counter[i].name, sizeof(counter[i].name), table->counters[i].name);
		copy_text(counter[i].unit, sizeof(counter[i].unit), table->counters[i].unit);
		copy_text(counter[i].help, sizeof(counter[i].help), table->counters[i].help);
		counter[i].kind = table->counters[i].kind;
		counter[i].value = table->counters[i].value;
	}
	for (uint32_t i = 0; i < table->law_count; i++)
		law[i] = (struct stat_law_record){.first = table->laws[i].first,
						  .second = table->laws[i].second,
						  .equal_at_end = table->laws[i].equal_at_end};
	return offset;
}

static struct known_table *know_table(struct stat_segment *segment, const struct stat_table *table)
{
	struct known_table *known = segment->tables;
	uint32_t offset;

	for (; known < segment->tables + segment->table_count; known++)
		if (known->table == table)
			return known;
	offset = segment->table_count < TABLES ? write_table(segment, table) : 0;
	if (offset == 0)
		return NULL;
	*known = (struct known_table){.table = table, .offset = offset};
	segment->table_count++;
	return known;
}

/* One that ended long ago and had the same table, or a new one; NULL when there is none. */
static struct stat_slot *take_slot(struct stat_segment *segment, const struct known_table *known,
				   uint64_t now)
{
	struct stat_slot *slot = segment->slots;
	uint32_t offset;

	for (; slot < segment->slots + segment->header->slots_used; slot++)
		if (slot->state == STAT_SLOT_ENDED && slot->table_offset == known->offset &&
		    now - slot->removed_ns >= STAT_COOLING_NS)
			return slot;
	if (segment->header->slots_used == segment->header->slots_capacity)
		return NULL;
	offset = take_space(segment, known->table->value_count * sizeof(uint64_t));
	if (offset == 0)
		return NULL;
	slot->values_offset = offset;
	slot->table_offset = known->offset;
	return slot;
}

/* ---- Blocks -------------------------------------------------------------------------------- */

/* Twice around each change of structure. The fences keep what is between them between them. */
static void turn_epoch(struct stat_segment *segment)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&segment->header->epoch, segment->header->epoch + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void fill_slot(struct stat_segment *segment, struct stat_slot *slot, uint32_t instance,
		      uint32_t value_count, uint64_t now)
{
	uint64_t *values = (void *)(segment->memory + slot->values_offset);

	__atomic_store_n(&slot->generation, slot->generation + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < value_count; i++)
		__atomic_store_n(&values[i], 0, __ATOMIC_RELAXED);
	slot->instance = instance;
	slot->added_ns = now;
	slot->removed_ns = 0;
	__atomic_store_n(&slot->state, STAT_SLOT_LIVE, __ATOMIC_RELEASE);
	__atomic_store_n(&slot->generation, slot->generation + 1, __ATOMIC_RELEASE);
}

/* NULL when the segment is full. */
static struct stat_slot *add_to_segment(struct stat_segment *segment,
					const struct stat_table *table)
{
	uint64_t now = ke_query_interrupt_time();
	kirql irql = ke_acquire_spin_lock(&segment->lock);
	struct known_table *known;
	struct stat_slot *slot = NULL;
	uint32_t next = segment->header->slots_used;

	turn_epoch(segment);
	known = know_table(segment, table);
	if (known != NULL)
		slot = take_slot(segment, known, now);
	if (slot == NULL) {
		segment->header->blocks_refused++;
	} else {
		fill_slot(segment, slot, ++known->instances, table->value_count, now);
		if (slot == segment->slots + next)
			__atomic_store_n(&segment->header->slots_used, next + 1, __ATOMIC_RELEASE);
	}
	turn_epoch(segment);
	ke_release_spin_lock(&segment->lock, irql);
	return slot;
}

void stat_add_block(struct stat_block *block, struct stat_segment *segment,
		    const struct stat_table *table)
{
	struct stat_slot *slot = segment != NULL ? add_to_segment(segment, table) : NULL;

	*block = (struct stat_block){.values = NULL};
	if (slot == NULL)
		return;
	block->values = (void *)(segment->memory + slot->values_offset);
	block->segment = segment;
	block->slot = (uint32_t)(slot - segment->slots);
}

void stat_remove_block(struct stat_block *block)
{
	struct stat_segment *segment = block->segment;
	struct stat_slot *slot;
	kirql irql;

	if (segment == NULL)
		return;
	irql = ke_acquire_spin_lock(&segment->lock);
	slot = &segment->slots[block->slot];
	turn_epoch(segment);
	slot->removed_ns = ke_query_interrupt_time();
	__atomic_store_n(&slot->state, STAT_SLOT_ENDED, __ATOMIC_RELEASE);
	turn_epoch(segment);
	ke_release_spin_lock(&segment->lock, irql);
	*block = (struct stat_block){.values = NULL};
}
