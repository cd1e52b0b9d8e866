/*
 * Locks: in which order they are taken, and whether interrupts can come in between.
 *
 * Order. Locks that are initialised at one place in the source are a class. Whenever a lock of
 * class B is wanted while one of class A is held, "A before B" is noted. When B before A follows
 * from the notes, directly or over other classes, two contexts can wait for each other for ever,
 * though they did not do so this time: it is enough that each order was seen once, in this run.
 *
 * Two locks of one class, say of two connections, have no order by their class. They are noted one
 * by one, so that only a pair that was taken both ways is a violation: which connection comes first
 * may depend on anything.
 *
 * Interrupts. A lock that an interrupt service routine takes must never be held where an interrupt
 * can come: it would spin for ever above the holder.
 */
#include <string.h>

#include "verifier/private.h"

enum { LOCK_SETS = 256, CLASSES = 64, PAIRS = 256 };

static struct lock {
	const void *address;
	uint32_t run;
	uint32_t generation; /* each initialisation has its own, so that places may be reused */
	unsigned class;	     /* CLASSES: none, there were too many */
	unsigned uses;
	const struct ke_site *interruptible;
	const struct ke_site *in_interrupt;
} locks[LOCK_SETS * WAYS];

/* `outer` was held, taken at `held`, when `inner` was wanted. */
struct order {
	const struct ke_site *held;
	const struct ke_site *wanted;
};

static struct class
{
	const struct ke_site *initialized;
	uint64_t before; /* a bit for each class that was wanted under it */
	struct order order[CLASSES];
} classes[CLASSES];

/* The same for two locks of one class, by their generations. */
static struct pair {
	uint32_t outer;
	uint32_t inner;
	struct order order;
} pairs[PAIRS];

_Static_assert(CLASSES <= 64, "a bit in `before` for each class");

static uint32_t generations;
static unsigned class_count, pair_count;
static bool ignore_order;

void reset_locks(void)
{
	class_count = pair_count = 0;
}

void verifier_judge_lock_order(bool judge)
{
	ignore_order = !judge;
}

/* ---- The shadows ---------------------------------------------------------------------------- */

static struct lock *find_lock(const void *address)
{
	struct lock *first = &locks[shadow_set(address, LOCK_SETS)];

	for (unsigned i = 0; i < WAYS; i++)
		if (first[i].address == address && first[i].run == shadow_run)
			return &first[i];
	return NULL;
}

/* A place for a lock that has none. Of those that are taken, the oldest is forgotten: most locks
 * end without a word, so it is most likely one of them. */
static struct lock *new_lock(const void *address)
{
	struct lock *first = &locks[shadow_set(address, LOCK_SETS)], *oldest = first;

	for (unsigned i = 0; i < WAYS; i++) {
		if (first[i].run != shadow_run)
			return &first[i];
		if (first[i].generation < oldest->generation)
			oldest = &first[i];
	}
	return oldest;
}

static unsigned class_of(const struct ke_site *site)
{
	for (unsigned i = 0; i < class_count; i++)
		if (classes[i].initialized->line == site->line &&
		    strcmp(classes[i].initialized->file, site->file) == 0)
			return i;
	if (class_count == CLASSES)
		return CLASSES;
	classes[class_count].initialized = site;
	classes[class_count].before = 0;
	return class_count++;
}

void verifier_lock_initialized(const void *lock, const struct ke_site *site)
{
	struct lock *l;

	shadow_lock();
	l = find_lock(lock);
	if (l == NULL)
		l = new_lock(lock);
	*l = (struct lock){.address = lock,
			   .run = shadow_run,
			   .generation = ++generations,
			   .class = class_of(site)};
	shadow_unlock();
}

static const struct lock *lock_of(const struct verifier_held *held)
{
	const struct lock *l = find_lock(held->lock);

	return l != NULL && l->generation == held->generation ? l : NULL;
}

/* ---- Order ---------------------------------------------------------------------------------- */

/* The first step of a way from one class to another, CLASSES if there is none. */
static unsigned way(unsigned from, unsigned to, uint64_t *visited)
{
	*visited |= UINT64_C(1) << from;
	for (unsigned i = 0; i < class_count; i++) {
		if (!(classes[from].before >> i & 1))
			continue;
		if (i == to || (!(*visited >> i & 1) && way(i, to, visited) != CLASSES))
			return i;
	}
	return CLASSES;
}

