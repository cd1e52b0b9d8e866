/* What the verifier is told of requests. Each is called behind `if (verifier_on)`. */
#ifndef XPORT_IO_WATCH_H
#define XPORT_IO_WATCH_H

#include "io/io.h"

/* Instead of a call of the routine: calls it, and judges what it returned. */
ntstatus io_watch_dispatch(driver_dispatch *dispatch, struct device_object *device, struct irp *irp,
			   const struct ke_site *site);
ntstatus io_watch_routine(const struct io_stack_location *left, struct device_object *above,
			  struct irp *irp, const struct ke_site *site);

/* Instead of what io_free_irp and io_finish_request do: they, and a judgement before. */
void io_watch_free(struct irp *irp, const struct ke_site *site);
ntstatus io_watch_finish(struct irp *irp, ntstatus status, uintptr_t information,
			 const struct ke_site *site);

/* A completion begins; and its walk has stepped up from a location that had no routine to call. */
void io_watch_completion(struct irp *irp, const struct ke_site *site);
void io_watch_step_up(const struct irp *irp, const struct ke_site *site);

#endif
