/*
 * io - requests: IRPs, MDLs, device objects, completion and cancellation. Stage 01.
 *
 * The life of a request
 *
 * 1. Its creator allocates an IRP with one stack location for every driver that it will pass
 *    (io_allocate_irp), fills in the location of the first driver (io_get_next_irp_stack_location),
 *    leaves a completion routine of its own there (io_set_completion_routine), and sends it
 *    (io_call_driver). From that moment the IRP is not the creator's: it may be completed, and even
 *    freed, before io_call_driver returns.
 * 2. A driver's dispatch routine owns the IRP. It does one of three things: completes it
 *    (io_complete_request) and returns the status; passes it on (io_call_driver) and returns what
 *    that returned; or keeps it: marks it pending (io_mark_irp_pending), then queues it, then
 *    returns STATUS_PENDING, in this order, because once queued another processor may complete it.
 * 3. io_complete_request walks back up: at each location it calls the completion routine that the
 *    driver above left there. A routine that returns STATUS_MORE_PROCESSING_REQUIRED stops the
 *    walk: the IRP is that driver's again. A routine that lets the walk go on and finds
 *    irp->pending_returned set must call io_mark_irp_pending, to tell its own caller the truth.
 * 4. The walk ends at the creator. One who used io_allocate_irp frees the IRP in its completion
 *    routine and returns STATUS_MORE_PROCESSING_REQUIRED; it must not mark the IRP pending there,
 *    for it owns no location. One who used io_build_device_io_control_request has no routine: the
 *    I/O manager copies io_status out, unlocks and frees the MDLs, frees the IRP and sets the
 *    event; so such a request is for synchronous use, by a thread that waits on the event.
 *
 * Exactly one io_complete_request for each io_call_driver that reached a driver which kept the
 * request; never two. A request that is completed twice stops the run (REQ-DOUBLE-COMPLETE).
 *
 * Cancellation. Whoever keeps a request for long keeps it in a cancel-safe queue (struct io_csq):
 * then a request is in exactly one hand, the queue's, its remover's or the canceller's. A request
 * on which work has begun is out of the queue, and cancelling it does nothing but set irp->cancel.
 *
 * Sources: the first seed thread (requests, completion routines, threaded IRPs); NT's public
 * driver documentation for the contracts. NT passes cancellation through one global spin lock; here
 * an exchange of the cancel routine decides the race, which is what NT's cancel-safe queues do.
 */
#ifndef XPORT_IO_IO_H
#define XPORT_IO_IO_H

#include "ke/ke.h"
#include "stat/stat.h"

struct irp;
struct mdl;
struct device_object;
struct file_object;

/* ---- Memory descriptor lists --------------------------------------------------------------- */

enum { MDL_PAGES_LOCKED = 0x0002 };

enum lock_operation {
	IO_READ_ACCESS,	 /* the device will read this memory */
	IO_WRITE_ACCESS, /* the device will write it */
};

/* A piece of memory that a driver below will read or write, and whether its pages are in. */
struct mdl {
	struct mdl *next; /* the next piece of the same buffer */
	char *mapped_system_va;
	uint32_t byte_count;
	uint16_t mdl_flags;
};

/*
 * Describes `length` bytes at `address`; with an irp, becomes the last MDL of its chain. The memory
 * stays the caller's. NULL when there is no pool. Up to DISPATCH.
 */
struct mdl *io_allocate_mdl(void *address, uint32_t length, struct irp *irp);

/* Frees a descriptor whose pages are not locked; its chain is left alone. Up to DISPATCH. */
void io_free_mdl(struct mdl *mdl);

/*
 * Brings the pages in and checks that the operation is allowed on all of them: STATUS_SUCCESS, or
 * STATUS_INVALID_USER_BUFFER and nothing is locked. (NT raises an exception instead.) PASSIVE.
 */
ntstatus mm_probe_and_lock_pages(struct mdl *mdl, enum lock_operation operation);

/* For memory from the pool, which is always in. Instead of the above, any IRQL up to DISPATCH. */
void mm_build_mdl_for_non_paged_pool(struct mdl *mdl);

