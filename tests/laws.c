#include <stdio.h>
#include <string.h>

#include "executive.h"
#include "laws.h"
#include "stat/layout.h"
#include "transport_client.h"

enum { SEGMENT_BYTES = 256 << 10, LINE = 64 };

void begin_counted(struct counted *counted)
{
	counted->memory = need_pool(SEGMENT_BYTES + LINE);
	memset(counted->memory, 0, SEGMENT_BYTES + LINE);
	counted->bytes = counted->memory + (LINE - (uintptr_t)counted->memory % LINE);
	counted->segment = stat_format_segment(counted->bytes, SEGMENT_BYTES, "test", 1);
}

/* ---- Looking ------------------------------------------------------------------------------- */

struct block {
	const struct stat_slot *slot;
	const struct stat_table_record *table;
	const struct stat_counter_record *counters;
	const struct stat_law_record *laws;
	const uint64_t *values;
};

static bool find_block(const struct counted *counted, uint32_t index, struct block *block)
{
	const struct stat_header *header = (const void *)counted->bytes;

	if (index >= header->slots_used)
		return false;
	block->slot = (const void *)(counted->bytes + header->slots_offset +
				     index * sizeof(struct stat_slot));
	block->table = (const void *)(counted->bytes + block->slot->table_offset);
	block->counters = (const void *)(counted->bytes + block->table->counters_offset);
	block->laws = (const void *)(counted->bytes + block->table->laws_offset);
	block->values = (const void *)(counted->bytes + block->slot->values_offset);
	return true;
}

/* A counter's value; of a histogram, how many samples it has. */
static uint64_t value_of(const struct block *block, uint32_t counter)
{
	const struct stat_counter_record *record = &block->counters[counter];
	uint64_t sum = 0;

	if (record->kind != STAT_HISTOGRAM)
		return block->values[record->value];
	for (uint32_t i = 0; i < STAT_BUCKETS; i++)
		sum += block->values[record->value + i];
	return sum;
}

static unsigned broken_laws(const struct block *block)
{
	unsigned broken = 0;

	for (uint32_t i = 0; i < block->table->law_count; i++) {
		const struct stat_law_record *law = &block->laws[i];
		uint64_t first = value_of(block, law->first), second = value_of(block, law->second);

		if (law->equal_at_end ? first == second : first >= second)
			continue;
		printf("\n    %s/%s.%u: %s %llu, %s %llu\n", block->table->room,
		       block->table->object, block->slot->instance,
		       block->counters[law->first].name, (unsigned long long)first,
		       block->counters[law->second].name, (unsigned long long)second);
		broken++;
	}
	return broken;
}

unsigned count_broken_laws(const struct counted *counted)
{
	struct block block;
	unsigned broken = 0;

	for (uint32_t i = 0; find_block(counted, i, &block); i++)
		broken += broken_laws(&block);
	return broken;
}

void end_counted(struct counted *counted)
{
	struct block block;

	for (uint32_t i = 0; find_block(counted, i, &block); i++)
		CU_ASSERT_EQUAL(block.slot->state, STAT_SLOT_ENDED);
	CU_ASSERT_EQUAL(count_broken_laws(counted), 0);
	ex_free_pool(counted->memory);
}

uint64_t sum_of(const struct counted *counted, const char *room, const char *counter)
{
	struct block block;
	uint64_t sum = 0;
	bool found = false;

	for (uint32_t i = 0; find_block(counted, i, &block); i++)
		for (uint32_t k = 0; k < block.table->counter_count; k++)
			if (strcmp(block.table->room, room) == 0 &&
			    strcmp(block.counters[k].name, counter) == 0) {
				sum += value_of(&block, k);
				found = true;
			}
	CU_ASSERT(found);
	return sum;
}
