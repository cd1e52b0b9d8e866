/*
 * ke - the executive: the whole porting contract of xport.
 *
 * Every room above this one reaches the machine through these functions alone. Two executives
 * implement them: ke/host with threads and real time, ke/sim with fibers on one thread, virtual
 * time and a scheduler that chooses every interleaving. The rooms above are compiled once and
 * linked with either, so whatever a test found out about them in the simulator holds for the very
 * object code that runs on the wire.
 *
 * Contexts and IRQL. Code runs in one of four contexts, each at its own interrupt request level:
 *
 *   system threads and work items   PASSIVE_LEVEL    threads may wait; work items are short
 *   deferred procedure calls        DISPATCH_LEVEL   must not wait
 *   interrupt service routines      DEVICE_LEVEL     must not wait, only queue a DPC
 *
 * Raising the IRQL of one processor excludes nothing that runs on another: only locks and
 * interlocked operations do. What a context may do depends on its IRQL, and the executive checks
 * it: a wait at DISPATCH_LEVEL stops the run with a bug check.
 *
 * Virtual processors. ke_run boots a number of them. On the host each is a thread that runs its
 * interrupts, then its DPCs, then its timers, then its work items, and then parks. Code that waits
 * runs on threads of ps_create_system_thread and never on a processor.
 *
 * Ownership. All objects here are memory of the caller's, which must stay in place while the
 * executive knows of it: an event while anyone waits on it or sets it, a DPC, timer or work item
 * while it is queued. Initialise an object before any other use. An object's fields may be read in
 * a debugger; only the executive touches them. Each carries a word (`executive`) whose meaning is
 * private to the executive that runs.
 *
 * Call sites. Every operation that other contexts can observe is a function call that carries where
 * it stands in the source (KE_HERE): the simulator preempts there, and reports name it.
 *
 * Times are nanoseconds everywhere. Errors are NT status codes (ntstatus.h).
 */
#ifndef XPORT_KE_KE_H
#define XPORT_KE_KE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ke/list.h"
#include "ke/ntstatus.h"
#include "verifier/verifier.h" /* struct ke_site: where an operation stands in the source */

#define KE_HERE                                                                                    \
	__extension__({                                                                            \
		static const struct ke_site ke_here_ = {__FILE__, __LINE__};                       \
		&ke_here_;                                                                         \
	})

/* ---- Running ------------------------------------------------------------------------------- */

typedef void ke_thread_routine(void *context);

struct ke_options {
	unsigned processors; /* virtual processors, 1 to KE_MAXIMUM_PROCESSORS; 0: a sane default */
	uint64_t seed;	     /* ke/sim: the schedule; ke/host ignores it */
	bool never_polls;    /* ke/host: an idle processor parks at once, see processor.c */
};

enum { KE_MAXIMUM_PROCESSORS = 64 };

/*
 * Boots the executive, runs main(context) as a system thread, and returns after main has returned
 * and every DPC and work item has run. Everything allocated must have been freed, every timer
 * disarmed, every interrupt disconnected and every thread ended by then. One executive runs in a
 * process at a time.
 * Returns STATUS_SUCCESS; STATUS_INSUFFICIENT_RESOURCES when the machine refuses what it needs;
 * on ke/sim STATUS_POSSIBLE_DEADLOCK when everything waits (the report goes to standard error).
 */
ntstatus ke_run(const struct ke_options *options, ke_thread_routine *main, void *context);

/* How many virtual processors there are. Any IRQL. */
unsigned ke_query_active_processor_count(void);

/* The processor this context runs on; for a system thread, the one it is counted to. Any IRQL. */
unsigned ke_get_current_processor_number(void);

/*
 * A choice of the environment's: which of `alternatives` (at least 1) happens. ke/sim's scheduler
 * chooses and can replay it; ke/host always answers 0, which the caller arranges to be the ordinary
 * case. `what` names the choice in reports. Any IRQL.
 */
