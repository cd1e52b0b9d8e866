/*
 * Lab 02: your tdi_send_stream, the only function of src/tdi/send_sync.c. See README.md. Helpers of
 * your own are static.
 */
#include "tdi/tdi.h"

/* How many bytes were sent, or a negative status. */
int64_t tdi_send_stream(struct file_object *connection, const void *buffer, uint32_t length,
			uint32_t flags)
{
	(void)connection;
	(void)buffer;
	(void)length;
	(void)flags;
	ke_bug_check("NOT-WRITTEN", "tdi_send_stream is yours to write");
}
