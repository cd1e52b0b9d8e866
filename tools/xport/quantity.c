/* Quantities with a unit, as they are typed. */
#include "quantity.h"

#include <stddef.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t scale;
};

/*
 * "2.5gbit" is 2 * scale and the digits after the point one by one, each with a tenth of the
 * scale before. Integers only: every decimal text has one exact result, and overflow is seen.
 */
static int parse_quantity(const char *text, const struct unit *units, size_t count,
			  uint64_t *result)
{
	size_t whole_length = strspn(text, "0123456789");
	const char *fraction = text + whole_length;
	size_t fraction_length = 0;
	const char *name = fraction;
	uint64_t value = 0;
	uint64_t scale;

	if (*fraction == '.') {
		fraction++;
		fraction_length = strspn(fraction, "0123456789");
		name = fraction + fraction_length;
		if (fraction_length == 0)
			return -1;
	}
	if (whole_length == 0)
		return -1;
	while (count > 0 && strcmp(units[count - 1].name, name) != 0)
		count--;
	if (count == 0)
		return -1;
	for (size_t i = 0; i < whole_length; i++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
			return -1;
	scale = units[count - 1].scale;
	if (__builtin_mul_overflow(value, scale, &value))
		return -1;
	for (size_t i = 0; i < fraction_length; i++) {
		scale /= 10;
		if (__builtin_add_overflow(value, (uint64_t)(fraction[i] - '0') * scale, &value))
			return -1;
	}
	*result = value;
	return 0;
}

int parse_duration(const char *text, uint64_t *nanoseconds)
{
	static const struct unit units[] = {
		{"ns", 1},
		{"us", 1000},
		{"ms", 1000000},
		{"s", 1000000000},
	};

	return parse_quantity(text, units, sizeof(units) / sizeof(units[0]), nanoseconds);
}

int parse_rate(const char *text, uint64_t *bits_per_second)
{
	static const struct unit units[] = {
		{"bit", 1},
		{"kbit", 1000},
		{"mbit", 1000000},
		{"gbit", 1000000000},
	};
	uint64_t rate;

	if (parse_quantity(text, units, sizeof(units) / sizeof(units[0]), &rate) < 0 || rate == 0)
		return -1;
	*bits_per_second = rate;
	return 0;
}
