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

static const struct stat_slot *slot_of(const char *memory, uint32_t slot)
{
	const struct stat_header *header = (const void *)memory;

	return (const struct stat_slot *)(const void *)(memory + header->slots_offset) + slot;
}

static void own_memory(void *context)
{
	uint64_t own[VALUES];
	struct stat_block block;

	(void)context;
	memset(own, 0xff, sizeof(own));
	stat_add_block(&block, NULL, &table, own);
	stat_count(&block, POSTED, 3);
	stat_count_shared(&block, DONE, 2);
	for (uint64_t sample = 0; sample < 1000; sample++)
		stat_record(&block, LATENCY, sample);
	CU_ASSERT_EQUAL(own[POSTED], 3);
	CU_ASSERT_EQUAL(own[DONE], 2);
	CU_ASSERT_EQUAL(own[LATENCY], 1);	/* the sample 0 */
	CU_ASSERT_EQUAL(own[LATENCY + 9], 256); /* 256 to 511 */
	CU_ASSERT_EQUAL(own[LATENCY + STAT_BUCKETS], 999 * 500);
	CU_ASSERT_EQUAL(own[LATENCY + STAT_BUCKETS + 1], 999);
	stat_record(&block, LATENCY, UINT64_MAX);
	CU_ASSERT_EQUAL(own[LATENCY + STAT_BUCKETS - 1], 1);
	stat_remove_block(&block);
}

static void test_own_memory(void)
{
	in_executive(own_memory, NULL);
}

static void in_segment(void *context)
{
	char *memory = ex_allocate_pool(STAT_SMALLEST_SEGMENT + 64);
	char *aligned = memory + (64 - (uintptr_t)memory % 64);
	const struct stat_table_record *record;
	const struct stat_counter_record *counter;
	struct stat_segment *segment;
	struct stat_block block;
	uint64_t own[VALUES];

	(void)context;
	memset(memory, 0, STAT_SMALLEST_SEGMENT + 64);
	CU_ASSERT_PTR_NULL(stat_format_segment(aligned, STAT_SMALLEST_SEGMENT - 1, "small", 1));
	segment = stat_format_segment(aligned, STAT_SMALLEST_SEGMENT, "test", 7);
	CU_ASSERT_PTR_NOT_NULL_FATAL(segment);
	stat_add_block(&block, segment, &table, own);
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

	stat_add_block(&block, segment, &table, own); /* the first has not cooled off */
	CU_ASSERT_EQUAL(block.slot, 1);
	CU_ASSERT_EQUAL(slot_of(aligned, 1)->instance, 2);
	CU_ASSERT_EQUAL(((struct stat_header *)(void *)aligned)->epoch % 2, 0);
	stat_remove_block(&block);
	stat_forget_segment(segment);
	ex_free_pool(memory);
}

static void test_in_segment(void)
{
	in_executive(in_segment, NULL);
}

static void full_segment(void *context)
{
	enum { BLOCKS = STAT_SLOTS + 1 };
	char *memory = ex_allocate_pool(STAT_SMALLEST_SEGMENT + 64);
	char *aligned = memory + (64 - (uintptr_t)memory % 64);
	struct stat_block *blocks = ex_allocate_pool(BLOCKS * sizeof(*blocks));
	uint64_t *own = ex_allocate_pool(BLOCKS * VALUES * sizeof(*own));
	struct stat_segment *segment;
	unsigned published = 0;

	(void)context;
	memset(memory, 0, STAT_SMALLEST_SEGMENT + 64);
	segment = stat_format_segment(aligned, STAT_SMALLEST_SEGMENT, "full", 1);
	CU_ASSERT_PTR_NOT_NULL_FATAL(segment);
	for (int i = 0; i < BLOCKS; i++) {
		stat_add_block(&blocks[i], segment, &table, own + i * VALUES);
		stat_count(&blocks[i], POSTED, (uint64_t)i);
		published += blocks[i].segment != NULL;
	}
	CU_ASSERT(published > 0 && published < BLOCKS);
	for (int i = 0; i < BLOCKS; i++) {
		CU_ASSERT_EQUAL(stat_read(&blocks[i], POSTED), (uint64_t)i);
		stat_remove_block(&blocks[i]);
	}
	stat_forget_segment(segment);
	ex_free_pool(own);
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
	uint64_t own[VALUES];
	struct stat_block block;
	struct kthread writer;
	bool lawful = true;

	(void)context;
	stat_add_block(&block, NULL, &table, own);
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
}

static void test_several_writers(void)
{
	in_executive(several_writers, NULL);
}

void register_stat_suite(void)
{
	static const struct test_case cases[] = {
		{"a block that is not published counts in its owner's memory", test_own_memory},
		{"a published block describes itself, and stays when its owner goes",
		 test_in_segment},
		{"when the segment is full, counting goes on unpublished", test_full_segment},
		{"several writers lose no count, and later stations are never ahead",
		 test_several_writers},
		{NULL, NULL},
	};

	add_suite("stat", cases);
}
