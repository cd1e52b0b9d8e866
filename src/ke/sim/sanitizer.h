/*
 * What the sanitizers have to be told about fibers and about the executive's objects.
 *
 * The executive is compiled once, without instrumentation, and linked with programs of any flavour.
 * So the sanitizers' entry points are weak here: present in an instrumented program, NULL in a
 * plain one. Each is tested where it is called.
 *
 *   ASan  learns of every change of stack, and is asked whether an object that is operated on is
 *         live memory: the executive's own accesses to it are not instrumented.
 *   TSan  takes every fiber for a thread. Switches carry no ordering, else it would see none of the
 *         races between fibers; the ordering that the objects do promise is stated by
 *         sim_order_before (a release) and sim_order_after (an acquire) on a common address.
 */
#ifndef XPORT_KE_SIM_SANITIZER_H
#define XPORT_KE_SIM_SANITIZER_H

#include <stddef.h>
#include <stdint.h>

#define SIM_WEAK __attribute__((weak))

SIM_WEAK void __sanitizer_start_switch_fiber(void **fake_stack, const void *bottom, size_t size);
SIM_WEAK void __sanitizer_finish_switch_fiber(void *fake_stack, const void **bottom, size_t *size);
SIM_WEAK void __asan_poison_memory_region(const volatile void *address, size_t size);
SIM_WEAK void __asan_unpoison_memory_region(const volatile void *address, size_t size);
SIM_WEAK void __asan_handle_no_return(void);
SIM_WEAK void __asan_storeN(uintptr_t address, size_t size);

SIM_WEAK void *__tsan_get_current_fiber(void);
SIM_WEAK void *__tsan_create_fiber(unsigned flags);
SIM_WEAK void __tsan_destroy_fiber(void *fiber);
SIM_WEAK void __tsan_switch_to_fiber(void *fiber, unsigned flags);
SIM_WEAK void __tsan_acquire(void *address);
SIM_WEAK void __tsan_release(void *address);

enum { SIM_TSAN_NO_SYNC = 1 };

/* What this context did so far is visible to whoever calls sim_order_after on the address later. */
static inline void sim_order_before(void *address)
{
	if (__tsan_release)
		__tsan_release(address);
}

static inline void sim_order_after(void *address)
{
	if (__tsan_acquire)
		__tsan_acquire(address);
}

/* The executive is about to change the caller's object: ASan complains here if it is not live. */
static inline void sim_touch(void *object, size_t bytes)
{
	if (__asan_storeN)
		__asan_storeN((uintptr_t)object, bytes);
}

/* Whether freed memory is watched already, so that it must go back to the allocator at once. */
static inline int sim_allocator_is_watched(void)
{
	return __asan_poison_memory_region || __tsan_acquire;
}

#endif
