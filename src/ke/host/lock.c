/*
 * Locks, interlocked operations and references on the host.
 *
 * A spin lock is one word, taken by an exchange and given back by a plain store with release order:
 * one locked instruction a pair. There may be more threads than processors, so the holder may not
 * be running: a waiter spins for a moment and then yields its time slice.
 */
#include <sched.h>

#include "ke/host/private.h"

enum { SPINS_BEFORE_YIELD = 200 };

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

void host_lock_contended(uint32_t *lock)
{
	do {
		unsigned spins = 0;

		while (__atomic_load_n(lock, __ATOMIC_RELAXED) != 0) {
			if (spins++ < SPINS_BEFORE_YIELD)
				relax();
			else
				sched_yield();
		}
	} while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE) != 0);
}

void ke_initialize_spin_lock_at(struct kspin_lock *lock, const struct ke_site *site)
{
	lock->held = 0;
	lock->reserved = 0;
	lock->executive = 0;
	if (verifier_on)
		verifier_lock_initialized(lock, site);
}

/* The owner is written with the lock held and read by others only to compare with themselves. */
static inline void take(struct kspin_lock *lock, unsigned use, const struct ke_site *site)
{
	uintptr_t self = (uintptr_t)&host_self;

	if (verifier_on)
		verifier_lock_wanted(lock, use, site);
	if (__atomic_load_n(&lock->executive, __ATOMIC_RELAXED) == self)
		ke_bug_check_at(site, "LOCK-MISUSE", "a spin lock is taken again by its holder");
	host_lock(&lock->held);
	__atomic_store_n(&lock->executive, self, __ATOMIC_RELAXED);
}

static inline void give(struct kspin_lock *lock, const struct ke_site *site)
{
	if (__atomic_load_n(&lock->executive, __ATOMIC_RELAXED) != (uintptr_t)&host_self)
		ke_bug_check_at(site, "LOCK-MISUSE",
				"a spin lock is released by one not its holder");
	if (verifier_on)
		verifier_lock_released(lock);
	__atomic_store_n(&lock->executive, 0, __ATOMIC_RELAXED);
	host_unlock(&lock->held);
}

kirql ke_acquire_spin_lock_at(struct kspin_lock *lock, const struct ke_site *site)
{
	kirql irql = host_self.irql;

	if (irql > DISPATCH_LEVEL)
		ke_bug_check_at(site, "IRQL-TOO-HIGH", "a spin lock is taken at IRQL %u", irql);
	take(lock, VERIFIER_INTERRUPTIBLE, site);
	host_self.irql = DISPATCH_LEVEL;
	return irql;
}

void ke_release_spin_lock_at(struct kspin_lock *lock, kirql irql, const struct ke_site *site)
{
	give(lock, site);
	host_self.irql = irql;
}

kirql ke_get_current_irql(void)
{
	return host_self.irql;
}

kirql ke_raise_irql_at(kirql irql, const struct ke_site *site)
{
	kirql old = host_self.irql;

	if (irql < old)
		ke_bug_check_at(site, "IRQL-CHANGED", "IRQL is raised from %u to %u", old, irql);
	host_self.irql = irql;
	return old;
}

void ke_lower_irql_at(kirql irql, const struct ke_site *site)
{
	if (verifier_on && irql < DISPATCH_LEVEL && host_self.verifier.held_count > 0)
		verifier_violation(
			site, "IRQL-CHANGED",
			&(struct verifier_event){host_self.verifier.held[0].site, "it was taken"},
			"IRQL is lowered to %u with a spin lock held", irql);
	if (irql > host_self.irql)
		ke_bug_check_at(site, "IRQL-CHANGED", "IRQL is lowered from %u to %u",
				host_self.irql, irql);
	host_self.irql = irql;
}

void host_require_clean_return(kirql irql, const char *what, const struct ke_site *site)
{
	if (host_self.irql != irql)
		ke_bug_check_at(site, "IRQL-CHANGED", "a %s that began at IRQL %u returned at %u",
				what, irql, host_self.irql);
	verifier_context_ends(&host_self.verifier, site);
}

