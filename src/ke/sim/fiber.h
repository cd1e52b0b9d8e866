/*
 * Fibers: several stacks on one operating system thread.
 *
 * A fiber is created once, with a stack of its own, and never ends: its entry must not return.
 * Control moves only by sim_fiber_switch, from the fiber that runs to one that does not. A fiber
 * whose frames are of no use any more is restarted: the next switch to it enters it afresh.
 */
#ifndef XPORT_KE_SIM_FIBER_H
#define XPORT_KE_SIM_FIBER_H

#include <stdbool.h>
#include <stddef.h>

#if !defined(SIM_FIBER_UCONTEXT) && !defined(__x86_64__) && !defined(__aarch64__)
#define SIM_FIBER_UCONTEXT 1
#endif
#ifdef SIM_FIBER_UCONTEXT
#include <ucontext.h>
#endif

typedef void sim_fiber_entry(void *argument);

struct sim_fiber {
	void *stack_pointer; /* where it stopped; its registers are on the stack */
	void *tsan;	     /* TSan's thread for it */
	void *fake_stack;    /* ASan's, while it does not run */
	const void *bottom;  /* of the stack: the lowest usable address */
	size_t bytes;
	sim_fiber_entry *entry;
	void *argument;
#ifdef SIM_FIBER_UCONTEXT
	ucontext_t context;
#endif
};

/* Gives the fiber a stack. False when the machine refuses it. */
bool sim_fiber_create(struct sim_fiber *fiber, sim_fiber_entry *entry, void *argument);

/* Makes the fiber stand for the calling thread's own stack, so that one can switch back to it. */
void sim_fiber_adopt(struct sim_fiber *fiber);

/* Saves `from`, which runs, and continues `to`. Returns when somebody switches back. */
void sim_fiber_switch(struct sim_fiber *from, struct sim_fiber *to);

/*
 * Drops all frames of a fiber that does not run. What it did happens before whatever `self`, the
 * fiber that runs, does from here on.
 */
void sim_fiber_restart(struct sim_fiber *fiber, struct sim_fiber *self);

#endif