static void judge_classes(const struct verifier_held *held, unsigned outer, unsigned inner,
			  const struct ke_site *site)
{
	uint64_t visited = 0;
	unsigned step;

	if (outer == CLASSES || inner == CLASSES || (classes[outer].before >> inner & 1))
		return;
	step = way(inner, outer, &visited);
	if (step != CLASSES && !ignore_order) {
		const struct order *before = &classes[inner].order[step];

		verifier_violation(
			site, "LOCK-ORDER", EVENT(before->wanted, "a lock was wanted"),
			"a lock initialised at %s:%d is wanted while one of %s:%d is held, taken "
			"at %s:%d; the other order was seen%s, with the former taken at %s:%d",
			classes[inner].initialized->file, classes[inner].initialized->line,
			classes[outer].initialized->file, classes[outer].initialized->line,
			held->site->file, held->site->line,
			step == outer ? "" : " over other locks", before->held->file,
			before->held->line);
	}
	classes[outer].before |= UINT64_C(1) << inner;
	classes[outer].order[inner] = (struct order){held->site, site};
}

static const struct pair *find_pair(uint32_t outer, uint32_t inner)
{
	for (unsigned i = 0; i < pair_count; i++)
		if (pairs[i].outer == outer && pairs[i].inner == inner)
			return &pairs[i];
	return NULL;
}

static void judge_pair(const struct verifier_held *held, const struct lock *inner,
		       const struct ke_site *site)
{
	const struct pair *before = find_pair(inner->generation, held->generation);

	if (before != NULL && !ignore_order)
		verifier_violation(site, "LOCK-ORDER",
				   EVENT(before->order.wanted, "a lock was wanted"),
				   "the lock %p is wanted while its like %p is held, taken at "
				   "%s:%d; the other order was seen, with the former taken at "
				   "%s:%d",
				   inner->address, held->lock, held->site->file, held->site->line,
				   before->order.held->file, before->order.held->line);
	if (pair_count < PAIRS && find_pair(held->generation, inner->generation) == NULL)
		pairs[pair_count++] =
			(struct pair){held->generation, inner->generation, {held->site, site}};
}

static void judge_order(const struct verifier_context *context, const struct lock *inner,
			const struct ke_site *site)
{
	for (unsigned i = 0; i < context->held_count; i++) {
		const struct lock *outer = lock_of(&context->held[i]);

		if (outer == inner)
			return; /* taken again by its holder: ke says so */
		if (outer == NULL)
			continue;
		if (outer->class == inner->class)
			judge_pair(&context->held[i], inner, site);
		else
			judge_classes(&context->held[i], outer->class, inner->class, site);
	}
}

/* ---- Use ------------------------------------------------------------------------------------ */

/* Only a use that is the first of its kind can break the rule, and only it reports. */
static void judge_use(struct lock *l, unsigned use, const struct ke_site *site)
{
	bool below = (use & VERIFIER_INTERRUPTIBLE) && l->interruptible == NULL;
	bool above = (use & VERIFIER_IN_INTERRUPT) && l->in_interrupt == NULL;

	if (below)
		l->interruptible = site;
	if (above)
		l->in_interrupt = site;
	if ((!below && !above) || l->interruptible == NULL || l->in_interrupt == NULL)
		return;
	if (above)
		verifier_violation(site, "LOCK-IRQ-UNSAFE",
				   EVENT(l->interruptible, "it was acquired below"),
				   "the lock %p is used at the level of interrupts, and an "
				   "interrupt can come while it is held below",
				   l->address);
	verifier_violation(site, "LOCK-IRQ-UNSAFE",
			   EVENT(l->in_interrupt, "it was used at the level of interrupts"),
			   "the lock %p is acquired where an interrupt that uses it can come",
			   l->address);
}

void verifier_lock_wanted(const void *lock, unsigned use, const struct ke_site *site)
{
	struct verifier_context *context = verifier_current();
	struct verifier_held held = {lock, 0, site};
	struct lock *l;

	shadow_lock();
	l = find_lock(lock);
	if (l != NULL) {
		held.generation = l->generation;
		judge_use(l, use, site);
		judge_order(context, l, site);
	}
	shadow_unlock();
	if (!(use & VERIFIER_MOMENT) && context->held_count < VERIFIER_HELD)
		context->held[context->held_count++] = held;
}

void verifier_lock_released(const void *lock)
{
	struct verifier_context *context = verifier_current();

	for (unsigned i = context->held_count; i-- > 0;) {
		if (context->held[i].lock != lock)
			continue;
		context->held_count--;
		for (; i < context->held_count; i++)
			context->held[i] = context->held[i + 1];
		return;
	}
}