unsigned ke_choose_at(unsigned alternatives, const char *what, const struct ke_site *site);
#define ke_choose(alternatives, what) ke_choose_at((alternatives), (what), KE_HERE)

/*
 * Stops the run: a contract was broken. `rule` is its short name, e.g. "IRQL-TOO-HIGH"; the rest is
 * a sentence in printf form. Prints both and where, and the rule's clause, then aborts. Any IRQL.
 */
_Noreturn void ke_bug_check_at(const struct ke_site *site, const char *rule, const char *format,
			       ...) __attribute__((format(printf, 3, 4)));
#define ke_bug_check(...) ke_bug_check_at(KE_HERE, __VA_ARGS__)

/* ---- IRQL ---------------------------------------------------------------------------------- */

typedef uint8_t kirql;

enum {
	PASSIVE_LEVEL = 0,
	APC_LEVEL = 1,
	DISPATCH_LEVEL = 2,
	DEVICE_LEVEL = 5, /* every interrupt's DIRQL */
	HIGH_LEVEL = 15,
};

kirql ke_get_current_irql(void);

/* Raises this context to `irql`, not below where it is; returns what it was. */
kirql ke_raise_irql_at(kirql irql, const struct ke_site *site);
#define ke_raise_irql(irql) ke_raise_irql_at((irql), KE_HERE)

/* Returns this context to what ke_raise_irql gave. */
void ke_lower_irql_at(kirql irql, const struct ke_site *site);
#define ke_lower_irql(irql) ke_lower_irql_at((irql), KE_HERE)

/* ---- Locks and interlocked operations ------------------------------------------------------ */

struct kspin_lock {
	uint32_t held;
	uint32_t reserved;
	uintptr_t executive;
};

void ke_initialize_spin_lock_at(struct kspin_lock *lock, const struct ke_site *site);
#define ke_initialize_spin_lock(lock) ke_initialize_spin_lock_at((lock), KE_HERE)

/* Raises to DISPATCH_LEVEL and takes the lock; returns the IRQL to give back. At <= DISPATCH. */
kirql ke_acquire_spin_lock_at(struct kspin_lock *lock, const struct ke_site *site);
#define ke_acquire_spin_lock(lock) ke_acquire_spin_lock_at((lock), KE_HERE)

void ke_release_spin_lock_at(struct kspin_lock *lock, kirql irql, const struct ke_site *site);
#define ke_release_spin_lock(lock, irql) ke_release_spin_lock_at((lock), (irql), KE_HERE)

/*
 * Interlocked operations: atomic and sequentially consistent. Increment and decrement return the
 * new value, exchange and compare-exchange the old one. Any IRQL.
 */
int32_t interlocked_increment_at(int32_t *value, const struct ke_site *site);
int32_t interlocked_decrement_at(int32_t *value, const struct ke_site *site);
int32_t interlocked_exchange_at(int32_t *value, int32_t exchange, const struct ke_site *site);
int32_t interlocked_compare_exchange_at(int32_t *value, int32_t exchange, int32_t comparand,
					const struct ke_site *site);
void *interlocked_exchange_pointer_at(void **value, void *exchange, const struct ke_site *site);
int32_t interlocked_read_at(const int32_t *value, const struct ke_site *site);
#define interlocked_read(value) interlocked_read_at((value), KE_HERE)
#define interlocked_increment(value) interlocked_increment_at((value), KE_HERE)
#define interlocked_decrement(value) interlocked_decrement_at((value), KE_HERE)
#define interlocked_exchange(value, exchange) interlocked_exchange_at((value), (exchange), KE_HERE)
#define interlocked_compare_exchange(value, exchange, comparand)                                   \
	interlocked_compare_exchange_at((value), (exchange), (comparand), KE_HERE)
#define interlocked_exchange_pointer(value, exchange)                                              \
	interlocked_exchange_pointer_at((value), (exchange), KE_HERE)