/* Ends what one of the two above began. Up to DISPATCH. */
void mm_unlock_pages(struct mdl *mdl);

/*
 * Describes and locks a buffer for the request, whose only MDL it becomes: at PASSIVE_LEVEL any
 * memory, at DISPATCH_LEVEL pool memory or what is locked otherwise. Nothing for a length of 0.
 * On failure the request has none: STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_USER_BUFFER.
 */
ntstatus io_lock_buffer(struct irp *irp, void *address, uint32_t length,
			enum lock_operation operation);

/* Unlocks and frees all MDLs of the request: what they described is its owner's. Up to DISPATCH. */
void io_unlock_buffer(struct irp *irp);

static inline char *mm_get_system_address_for_mdl(const struct mdl *mdl)
{
	return mdl->mapped_system_va;
}

static inline uint32_t mm_get_mdl_byte_count(const struct mdl *mdl)
{
	return mdl->byte_count;
}

/* ---- Drivers, devices, files --------------------------------------------------------------- */

enum irp_major_function {
	IRP_MJ_CREATE,	/* open a file object */
	IRP_MJ_CLEANUP, /* the last handle is gone: end what is outstanding */
	IRP_MJ_CLOSE,	/* the last reference is gone: free */
	IRP_MJ_READ,
	IRP_MJ_WRITE,
	IRP_MJ_DEVICE_CONTROL,
	IRP_MJ_INTERNAL_DEVICE_CONTROL, /* driver to driver, TDI's requests among them */
	IRP_MJ_MAXIMUM_FUNCTION,
};

/* Owns the IRP; see step 2 above. At the caller's IRQL, up to DISPATCH. */
typedef ntstatus driver_dispatch(struct device_object *device, struct irp *irp);

/* A driver's entry points; one that is NULL completes with STATUS_INVALID_DEVICE_REQUEST. */
struct driver_object {
	const char *driver_name;
	driver_dispatch *major_function[IRP_MJ_MAXIMUM_FUNCTION];
};

struct device_object {
	const struct driver_object *driver_object;
	struct device_object *lower_device; /* what this one is attached to, or NULL */
	void *device_extension;
	struct stat_segment *segment; /* where its files are counted; NULL: nowhere */
	uint8_t stack_size;	      /* locations that a request to this device needs */
};

/* The device stands on `lower`, or on nothing when that is NULL. The memory is the caller's. */
void io_initialize_device(struct device_object *device, const struct driver_object *driver,
			  struct device_object *lower, void *extension);

enum { IO_CLIENT_BLOCKS = 3 };

/*
 * One opening of a device; fs_context and fs_context2 are its driver's. Who opens it sets the
 * device, leaves the rest zero, and may then begin the blocks, which the driver does not touch.
 */
struct file_object {
	struct device_object *device_object;
	void *fs_context;
	void *fs_context2;
	struct stat_block requests; /* of io_request_table: counted for every request to the file */
	struct stat_block client[IO_CLIENT_BLOCKS]; /* for who opened it to count in */
};

/* What happens to the requests to a file. */
extern const struct stat_table io_request_table;

static inline struct device_object *io_get_related_device_object(const struct file_object *file)
{
	return file->device_object;
}

/* ---- Requests ------------------------------------------------------------------------------ */

struct io_status_block {
	ntstatus status;
	uintptr_t information;
};

/*
 * Runs when the drivers below have completed the request, whatever io_call_driver returned, at any
 * IRQL up to DISPATCH, on any processor, perhaps before io_call_driver returns. `device` is that of
 * the driver that set it, NULL for a creator. Returns STATUS_MORE_PROCESSING_REQUIRED to take the
 * request back, anything else to let the walk go on.
 */
typedef ntstatus io_completion_routine(struct device_object *device, struct irp *irp,
				       void *context);

/* The request is in nobody's queue any more: completes it with STATUS_CANCELLED. */
typedef void driver_cancel(struct device_object *device, struct irp *irp);

enum {
	SL_PENDING_RETURNED = 0x01,
	SL_INVOKE_ON_CANCEL = 0x20,
	SL_INVOKE_ON_SUCCESS = 0x40,
	SL_INVOKE_ON_ERROR = 0x80,
};

