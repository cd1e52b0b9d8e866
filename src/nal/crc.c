/*
 * Stage 07: the CRC-32 of a message.
 *
 * A CRC is a remainder: the bytes are the coefficients of a polynomial over one bit, and the sum is
 * what is left of it when it is divided by 0x04c11db7 (with its bits reversed: 0xedb88320). One bit
 * takes a shift and an exclusive or; a table of 256 remainders does eight bits at once.
 *
 * Still each byte waits for the one before. But the remainder of a sum is the sum of remainders:
 * that of eight bytes is the exclusive or of eight that don't depend on each other, if there is a
 * table for each distance from the end (slicing by eight). tools/crc_table.c writes them when
 * xport is built.
 *
 * Sources: M. E. Kounavis and F. L. Berry, "A Systematic Approach to Building High Performance
 * Software-Based CRC Generators", 2005.
 */
#include <string.h>

#include "crc_table.h"
#include "nal/wire.h"

/* Four bytes, the first as the lowest. */
static uint32_t load(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? value : __builtin_bswap32(value);
}

static uint32_t slice(uint32_t word, uint32_t distance)
{
	return crc_table[distance + 3][word & 255] ^ crc_table[distance + 2][word >> 8 & 255] ^
	       crc_table[distance + 1][word >> 16 & 255] ^ crc_table[distance][word >> 24];
}

uint32_t ksock_checksum_add(uint32_t sum, const void *bytes, size_t length)
{
	const uint8_t *at = bytes;

	for (; length >= 8; length -= 8, at += 8)
		sum = slice(load(at) ^ sum, 4) ^ slice(load(at + 4), 0);
	for (; length > 0; length--, at++)
		sum = sum >> 8 ^ crc_table[0][(sum ^ *at) & 255];
	return sum;
}