/* A list that several contexts share, up to DEVICE_LEVEL: only these touch it. Any IRQL. */
void ex_interlocked_insert_tail_list_at(struct list_entry *head, struct list_entry *entry,
					struct kspin_lock *lock, const struct ke_site *site);
struct list_entry *ex_interlocked_remove_head_list_at(struct list_entry *head,
						      struct kspin_lock *lock,
						      const struct ke_site *site);
#define ex_interlocked_insert_tail_list(head, entry, lock)                                         \
	ex_interlocked_insert_tail_list_at((head), (entry), (lock), KE_HERE)
#define ex_interlocked_remove_head_list(head, lock)                                                \
	ex_interlocked_remove_head_list_at((head), (lock), KE_HERE)

/* ---- References ---------------------------------------------------------------------------- */

struct ob_reference {
	int32_t count;
};

/* Starts with `count` references, each to be dropped once. Not shared yet. */
void ob_initialize_reference(struct ob_reference *reference, int32_t count);

/* Adds one; the caller must hold one already. Any IRQL. */
void ob_reference_at(struct ob_reference *reference, const struct ke_site *site);
#define ob_reference(reference) ob_reference_at((reference), KE_HERE)

/*
 * Drops one. True for the one caller that dropped the last: it sees everything that the others did
 * before they dropped theirs, and the object is its to free. Any IRQL.
 */
bool ob_dereference_at(struct ob_reference *reference, const struct ke_site *site);
#define ob_dereference(reference) ob_dereference_at((reference), KE_HERE)

/* ---- Events -------------------------------------------------------------------------------- */

enum kevent_type {
	NOTIFICATION_EVENT,    /* stays signaled and releases every waiter until cleared */
	SYNCHRONIZATION_EVENT, /* releases one waiter and clears itself */
};

struct kevent {
	uint32_t type;
	uint32_t signaled;
	struct list_entry waiters;
	uintptr_t executive;
};

void ke_initialize_event(struct kevent *event, enum kevent_type type, bool signaled);

/*
 * Signals the event. Any IRQL up to DISPATCH. Does not touch the event after a waiter that it
 * released could have returned, so the waiter may own the memory.
 */
void ke_set_event_at(struct kevent *event, const struct ke_site *site);
#define ke_set_event(event) ke_set_event_at((event), KE_HERE)

void ke_clear_event_at(struct kevent *event, const struct ke_site *site);
#define ke_clear_event(event) ke_clear_event_at((event), KE_HERE)

#define KE_WAIT_FOREVER INT64_MAX

/*
 * Waits until the event is signaled or timeout_ns have passed. On a system thread at PASSIVE_LEVEL;
 * with a timeout of 0 (a look, no wait) anywhere up to DISPATCH.
 * Returns STATUS_SUCCESS or STATUS_TIMEOUT.
 */
ntstatus ke_wait_for_single_object_at(struct kevent *event, int64_t timeout_ns,
				      const struct ke_site *site);
#define ke_wait_for_single_object(event, timeout_ns)                                               \
	ke_wait_for_single_object_at((event), (timeout_ns), KE_HERE)

/* ---- Time ---------------------------------------------------------------------------------- */

/* Nanoseconds of a clock that never goes back. Any IRQL. */
uint64_t ke_query_interrupt_time(void);

/* Lets a system thread sleep. PASSIVE_LEVEL. */
void ke_delay_execution_thread_at(uint64_t delay_ns, const struct ke_site *site);
#define ke_delay_execution_thread(delay_ns) ke_delay_execution_thread_at((delay_ns), KE_HERE)

/* ---- Deferred procedure calls -------------------------------------------------------------- */

struct kdpc;
typedef void ke_deferred_routine(struct kdpc *dpc, void *context);

#define KE_ANY_PROCESSOR (~0u)

