/*
 * Interrupts on the host: the readiness of descriptors, and requests of simulated devices.
 *
 * A service routine runs only on its interrupt's processor, from that processor's loop. So when a
 * DPC of the same processor runs, no service routine is running, and the batch of epoll events that
 * could name the interrupt is used up: ke_disconnect_interrupt takes the descriptor out of epoll,
 * clears `connected`, and queues the caller's DPC, after which nothing here knows the interrupt.
 */
#include <sys/epoll.h>

#include "ke/host/host.h"
#include "ke/host/private.h"

void ke_connect_interrupt_at(struct kinterrupt *interrupt, ke_service_routine *routine,
			     void *context, unsigned processor, const struct ke_site *site)
{
	*interrupt = (struct kinterrupt){
		.routine = routine,
		.context = context,
		.processor = processor == KE_ANY_PROCESSOR ? host_self.processor_number : processor,
		.connected = 1,
		.fd = -1};
	initialize_list_head(&interrupt->entry);
	ke_initialize_spin_lock_at(&interrupt->lock, site);
	__atomic_fetch_add(&host.connected_interrupts, 1, __ATOMIC_RELAXED);
}

ntstatus ke_host_watch_descriptor(struct kinterrupt *interrupt, int fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				    .data.ptr = interrupt};

	/* Release: the processor that epoll wakes sees the interrupt as it is now. */
	__atomic_store_n(&interrupt->fd, fd, __ATOMIC_RELEASE);
	if (epoll_ctl(host.processors[interrupt->processor].epoll_fd, EPOLL_CTL_ADD, fd, &event) ==
	    0)
		return STATUS_SUCCESS;
	interrupt->fd = -1;
	return STATUS_INSUFFICIENT_RESOURCES;
}

static uint32_t translate(uint32_t epoll_events)
{
	uint32_t events = 0;

	if (epoll_events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))
		events |= KE_HOST_READABLE;
	if (epoll_events & (EPOLLOUT | EPOLLHUP))
		events |= KE_HOST_WRITABLE;
	if (epoll_events & (EPOLLRDHUP | EPOLLHUP))
		events |= KE_HOST_HANGUP;
	if (epoll_events & EPOLLERR)
		events |= KE_HOST_ERROR;
	return events;
}

struct service {
	struct kinterrupt *interrupt;
	uint32_t events;
};

static bool serve(void *context)
{
	struct service *service = context;
	struct kinterrupt *interrupt = service->interrupt;

	interrupt->events |= service->events;
	return interrupt->connected && interrupt->routine(interrupt, interrupt->context);
}

void host_run_interrupt(struct kinterrupt *interrupt, uint32_t epoll_events)
{
	struct service service = {interrupt, translate(epoll_events)};

	(void)__atomic_load_n(&interrupt->fd, __ATOMIC_ACQUIRE); /* see ke_host_watch_descriptor */
	ke_synchronize_execution(interrupt, serve, &service);
}

void ke_request_interrupt_at(struct kinterrupt *interrupt, const struct ke_site *site)
{
	struct host_processor *processor = &host.processors[interrupt->processor];

	(void)site;
	host_lock(&processor->lock);
	if (interrupt->requested) {
		host_unlock(&processor->lock);
		return;
	}
	interrupt->requested = 1;
	host_processor_insert_and_unlock(processor, processor->interrupts.prev, &interrupt->entry);
}

static bool mark_disconnected(void *context)
{
	struct kinterrupt *interrupt = context;

	interrupt->connected = 0;
	return true;
}

void ke_disconnect_interrupt_at(struct kinterrupt *interrupt, struct kdpc *disconnected,
				const struct ke_site *site)
{
	struct host_processor *processor = &host.processors[interrupt->processor];

	if (disconnected->processor != interrupt->processor)
		ke_bug_check_at(site, "INTERRUPT-MISUSE",
				"the DPC that ends an interrupt is for processor %u, not %u",
				disconnected->processor, interrupt->processor);
	ke_synchronize_execution_at(interrupt, mark_disconnected, interrupt, site);
	__atomic_fetch_sub(&host.connected_interrupts, 1, __ATOMIC_RELAXED);
	if (interrupt->fd >= 0)
		epoll_ctl(processor->epoll_fd, EPOLL_CTL_DEL, interrupt->fd, NULL);
	host_lock(&processor->lock);
	if (interrupt->requested)
		remove_entry_list(&interrupt->entry);
	interrupt->requested = 0;
	host_unlock(&processor->lock);
	ke_insert_queue_dpc_at(disconnected, site);
}
