/* Counter blocks: the writer's half, which counts the same way published or not. */
#include <string.h>

#include "executive.h"
#include "stat/layout.h"
#include "stat/stat.h"
#include "suites.h"

enum { POSTED, DONE, LATENCY, VALUES = LATENCY + STAT_HISTOGRAM_VALUES };

static const struct stat_counter counters[] = {
	{"posted", STAT_COUNTER, POSTED, "requests", "requests that were handed over"},
	{"done", STAT_COUNTER, DONE, "requests", "requests that have ended"},
	{"latency_ns", STAT_HISTOGRAM, LATENCY, "ns", "from the one to the other"},
};
static const struct stat_law laws[] = {{0, 1, true}};
static const struct stat_table table = {.room = "tests",
					.object = "thing",
					.counter_count = 3,
					.law_count = 1,
					.value_count = VALUES,
					.counters = counters,
					.laws = laws};

static const struct stat_header *header_of(const char *memory)
{
	return (const void *)(memory + (64 - (uintptr_t)memory % 64));
}

static const struct stat_slot *slot_of(const char *aligned, uint32_t slot)
{
	const struct stat_header *header = (const void *)aligned;

	return (const struct stat_slot *)(const void *)(aligned + header->slots_offset) + slot;
}

static struct stat_segment *make_segment(char **memory)
{
	enum { LINE = 64 };
	char *aligned;

	*memory = ex_allocate_pool(STAT_SMALLEST_SEGMENT + LINE);
	memset(*memory, 0, STAT_SMALLEST_SEGMENT + LINE);
	aligned = *memory + (LINE - (uintptr_t)*memory % LINE);
	CU_ASSERT_PTR_NULL(stat_format_segment(aligned, STAT_SMALLEST_SEGMENT - 1, "small", 1));
	return stat_format_segment(aligned, STAT_SMALLEST_SEGMENT, "test", 7);
}

static void count_samples(struct stat_block *block)
{
	for (uint64_t sample = 0; sample < 1000; sample++)
		stat_record(block, LATENCY, sample);
	stat_record(block, LATENCY, UINT64_MAX);
}

static void counts(void *context)
{
	struct stat_segment *segment;
	struct stat_block block;
	char *memory;

	(void)context;
	segment = make_segment(&memory);
	stat_add_block(&block, segment, &table);
	stat_count(&block, POSTED, 3);
	stat_count(&block, POSTED, 1);
	stat_count_shared(&block, DONE, 2);
	count_samples(&block);
	CU_ASSERT_EQUAL(stat_read(&block, POSTED), 4);
	CU_ASSERT_EQUAL(stat_read(&block, DONE), 2);
	CU_ASSERT_EQUAL(stat_read(&block, LATENCY), 1);	      /* the sample 0 */
	CU_ASSERT_EQUAL(stat_read(&block, LATENCY + 9), 256); /* 256 to 511 */
	CU_ASSERT_EQUAL(stat_read(&block, LATENCY + STAT_BUCKETS - 1), 1);
	CU_ASSERT_EQUAL(stat_read(&block, LATENCY + STAT_BUCKETS), 999 * 500 + UINT64_MAX);
	CU_ASSERT(stat_time(&block) > 0);
	stat_remove_block(&block);
	count_samples(&block); /* of nothing any more */
	ex_free_pool(memory);
}

static void test_counts(void)
{
	in_executive(counts, NULL);
}

