/*
 * The simulated executive's own terms: lanes, processors, and the state of a run.
 *
 * A lane is a context that executes: a system thread, or one run of a work item, of a DPC or of an
 * interrupt service routine. Each has a fiber. Lanes are numbered from 0 (main) and their numbers
 * are reused, the latest freed first, so that a schedule always yields the same numbers.
 *
 * Where a lane stands:
 *
 *   READY     below DISPATCH_LEVEL and able to run. A thread floats: it is not bound to any
 *             processor until it raises its IRQL, and goes on if any processor is open, which means
 *             that nothing at DISPATCH_LEVEL or above is on it. A work item is its processor's
 *             `worker` and goes on if that one is open.
 *   PINNED    at DISPATCH_LEVEL or above, so on a processor's stack of contexts, whose bottom is a
 *             thread, work item or DPC and above which only interrupts come. The top one goes on,
 *             unless it spins for a lock that is held.
 *   WAITING   a thread that waits, for an object or for time.
 *   ENDED     a thread that returned and was not waited for yet.
 *   FREE      no context: its fiber is parked for the next.
 *
 * As floating threads have no place, two schedules that differ only in the processor of a thread at
 * PASSIVE_LEVEL are one schedule here. Which processor it gets when it raises its IRQL is a choice.
 *
 * Files: fiber.c stacks and the switch; sched.c choosing, moving on, time; lane.c the life of
 * lanes, IRQL, threads; lock.c spin locks, interlocked operations, references; event.c waiting;
 * deferred.c DPCs, timers, work items; interrupt.c; pool.c; report.c; run.c ke_run itself.
 */
#ifndef XPORT_KE_SIM_EXECUTIVE_H
#define XPORT_KE_SIM_EXECUTIVE_H

#include "ke/ke.h"
#include "ke/sim/fiber.h"
#include "ke/sim/plan.h"
#include "ke/sim/sanitizer.h"
#include "ke/sim/sim.h"

enum {
	SIM_MAXIMUM_LANES = 2048,
	SIM_MAXIMUM_HELD = 16, /* locks at a time in one lane */
	SIM_START_NS = 1000000000,
	SIM_STEP_NS = 10,
	SIM_SLOWNESS_NS = 1000000, /* a slow processor's: how early a timer may seem to fire */
};

enum sim_kind { SIM_THREAD, SIM_WORK_ITEM, SIM_DPC, SIM_INTERRUPT };

enum sim_lane_state { SIM_FREE, SIM_READY, SIM_PINNED, SIM_WAITING, SIM_ENDED };

/* What a lane was about to do at its last site. Part of the trace hash: append only. */
enum sim_operation {
	SIM_OP_NONE,
	SIM_OP_CHOOSE,
	SIM_OP_RAISE_IRQL,
	SIM_OP_LOWER_IRQL,
	SIM_OP_ACQUIRE_LOCK,
	SIM_OP_RELEASE_LOCK,
	SIM_OP_INTERLOCKED,
	SIM_OP_INSERT_LIST,
	SIM_OP_REMOVE_LIST,
	SIM_OP_REFERENCE,
	SIM_OP_DEREFERENCE,
	SIM_OP_SET_EVENT,
	SIM_OP_CLEAR_EVENT,
	SIM_OP_WAIT,
	SIM_OP_DELAY,
	SIM_OP_QUEUE_DPC,
	SIM_OP_REMOVE_DPC,
	SIM_OP_FLUSH_DPCS,
	SIM_OP_SET_TIMER,
	SIM_OP_CANCEL_TIMER,
	SIM_OP_QUEUE_WORK_ITEM,
	SIM_OP_CREATE_THREAD,
	SIM_OP_WAIT_THREAD,
	SIM_OP_CONNECT,
	SIM_OP_DISCONNECT,
	SIM_OP_REQUEST,
	SIM_OP_SYNCHRONIZE,
	SIM_OPERATIONS
};

