/*
 * Stage 07: where a payload is: pieces of memory, or pieces of pages.
 *
 * Nothing here, and nobody who uses a cursor, needs to know which. A cursor goes forward only, so
 * that a list of a thousand pages is walked once, however small the steps are.
 */
#include <string.h>

#include "nal/private.h"

static char *piece_of(const struct lnet_payload *payload, uint32_t piece, uint32_t *length)
{
	if (payload->iov != NULL) {
		*length = payload->iov[piece].length;
		return payload->iov[piece].base;
	}
	*length = payload->kiov[piece].length;
	return (char *)payload->kiov[piece].page + payload->kiov[piece].offset;
}

char *lnet_advance(struct lnet_cursor *cursor, uint32_t most, uint32_t *length)
{
	uint32_t limit = cursor->left < most ? cursor->left : most;
	uint32_t bytes = 0;
	char *base = NULL;

	while (limit > 0 && bytes == 0 && cursor->piece < cursor->payload->count) {
		base = piece_of(cursor->payload, cursor->piece, &bytes) + cursor->offset;
		bytes -= cursor->offset;
		if (bytes > limit) {
			bytes = limit;
			cursor->offset += bytes;
		} else { /* the rest of the piece, or a piece of nothing */
			cursor->piece++;
			cursor->offset = 0;
		}
	}
	if (limit > 0 && bytes == 0)
		ke_bug_check("MSG-PAYLOAD-SHORT",
			     "a payload of %u bytes has only %u in its %u pieces",
			     cursor->payload->length, cursor->payload->length - cursor->left,
			     cursor->payload->count);
	cursor->left -= bytes;
	*length = bytes;
	return bytes > 0 ? base : NULL;
}

void lnet_gather(struct lnet_cursor *cursor, char *to)
{
	uint32_t length;
	char *piece;

	while ((piece = lnet_advance(cursor, UINT32_MAX, &length)) != NULL) {
		memcpy(to, piece, length);
		to += length;
	}
}
