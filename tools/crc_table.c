/*
 * Writes crc_table.h for src/nal/crc.c, when xport is built: crc_table[d][b] is the remainder of
 * the byte b that is followed by d bytes of 0.
 */
#include <stdint.h>
#include <stdio.h>

#define POLYNOMIAL 0xedb88320u

static uint32_t remainder_of(uint32_t byte, int distance)
{
	for (int bit = 0; bit < 8 * (distance + 1); bit++)
		byte = byte >> 1 ^ (byte & 1 ? POLYNOMIAL : 0);
	return byte;
}

int main(void)
{
	puts("/* Written by tools/crc_table.c. */\n"
	     "#include <stdint.h>\n\n"
	     "static const uint32_t crc_table[8][256] = {");
	for (int distance = 0; distance < 8; distance++) {
		printf("\t{");
		for (uint32_t byte = 0; byte < 256; byte++)
			printf("%s0x%08x,", byte % 8 == 0 ? "\n\t\t" : " ",
			       remainder_of(byte, distance));
		puts("\n\t},");
	}
	puts("};");
	return 0;
}
