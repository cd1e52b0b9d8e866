/*
 * Fibers: stacks, the switch between them, and what the sanitizers want to know.
 *
 * A fiber that does not run is one pointer: its stack pointer. On the stack lie the frame pointer
 * and the address at which to continue; the switch says that it changes all other registers, so
 * that the compiler saves what it needs. To switch is to push those two, to exchange the stack
 * pointer, to pop the other fiber's and to jump. A new fiber's stack is laid out as if it had
 * stopped just before its first instruction.
 *
 * The switch stands inside sim_fiber_switch and ends in a jump. A processor predicts each return by
 * the calls that it saw; were the switch a function that is called and returns on another stack,
 * each would be mispredicted, and so would the return of its caller, which costs three times the
 * rest. As it is, calls and returns stay paired: whoever arrives in sim_fiber_switch returns to the
 * place from which the one who left had called, nearly always the same line of the scheduler.
 *
 * Floating-point control words are not saved, for no room of xport changes them.
 *
 * Each stack has a page below it that can not be touched, so that an overflow faults instead of
 * corrupting a neighbour. Stacks stay mapped for the process's life; the lanes above reuse them.
 */
#include "ke/sim/fiber.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ke/sim/sanitizer.h"

enum {
	STACK_BYTES = 64 << 10,
	WATCHED_STACK_BYTES = 256 << 10, /* instrumented frames are several times larger */
};

/* The fiber that the running one was switched to from. */
static struct sim_fiber *previous;

/* ---- The switch itself, by machine ---------------------------------------------------------- */

#if !defined(SIM_FIBER_UCONTEXT)

/* Where a new fiber begins: calls the function that lay_out_stack left, with the fiber. */
void sim_fiber_boot(void);

#endif

#if !defined(SIM_FIBER_UCONTEXT) && defined(__x86_64__)

__asm__(".text\n"
	".hidden sim_fiber_boot\n"
	".globl sim_fiber_boot\n"
	".type sim_fiber_boot, @function\n"
	"sim_fiber_boot:\n"
	".cfi_startproc\n"
	".cfi_undefined rip\n"
	"	popq %rdi\n"
	"	popq %rax\n"
	"	callq *%rax\n"
	"	ud2\n"
	".cfi_endproc\n"
	".size sim_fiber_boot, . - sim_fiber_boot\n");

/* The words that sim_fiber_boot pops lie above those that switch_stacks leaves. */
static void *lay_out_stack(char *top, void (*begin)(struct sim_fiber *), struct sim_fiber *fiber)
{
	uint64_t *frame = (uint64_t *)top - 6;

	frame[0] = (uint64_t)(uintptr_t)sim_fiber_boot;
	frame[1] = 0; /* the frame pointer: ends the chain of frames */
	frame[2] = (uint64_t)(uintptr_t)fiber;
	frame[3] = (uint64_t)(uintptr_t)begin;
	frame[4] = frame[5] = 0; /* keep the call aligned to 16 */
	return frame;
}

/* Stores the stack pointer in *save and continues at the other one. Below the compiler's own stack
 * pointer it may keep 128 bytes of temporaries, which are stepped over. */
static inline void switch_stacks(void **save, void *stack_pointer)
{
	__asm__ volatile("leaq -128(%%rsp), %%rsp\n\t"
			 "leaq 1f(%%rip), %%rcx\n\t"
			 "pushq %%rbp\n\t"
			 "pushq %%rcx\n\t"
			 "movq %%rsp, (%0)\n\t"
			 "movq %1, %%rsp\n\t"
			 "popq %%rcx\n\t"
			 "popq %%rbp\n\t"
			 "jmpq *%%rcx\n"
			 "1:\n\t"
			 "leaq 128(%%rsp), %%rsp"
			 : "+D"(save), "+S"(stack_pointer)
			 :
			 : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13",
			   "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
			   "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
			   "xmm15", "cc", "memory");
}

#elif !defined(SIM_FIBER_UCONTEXT) && defined(__aarch64__)

__asm__(".text\n"
	".hidden sim_fiber_boot\n"
	".globl sim_fiber_boot\n"
	".type sim_fiber_boot, %function\n"
	"sim_fiber_boot:\n"
	"	ldp x0, x1, [sp], #16\n"
	"	blr x1\n"
	"	brk #0\n"
	".size sim_fiber_boot, . - sim_fiber_boot\n");

/* The words that sim_fiber_boot loads lie above those that switch_stacks leaves. */
static void *lay_out_stack(char *top, void (*begin)(struct sim_fiber *), struct sim_fiber *fiber)
{
	uint64_t *frame = (uint64_t *)top - 6;

	frame[0] = 0; /* the frame pointer: ends the chain of frames */
	frame[1] = 0; /* the link register */
	frame[2] = (uint64_t)(uintptr_t)sim_fiber_boot;
	frame[3] = 0;
	frame[4] = (uint64_t)(uintptr_t)fiber;
	frame[5] = (uint64_t)(uintptr_t)begin;
	return frame;
}