struct kdpc {
	struct list_entry entry;
	ke_deferred_routine *routine;
	void *context;
	uint32_t processor; /* where it runs; KE_ANY_PROCESSOR: the executive's choice */
	uint32_t queued;
	uintptr_t executive;
};

/* The routine runs at DISPATCH_LEVEL on `processor`. It may queue the DPC again, or free it. */
void ke_initialize_dpc(struct kdpc *dpc, ke_deferred_routine *routine, void *context,
		       unsigned processor);

/*
 * Queues the DPC; false if it was queued already and has not begun. So a routine must take all the
 * work that it finds, not one piece a call. Any IRQL.
 */
bool ke_insert_queue_dpc_at(struct kdpc *dpc, const struct ke_site *site);
#define ke_insert_queue_dpc(dpc) ke_insert_queue_dpc_at((dpc), KE_HERE)

/* Takes the DPC back; false if it was not queued, so its routine may be running. Any IRQL. */
bool ke_remove_queue_dpc_at(struct kdpc *dpc, const struct ke_site *site);
#define ke_remove_queue_dpc(dpc) ke_remove_queue_dpc_at((dpc), KE_HERE)

/* Waits until every DPC queued before the call has run to its end. Thread, PASSIVE_LEVEL. */
void ke_flush_queued_dpcs_at(const struct ke_site *site);
#define ke_flush_queued_dpcs() ke_flush_queued_dpcs_at(KE_HERE)

/* ---- Timers -------------------------------------------------------------------------------- */

struct ktimer {
	struct list_entry entry;
	uint64_t due_ns;
	struct kdpc *dpc;
	uint32_t processor;
	uint32_t armed;
	uintptr_t executive;
};

void ke_initialize_timer(struct ktimer *timer);

/*
 * Queues the DPC after delay_ns, once. A timer that was armed is moved. Returns whether it was.
 * Several contexts may set and cancel one timer; the last one holds. Up to DISPATCH.
 */
bool ke_set_timer_at(struct ktimer *timer, uint64_t delay_ns, struct kdpc *dpc,
		     const struct ke_site *site);
#define ke_set_timer(timer, delay_ns, dpc) ke_set_timer_at((timer), (delay_ns), (dpc), KE_HERE)

/* Disarms; false if it was not armed, so its DPC may be queued or running. Up to DISPATCH. */
bool ke_cancel_timer_at(struct ktimer *timer, const struct ke_site *site);
#define ke_cancel_timer(timer) ke_cancel_timer_at((timer), KE_HERE)

/* ---- Work items and threads ---------------------------------------------------------------- */

typedef void ex_worker_routine(void *context);

struct ex_work_item {
	struct list_entry entry;
	ex_worker_routine *routine;
	void *context;
	uint32_t processor;
	uint32_t queued;
	uintptr_t executive;
};

/* The routine runs at PASSIVE_LEVEL on `processor`; it must be short and must not wait. */
void ex_initialize_work_item(struct ex_work_item *item, ex_worker_routine *routine, void *context,
			     unsigned processor);

/* Queues the item; false if it was queued already and has not begun. Up to DISPATCH. */
bool ex_queue_work_item_at(struct ex_work_item *item, const struct ke_site *site);
#define ex_queue_work_item(item) ex_queue_work_item_at((item), KE_HERE)

struct kthread {
	ke_thread_routine *routine;
	void *context;
	uintptr_t executive;
};

/*
 * Starts a thread at PASSIVE_LEVEL. `thread` is the caller's until ke_wait_for_thread returned,
 * which must be called once. STATUS_INSUFFICIENT_RESOURCES if there can be none. PASSIVE_LEVEL.
 */
ntstatus ps_create_system_thread_at(struct kthread *thread, ke_thread_routine *routine,
				    void *context, const struct ke_site *site);
#define ps_create_system_thread(thread, routine, context)                                          \
	ps_create_system_thread_at((thread), (routine), (context), KE_HERE)

