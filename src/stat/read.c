/* Reading blocks of segments that are not to be believed, see read.h. */
#include <errno.h>
#include <string.h>

#include "stat/layout.h"
#include "stat/map.h"

/* ---- Text ---------------------------------------------------------------------------------- */

/* Names become file names, beside those that stand in every directory. */
static bool take_name(char *to, const char *from, size_t room)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_.-";
	size_t length = strnlen(from, room);

	if (length == 0 || length == room || from[0] == '.' || strspn(from, letters) != length ||
	    strcmp(from, "stat") == 0 || strcmp(from, "state") == 0 || strcmp(from, "info") == 0)
		return false;
	memcpy(to, from, length + 1);
	return true;
}

static void take_text(char *to, const char *from, size_t room)
{
	size_t length = strnlen(from, room - 1);

	for (size_t i = 0; i < length; i++)
		to[i] = from[i];
	to[length] = '\0';
	for (; *to != '\0'; to++)
		if (*to < ' ' || *to > '~')
			*to = '?';
}

/* ---- The header --------------------------------------------------------------------------- */

int stat_read_process(struct stat_reader *reader, struct stat_process *process)
{
	struct stat_header header;
	int error;

	for (int i = 0; i <= STAT_READ_RETRIES; i++) {
		error = stat_fetch(reader, 0, &header, sizeof(header));
		if (error != 0)
			return error;
		if (header.epoch % 2 == 0)
			break;
	}
	*process = (struct stat_process){
		.process = header.process,
		.version = header.version,
		.slots = header.slots_used,
		.epoch = header.epoch,
		.begun_ns = header.begun_ns,
		.heartbeat_ns = header.heartbeat_ns,
		.begun_realtime_ns = header.begun_realtime_ns,
		.blocks_refused = header.blocks_refused,
		.consistent = header.epoch % 2 == 0,
	};
	if (process->slots > reader->slots_capacity)
		process->slots = reader->slots_capacity;
	if (process->slots > STAT_MOST_SLOTS)
		process->slots = STAT_MOST_SLOTS;
	take_text(process->name, header.name, sizeof(process->name));
	take_text(process->boot_id, header.boot_id, sizeof(process->boot_id));
	return 0;
}

/* ---- Blocks -------------------------------------------------------------------------------- */

static uint64_t slot_offset(const struct stat_reader *reader, uint32_t slot)
{
	return reader->slots_offset + (uint64_t)slot * reader->slot_bytes;
}

static uint32_t width(enum stat_kind kind)
{
	return kind == STAT_HISTOGRAM ? STAT_HISTOGRAM_VALUES : 1;
}

static int describe_counters(const struct stat_reader *reader,
			     const struct stat_table_record *table, struct stat_block_copy *block)
{
	for (uint32_t i = 0; i < table->counter_count; i++) {
		struct stat_counter_copy *counter = &block->counters[i];
		struct stat_counter_record record;
		int error =
			stat_fetch(reader, table->counters_offset + i * (uint64_t)sizeof(record),
				   &record, sizeof(record));

		if (error != 0)
			return error;
		if (record.kind > STAT_HISTOGRAM ||
		    (uint64_t)record.value + width(record.kind) > table->value_count ||
		    !take_name(counter->name, record.name, sizeof(record.name)))
			return EBADMSG;
		take_text(counter->unit, record.unit, sizeof(record.unit));
		take_text(counter->help, record.help, sizeof(record.help));
		counter->kind = record.kind;
		counter->value = record.value;
	}
	return 0;
}

/* The order in which values are read makes laws hold whose first counter comes first. */
static int describe_laws(const struct stat_reader *reader, const struct stat_table_record *table,
			 struct stat_block_copy *block)
{
	for (uint32_t i = 0; i < table->law_count; i++) {
		struct stat_law_record record;
		int error = stat_fetch(reader, table->laws_offset + i * (uint64_t)sizeof(record),
				       &record, sizeof(record));

		if (error != 0)
			return error;
		if (record.first >= record.second || record.second >= table->counter_count)
			return EBADMSG;
		block->laws[i] = (struct stat_law){.first = record.first,
						   .second = record.second,
						   .equal_at_end = record.equal_at_end != 0};
	}
	return 0;
}

