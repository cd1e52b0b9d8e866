/*
 * Pool memory: malloc, with the call site of each block, so that leaks have a name.
 *
 * Each block has a header in front that links it into the list of live blocks. Under ASan the
 * header is poisoned, so that code that runs below its block is caught, and freed blocks go
 * straight back to ASan's or TSan's allocator, which watch for late uses better than anything here
 * could.
 *
 * Without a sanitizer freed blocks are filled with 0xDD and kept for a while, the last few in a
 * ring, so that a late reader sees obvious nonsense and a second free is recognised by the header's
 * mark. When a block leaves the ring, or the run ends, the fill must be what it was: else somebody
 * has written to memory that was not his any more. With one the mark is read too, from memory that
 * the allocator holds back: the executive is not instrumented, so its looking is no offence, and
 * the report names both sites.
 *
 * Neither function is a yield point, for no other context can observe what they do.
 */
#include "ke/sim/executive.h"

#include <stdlib.h>
#include <string.h>

enum {
	RING_BLOCKS = 32,
	FILL_BYTES = 4096, /* of a freed block; the rest of a large one stays as it was */
	FILL = 0xdd,
};

#define MARK_LIVE 0x6c6f6f70u
#define MARK_FREE 0x64616564u

struct block {
	struct list_entry entry;
	const struct ke_site *site; /* where it was allocated */
	const struct ke_site *freed;
	size_t bytes;
	uint32_t mark;
	uint32_t reserved;
};

_Static_assert(sizeof(struct block) % 16 == 0, "the memory behind a header is aligned to 16");

static struct {
	struct block *block[RING_BLOCKS];
	unsigned next;
} ring;

void *ex_allocate_pool_at(size_t bytes, const struct ke_site *site)
{
	struct block *block;

	if (sim_state.current)
		sim_require_irql(DISPATCH_LEVEL, "allocating pool memory", site);
	if (bytes > SIZE_MAX / 2 || (sim_state.current && sim_allocation_fails()))
		return NULL;
	block = malloc(sizeof(*block) + bytes);
	if (!block)
		return NULL;
	block->site = site;
	block->bytes = bytes;
	block->mark = MARK_LIVE;
	/* What is allocated before a run is not the run's to account for. */
	if (sim_state.running)
		insert_tail_list(&sim_state.pool, &block->entry);
	else
		initialize_list_head(&block->entry);
	if (__asan_poison_memory_region)
		__asan_poison_memory_region(block, sizeof(*block));
	return block + 1;
}

static void release(struct block *block)
{
	if (__asan_unpoison_memory_region && block)
		__asan_unpoison_memory_region(block, sizeof(*block));
	free(block);
}

static size_t filled_bytes(const struct block *block)
{
	return block->bytes < FILL_BYTES ? block->bytes : FILL_BYTES;
}

/* Whether a freed block was written to, and where. */
static bool is_written(const struct block *block, struct sim_pool_write *write)
{
	const unsigned char *bytes = (const unsigned char *)(block + 1);

	for (size_t i = 0; i < filled_bytes(block); i++) {
		if (bytes[i] == FILL)
			continue;
		*write = (struct sim_pool_write){block->site, block->freed, block->bytes, i};
		return true;
	}
	return false;
}

/* Puts the block into the ring in place of the oldest one, which goes. */
static void retire(struct block *block)
{
	unsigned slot = ring.next++ % RING_BLOCKS;
	struct block *oldest = ring.block[slot];
	struct sim_pool_write write;

	memset(block + 1, FILL, filled_bytes(block));
	ring.block[slot] = block;
	if (oldest && is_written(oldest, &write)) {
		struct verifier_event freed = {write.freed, "it was freed"};

		free(oldest);
		verifier_violation(write.allocated, "POOL-WRITE-AFTER-FREE", &freed,
				   SIM_POOL_WRITE_FORMAT, write.at, write.bytes);
	}
	free(oldest);
}

bool sim_pool_find_write(struct sim_pool_write *write)
{
	for (unsigned i = 0; i < RING_BLOCKS && ring.block[i]; i++)
		if (is_written(ring.block[i], write))
			return true;
	return false;
}

void ex_free_pool_at(void *memory, const struct ke_site *site)
{
	struct block *block = (struct block *)memory - 1;

	if (sim_state.current)
		sim_require_irql(DISPATCH_LEVEL, "freeing pool memory", site);
	if (!memory)
		return;
	if (block->mark == MARK_FREE) {
		struct verifier_event freed = {block->freed, "they were freed"};

		verifier_violation(site, "POOL-DOUBLE-FREE", &freed,
				   "%zu bytes at %p are freed again", block->bytes, memory);
	}
	if (block->mark != MARK_LIVE)
		ke_bug_check_at(site, "POOL-BAD-FREE", "%p was not allocated from the pool",
				memory);
	if (verifier_on)
		verifier_memory_freed(memory, block->bytes, site);
	remove_entry_list(&block->entry);
	block->mark = MARK_FREE;
	block->freed = site;
	if (sim_allocator_is_watched())
		release(block);
	else
		retire(block);
}

bool sim_pool_leaks(struct sim_pool_leak *leak)
{
	memset(leak, 0, sizeof(*leak));
	for (struct list_entry *e = sim_state.pool.next; e != &sim_state.pool; e = e->next) {
		const struct block *block = containing_record(e, struct block, entry);

		if (leak->blocks++ == 0) {
			leak->first_site = block->site;
			leak->first_bytes = block->bytes;
		}
		leak->bytes += block->bytes;
	}
	return leak->blocks > 0;
}

void sim_pool_release_all(void)
{
	struct list_entry *entry;

	while ((entry = remove_head_list(&sim_state.pool)) != NULL)
		release(containing_record(entry, struct block, entry));
	for (unsigned i = 0; i < RING_BLOCKS && ring.block[i]; i++) {
		free(ring.block[i]);
		ring.block[i] = NULL;
	}
	ring.next = 0;
}

ntstatus ke_probe_pages(const void *address, size_t bytes, bool write)
{
	enum { FIRST_PAGES = 64 << 10 }; /* never mapped; NULL and what is near it */
	uintptr_t begin = (uintptr_t)address;

	(void)write;
	if (sim_state.current)
		sim_require_irql(PASSIVE_LEVEL, "probing pages", KE_HERE);
	if (bytes == 0)
		return STATUS_SUCCESS;
	if (begin < FIRST_PAGES || bytes > UINTPTR_MAX - begin)
		return STATUS_INVALID_USER_BUFFER;
	return STATUS_SUCCESS;
}
