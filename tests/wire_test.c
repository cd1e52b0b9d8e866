/* The wire format: bytes written by hand, both byte orders, and all that can be wrong. */
#include <stdlib.h>
#include <string.h>

#include "executive.h"
#include "suites.h"
#include "wire_samples.h"

enum { MOST = LNET_PING_MOST_BYTES };

/* ---- Every piece behind one face ----------------------------------------------------------- */

union decoded {
	struct lnet_acceptor_request request;
	struct ksock_hello hello;
	struct ksock_message_header message;
	struct lnet_header header;
	struct lnet_ping_reply ping;
};

/* *swapped is found out where there is a magic, and needed where there is none. */
typedef enum lnet_wire_reason decode_piece(const void *bytes, uint32_t length,
					   union decoded *decoded, bool *swapped);
typedef uint32_t encode_piece(void *buffer, const union decoded *decoded, bool swapped);

static enum lnet_wire_reason decode_request(const void *bytes, uint32_t length,
					    union decoded *decoded, bool *swapped)
{
	return lnet_decode_acceptor_request(bytes, length, &decoded->request, swapped);
}

static uint32_t encode_request(void *buffer, const union decoded *decoded, bool swapped)
{
	return lnet_encode_acceptor_request(buffer, &decoded->request, swapped);
}

static enum lnet_wire_reason decode_hello(const void *bytes, uint32_t length,
					  union decoded *decoded, bool *swapped)
{
	return ksock_decode_hello(bytes, length, &decoded->hello, swapped);
}

static uint32_t encode_hello(void *buffer, const union decoded *decoded, bool swapped)
{
	return ksock_encode_hello(buffer, &decoded->hello, swapped);
}

static enum lnet_wire_reason decode_message(const void *bytes, uint32_t length,
					    union decoded *decoded, bool *swapped)
{
	return ksock_decode_message(bytes, length, &decoded->message, *swapped);
}

static uint32_t encode_message(void *buffer, const union decoded *decoded, bool swapped)
{
	return ksock_encode_message(buffer, &decoded->message, swapped);
}

static enum lnet_wire_reason decode_header(const void *bytes, uint32_t length,
					   union decoded *decoded, bool *swapped)
{
	return lnet_decode_header(bytes, length, &decoded->header, *swapped);
}

static uint32_t encode_header(void *buffer, const union decoded *decoded, bool swapped)
{
	return lnet_encode_header(buffer, &decoded->header, swapped);
}

static enum lnet_wire_reason decode_ping(const void *bytes, uint32_t length, union decoded *decoded,
					 bool *swapped)
{
	return lnet_decode_ping_reply(bytes, length, &decoded->ping, swapped);
}

static uint32_t encode_ping(void *buffer, const union decoded *decoded, bool swapped)
{
	return lnet_encode_ping_reply(buffer, &decoded->ping, swapped);
}

/* A sample and its bytes, by hand. */
struct vector {
	const char *name;
	decode_piece *decode;
	encode_piece *encode;
	const void *sample;
	size_t size;
	const char *little;
	const char *big;
};

#define ZEROS_4 "00000000"
#define ZEROS_12 ZEROS_4 ZEROS_4 ZEROS_4
#define ZEROS_24 ZEROS_12 ZEROS_12