static void in_segment(void *context)
{
	const struct stat_table_record *record;
	const struct stat_counter_record *counter;
	struct stat_segment *segment;
	struct stat_block block;
	char *memory, *aligned;

	(void)context;
	segment = make_segment(&memory);
	CU_ASSERT_PTR_NOT_NULL_FATAL(segment);
	aligned = memory + (64 - (uintptr_t)memory % 64);
	stat_add_block(&block, segment, &table);
	stat_count(&block, POSTED, 5);
	CU_ASSERT_EQUAL(((struct stat_header *)(void *)aligned)->magic, STAT_MAGIC);
	CU_ASSERT_EQUAL(slot_of(aligned, 0)->state, STAT_SLOT_LIVE);
	record = (void *)(aligned + slot_of(aligned, 0)->table_offset);
	CU_ASSERT_STRING_EQUAL(record->room, "tests");
	CU_ASSERT_EQUAL(record->counter_count, 3);
	counter = (void *)(aligned + record->counters_offset);
	CU_ASSERT_STRING_EQUAL(counter[2].name, "latency_ns");
	CU_ASSERT_STRING_EQUAL(counter[2].unit, "ns");
	CU_ASSERT_EQUAL(*(uint64_t *)(void *)(aligned + slot_of(aligned, 0)->values_offset), 5);
	stat_remove_block(&block);
	CU_ASSERT_EQUAL(slot_of(aligned, 0)->state, STAT_SLOT_ENDED);
	CU_ASSERT_EQUAL(*(uint64_t *)(void *)(aligned + slot_of(aligned, 0)->values_offset), 5);

	stat_add_block(&block, segment, &table); /* the first has not cooled off */
	CU_ASSERT_EQUAL(block.slot, 1);
	CU_ASSERT_EQUAL(slot_of(aligned, 1)->instance, 2);
	CU_ASSERT_EQUAL(((struct stat_header *)(void *)aligned)->epoch % 2, 0);
	stat_remove_block(&block);
	ex_free_pool(memory);
}

static void test_in_segment(void)
{
	in_executive(in_segment, NULL);
}

static void full_segment(void *context)
{
	enum { BLOCKS = STAT_SMALLEST_SEGMENT / 64 };
	struct stat_block *blocks = ex_allocate_pool(BLOCKS * sizeof(*blocks));
	struct stat_segment *segment;
	uint64_t counted = 0;
	char *memory;

	(void)context;
	segment = make_segment(&memory);
	for (int i = 0; i < BLOCKS; i++) {
		stat_add_block(&blocks[i], segment, &table);
		stat_count(&blocks[i], POSTED, 1);
		counted += stat_is_counted(&blocks[i]);
	}
	CU_ASSERT(counted > 0 && counted < BLOCKS);
	CU_ASSERT_EQUAL(header_of(memory)->blocks_refused, BLOCKS - counted);
	for (int i = 0; i < BLOCKS; i++) {
		CU_ASSERT_EQUAL(stat_read(&blocks[i], POSTED), stat_is_counted(&blocks[i]));
		stat_remove_block(&blocks[i]);
	}
	ex_free_pool(blocks);
	ex_free_pool(memory);
}

static void test_full_segment(void)
{
	in_executive(full_segment, NULL);
}

enum { ROUNDS = EXECUTIVE_HOST ? 100000 : 20 };

static void count_both(void *context)
{
	struct stat_block *block = context;

	for (int i = 0; i < ROUNDS; i++) {
		stat_count_shared(block, POSTED, 1);
		stat_count_shared(block, DONE, 1);
	}
}

/* A reader that takes the later count first never finds more done than posted. */
static void several_writers(void *context)
{
	struct stat_segment *segment;
	struct stat_block block;
	struct kthread writer;
	bool lawful = true;
	char *memory;

	(void)context;
	segment = make_segment(&memory);
	stat_add_block(&block, segment, &table);
	ps_create_system_thread(&writer, count_both, &block);
	count_both(&block);
	for (int i = 0; i < 1000; i++) {
		uint64_t done = stat_read(&block, DONE);

		lawful = lawful && stat_read(&block, POSTED) >= done;
	}
	CU_ASSERT(lawful);
	ke_wait_for_thread(&writer);
	CU_ASSERT_EQUAL(stat_read(&block, POSTED), 2 * ROUNDS);
	CU_ASSERT_EQUAL(stat_read(&block, DONE), 2 * ROUNDS);
	stat_remove_block(&block);
	ex_free_pool(memory);
}

static void test_several_writers(void)
{
	in_executive(several_writers, NULL);
}

void register_stat_suite(void)
{
	static const struct test_case cases[] = {
		{"counts and samples add up; without a segment nothing is counted", test_counts},
		{"a published block describes itself, and stays when its owner goes",
		 test_in_segment},
		{"when the segment is full, it says how many blocks are missing",
		 test_full_segment},
		{"several writers lose no count, and later stations are never ahead",
		 test_several_writers},
		{NULL, NULL},
	};

	add_suite("stat", cases);
}