/* Stores the stack pointer in *save and continues at the other one. */
static inline void switch_stacks(void **save, void *stack_pointer)
{
	register void **from __asm__("x0") = save;
	register void *to __asm__("x1") = stack_pointer;

	__asm__ volatile("sub sp, sp, #32\n\t"
			 "adr x16, 1f\n\t"
			 "stp x29, x30, [sp]\n\t"
			 "str x16, [sp, #16]\n\t"
			 "mov x17, sp\n\t"
			 "str x17, [x0]\n\t"
			 "mov sp, x1\n\t"
			 "ldr x16, [sp, #16]\n\t"
			 "ldp x29, x30, [sp], #32\n\t"
			 "br x16\n"
			 "1:"
			 : "+r"(from), "+r"(to)
			 :
			 : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12",
			   "x13", "x14", "x15", "x16", "x17", "x19", "x20", "x21", "x22", "x23",
			   "x24", "x25", "x26", "x27", "x28", "v0", "v1", "v2", "v3", "v4", "v5",
			   "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16",
			   "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26",
			   "v27", "v28", "v29", "v30", "v31", "cc", "memory");
}

#endif

/* ---- Fibers --------------------------------------------------------------------------------- */

/* Tells ASan that the stack has changed, and takes down the bounds of the one that was left. */
static void arrive(struct sim_fiber *fiber)
{
	if (__sanitizer_finish_switch_fiber)
		__sanitizer_finish_switch_fiber(fiber->fake_stack, &previous->bottom,
						&previous->bytes);
}

/* The first function on a fiber's stack. */
static void begin_fiber(struct sim_fiber *fiber)
{
	arrive(fiber);
	/* After a restart ASan may still hold frames of the former life; this makes it let go. */
	if (__asan_handle_no_return)
		__asan_handle_no_return();
	fiber->entry(fiber->argument);
	__builtin_trap();
}

#ifdef SIM_FIBER_UCONTEXT

/* makecontext passes ints only, so the fiber comes in two halves. */
static void begin_context(unsigned high, unsigned low)
{
	begin_fiber((struct sim_fiber *)(uintptr_t)(((uint64_t)high << 32) | low));
}

static void prepare(struct sim_fiber *fiber)
{
	uint64_t address = (uintptr_t)fiber;

	getcontext(&fiber->context);
	fiber->context.uc_stack.ss_sp = (void *)(uintptr_t)fiber->bottom;
	fiber->context.uc_stack.ss_size = fiber->bytes;
	fiber->context.uc_link = NULL;
	makecontext(&fiber->context, (void (*)(void))begin_context, 2, (unsigned)(address >> 32),
		    (unsigned)address);
}

#else

static void prepare(struct sim_fiber *fiber)
{
	char *bottom = (char *)(uintptr_t)fiber->bottom;

	fiber->stack_pointer = lay_out_stack(bottom + fiber->bytes, begin_fiber, fiber);
}

#endif

bool sim_fiber_create(struct sim_fiber *fiber, sim_fiber_entry *entry, void *argument)
{
	size_t guard = (size_t)getpagesize();
	size_t bytes = sim_allocator_is_watched() ? WATCHED_STACK_BYTES : STACK_BYTES;
	char *region = mmap(NULL, guard + bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (region == MAP_FAILED)
		return false;
	if (mmap(region + guard, bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
		munmap(region, guard + bytes);
		return false;
	}
	memset(fiber, 0, sizeof(*fiber));
	fiber->bottom = region + guard;
	fiber->bytes = bytes;
	fiber->entry = entry;
	fiber->argument = argument;
	if (__tsan_create_fiber)
		fiber->tsan = __tsan_create_fiber(0);
	prepare(fiber);
	return true;
}

void sim_fiber_adopt(struct sim_fiber *fiber)
{
	/* Its bounds become known to ASan's side when the first fiber arrives from it. */
	memset(fiber, 0, sizeof(*fiber));
	if (__tsan_get_current_fiber)
		fiber->tsan = __tsan_get_current_fiber();
}

/* Not inlined: no compiler may keep an address of one stack in a register across the switch. */
__attribute__((noinline)) void sim_fiber_switch(struct sim_fiber *from, struct sim_fiber *to)
{
	previous = from;
	if (__sanitizer_start_switch_fiber)
		__sanitizer_start_switch_fiber(&from->fake_stack, to->bottom, to->bytes);
	if (__tsan_switch_to_fiber)
		__tsan_switch_to_fiber(to->tsan, SIM_TSAN_NO_SYNC);
#ifdef SIM_FIBER_UCONTEXT
	swapcontext(&from->context, &to->context);
#else
	switch_stacks(&from->stack_pointer, to->stack_pointer);
#endif
	arrive(from);
}

void sim_fiber_restart(struct sim_fiber *fiber, struct sim_fiber *self)
{
	if (__asan_unpoison_memory_region)
		__asan_unpoison_memory_region(fiber->bottom, fiber->bytes);
	if (__tsan_switch_to_fiber) {
		/* TSan believes what it is told: speak for the fiber once without running it. */
		__tsan_switch_to_fiber(fiber->tsan, SIM_TSAN_NO_SYNC);
		__tsan_release(fiber);
		__tsan_switch_to_fiber(self->tsan, SIM_TSAN_NO_SYNC);
		__tsan_acquire(fiber);
		/* Its record of open calls can not be emptied, only thrown away. */
		__tsan_destroy_fiber(fiber->tsan);
		fiber->tsan = __tsan_create_fiber(0);
	}
	prepare(fiber);
}