static const struct vector vectors[] = {
	{"acceptor request", decode_request, encode_request, &sample_request,
	 sizeof(sample_request), "0071ceac 01000000 0200000a00000200",
	 "acce7100 00000001 000200000a000002"},
	{"HELLO", decode_hello, encode_hello, &sample_hello, sizeof(sample_hello),
	 "63697245 03000000 0100000a00000200 0200000a00000200 39300000 31d40000"
	 "efcdab8967452301 8877665544332211 02000000 00000000",
	 "45726963 00000003 000200000a000001 000200000a000002 00003039 0000d431"
	 "0123456789abcdef 1122334455667788 00000002 00000000"},
	{"message header", decode_message, encode_message, &sample_message, sizeof(sample_message),
	 "c1000000 44332211 0807060504030201 9900000000000000",
	 "000000c1 11223344 0102030405060708 0000000000000099"},
	{"NOOP", decode_message, encode_message, &sample_noop, sizeof(sample_noop),
	 "c0000000 00000000 0700000000000000 0900000000000000",
	 "000000c0 00000000 0000000000000007 0000000000000009"},
	{"PUT", decode_header, encode_header, &sample_put, sizeof(sample_put),
	 "0200000a00000200 0100000a00000200 39300000 31d40000 01000000 05000000"
	 "3837363534333231 2827262524232221 1032547698badcfe 11100f0e0d0c0b0a"
	 "32000000 00100000",
	 "000200000a000002 000200000a000001 00003039 0000d431 00000001 00000005"
	 "3132333435363738 2122232425262728 fedcba9876543210 0a0b0c0d0e0f1011"
	 "00000032 00001000"},
	{"ACK", decode_header, encode_header, &sample_ack, sizeof(sample_ack),
	 "0100000a00000200 0200000a00000200 31d40000 39300000 00000000 00000000"
	 "3837363534333231 2827262524232221 1032547698badcfe 05000000" ZEROS_12,
	 "000200000a000001 000200000a000002 0000d431 00003039 00000000 00000000"
	 "3132333435363738 2122232425262728 fedcba9876543210 00000005" ZEROS_12},
	{"GET", decode_header, encode_header, &sample_get, sizeof(sample_get),
	 "0200000a00000200 0100000a00000200 39300000 31d40000 02000000 00000000"
	 "4847464544434241 5857565554535251 7766554433221100 33000000 00200000"
	 "00001000" ZEROS_4,
	 "000200000a000002 000200000a000001 00003039 0000d431 00000002 00000000"
	 "4142434445464748 5152535455565758 0011223344556677 00000033 00002000"
	 "00100000" ZEROS_4},
	{"REPLY", decode_header, encode_header, &sample_reply, sizeof(sample_reply),
	 "0100000a00000200 0200000a00000200 31d40000 39300000 03000000 30000000"
	 "4847464544434241 5857565554535251" ZEROS_24,
	 "000200000a000001 000200000a000002 0000d431 00003039 00000003 00000030"
	 "4142434445464748 5152535455565758" ZEROS_24},
	{"ping reply", decode_ping, encode_ping, &sample_ping_reply, sizeof(sample_ping_reply),
	 "676e6970 03000000 39300000 02000000"
	 "0000000000000900 dec0aa15 00000000 0200000a00000200 cefaadde 00000000",
	 "70696e67 00000003 00003039 00000002"
	 "0009000000000000 15aac0de 00000000 000200000a000002 deadface 00000000"},
};

enum { VECTORS = sizeof(vectors) / sizeof(vectors[0]) };

static uint32_t from_hex(const char *hex, uint8_t *bytes)
{
	uint32_t digits = 0;

	for (; *hex != '\0'; hex++) {
		uint8_t digit = (uint8_t)(*hex <= '9' ? *hex - '0' : *hex - 'a' + 10);

		if (*hex == ' ')
			continue;
		bytes[digits / 2] = (uint8_t)(bytes[digits / 2] << 4 | digit);
		digits++;
	}
	return digits / 2;
}

/* The bytes of the sample as a peer of this or the other byte order sends them. */
static uint32_t vector_bytes(const struct vector *vector, bool swapped, uint8_t bytes[MOST])
{
	bool little = (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) != swapped;

	return from_hex(little ? vector->little : vector->big, bytes);
}

/* ---- What is right ------------------------------------------------------------------------- */

static void check_vector(const struct vector *vector, bool swapped)
{
	uint8_t wanted[MOST], bytes[MOST + 1] = {0};
	union decoded sample = {0}, decoded = {0};
	uint32_t length = vector_bytes(vector, swapped, wanted);
	bool found = swapped;

	memcpy(&sample, vector->sample, vector->size);
	bytes[length] = 0xa5;
	CU_ASSERT_EQUAL(vector->encode(bytes, &sample, swapped), length);
	CU_ASSERT_EQUAL(memcmp(bytes, wanted, length), 0);
	CU_ASSERT_EQUAL(bytes[length], 0xa5);
	CU_ASSERT_EQUAL(vector->decode(wanted, length, &decoded, &found), LNET_WIRE_GOOD);
	CU_ASSERT_EQUAL(found, swapped);
	/* Padding too: both began as zeros, and fields are assigned one by one. */
	CU_ASSERT_EQUAL(memcmp(&decoded, &sample, sizeof(sample)), 0);
}

