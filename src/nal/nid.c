/*
 * Stage 07: NIDs as text, "10.0.0.1@tcp2", in both directions.
 *
 * A NID in a command or a file is typed by hand, and one that is read as another would send data to
 * the wrong node; so reading takes just what writing gives, but for "tcp0", which is so common.
 */
#include <stdio.h>
#include <string.h>

#include "nal/wire.h"

const char *lnet_nid_to_text(uint64_t nid, char text[LNET_NID_TEXT])
{
	uint32_t address = lnet_nid_address(nid), net = lnet_nid_net(nid);
	char number[8] = "";

	if (nid == LNET_NID_LO_0)
		return memcpy(text, "0@lo", sizeof("0@lo"));
	if (net >> 16 != SOCKLND) {
		snprintf(text, LNET_NID_TEXT, "<0x%08x%08x>", net, address);
		return text;
	}
	if ((net & 0xffff) != 0)
		snprintf(number, sizeof(number), "%u", net & 0xffff);
	snprintf(text, LNET_NID_TEXT, "%u.%u.%u.%u@tcp%s", address >> 24, address >> 16 & 255,
		 address >> 8 & 255, address & 255, number);
	return text;
}

/* A decimal number without leading zeros, up to `most`, which is below a million. */
static bool take_number(const char **text, uint32_t most, uint32_t *number)
{
	const char *at = *text;

	*number = 0;
	while (*at >= '0' && *at <= '9' && *number <= most)
		*number = *number * 10 + (uint32_t)(*at++ - '0');
	if (at == *text || *number > most || (**text == '0' && at - *text > 1))
		return false;
	*text = at;
	return true;
}

static bool take_word(const char **text, const char *word)
{
	const char *at = *text;

	while (*word != '\0')
		if (*at++ != *word++)
			return false;
	*text = at;
	return true;
}

ntstatus lnet_text_to_nid(const char *text, uint64_t *nid)
{
	uint32_t address = 0, number = 0, octet;

	if (strcmp(text, "0@lo") == 0) {
		*nid = LNET_NID_LO_0;
		return STATUS_SUCCESS;
	}
	for (int i = 0; i < 4; i++) {
		if ((i > 0 && !take_word(&text, ".")) || !take_number(&text, 255, &octet))
			return STATUS_INVALID_PARAMETER;
		address = address << 8 | octet;
	}
	if (!take_word(&text, "@tcp") || (*text != '\0' && !take_number(&text, 0xffff, &number)) ||
	    *text != '\0')
		return STATUS_INVALID_PARAMETER;
	*nid = lnet_make_nid(lnet_make_net(SOCKLND, number), address);
	return STATUS_SUCCESS;
}
