/* What came of a reception, see received.h. */
#include "received.h"

#include <inttypes.h>

static double rate_of(const struct received *received)
{
	return received->seconds > 0 ? (double)received->bytes / received->seconds : 0;
}

struct text hash_text(struct sha256_ctx *hash)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct text result;

	_Static_assert(sizeof(result.text) > 2 * SHA256_DIGEST_SIZE, "a digest must fit");
	sha256_digest(hash, sizeof(digest), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(result.text + 2 * i, sizeof(result.text) - 2 * i, "%02x", digest[i]);
	return result;
}

void print_received(FILE *stream, const struct received *received)
{
	fprintf(stream, "received %s from %s in %s, %s", format_bytes(received->bytes).text,
		format_address(&received->peer).text, format_seconds(received->seconds).text,
		format_rate(rate_of(received)).text);
}

void print_received_json(const struct received *received)
{
	printf("{\"bytes\":%" PRIu64 ",\"seconds\":%.9g,\"bytes_per_second\":%.9g", received->bytes,
	       received->seconds, rate_of(received));
	if (received->hash != NULL)
		printf(",\"sha256\":\"%s\"", hash_text(received->hash).text);
	printf(",\"peer\":\"%s\",\"file\":", format_address(&received->peer).text);
	print_json_string(stdout, received->file);
	puts("}");
}