enum { IO_PARAMETERS_BYTES = 48 };

/* What one driver is asked to do, and whom to tell above it. */
struct io_stack_location {
	uint8_t major_function;
	uint8_t minor_function;
	uint8_t flags;
	uint8_t control;
	struct device_object *device_object;
	struct file_object *file_object;
	io_completion_routine *completion_routine;
	void *context;
	_Alignas(8) unsigned char parameters[IO_PARAMETERS_BYTES]; /* the major function's own */
};

enum { IRP_SYNCHRONOUS_API = 0x0004 };

struct irp {
	struct io_stack_location *current_location;
	struct mdl *mdl_address;
	struct io_status_block io_status;
	int8_t stack_index; /* of current_location: stack_count is the creator, 0 the lowest */
	int8_t stack_count;
	bool pending_returned; /* valid inside a completion routine */
	uint8_t flags;
	int32_t cancel;		     /* somebody asked */
	struct stat_block *counters; /* that its completion will be counted in, or NULL */

	/* Below here the fast path of a request does not go. */
	driver_cancel *cancel_routine;
	struct kevent *user_event;
	struct io_status_block *user_iosb;
	struct list_entry list_entry; /* for the driver that keeps the request */
	void *driver_context[4];      /* likewise */
	struct io_stack_location stack[];
};

/*
 * A request with room for stack_size drivers (1 to 16), for asynchronous use; all else zero.
 * The caller owns it. NULL when there is no pool. Up to DISPATCH.
 */
struct irp *io_allocate_irp_at(uint8_t stack_size, const struct ke_site *site);
#define io_allocate_irp(stack_size) io_allocate_irp_at((stack_size), KE_HERE)

/* Frees a request that no driver holds. Its MDLs are left alone. Up to DISPATCH. */
void io_free_irp_at(struct irp *irp, const struct ke_site *site);
#define io_free_irp(irp) io_free_irp_at((irp), KE_HERE)

/* Makes a completed request that the caller owns as good as new, with this status. */
void io_reuse_irp_at(struct irp *irp, ntstatus status, const struct ke_site *site);
#define io_reuse_irp(irp, status) io_reuse_irp_at((irp), (status), KE_HERE)

/*
 * A request to `device` for a thread that will wait on `event`: io_status goes to *iosb, then the
 * event is set; the IRP frees itself and the MDLs on it. Both must outlive that. NULL when there is
 * no pool. PASSIVE_LEVEL.
 */
struct irp *io_build_device_io_control_request_at(enum irp_major_function major,
						  struct device_object *device,
						  struct kevent *event,
						  struct io_status_block *iosb,
						  const struct ke_site *site);
#define io_build_device_io_control_request(major, device, event, iosb)                             \
	io_build_device_io_control_request_at((major), (device), (event), (iosb), KE_HERE)

static inline struct io_stack_location *io_get_current_irp_stack_location(struct irp *irp)
{
	return irp->current_location;
}

/* The location of the driver that io_call_driver will call. */
static inline struct io_stack_location *io_get_next_irp_stack_location(struct irp *irp)
{
	return irp->current_location - 1;
}

/* For a driver that passes a request on and wants to know: fill the next location in. */
void io_copy_current_irp_stack_location_to_next(struct irp *irp);

/* For a driver that passes a request on and does not want to know: lend the next driver mine. */
static inline void io_skip_current_irp_stack_location(struct irp *irp)
{
	irp->current_location++;
	irp->stack_index++;
}

/* Whom to tell when the next driver has completed. The last three say in which cases. */
static inline void io_set_completion_routine(struct irp *irp, io_completion_routine *routine,
					     void *context, bool on_success, bool on_error,
					     bool on_cancel)
{
	struct io_stack_location *next = io_get_next_irp_stack_location(irp);

	next->completion_routine = routine;
	next->context = context;
	next->control = (uint8_t)((on_success ? SL_INVOKE_ON_SUCCESS : 0) |
				  (on_error ? SL_INVOKE_ON_ERROR : 0) |
				  (on_cancel ? SL_INVOKE_ON_CANCEL : 0));
}

