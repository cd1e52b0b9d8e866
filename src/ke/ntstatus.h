/*
 * Status codes, with the names and the values of NT, so that a code seen in a trace can be looked
 * up in the field's own documents. Success and information are positive or zero, errors negative.
 */
#ifndef XPORT_KE_NTSTATUS_H
#define XPORT_KE_NTSTATUS_H

#include <stdbool.h>
#include <stdint.h>

typedef int32_t ntstatus;

#define STATUS_SUCCESS ((ntstatus)0x00000000)
#define STATUS_TIMEOUT ((ntstatus)0x00000102)
#define STATUS_PENDING ((ntstatus)0x00000103)

#define STATUS_INVALID_EA_NAME ((ntstatus)0x80000013)
#define STATUS_EA_LIST_INCONSISTENT ((ntstatus)0x80000014)
#define STATUS_INVALID_PARAMETER ((ntstatus)0xC000000D)
#define STATUS_INVALID_DEVICE_REQUEST ((ntstatus)0xC0000010)
#define STATUS_MORE_PROCESSING_REQUIRED ((ntstatus)0xC0000016)
#define STATUS_ACCESS_DENIED ((ntstatus)0xC0000022)
#define STATUS_INSUFFICIENT_RESOURCES ((ntstatus)0xC000009A)
#define STATUS_DEVICE_NOT_READY ((ntstatus)0xC00000A3)
#define STATUS_IO_TIMEOUT ((ntstatus)0xC00000B5)
#define STATUS_NOT_SUPPORTED ((ntstatus)0xC00000BB)
#define STATUS_INVALID_NETWORK_RESPONSE ((ntstatus)0xC00000C3)
#define STATUS_INVALID_USER_BUFFER ((ntstatus)0xC00000E8)
#define STATUS_CANCELLED ((ntstatus)0xC0000120)
#define STATUS_LOCAL_DISCONNECT ((ntstatus)0xC000013B)
#define STATUS_REMOTE_DISCONNECT ((ntstatus)0xC000013C)
#define STATUS_INVALID_ADDRESS_COMPONENT ((ntstatus)0xC0000207)
#define STATUS_DATA_NOT_ACCEPTED ((ntstatus)0xC000021B)
#define STATUS_ADDRESS_ALREADY_EXISTS ((ntstatus)0xC000020A)
#define STATUS_CONNECTION_RESET ((ntstatus)0xC000020D)
#define STATUS_POSSIBLE_DEADLOCK ((ntstatus)0xC0000194)
#define STATUS_CONNECTION_REFUSED ((ntstatus)0xC0000236)
#define STATUS_GRACEFUL_DISCONNECT ((ntstatus)0xC0000237)
#define STATUS_CONNECTION_INVALID ((ntstatus)0xC000023A)
#define STATUS_CONNECTION_ACTIVE ((ntstatus)0xC000023B)
#define STATUS_NETWORK_UNREACHABLE ((ntstatus)0xC000023C)
#define STATUS_HOST_UNREACHABLE ((ntstatus)0xC000023D)
#define STATUS_CONNECTION_ABORTED ((ntstatus)0xC0000241)

/* True for success and information, STATUS_PENDING among them. */
static inline bool nt_success(ntstatus status)
{
	return status >= 0;
}

/* The name of a code above, "STATUS_UNKNOWN" for any other. Static storage. */
const char *nt_status_name(ntstatus status);

/* What the code means to a user of a command, in lower case and without a full stop. */
const char *nt_status_text(ntstatus status);

#endif