static int describe(const struct stat_reader *reader, struct stat_block_copy *block)
{
	struct stat_table_record table;
	int error = stat_fetch(reader, block->table_offset, &table, sizeof(table));

	if (error != 0)
		return error;
	if (table.counter_count > STAT_MOST_COUNTERS || table.law_count > STAT_MOST_LAWS ||
	    !take_name(block->room, table.room, sizeof(table.room)) ||
	    !take_name(block->object, table.object, sizeof(table.object)))
		return EBADMSG;
	error = describe_counters(reader, &table, block);
	if (error == 0)
		error = describe_laws(reader, &table, block);
	block->counter_count = table.counter_count;
	block->law_count = table.law_count;
	return error;
}

static int read_counter(const struct stat_reader *reader, const struct stat_block_copy *block,
			struct stat_counter_copy *counter)
{
	uint64_t values[STAT_HISTOGRAM_VALUES];
	int error = stat_fetch(reader, block->values_offset + (uint64_t)counter->value * STAT_WORD,
			       values, width(counter->kind) * STAT_WORD);

	counter->count = values[0];
	if (error != 0 || counter->kind != STAT_HISTOGRAM)
		return error;
	memcpy(counter->buckets, values, sizeof(counter->buckets));
	counter->sum = values[STAT_BUCKETS];
	for (uint32_t i = 1; i < STAT_BUCKETS; i++)
		counter->count += values[i];
	return 0;
}

/* One attempt; *stable says whether the block was the same one all the while. */
static int try_values(const struct stat_reader *reader, struct stat_block_copy *block,
		      uint32_t first, uint32_t end, bool *stable)
{
	uint64_t offset = slot_offset(reader, block->slot);
	struct stat_slot before, slot, after;
	int error = stat_fetch(reader, offset, &before, sizeof(before));

	if (error == 0)
		error = stat_fetch(reader, offset, &slot, sizeof(slot));
	if (error != 0)
		return error;
	if (slot.state == STAT_SLOT_FREE || slot.instance != block->instance ||
	    slot.table_offset != block->table_offset || slot.values_offset != block->values_offset)
		return ENOENT;
	/* Before the values: when it has ended they are the last ones. */
	block->ended = slot.state == STAT_SLOT_ENDED;
	block->added_ns = slot.added_ns;
	block->removed_ns = block->ended ? slot.removed_ns : 0;
	for (uint32_t i = end; i-- > first && error == 0;)
		error = read_counter(reader, block, &block->counters[i]);
	if (error == 0)
		error = stat_fetch(reader, offset, &after, sizeof(after));
	*stable = error == 0 && before.generation == after.generation && after.generation % 2 == 0;
	return error;
}

int stat_read_values(struct stat_reader *reader, struct stat_block_copy *block, uint32_t first,
		     uint32_t end)
{
	int error = 0;

	block->consistent = false;
	block->time_ns = ke_query_interrupt_time();
	for (int i = 0; i <= STAT_READ_RETRIES && error == 0 && !block->consistent; i++)
		error = try_values(reader, block, first, end, &block->consistent);
	return error;
}

int stat_read_block(struct stat_reader *reader, uint32_t slot, struct stat_block_copy *block)
{
	struct stat_slot record;
	int error = slot < reader->slots_capacity
			    ? stat_fetch(reader, slot_offset(reader, slot), &record, sizeof(record))
			    : ENOENT;

	if (error != 0)
		return error;
	if (record.state == STAT_SLOT_FREE)
		return ENOENT;
	if (record.state > STAT_SLOT_ENDED)
		return EBADMSG;
	block->slot = slot;
	block->instance = record.instance;
	block->table_offset = record.table_offset;
	block->values_offset = record.values_offset;
	error = describe(reader, block);
	return error != 0 ? error : stat_read_values(reader, block, 0, block->counter_count);
}
