/*
 * Spin locks, interlocked operations and references.
 *
 * A context that finds a lock held does not spin: its lane notes what it spins for and is not
 * offered by the scheduler until the lock is free. It keeps its processor, as a spinning one would,
 * and only interrupts come above it. When the lock is given back, all that spin for it may be
 * chosen; the first one that is takes it.
 *
 * Most deadlocks of locks are found at once, also while other lanes are still busy: a lane that
 * begins to spin looks at whom it depends on. That is the lane that holds the lock; or, if an
 * interrupt came above that lane, whatever is on top of its processor. If the chain comes back to
 * where it started, no schedule can go on from here.
 *
 * An interlocked list keeps its lock at HIGH_LEVEL for an instant only, but it is the caller's
 * spin lock and may be held by other means; so these operations take it as the others do.
 */
#include "ke/sim/executive.h"

/* ---- Spin locks ----------------------------------------------------------------------------- */

void ke_initialize_spin_lock_at(struct kspin_lock *lock, const struct ke_site *site)
{
	sim_touch(lock, sizeof(*lock));
	if (verifier_on)
		verifier_lock_initialized(lock, site);
	lock->held = 0;
	lock->reserved = 0;
	lock->executive = 0;
}

static struct sim_lane *holder(const struct kspin_lock *lock)
{
	return (struct sim_lane *)lock->executive;
}

/* The lane that has to move before this one can, or NULL if none. */
static const struct sim_lane *obstacle(const struct sim_lane *lane)
{
	if (lane->spins_on && lane->spins_on->held)
		return holder(lane->spins_on);
	if (lane->state == SIM_PINNED && lane->processor->top != lane)
		return lane->processor->top;
	return NULL;
}

static bool spins_forever(const struct sim_lane *lane)
{
	const struct sim_lane *next = obstacle(lane);

	for (unsigned i = 0; next && next != lane && i < sim_state.lanes_used; i++)
		next = obstacle(next);
	return next == lane;
}

static const struct sim_held *find_held(const struct sim_lane *lane, const struct kspin_lock *lock)
{
	for (unsigned i = lane->held_count; i-- > 0;) {
		if (lane->held[i].lock == lock)
			return &lane->held[i];
	}
	return NULL;
}

/* The lock is held: returns when it no longer is. */
static void spin(struct sim_lane *lane, struct kspin_lock *lock, const struct ke_site *site)
{
	const struct sim_held *held = find_held(lane, lock);

	if (held)
		ke_bug_check_at(site, "LOCK-MISUSE",
				"acquiring the lock %p again that was acquired at %s:%d",
				(void *)lock, held->site->file, held->site->line);
	if (lock->held != 1)
		ke_bug_check_at(site, "LOCK-MISUSE", "the lock %p is not initialised",
				(void *)lock);
	lane->spins_on = lock;
	if (spins_forever(lane))
		sim_leave(KE_SIM_DEADLOCK);
	while (lock->held)
		sim_reschedule();
	lane->spins_on = NULL;
}

void sim_take_lock(struct sim_lane *lane, struct kspin_lock *lock, kirql level,
		   const struct ke_site *site)
{
	sim_touch(lock, sizeof(*lock));
	if (verifier_on)
		verifier_lock_wanted(
			lock, level < DEVICE_LEVEL ? VERIFIER_INTERRUPTIBLE : VERIFIER_IN_INTERRUPT,
			site);
	if (lock->held)
		spin(lane, lock, site);
	if (lane->held_count == SIM_MAXIMUM_HELD)
		ke_bug_check_at(site, "LOCK-MISUSE", "more than %d locks are held at a time",
				SIM_MAXIMUM_HELD);
	lane->held[lane->held_count++] = (struct sim_held){lock, level, site};
	lock->held = 1;
	lock->executive = (uintptr_t)lane;
	sim_order_after(lock);
}

void sim_give_lock(struct sim_lane *lane, struct kspin_lock *lock, const struct ke_site *site)
{
	const struct sim_held *held = find_held(lane, lock);

	if (!held)
		ke_bug_check_at(site, "LOCK-MISUSE",
				"releasing the lock %p that this context does not hold",
				(void *)lock);
	if (verifier_on)
		verifier_lock_released(lock);
	lane->held_count--;
	for (unsigned i = (unsigned)(held - lane->held); i < lane->held_count; i++)
		lane->held[i] = lane->held[i + 1];
	sim_order_before(lock);
	lock->held = 0;
	lock->executive = 0;
}

kirql ke_acquire_spin_lock_at(struct kspin_lock *lock, const struct ke_site *site)
{
	struct sim_lane *lane = sim_this_lane(site);
	kirql old = lane->irql;

	sim_require_irql(DISPATCH_LEVEL, "acquiring a spin lock", site);
	sim_yield(SIM_OP_ACQUIRE_LOCK, lock, site);
	sim_set_irql(lane, DISPATCH_LEVEL);
	sim_take_lock(lane, lock, DISPATCH_LEVEL, site);
	return old;
}

void ke_release_spin_lock_at(struct kspin_lock *lock, kirql irql, const struct ke_site *site)
{
	struct sim_lane *lane = sim_this_lane(site);

	sim_yield(SIM_OP_RELEASE_LOCK, lock, site);
	sim_touch(lock, sizeof(*lock));
	sim_give_lock(lane, lock, site);
	sim_require_lowering(lane, irql, site);
	sim_set_irql(lane, irql);
}

