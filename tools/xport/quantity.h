#ifndef XPORT_QUANTITY_H
#define XPORT_QUANTITY_H

#include <stdint.h>

/*
 * Read "250us", "1.5ms" or "2s", and "64kbit", "1gbit" or "2.5gbit" (decimal multiples). The
 * unit is required and nothing may follow it. Return 0, or -1 with the result untouched.
 */
int parse_duration(const char *text, uint64_t *nanoseconds);
int parse_rate(const char *text, uint64_t *bits_per_second);

#endif