static void test_vectors(void)
{
	for (int i = 0; i < VECTORS; i++) {
		check_vector(&vectors[i], false);
		check_vector(&vectors[i], true);
	}
}

static uint64_t draw(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random;
}

/* Any bytes, but in the places that decide whether the piece is good. */
static void draw_pieces(uint64_t *random, union decoded pieces[5])
{
	for (uint32_t i = 0; i < 5; i++)
		for (size_t at = 0; at + 8 <= sizeof(pieces[i]); at += 8)
			memcpy((char *)&pieces[i] + at, &(uint64_t){draw(random)}, 8);
	pieces[0].request.version = LNET_PROTO_ACCEPTOR_VERSION;
	pieces[1].hello.version = 2 + draw(random) % 2;
	pieces[1].hello.connection_type %= SOCKLND_CONN_TYPES;
	pieces[1].hello.address_count %= LNET_MOST_ADDRESSES + 1;
	pieces[2].message.type = KSOCK_MSG_NOOP + draw(random) % 2;
	pieces[3].header.type %= LNET_MSG_REPLY + 1;
	pieces[3].header.payload_length %= LNET_MTU + 1;
	if (pieces[3].header.type == LNET_MSG_ACK || pieces[3].header.type == LNET_MSG_GET)
		pieces[3].header.payload_length = 0;
	if (pieces[3].header.type == LNET_MSG_ACK)
		pieces[3].header.msg.ack.mlength %= LNET_MTU + 1;
	if (pieces[3].header.type == LNET_MSG_GET)
		pieces[3].header.msg.get.sink_length %= LNET_MTU + 1;
	pieces[4].ping.features &= ~(uint32_t)LNET_PING_FEAT_NI_STATUS;
	pieces[4].ping.count = 1 + draw(random) % LNET_MOST_ADDRESSES;
	pieces[4].ping.interfaces[0].nid = LNET_NID_LO_0;
}

/* Compared as bytes: what is not sent (padding, other variants) is not the same in the structs. */
static void test_round_trips(void)
{
	static const uint32_t of_kind[] = {0, 1, 2, 4, 8}; /* a vector of each kind of piece */
	uint8_t first[MOST], again[MOST];
	union decoded pieces[5], decoded;
	uint64_t random = 1;

	for (int round = 0; round < 2000; round++) {
		bool swapped = round % 2, found = swapped;

		draw_pieces(&random, pieces);
		for (uint32_t i = 0; i < 5; i++) {
			const struct vector *vector = &vectors[of_kind[i]];
			uint32_t length = vector->encode(first, &pieces[i], swapped);

			CU_ASSERT_EQUAL(vector->decode(first, length, &decoded, &found),
					LNET_WIRE_GOOD);
			CU_ASSERT_EQUAL(found, swapped);
			CU_ASSERT_EQUAL(vector->encode(again, &decoded, swapped), length);
			CU_ASSERT_EQUAL(memcmp(first, again, length), 0);
		}
	}
}

/* ---- What is wrong ------------------------------------------------------------------------- */

/* At the end of a heap block, so that the sanitizer sees who reads on. */
static void test_truncation(void)
{
	for (int i = 0; i < VECTORS; i++) {
		uint8_t wanted[MOST];
		uint32_t length = vector_bytes(&vectors[i], false, wanted);

		for (uint32_t there = 0; there <= length; there++) {
			uint8_t *bytes = malloc(there > 0 ? there : 1);
			union decoded decoded;
			bool swapped = false;

			memcpy(bytes, wanted, there);
			CU_ASSERT_EQUAL(vectors[i].decode(bytes, there, &decoded, &swapped),
					there == length ? LNET_WIRE_GOOD : LNET_WIRE_SHORT);
			free(bytes);
		}
	}
}