/* ---- Interlocked operations ----------------------------------------------------------------- */

/* The yield point of an interlocked operation. It orders this context after the former ones. */
static void enter_interlocked(void *value, size_t bytes, const struct ke_site *site)
{
	sim_yield(SIM_OP_INTERLOCKED, value, site);
	sim_touch(value, bytes);
	sim_order_after(value);
}

int32_t interlocked_increment_at(int32_t *value, const struct ke_site *site)
{
	enter_interlocked(value, sizeof(*value), site);
	*value = (int32_t)((uint32_t)*value + 1);
	sim_order_before(value);
	return *value;
}

int32_t interlocked_decrement_at(int32_t *value, const struct ke_site *site)
{
	enter_interlocked(value, sizeof(*value), site);
	*value = (int32_t)((uint32_t)*value - 1);
	sim_order_before(value);
	return *value;
}

int32_t interlocked_exchange_at(int32_t *value, int32_t exchange, const struct ke_site *site)
{
	int32_t old;

	enter_interlocked(value, sizeof(*value), site);
	old = *value;
	*value = exchange;
	sim_order_before(value);
	return old;
}

int32_t interlocked_compare_exchange_at(int32_t *value, int32_t exchange, int32_t comparand,
					const struct ke_site *site)
{
	int32_t old;

	enter_interlocked(value, sizeof(*value), site);
	old = *value;
	if (old == comparand)
		*value = exchange;
	sim_order_before(value);
	return old;
}

void *interlocked_exchange_pointer_at(void **value, void *exchange, const struct ke_site *site)
{
	void *old;

	enter_interlocked(value, sizeof(*value), site);
	old = *value;
	*value = exchange;
	sim_order_before(value);
	return old;
}

int32_t interlocked_read_at(const int32_t *value, const struct ke_site *site)
{
	enter_interlocked((void *)value, sizeof(*value), site);
	return *value;
}

/* ---- Interlocked lists ---------------------------------------------------------------------- */

/* Enters the list at HIGH_LEVEL, where nothing comes above; returns the level to go back to. */
static kirql enter_list(enum sim_operation operation, struct kspin_lock *lock,
			const struct ke_site *site)
{
	struct sim_lane *lane = sim_this_lane(site);
	kirql old = lane->irql;

	sim_yield(operation, lock, site);
	if (verifier_on)
		verifier_lock_wanted(
			lock, VERIFIER_MOMENT | (old >= DEVICE_LEVEL ? VERIFIER_IN_INTERRUPT : 0),
			site);
	if (lock->held) {
		sim_set_irql(lane, HIGH_LEVEL);
		spin(lane, lock, site);
	}
	sim_touch(lock, sizeof(*lock));
	sim_order_after(lock);
	return old;
}

static void leave_list(struct kspin_lock *lock, kirql irql)
{
	sim_order_before(lock);
	if (sim_state.current->irql != irql)
		sim_set_irql(sim_state.current, irql);
}

void ex_interlocked_insert_tail_list_at(struct list_entry *head, struct list_entry *entry,
					struct kspin_lock *lock, const struct ke_site *site)
{
	kirql old = enter_list(SIM_OP_INSERT_LIST, lock, site);

	sim_touch(head, sizeof(*head));
	sim_touch(head->prev, sizeof(*head));
	sim_touch(entry, sizeof(*entry));
	insert_tail_list(head, entry);
	leave_list(lock, old);
}

struct list_entry *ex_interlocked_remove_head_list_at(struct list_entry *head,
						      struct kspin_lock *lock,
						      const struct ke_site *site)
{
	kirql old = enter_list(SIM_OP_REMOVE_LIST, lock, site);
	struct list_entry *entry;

	sim_touch(head, sizeof(*head));
	sim_touch(head->next, sizeof(*head));
	entry = remove_head_list(head);
	leave_list(lock, old);
	return entry;
}

/* ---- References ----------------------------------------------------------------------------- */

void ob_initialize_reference(struct ob_reference *reference, int32_t count)
{
	sim_touch(reference, sizeof(*reference));
	reference->count = count;
	if (verifier_on)
		verifier_reference_initialized(reference);
}

_Noreturn static void report_underflow(const struct ob_reference *reference, const char *what,
				       const struct ke_site *site)
{
	struct verifier_event end = {verifier_reference_end(reference),
				     "its last reference was dropped"};

	verifier_violation(site, "REF-UNDERFLOW", &end, "a reference to %p is %s",
			   (const void *)reference, what);
}

void ob_reference_at(struct ob_reference *reference, const struct ke_site *site)
{
	sim_yield(SIM_OP_REFERENCE, reference, site);
	sim_touch(reference, sizeof(*reference));
	if (reference->count <= 0)
		report_underflow(reference, "added, and none is left", site);
	reference->count++;
}

bool ob_dereference_at(struct ob_reference *reference, const struct ke_site *site)
{
	sim_yield(SIM_OP_DEREFERENCE, reference, site);
	sim_touch(reference, sizeof(*reference));
	if (reference->count <= 0)
		report_underflow(reference, "dropped that nobody holds", site);
	sim_order_before(reference);
	if (--reference->count > 0)
		return false;
	if (verifier_on)
		verifier_reference_ended(reference, site);
	/* The last one sees all that the others did before they dropped theirs. */
	sim_order_after(reference);
	return true;
}
