/*
 * What the files of ke/host share. The state of this executive, all of it:
 *
 *   host_self     one a thread: its IRQL, its processor, its free memory
 *   host          one a process: the processors, what runs on them, what is allocated
 */
#ifndef XPORT_KE_HOST_PRIVATE_H
#define XPORT_KE_HOST_PRIVATE_H

#include <pthread.h>

#include "ke/ke.h"

enum {
	POOL_CLASSES = 11,	      /* 64 bytes to 64 KiB: a chunk of what a socket brings */
	POOL_CACHE_BLOCKS = 256,      /* kept for each class and thread, */
	POOL_CACHE_BYTES = 512 << 10, /* but not more than this */
};

/*
 * How long an idle processor polls before it parks, as long as it has credit. A wait that is
 * shorter earns one, up to the limit, whether it was polled or parked. One that was polled in vain
 * costs the price, and doubles it; one that was polled, and not in vain, lowers it by a 32nd of
 * what it is above the lowest. So with one long wait in a hundred nearly all are polled, with one
 * in twenty hardly any, and none when what is waited for needs this very processor of the machine.
 *
 * That bounds what is polled in vain. Something that comes every 50 us, and is waited for by
 * polling, keeps the processor wholly busy.
 */
enum {
	HOST_POLL_NS = 100 * 1000,
	HOST_CREDIT_LIMIT = 64,
	HOST_LOWEST_PRICE = 32,
	HOST_HIGHEST_PRICE = 4096,
};

struct pool_block {
	struct pool_block *next;
	const struct ke_site *site;
};

struct host_thread {
	kirql irql;
	unsigned processor_number;
	struct host_processor *processor; /* NULL on a system thread */
	uint32_t wake;			  /* futex: this thread's wait is over */
	int64_t pool_outstanding; /* allocated minus freed here; the sum over threads counts */
	struct pool_block *pool_free[POOL_CLASSES];
	unsigned pool_free_count[POOL_CLASSES];
	struct verifier_context verifier;
};

/* One virtual processor. The lists and flags are guarded by `lock`. */
struct host_processor {
	uint32_t lock;
	bool parked;   /* waits in epoll with nothing to do: whoever else brings work wakes it */
	bool stopping; /* leave when there is nothing to do */
	unsigned number;
	struct list_entry interrupts;
	struct list_entry dpcs;
	struct list_entry turn;	  /* those of them that this turn will run */
	struct list_entry timers; /* by due time */
	struct list_entry work_items;
	int epoll_fd;
	int wake_fd;
	pthread_t thread;

	/* Its thread's own. */
	int credit;	     /* more than 0: it polls before it parks */
	int price;	     /* of polling in vain */
	uint64_t idle_since; /* when it had nothing to do any more; 0: it has */
} __attribute__((aligned(128)));

struct host_state {
	struct host_processor *processors;
	unsigned processor_count;
	bool never_polls;
	uint32_t running;
	uint32_t connected_interrupts;
	uint32_t next_home;	  /* the processor that the next system thread is counted to */
	int64_t pool_outstanding; /* of the threads that have ended */
};

extern _Thread_local struct host_thread host_self;
extern struct host_state host;

/* A lock without IRQL or owner, for this room's own short sections. */
void host_lock_contended(uint32_t *lock);

static inline void host_lock(uint32_t *lock)
{
	if (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE) != 0)
		host_lock_contended(lock);
}

static inline void host_unlock(uint32_t *lock)
{
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

/* processor.c */
ntstatus host_processor_open(struct host_processor *processor, unsigned number);
void host_processor_close(struct host_processor *processor);
void *host_processor_main(void *processor);
void host_processor_wake(struct host_processor *processor);
/* Links entry with the lock held, lets go of it, and wakes the processor if it is parked. */
void host_processor_insert_and_unlock(struct host_processor *processor, struct list_entry *after,
				      struct list_entry *entry);

/* interrupt.c */
void host_run_interrupt(struct kinterrupt *interrupt, uint32_t epoll_events);

/* lock.c: a routine has returned that was called at this level: a bug check unless it is clean. */
void host_require_clean_return(kirql irql, const char *what, const struct ke_site *site);

/* pool.c: adds this thread's balance to the process's and frees what it kept. */
void host_pool_leave_thread(void);

#endif