/* What a waiting lane waits for; `waits_on` is the object. */
enum sim_wait { SIM_WAIT_NONE, SIM_WAIT_EVENT, SIM_WAIT_TIME, SIM_WAIT_THREAD, SIM_WAIT_DPCS };

/* A lock that a lane holds. */
struct sim_held {
	struct kspin_lock *lock;
	kirql level; /* the lane must not go below it meanwhile */
	const struct ke_site *site;
};

/* What a lane was started for; which members count follows from its kind. */
struct sim_task {
	union {
		ke_thread_routine *thread;
		ex_worker_routine *work;
		ke_deferred_routine *dpc;
	};
	void *object; /* the caller's DPC, work item or interrupt */
	void *context;
	const struct ke_site *origin; /* a thread's: where it was created */
	uint64_t sequence;	      /* a DPC's, among all that were ever queued */
};

struct sim_processor;

struct sim_lane {
	struct sim_fiber fiber;
	struct list_entry entry; /* in the list of ready threads or of free lanes */
	unsigned id;
	uint8_t kind;
	uint8_t state;
	kirql irql;
	kirql base; /* the level at which the routine began and must return */
	uint8_t operation;
	uint8_t held_count;
	uint8_t wait;
	const struct ke_site *site;	 /* of the last operation */
	struct sim_processor *processor; /* where it is, or was last */
	struct sim_lane *below;		 /* on the processor's stack */
	struct kspin_lock *spins_on;
	const void *object; /* that the last operation was on */
	uint64_t priority;  /* for the strategies that have some */
	uint32_t turn;	    /* yield points of the lane in this run, over all its lives */
	uint16_t nth;	    /* choices since the last of them */

	const void *waits_on;
	struct list_entry waiter; /* in an event's waiters or in the flushing lanes */
	struct list_entry due;	  /* in the lanes that wait for a time */
	uint64_t due_ns;
	uint64_t flush_sequence;
	ntstatus wait_status;
	struct sim_lane *joiner; /* who waits for this thread's end */

	struct sim_task task;
	struct sim_held held[SIM_MAXIMUM_HELD];
	struct verifier_context verifier;
	char wake_order; /* an address for sim_order_*: this thread's start, wake-ups and end */
};

struct sim_processor {
	unsigned number;
	struct sim_lane *top;	 /* of the stack of pinned lanes, or NULL: open */
	struct sim_lane *worker; /* the work item that has begun */
	struct list_entry dpcs;
	struct list_entry work_items;
	struct list_entry interrupts; /* requested */
	char dpc_order;		      /* for sim_order_*: a processor runs one DPC at a time */
	char work_order;
};

struct sim_executive {
	struct sim_lane *current; /* NULL outside of a run */
	unsigned processors;
	unsigned open;		 /* how many processors are open */
	struct list_entry ready; /* threads; work items are found as workers */
	struct sim_processor processor[KE_MAXIMUM_PROCESSORS];
	struct list_entry any_dpcs; /* for KE_ANY_PROCESSOR */
	struct list_entry any_work_items;
	struct list_entry any_interrupts;

	uint64_t now_ns;
	uint64_t next_due_ns; /* of timers and sleepers; UINT64_MAX: none */
	struct list_entry timers;
	struct list_entry sleepers;
	struct list_entry flushing;
	uint64_t dpc_sequence;

	uint64_t random;
	unsigned stickiness; /* in eighths */
	bool slow;
	const struct ke_sim_plan *plan;
	struct ke_sim_record *record;
	uint64_t stop_at;
	uint32_t next_deviation;
	uint64_t allocations;
	uint64_t steps;
	uint64_t choices;
	uint64_t switches;
	uint64_t trace_hash;

	bool running;
	bool main_returned;
	bool failed;	       /* the report has been written already */
	uint64_t run;	       /* number of this run in the process */
	struct sim_fiber boss; /* ke_run's caller */
	struct verifier_context boss_verifier;
	unsigned lanes_used; /* lanes[] beyond were never taken in this run */
	struct list_entry free_lanes;
	struct list_entry interrupts; /* connected and not requested */
	struct list_entry pool;
	struct sim_lane *lanes[SIM_MAXIMUM_LANES]; /* kept from run to run */
	unsigned lanes_made;
	unsigned flags;
	struct ke_sim_report report;
};

