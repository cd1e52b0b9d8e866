/*
 * Memory that is lent to a request, and references that have come to their end.
 *
 * What is lent is a list without order, as short as the number of requests under way: each piece of
 * memory that is freed is compared with all of it.
 */
#include "verifier/private.h"

/* ---- Lent memory ---------------------------------------------------------------------------- */

enum { LENT = 1024 };

static struct lent {
	uintptr_t begin;
	uintptr_t end;
	const void *owner;
	const struct ke_site *site;
	enum lent_kind kind;
	int index;
} lent[LENT];

static unsigned lent_count;

void reset_lent(void)
{
	lent_count = 0;
}

void lent_begin(enum lent_kind kind, const void *owner, int index, const void *memory, size_t bytes,
		const struct ke_site *site)
{
	uintptr_t begin = (uintptr_t)memory;

	if (lent_count == LENT || memory == NULL)
		return;
	lent[lent_count++] = (struct lent){begin, begin + bytes, owner, site, kind, index};
}

void lent_end(enum lent_kind kind, const void *owner, int index)
{
	for (unsigned i = 0; i < lent_count;) {
		if (lent[i].owner == owner && lent[i].kind == kind && lent[i].index == index)
			lent[i] = lent[--lent_count];
		else
			i++;
	}
}

void verifier_memory_freed(const void *memory, size_t bytes, const struct ke_site *site)
{
	uintptr_t begin = (uintptr_t)memory, end = begin + bytes;

	shadow_lock();
	for (unsigned i = 0; i < lent_count; i++) {
		const struct lent *l = &lent[i];

		if (l->begin >= end || l->end <= begin)
			continue;
		if (l->kind == LENT_CONTEXT)
			verifier_violation(site, "REQ-STALE-COMPLETION-CTX",
					   EVENT(l->site, "the request was sent"),
					   "%p is freed, the context of a completion routine "
					   "that has not run",
					   (const void *)l->begin);
		verifier_violation(site, "REQ-FREE-IN-USE", EVENT(l->site, "the request was sent"),
				   "memory at %p is freed or unlocked that a request lends to a "
				   "driver",
				   (const void *)l->begin);
	}
	shadow_unlock();
}

/* ---- References ----------------------------------------------------------------------------- */

enum { REFERENCE_SETS = 64 };

/* The last reference to it was dropped. */
static struct ended {
	const void *reference;
	const struct ke_site *site;
	uint32_t run;
} ended[REFERENCE_SETS * WAYS];

static unsigned next_victim;

static struct ended *find_ended(const void *reference)
{
	struct ended *first = &ended[shadow_set(reference, REFERENCE_SETS)];

	for (unsigned i = 0; i < WAYS; i++)
		if (first[i].reference == reference && first[i].run == shadow_run)
			return &first[i];
	return NULL;
}

void verifier_reference_initialized(const void *reference)
{
	struct ended *e;

	shadow_lock();
	e = find_ended(reference);
	if (e != NULL)
		e->run = 0;
	shadow_unlock();
}

void verifier_reference_ended(const void *reference, const struct ke_site *site)
{
	struct ended *e;

	shadow_lock();
	e = find_ended(reference);
	if (e == NULL) /* an older one is forgotten: then its report names one place fewer */
		e = &ended[shadow_set(reference, REFERENCE_SETS) + next_victim++ % WAYS];
	*e = (struct ended){reference, site, shadow_run};
	shadow_unlock();
}

const struct ke_site *verifier_reference_end(const void *reference)
{
	const struct ke_site *site = NULL;
	struct ended *e;

	shadow_lock();
	e = find_ended(reference);
	if (e != NULL)
		site = e->site;
	shadow_unlock();
	return site;
}