/* Before queueing; the dispatch routine must then return STATUS_PENDING. */
void io_mark_irp_pending_at(struct irp *irp, const struct ke_site *site);
#define io_mark_irp_pending(irp) io_mark_irp_pending_at((irp), KE_HERE)

/*
 * Hands the request to the driver of `device`. Returns what its dispatch routine returned: the
 * final status, or STATUS_PENDING if it may complete later. Either way the request is gone from
 * the caller's hands, and completion routines run. Up to DISPATCH.
 */
ntstatus io_call_driver_at(struct device_object *device, struct irp *irp,
			   const struct ke_site *site);
#define io_call_driver(device, irp) io_call_driver_at((device), (irp), KE_HERE)

/* The driver that owns the request is done; io_status says how. Not with a lock held. Up to
 * DISPATCH. */
void io_complete_request_at(struct irp *irp, const struct ke_site *site);
#define io_complete_request(irp) io_complete_request_at((irp), KE_HERE)

/* The same with its outcome; returns `status`, for dispatch routines that end with it. */
ntstatus io_finish_request_at(struct irp *irp, ntstatus status, uintptr_t information,
			      const struct ke_site *site);
#define io_finish_request(irp, status, information)                                                \
	io_finish_request_at((irp), (status), (information), KE_HERE)

/* ---- Cancellation -------------------------------------------------------------------------- */

/*
 * Asks for the request to end soon. True if a cancel routine was there and has run. The caller must
 * know that the request still exists: it holds its completion back, or a reference. Up to DISPATCH.
 */
bool io_cancel_irp_at(struct irp *irp, const struct ke_site *site);
#define io_cancel_irp(irp) io_cancel_irp_at((irp), KE_HERE)

/* Sets or, with NULL, takes away the cancel routine; returns the one before. Up to DISPATCH. */
driver_cancel *io_set_cancel_routine_at(struct irp *irp, driver_cancel *routine,
					const struct ke_site *site);
#define io_set_cancel_routine(irp, routine) io_set_cancel_routine_at((irp), (routine), KE_HERE)

struct io_csq;

/* A cancelled request of the queue has been completed: the owner drops its count. Lock not held. */
typedef void io_csq_cancelled(struct io_csq *csq, void *context);

/*
 * A first-in first-out queue of pending requests that can be cancelled at any moment, under a lock
 * of its owner's. It uses the request's list_entry and driver_context[3] while it holds it.
 *
 * A canceller may come to the lock long after it has taken a request for itself, so the queue must
 * not go away meanwhile. An owner that can go away gives a count of its users, guarded by the lock:
 * each request in the queue is one of them, until it is removed, or `cancelled` has been called.
 */
struct io_csq {
	struct kspin_lock *lock;
	struct list_entry irps;
	uint32_t *users;	     /* or NULL: the owner stays */
	io_csq_cancelled *cancelled; /* or NULL likewise */
	void *context;
};

void io_csq_initialize(struct io_csq *csq, struct kspin_lock *lock, uint32_t *users,
		       io_csq_cancelled *cancelled, void *context);

/*
 * With the lock held: marks the request pending and keeps it; the dispatch routine must return
 * STATUS_PENDING. False if the request was cancelled before: then it is marked, but the caller's,
 * to complete with STATUS_CANCELLED after it let go of the lock; the answer is STATUS_PENDING too.
 * DISPATCH_LEVEL.
 */
bool io_csq_insert_irp_at(struct io_csq *csq, struct irp *irp, const struct ke_site *site);
#define io_csq_insert_irp(csq, irp) io_csq_insert_irp_at((csq), (irp), KE_HERE)

/* With the lock held: puts a request back at the head that was just removed. As above. */
bool io_csq_return_irp_at(struct io_csq *csq, struct irp *irp, const struct ke_site *site);
#define io_csq_return_irp(csq, irp) io_csq_return_irp_at((csq), (irp), KE_HERE)

/* With the lock held: the oldest request, now the caller's and safe from cancellation, or NULL. */
struct irp *io_csq_remove_next_irp_at(struct io_csq *csq, const struct ke_site *site);
#define io_csq_remove_next_irp(csq) io_csq_remove_next_irp_at((csq), KE_HERE)

#endif