/* A sample of which one field, by its offset, has another value. */
struct wrong {
	const char *name;
	uint32_t offset;
	uint32_t value;
	enum lnet_wire_reason reason;
};

static const struct wrong wrongs[] = {
	{"acceptor request", 0, 0xacce7101, LNET_WIRE_BAD_MAGIC},
	{"acceptor request", 4, 0, LNET_WIRE_BAD_VERSION},
	{"acceptor request", 4, 2, LNET_WIRE_BAD_VERSION},
	{"HELLO", 0, 0xacce7100, LNET_WIRE_BAD_MAGIC},
	{"HELLO", 4, 1, LNET_WIRE_BAD_VERSION},
	{"HELLO", 4, 2, LNET_WIRE_GOOD},
	{"HELLO", 4, 4, LNET_WIRE_BAD_VERSION},
	{"HELLO", 48, 3, LNET_WIRE_GOOD},
	{"HELLO", 48, 4, LNET_WIRE_BAD_CONNECTION_TYPE},
	{"HELLO", 52, 16, LNET_WIRE_GOOD},
	{"HELLO", 52, 17, LNET_WIRE_TOO_MANY_ADDRESSES},
	{"HELLO", 52, UINT32_MAX, LNET_WIRE_TOO_MANY_ADDRESSES},
	{"message header", 0, 0xbf, LNET_WIRE_BAD_MESSAGE_TYPE},
	{"message header", 0, 0xc2, LNET_WIRE_BAD_MESSAGE_TYPE},
	{"PUT", 24, 4, LNET_WIRE_BAD_LNET_TYPE}, /* an old HELLO */
	{"PUT", 24, UINT32_MAX, LNET_WIRE_BAD_LNET_TYPE},
	{"PUT", 28, LNET_MTU, LNET_WIRE_GOOD},
	{"PUT", 28, LNET_MTU + 1, LNET_WIRE_PAYLOAD_TOO_LONG},
	{"REPLY", 28, UINT32_MAX, LNET_WIRE_PAYLOAD_TOO_LONG},
	{"ACK", 28, 1, LNET_WIRE_UNWANTED_PAYLOAD},
	{"GET", 28, 1, LNET_WIRE_UNWANTED_PAYLOAD},
	{"ACK", 56, LNET_MTU, LNET_WIRE_GOOD},
	{"ACK", 56, LNET_MTU + 1, LNET_WIRE_BAD_LENGTH},
	{"GET", 64, LNET_MTU + 1, LNET_WIRE_BAD_LENGTH},
	{"ping reply", 0, 0, LNET_WIRE_BAD_MAGIC},
	{"ping reply", 12, 0, LNET_WIRE_NO_LOOPBACK},
	{"ping reply", 12, 3, LNET_WIRE_SHORT},
	{"ping reply", 12, 17, LNET_WIRE_TOO_MANY_ADDRESSES},
	{"ping reply", 12, 0x10000001, LNET_WIRE_TOO_MANY_ADDRESSES}, /* times 16: 16 */
	{"ping reply", 16, 1, LNET_WIRE_NO_LOOPBACK},
	{"ping reply", 40, 1, LNET_WIRE_BAD_STATUS},
	{"ping reply", 44, 1, LNET_WIRE_GOOD}, /* unused */
};

static void check_wrong(const struct wrong *wrong, bool swapped)
{
	const struct vector *vector = vectors;
	uint32_t value = swapped ? __builtin_bswap32(wrong->value) : wrong->value, length;
	union decoded decoded;
	uint8_t bytes[MOST];
	bool found = swapped;

	while (strcmp(vector->name, wrong->name) != 0)
		vector++;
	length = vector_bytes(vector, swapped, bytes);
	memcpy(&decoded, vector->sample, vector->size); /* good, where it is not decoded */
	memcpy(bytes + wrong->offset, &value, sizeof(value));
	CU_ASSERT_EQUAL(vector->decode(bytes, length, &decoded, &found), wrong->reason);
}