extern struct sim_executive sim_state __attribute__((visibility("hidden")));

/* ---- sched.c -------------------------------------------------------------------------------- */

enum { SIM_MAXIMUM_CANDIDATES = 256 };

enum sim_move {
	SIM_RUN_LANE,
	SIM_BEGIN_DPC,
	SIM_BEGIN_WORK_ITEM,
	SIM_BEGIN_INTERRUPT,
	SIM_PASS_TIME,
	SIM_MOVES
};

/* A step that could be taken. `processor` is NULL where one is to be chosen yet. */
struct sim_candidate {
	enum sim_move move;
	struct sim_processor *processor;
	union {
		struct sim_lane *lane;
		struct list_entry *queue;
		struct kinterrupt *interrupt;
	};
};

struct sim_candidates {
	unsigned count;
	bool first_continues; /* the first is that the current lane goes on */
	bool last_is_time;    /* the last is that time passes */
	struct sim_candidate at[SIM_MAXIMUM_CANDIDATES];
};

/*
 * The yield point: notes where the current lane is and which object it is about to touch (NULL:
 * none of the caller's), and lets the scheduler choose who goes on.
 */
void sim_yield(enum sim_operation operation, const void *object, const struct ke_site *site);

/* Lets the scheduler choose. Returns when the current lane is chosen again, or for a new life. */
void sim_reschedule(void);

/* Ends the run: back to ke_run. Returns only if the lane is taken again in a later run. */
void sim_leave(enum ke_sim_verdict verdict);

/* Which processor takes a context that needs one whose level is below `level`; the one with number
 * `preferred` is alternative 0 if it qualifies. There is one at least. */
struct sim_processor *sim_choose_processor(kirql level, bool without_worker, unsigned preferred);

/* To be called when the first of the timers or of the sleepers has changed. */
void sim_update_next_due(void);

/* The time `delay_ns` from now, without overflow. */
uint64_t sim_deadline(uint64_t delay_ns);

/* ---- strategy.c ----------------------------------------------------------------------------- */

/* A choice that is to be made, as a strategy sees it. */
struct sim_choice {
	enum { SIM_CHOOSE_STEP, SIM_CHOOSE_PROCESSOR, SIM_CHOOSE_WAITER, SIM_CHOOSE_OUTCOME } what;
	unsigned alternatives;
	const struct sim_candidates *candidates; /* of a SIM_CHOOSE_STEP */
};

/* Every decision of a run is taken here. Returns an index below choice->alternatives. */
unsigned sim_choose(const struct sim_choice *choice);

/* Sets out from a seed and the plan. */
void sim_begin_plan(uint64_t seed);

/* The lane has begun a life, or come to its next operation: what that changes for the strategy. */
void sim_new_life(struct sim_lane *lane);
void sim_new_operation(struct sim_lane *lane);

/* Whether this allocation is to fail. */
bool sim_allocation_fails(void);

/* ---- record.c ------------------------------------------------------------------------------- */

/* Notes a choice; `next` goes on after `lane`. */
void sim_note_choice(const struct sim_choice *choice, unsigned index);
void sim_note_event(const struct sim_lane *lane, struct sim_lane *next);

/* ---- lane.c --------------------------------------------------------------------------------- */

/* The lane that runs. Outside of a run that is a bug check. */
struct sim_lane *sim_this_lane(const struct ke_site *site);

/* A bug check if the current lane is above `level`; `what` is the verb phrase of the sentence. */
void sim_require_irql(kirql level, const char *what, const struct ke_site *site);

/* As sim_require_irql for PASSIVE_LEVEL, and the lane must be a thread that may wait. */
void sim_require_thread(const char *what, const struct ke_site *site);

