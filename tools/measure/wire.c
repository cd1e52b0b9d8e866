/* measure-wire: what the checksum and the headers of a message cost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nal/wire.h"

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void measure_checksum(size_t length)
{
	uint8_t *bytes = malloc(length);
	size_t total = 0;
	uint32_t sum = UINT32_MAX;
	double start = now();

	memset(bytes, 0x5a, length);
	for (; total < (size_t)1 << 30; total += length)
		sum = ksock_checksum_add(sum, bytes, length);
	printf("checksum, pieces of %zu bytes: %.0f MB/s (%08x)\n", length,
	       (double)total / (now() - start) / 1e6, sum);
	free(bytes);
}

static void measure_headers(void)
{
	enum { ROUNDS = 10000000 };
	struct ksock_message_header message = {.type = KSOCK_MSG_LNET};
	struct lnet_header header = {.type = LNET_MSG_PUT, .payload_length = 64};
	uint8_t bytes[KSOCK_MESSAGE_BYTES + LNET_HEADER_BYTES];
	unsigned good = 0;
	double start = now(), middle;

	for (int i = 0; i < ROUNDS; i++) {
		message.zc_cookies[0] = (uint64_t)i;
		ksock_encode_message(bytes, &message, false);
		lnet_encode_header(bytes + KSOCK_MESSAGE_BYTES, &header, false);
		__asm__ volatile("" : : "r"(bytes) : "memory");
	}
	middle = now();
	for (int i = 0; i < ROUNDS; i++) {
		__asm__ volatile("" : : "r"(bytes) : "memory");
		good += ksock_decode_message(bytes, KSOCK_MESSAGE_BYTES, &message, false) ==
			LNET_WIRE_GOOD;
		good += lnet_decode_header(bytes + KSOCK_MESSAGE_BYTES, LNET_HEADER_BYTES, &header,
					   false) == LNET_WIRE_GOOD;
	}
	printf("both headers of a PUT: %.1f ns to encode, %.1f ns to decode (%u good)\n",
	       (middle - start) * 1e9 / ROUNDS, (now() - middle) * 1e9 / ROUNDS, good);
}

int main(void)
{
	measure_checksum(96);
	measure_checksum(4096);
	measure_checksum(LNET_MTU);
	measure_headers();
	return 0;
}
