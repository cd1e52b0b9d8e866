/*
 * What the files of the verifier share.
 *
 * Shadows are found by the address of what they stand for, in tables of sets: an address belongs to
 * one set, and may be at any of its WAYS places. A place counts only if it was taken in this run,
 * so that a new run costs nothing.
 */
#ifndef XPORT_VERIFIER_PRIVATE_H
#define XPORT_VERIFIER_PRIVATE_H

#include "verifier/verifier.h"

enum { WAYS = 8 };

/* The number of the run; entries of others are void. */
extern uint32_t shadow_run;

/* The verifier's lock. Held by every function below; verifier_violation gives it back. */
void shadow_lock(void);
void shadow_unlock(void);

/* The first place of the set that the address belongs to; `sets` is a power of two. */
static inline unsigned shadow_set(const void *address, unsigned sets)
{
	uint64_t hash = ((uint64_t)(uintptr_t)address >> 4) * 0x9e3779b97f4a7c15u;

	return (unsigned)(hash >> 40 & (sets - 1)) * WAYS;
}

/* An event whose site may be NULL. */
#define EVENT(site, what) (&(struct verifier_event){(site), (what)})

/* Every file's part of verifier_reset. */
void reset_locks(void);
void reset_lent(void);
void reset_visits(void);
void reset_requests(void);

/* ---- memory.c ------------------------------------------------------------------------------- */

enum lent_kind { LENT_BUFFER, LENT_CONTEXT };

/* Until lent_end, the memory must not be freed: `owner` uses it. Without `bytes`, only the pool
 * block that holds the address. */
void lent_begin(enum lent_kind kind, const void *owner, int index, const void *memory, size_t bytes,
		const struct ke_site *site);
/* Ends what was lent to the owner, of this kind and, for contexts, at this index. */
void lent_end(enum lent_kind kind, const void *owner, int index);

/* ---- visit.c -------------------------------------------------------------------------------- */

/*
 * A request's stay at a location: from io_call_driver until the walk leaves. It is known by the
 * request, and by each call of a dispatch routine that has not returned, which may be later.
 */
struct visit {
	uint32_t users; /* the request, and those calls */
	uint32_t next_free;
	const char *driver;
	const struct ke_site *sent;
	const struct ke_site *marked;  /* by whoever called io_mark_irp_pending */
	const struct ke_site *pending; /* sent there, and its routine returned STATUS_PENDING */
	const struct ke_site *unpropagated; /* the mark below that was not passed on */
	const struct ke_site *left;	    /* by the walk */
	const struct verifier_context *left_by;
	struct verifier_status left_with;
	bool passed_on; /* and not back */
};

enum { NO_VISIT = 0 };

/* NO_VISIT if there is no room. */
uint32_t visit_begin(const char *driver, const struct ke_site *sent);
struct visit *visit_at(uint32_t number);
void visit_drop(uint32_t number);

/* The walk leaves it: judges what its routine has returned already. */
void visit_left(struct visit *visit, struct verifier_status status, const struct ke_site *site);

#endif