static void test_reasons(void)
{
	struct ksock_hello hello = sample_hello;
	uint8_t bytes[KSOCK_HELLO_BYTES];
	bool swapped;

	for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		check_wrong(&wrongs[i], false);
		check_wrong(&wrongs[i], true);
	}
	hello.src_nid = LNET_NID_ANY;
	ksock_encode_hello(bytes, &hello, false);
	CU_ASSERT_EQUAL(ksock_decode_hello(bytes, sizeof(bytes), &hello, &swapped),
			LNET_WIRE_BAD_NID);
}

static void test_names(void)
{
	for (int i = 0; i < LNET_WIRE_REASONS; i++) {
		CU_ASSERT(strlen(lnet_wire_reason_name(i)) > 0);
		CU_ASSERT(strlen(lnet_wire_reason_text(i)) > 0);
		for (int j = 0; j < i; j++)
			CU_ASSERT_STRING_NOT_EQUAL(lnet_wire_reason_name(i),
						   lnet_wire_reason_name(j));
	}
}

/* What was read is there for the report, although it is refused. */
static void test_refused_is_shown(void)
{
	struct ksock_hello hello = sample_hello, decoded;
	uint8_t bytes[KSOCK_HELLO_BYTES];
	bool swapped;

	hello.version = 9;
	ksock_encode_hello(bytes, &hello, true);
	CU_ASSERT_EQUAL(ksock_decode_hello(bytes, sizeof(bytes), &decoded, &swapped),
			LNET_WIRE_BAD_VERSION);
	CU_ASSERT_EQUAL(decoded.version, 9);
	CU_ASSERT_EQUAL(decoded.src_nid, SAMPLE_CLIENT);
}

static void test_inverted_types(void)
{
	CU_ASSERT_EQUAL(ksock_invert_type(SOCKLND_CONN_ANY), SOCKLND_CONN_ANY);
	CU_ASSERT_EQUAL(ksock_invert_type(SOCKLND_CONN_CONTROL), SOCKLND_CONN_CONTROL);
	CU_ASSERT_EQUAL(ksock_invert_type(SOCKLND_CONN_BULK_IN), SOCKLND_CONN_BULK_OUT);
	CU_ASSERT_EQUAL(ksock_invert_type(SOCKLND_CONN_BULK_OUT), SOCKLND_CONN_BULK_IN);
}

/* ---- The checksum -------------------------------------------------------------------------- */

/* One bit at a time, as the definition says. */
static uint32_t slow_sum(uint32_t sum, const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length * 8; i++) {
		uint32_t bit = (sum ^ bytes[i / 8] >> i % 8) & 1;

		sum = sum >> 1 ^ (bit ? 0xedb88320 : 0);
	}
	return sum;
}

static void test_checksum(void)
{
	uint8_t bytes[100];
	uint64_t random = 3;

	/* The check value of CRC-32 is cbf43926, which is inverted. */
	CU_ASSERT_EQUAL(ksock_checksum_add(UINT32_MAX, "123456789", 9), ~UINT32_C(0xcbf43926));
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)draw(&random);
	for (size_t from = 0; from < 9; from++)
		for (size_t length = 0; from + length <= sizeof(bytes); length++) {
			uint32_t sum = ksock_checksum_add(7, bytes + from, length / 3);

			sum = ksock_checksum_add(sum, bytes + from + length / 3,
						 length - length / 3);
			CU_ASSERT_EQUAL(sum, slow_sum(7, bytes + from, length));
		}
}

/* The same sum for who sends and who receives, whatever stands in its field. */
static void check_checksum_field(bool swapped)
{
	struct ksock_message_header header = sample_message, decoded;
	uint8_t bytes[KSOCK_MESSAGE_BYTES], blank[KSOCK_MESSAGE_BYTES];
	uint32_t sum;

	ksock_encode_message(bytes, &header, swapped);
	sum = ksock_checksum_begin(bytes);
	header.checksum = 0;
	ksock_encode_message(blank, &header, swapped);
	CU_ASSERT_EQUAL(sum, slow_sum(UINT32_MAX, blank, sizeof(blank)));
	ksock_set_checksum(blank, sum, swapped);
	CU_ASSERT_EQUAL(ksock_decode_message(blank, sizeof(blank), &decoded, swapped),
			LNET_WIRE_GOOD);
	CU_ASSERT_EQUAL(decoded.checksum, sum);
	CU_ASSERT_EQUAL(decoded.zc_cookies[0], sample_message.zc_cookies[0]);
	CU_ASSERT_EQUAL(ksock_checksum_begin(blank), sum);
}