bool ke_synchronize_execution_at(struct kinterrupt *interrupt, ke_synchronize_routine *routine,
				 void *context, const struct ke_site *site)
{
	kirql irql = ke_raise_irql_at(DEVICE_LEVEL, site);
	bool result;

	take(&interrupt->lock, VERIFIER_IN_INTERRUPT, site);
	result = routine(context);
	give(&interrupt->lock, site);
	ke_lower_irql_at(irql, site);
	return result;
}

int32_t interlocked_increment_at(int32_t *value, const struct ke_site *site)
{
	(void)site;
	return __atomic_add_fetch(value, 1, __ATOMIC_SEQ_CST);
}

int32_t interlocked_decrement_at(int32_t *value, const struct ke_site *site)
{
	(void)site;
	return __atomic_sub_fetch(value, 1, __ATOMIC_SEQ_CST);
}

int32_t interlocked_exchange_at(int32_t *value, int32_t exchange, const struct ke_site *site)
{
	(void)site;
	return __atomic_exchange_n(value, exchange, __ATOMIC_SEQ_CST);
}

int32_t interlocked_compare_exchange_at(int32_t *value, int32_t exchange, int32_t comparand,
					const struct ke_site *site)
{
	(void)site;
	__atomic_compare_exchange_n(value, &comparand, exchange, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
	return comparand;
}

void *interlocked_exchange_pointer_at(void **value, void *exchange, const struct ke_site *site)
{
	(void)site;
	return __atomic_exchange_n(value, exchange, __ATOMIC_SEQ_CST);
}

int32_t interlocked_read_at(const int32_t *value, const struct ke_site *site)
{
	(void)site;
	return __atomic_load_n(value, __ATOMIC_SEQ_CST);
}

/* At any IRQL, so without the check of ke_acquire_spin_lock. Nothing comes between, not even an
 * interrupt. */
static void take_for_moment(struct kspin_lock *lock, const struct ke_site *site)
{
	take(lock, VERIFIER_MOMENT | (host_self.irql >= DEVICE_LEVEL ? VERIFIER_IN_INTERRUPT : 0),
	     site);
}

void ex_interlocked_insert_tail_list_at(struct list_entry *head, struct list_entry *entry,
					struct kspin_lock *lock, const struct ke_site *site)
{
	take_for_moment(lock, site);
	insert_tail_list(head, entry);
	give(lock, site);
}

struct list_entry *ex_interlocked_remove_head_list_at(struct list_entry *head,
						      struct kspin_lock *lock,
						      const struct ke_site *site)
{
	struct list_entry *entry;

	take_for_moment(lock, site);
	entry = remove_head_list(head);
	give(lock, site);
	return entry;
}

void ob_initialize_reference(struct ob_reference *reference, int32_t count)
{
	reference->count = count;
	if (verifier_on)
		verifier_reference_initialized(reference);
}

_Noreturn static void report_underflow(const struct ob_reference *reference, const char *sentence,
				       const struct ke_site *site)
{
	struct verifier_event end = {verifier_reference_end(reference),
				     "its last reference was dropped"};

	verifier_violation(site, "REF-UNDERFLOW", &end, "%s", sentence);
}

void ob_reference_at(struct ob_reference *reference, const struct ke_site *site)
{
	if (__atomic_fetch_add(&reference->count, 1, __ATOMIC_RELAXED) <= 0)
		report_underflow(reference, "a reference is added to a dead object", site);
}

/* Release, so that what was done under this reference is seen by the last; acquire for the last. */
bool ob_dereference_at(struct ob_reference *reference, const struct ke_site *site)
{
	int32_t before = __atomic_fetch_sub(&reference->count, 1, __ATOMIC_ACQ_REL);

	if (before <= 0)
		report_underflow(reference, "a reference is dropped once too often", site);
	if (verifier_on && before == 1)
		verifier_reference_ended(reference, site);
	return before == 1;
}
