/*
 * ke/host - the executive on threads and real time; what only this executive offers.
 *
 * Here an interrupt is the readiness of a file descriptor. Only the rooms that are allowed to make
 * system calls (tcp, stat, fs) include this header.
 */
#ifndef XPORT_KE_HOST_HOST_H
#define XPORT_KE_HOST_HOST_H

#include "ke/ke.h"

/* Bits of kinterrupt.events, valid in the service routine, which clears those that it has taken. */
enum {
	KE_HOST_READABLE = 0x1, /* data, end of stream, or a connection to accept */
	KE_HOST_WRITABLE = 0x2, /* room again after a write that was refused */
	KE_HOST_ERROR = 0x4,	/* an error, or a message on the error queue */
	KE_HOST_HANGUP = 0x8,	/* with readable: the end of the stream is behind what is there */
};

/*
 * From now on each change of the descriptor's readiness (edge-triggered) interrupts. The descriptor
 * stays the caller's, which closes it after the interrupt was disconnected. The interrupt must be
 * connected. STATUS_INSUFFICIENT_RESOURCES when the kernel refuses. Up to DISPATCH.
 */
ntstatus ke_host_watch_descriptor(struct kinterrupt *interrupt, int fd);

#endif