static void test_checksum_field(void)
{
	check_checksum_field(false);
	check_checksum_field(true);
}

/* ---- NIDs ---------------------------------------------------------------------------------- */

static void check_nid(const char *text, uint64_t nid)
{
	char again[LNET_NID_TEXT];
	uint64_t read = 0;

	CU_ASSERT_EQUAL(lnet_text_to_nid(text, &read), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(read, nid);
	CU_ASSERT_STRING_EQUAL(lnet_nid_to_text(nid, again), text);
}

static void test_nids(void)
{
	char text[LNET_NID_TEXT];
	uint64_t nid;

	check_nid("10.0.0.1@tcp", SAMPLE_CLIENT);
	check_nid("10.0.0.1@tcp2", 0x000200020a000001);
	check_nid("255.255.255.255@tcp65535", 0x0002ffffffffffff);
	check_nid("0@lo", 0x0009000000000000);
	CU_ASSERT_EQUAL(lnet_nid_address(SAMPLE_CLIENT), 0x0a000001);
	CU_ASSERT_EQUAL(lnet_nid_net(SAMPLE_CLIENT), lnet_make_net(SOCKLND, 0));
	CU_ASSERT_EQUAL(lnet_text_to_nid("10.0.0.1@tcp0", &nid), STATUS_SUCCESS);
	CU_ASSERT_EQUAL(nid, SAMPLE_CLIENT);
	CU_ASSERT_STRING_EQUAL(lnet_nid_to_text(0x0005000000000001, text), "<0x0005000000000001>");
	CU_ASSERT_STRING_EQUAL(lnet_nid_to_text(LNET_NID_ANY, text), "<0xffffffffffffffff>");
}

static void test_no_nids(void)
{
	static const char *const texts[] = {
		"",
		"@",
		"10.0.0.1",
		"10.0.0.1@",
		"10.0.0.1@tc",
		"10.0.0.1@tcp ",
		" 10.0.0.1@tcp",
		"10.0.0.1@tcp65536",
		"10.0.0.1@tcp2 ",
		"10.0.0.1@tcp2,10.0.0.2@tcp",
		"10.0.0.1@tcp4294967298",
		"10.0.0.1@tcp02",
		"10.0.0.1@tcp-1",
		"10.0.0.1@TCP",
		"10.0.0.1@o2ib",
		"10.0.0.256@tcp",
		"10.0.0.4294967297@tcp",
		"10.0.0.01@tcp",
		"10.0.0@tcp",
		"10.0.0.0.1@tcp",
		"10..0.1@tcp",
		"10.0.0.+1@tcp",
		"0@lo0",
		"1@lo",
		"<0x0005000000000001>",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		uint64_t nid = 42;

		CU_ASSERT_EQUAL(lnet_text_to_nid(texts[i], &nid), STATUS_INVALID_PARAMETER);
		CU_ASSERT_EQUAL(nid, 42);
	}
}

static const struct test_case cases[] = {
	{"each piece is sent and read byte for byte, in both byte orders", test_vectors},
	{"what was decoded is encoded to the same bytes", test_round_trips},
	{"no decoder reads behind the bytes that are there", test_truncation},
	{"each thing that can be wrong has its reason", test_reasons},
	{"each reason has a name of its own and a sentence", test_names},
	{"what was refused can be reported", test_refused_is_shown},
	{"bulk in is answered by bulk out", test_inverted_types},
	{"the checksum is the CRC-32 that the definition says, in pieces of any size",
	 test_checksum},
	{"the checksum counts its own field as 0", test_checksum_field},
	{"NIDs have a text form", test_nids},
	{"what is nearly a NID is none", test_no_nids},
	{NULL, NULL},
};

void register_wire_suite(void)
{
	add_suite("wire", cases);
}
