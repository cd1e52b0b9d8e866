/*
 * Pool memory on the host.
 *
 * Each thread keeps freed blocks in lists by size class, so that a request's memory costs a few
 * instructions; what a list can't take goes back to malloc. The lists are short, for a thread that
 * frees what others have allocated fills its own for nothing, and there may be a thousand of them.
 * Under a sanitizer every block comes from malloc, so that it can see a use after free.
 *
 * What is allocated is counted by the thread that allocates and by the thread that frees, without
 * atomics; only the sum over all threads means anything, and ke_run looks at it when all have
 * ended.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ke/host/private.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define POOL_CACHED false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define POOL_CACHED false
#endif
#endif
#ifndef POOL_CACHED
#define POOL_CACHED true
#endif

enum { SMALLEST_BLOCK = 64, LARGE = POOL_CLASSES };

/* Stands before every block; keeps it aligned to 16. */
struct pool_header {
	const struct ke_site *site; /* NULL when the block is free */
	uint64_t pool_class;	    /* or LARGE */
};

_Static_assert(sizeof(struct pool_header) == 16, "blocks must stay aligned to 16");

static unsigned class_of(size_t bytes)
{
	unsigned pool_class = 0;

	while (pool_class < POOL_CLASSES && ((size_t)SMALLEST_BLOCK << pool_class) < bytes)
		pool_class++;
	return pool_class;
}

/* Whether the thread keeps one more. */
static bool has_room(unsigned pool_class)
{
	size_t kept;

	if (!POOL_CACHED || pool_class == LARGE)
		return false;
	kept = host_self.pool_free_count[pool_class];
	return kept < POOL_CACHE_BLOCKS && kept * SMALLEST_BLOCK << pool_class < POOL_CACHE_BYTES;
}

static struct pool_header *take_cached(unsigned pool_class)
{
	struct pool_block *block;

	if (!POOL_CACHED || pool_class == LARGE || host_self.pool_free[pool_class] == NULL)
		return NULL;
	block = host_self.pool_free[pool_class];
	host_self.pool_free[pool_class] = block->next;
	host_self.pool_free_count[pool_class]--;
	return (struct pool_header *)block - 1;
}

void *ex_allocate_pool_at(size_t bytes, const struct ke_site *site)
{
	unsigned pool_class = class_of(bytes);
	struct pool_header *header = take_cached(pool_class);

	if (header == NULL) {
		size_t room = POOL_CACHED && pool_class != LARGE
				      ? (size_t)SMALLEST_BLOCK << pool_class
				      : bytes;

		if (bytes > SIZE_MAX - sizeof(*header))
			return NULL;
		header = malloc(sizeof(*header) + room);
		if (header == NULL)
			return NULL;
		header->pool_class = pool_class;
	}
	header->site = site;
	host_self.pool_outstanding++;
	return header + 1;
}

void ex_free_pool_at(void *memory, const struct ke_site *site)
{
	struct pool_header *header;
	unsigned pool_class;

	if (memory == NULL)
		return;
	header = (struct pool_header *)memory - 1;
	if (header->site == NULL)
		ke_bug_check_at(site, "POOL-DOUBLE-FREE", "pool memory is freed twice");
	if (verifier_on)
		verifier_memory_freed(memory, malloc_usable_size(header) - sizeof(*header), site);
	header->site = NULL;
	host_self.pool_outstanding--;
	pool_class = (unsigned)header->pool_class;
	if (has_room(pool_class)) {
		struct pool_block *block = memory;

		block->next = host_self.pool_free[pool_class];
		host_self.pool_free[pool_class] = block;
		host_self.pool_free_count[pool_class]++;
		return;
	}
	free(header);
}

void host_pool_leave_thread(void)
{
	struct pool_header *header;

	for (unsigned i = 0; i < POOL_CLASSES; i++)
		while ((header = take_cached(i)) != NULL)
			free(header);
	__atomic_fetch_add(&host.pool_outstanding, host_self.pool_outstanding, __ATOMIC_ACQ_REL);
	host_self.pool_outstanding = 0;
}

/*
 * One call brings all pages in or says that it can't. Kernels before 5.14 don't know it; there the
 * transport's own system call is the first to find a bad address.
 */
ntstatus ke_probe_pages(const void *address, size_t bytes, bool write)
{
#ifdef MADV_POPULATE_READ
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t start = (uintptr_t)address & ~(page - 1);
	uintptr_t end = ((uintptr_t)address + bytes + page - 1) & ~(page - 1);

	if (bytes == 0)
		return STATUS_SUCCESS;
	if (end <= start)
		return STATUS_INVALID_USER_BUFFER;
	if (madvise((void *)start, end - start, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) ==
	    0)
		return STATUS_SUCCESS;
	/* EINVAL says that the kernel does not know the advice, or that the pages do not allow it.
	 */
	if (errno == EINVAL && madvise((void *)start, 0, MADV_POPULATE_READ) != 0)
		return STATUS_SUCCESS;
	return STATUS_INVALID_USER_BUFFER;
#else
	(void)write;
	return bytes != 0 && address == NULL ? STATUS_INVALID_USER_BUFFER : STATUS_SUCCESS;
#endif
}