/* Takes a free lane or makes one; NULL if there can be none. Its state is for the caller to set. */
struct sim_lane *sim_lane_take(enum sim_kind kind, const struct sim_task *task);

/* A DPC or service routine starts on the processor; a bug check if there is no lane for it. */
struct sim_lane *sim_lane_start_pinned(enum sim_kind kind, const struct sim_task *task,
				       struct sim_processor *processor);
struct sim_lane *sim_lane_start_worker(const struct sim_task *task,
				       struct sim_processor *processor);

/* Puts a thread among the ready ones. */
void sim_lane_ready(struct sim_lane *lane);

/* Changes the current lane's level, pinning it to a processor or letting it float. */
void sim_set_irql(struct sim_lane *lane, kirql irql);

/* A bug check unless the current lane may go down to `irql`. */
void sim_require_lowering(struct sim_lane *lane, kirql irql, const struct ke_site *site);

/* ---- lock.c --------------------------------------------------------------------------------- */

/* Takes and gives back a lock for the current lane, which is at `level` and stays there. */
void sim_take_lock(struct sim_lane *lane, struct kspin_lock *lock, kirql level,
		   const struct ke_site *site);
void sim_give_lock(struct sim_lane *lane, struct kspin_lock *lock, const struct ke_site *site);

/* ---- event.c -------------------------------------------------------------------------------- */

/* Makes the current lane wait until sim_wake, or until the deadline (UINT64_MAX: none). */
ntstatus sim_wait(enum sim_wait wait, const void *object, uint64_t deadline_ns);

/* Ends a lane's wait with the status. */
void sim_wake(struct sim_lane *lane, ntstatus status);

/* ---- deferred.c ----------------------------------------------------------------------------- */

/* Queues a DPC, if it is not queued, without a yield point. */
bool sim_queue_dpc(struct kdpc *dpc, const struct ke_site *site);

/* Begin what stands first in the list, on the processor. */
struct sim_lane *sim_begin_dpc(struct list_entry *queue, struct sim_processor *processor);
struct sim_lane *sim_begin_work_item(struct list_entry *queue, struct sim_processor *processor);

/* Fires the timers that are due. */
void sim_fire_timers(void);

/* A DPC ended or was taken back: wakes the lanes that waited for no more than that. */
void sim_check_flushing(void);

/* ---- interrupt.c ---------------------------------------------------------------------------- */

struct sim_lane *sim_begin_interrupt(struct kinterrupt *interrupt, struct sim_processor *processor);

/* What an interrupt lane does. */
void sim_serve_interrupt(struct sim_lane *lane);

/* ---- pool.c --------------------------------------------------------------------------------- */

struct sim_pool_leak {
	unsigned blocks;
	size_t bytes;
	size_t first_bytes;
	const struct ke_site *first_site;
};

/* What is allocated and not freed; false if nothing is. */
bool sim_pool_leaks(struct sim_pool_leak *leak);

struct sim_pool_write {
	const struct ke_site *allocated;
	const struct ke_site *freed;
	size_t bytes;
	size_t at; /* the first of them that was written */
};

#define SIM_POOL_WRITE_FORMAT                                                                      \
	"byte %zu of a block of %zu that was allocated here was written after it was freed"

/* A freed block that was written to, of the last that were freed; false if there is none. */
bool sim_pool_find_write(struct sim_pool_write *write);

/* Gives everything back to the allocator, also what was leaked. */
void sim_pool_release_all(void);

/* ---- report.c ------------------------------------------------------------------------------- */

/* Writes the report of a broken contract; aborts unless KE_SIM_CATCH is set. */
__attribute__((format(printf, 4, 5))) void sim_report_violation(const struct ke_site *site,
								const char *rule,
								const struct verifier_event *other,
								const char *format, ...);

/* In words. */
const char *sim_operation_name(unsigned operation);
const char *sim_kind_name(unsigned kind);

/* Writes the report of a run that ended in deadlock or livelock. */
void sim_report_stuck(enum ke_sim_verdict verdict);

#endif