/*
 * From now on the calling thread is counted to this processor, and with it what it initialises for
 * KE_ANY_PROCESSOR. PASSIVE_LEVEL.
 */
void ke_set_ideal_processor_thread(unsigned processor);

/* Waits until the thread has ended and lets go of it. Thread, PASSIVE_LEVEL. */
void ke_wait_for_thread_at(struct kthread *thread, const struct ke_site *site);
#define ke_wait_for_thread(thread) ke_wait_for_thread_at((thread), KE_HERE)

/* ---- Interrupts ---------------------------------------------------------------------------- */

struct kinterrupt;

/* At DEVICE_LEVEL, with the interrupt's lock held. True if the device was the cause. */
typedef bool ke_service_routine(struct kinterrupt *interrupt, void *context);

/* At DEVICE_LEVEL, with the interrupt's lock held. */
typedef bool ke_synchronize_routine(void *context);

struct kinterrupt {
	struct list_entry entry;
	struct kspin_lock lock;
	ke_service_routine *routine;
	void *context;
	struct kdpc *disconnected;
	uint32_t processor;
	uint32_t requested;
	uint32_t connected;
	uint32_t events; /* ke/host: what the descriptor reported, see ke/host/host.h */
	int32_t fd;	 /* ke/host: the descriptor, or -1 */
	uintptr_t executive;
};

/*
 * Connects an interrupt line to its service routine, on `processor`. `interrupt` belongs to the
 * executive until the DPC given to ke_disconnect_interrupt runs. Up to DISPATCH.
 */
void ke_connect_interrupt_at(struct kinterrupt *interrupt, ke_service_routine *routine,
			     void *context, unsigned processor, const struct ke_site *site);
#define ke_connect_interrupt(interrupt, routine, context, processor)                               \
	ke_connect_interrupt_at((interrupt), (routine), (context), (processor), KE_HERE)

/*
 * Takes the line away. When no service routine of it can run any more, `disconnected` (initialised
 * by the caller for the interrupt's processor) is queued; its routine may free the interrupt.
 * Call once. Up to DISPATCH.
 */
void ke_disconnect_interrupt_at(struct kinterrupt *interrupt, struct kdpc *disconnected,
				const struct ke_site *site);
#define ke_disconnect_interrupt(interrupt, disconnected)                                           \
	ke_disconnect_interrupt_at((interrupt), (disconnected), KE_HERE)

/* A simulated device asserts the line: the service routine will run once more. Any IRQL. */
void ke_request_interrupt_at(struct kinterrupt *interrupt, const struct ke_site *site);
#define ke_request_interrupt(interrupt) ke_request_interrupt_at((interrupt), KE_HERE)

/* Runs the routine so that the interrupt's service routine does not run meanwhile. Any IRQL. */
bool ke_synchronize_execution_at(struct kinterrupt *interrupt, ke_synchronize_routine *routine,
				 void *context, const struct ke_site *site);
#define ke_synchronize_execution(interrupt, routine, context)                                      \
	ke_synchronize_execution_at((interrupt), (routine), (context), KE_HERE)

/* ---- Memory -------------------------------------------------------------------------------- */

/*
 * Memory of `bytes` bytes, aligned to 16, contents undefined; NULL when there is none. Up to
 * DISPATCH. The caller owns it until ex_free_pool, on any processor. NULL may be freed.
 */
void *ex_allocate_pool_at(size_t bytes, const struct ke_site *site);
#define ex_allocate_pool(bytes) ex_allocate_pool_at((bytes), KE_HERE)
void ex_free_pool_at(void *memory, const struct ke_site *site);
#define ex_free_pool(memory) ex_free_pool_at((memory), KE_HERE)

/*
 * Whether every page of the range can be read (or written), bringing them in. PASSIVE_LEVEL.
 * STATUS_SUCCESS or STATUS_INVALID_USER_BUFFER.
 */
ntstatus ke_probe_pages(const void *address, size_t bytes, bool write);

#endif
