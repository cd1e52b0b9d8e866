/*
 * What all verbs need: error lines, values on the command line, figures in words.
 *
 * A value is read by the same rules everywhere: the whole text must be used, overflow is an error
 * and never a wrap, and the line that refuses a value says what would have been right.
 */
#include "xport.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <net/if.h>
#include <netdb.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "quantity.h"

static const char *current_verb;

void set_verb(const char *verb)
{
	current_verb = verb;
}

/* ---- Errors -------------------------------------------------------------------------------- */

/* In one piece, even when another thread prints, and in the place of a progress line. */
__attribute__((format(printf, 1, 0))) static void print_line(const char *format, va_list arguments,
							     const char *hint)
{
	flockfile(stderr);
	if (isatty(STDERR_FILENO) == 1)
		fputs("\r\033[K", stderr);
	fputs("xport", stderr);
	if (current_verb != NULL)
		fprintf(stderr, " %s", current_verb);
	fputs(": ", stderr);
	vfprintf(stderr, format, arguments);
	if (hint != NULL)
		fprintf(stderr, "; see 'xport%s%s --help'", current_verb != NULL ? " " : "",
			current_verb != NULL ? current_verb : "");
	fputc('\n', stderr);
	funlockfile(stderr);
}

int fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_line(format, arguments, NULL);
	va_end(arguments);
	return XPORT_FAILED;
}

int usage(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	print_line(format, arguments, "help");
	va_end(arguments);
	return XPORT_USAGE;
}

/* ---- Options ------------------------------------------------------------------------------- */

bool wants(int argc, char **argv, const char *option)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], option) == 0)
			return true;
	return false;
}

bool wants_help(int argc, char **argv)
{
	return wants(argc, argv, "--help");
}

/* getopt_long puts into optopt what it did not like: a known option's value here, or a letter. */
static void refuse_option(const struct option *table, const char *argument)
{
	for (; table->name != NULL; table++) {
		if (optopt == table->val) {
			usage("--%s takes no value", table->name);
			return;
		}
	}
	if (optopt != 0)
		usage("there is no option -%c", optopt);
	else
		usage("there is no option '%s', or it is short for several", argument);
}

int next_option(int argc, char **argv, const char *short_options, const struct option *table,
		bool first)
{
	int option;

	if (first)
		optind = 0; /* for glibc: begin anew, in case somebody has parsed before */
	opterr = 0;
	option = getopt_long(argc, argv, short_options, table, NULL);
	if (option == ':') {
		usage("%s needs a value", argv[optind - 1]);
		return '?';
	}
	if (option == '?')
		refuse_option(table, argv[optind - 1]);
	return option;
}

/* Reads the decimal digits at *text and moves past them; false without any, or on overflow. */
static bool read_digits(const char **text, uint64_t *number)
{
	const char *digit = *text;
	uint64_t value = 0;

	for (; *digit >= '0' && *digit <= '9'; digit++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*digit - '0'), &value))
			return false;
	if (digit == *text)
		return false;
	*text = digit;
	*number = value;
	return true;
}

static bool read_size(const char *text, uint64_t *bytes)
{
	static const struct {
		const char *name;
		unsigned shift;
	} units[] = {{"", 0},	  {"K", 10}, {"KiB", 10}, {"M", 20},
		     {"MiB", 20}, {"G", 30}, {"GiB", 30}};
	uint64_t value;

	if (!read_digits(&text, &value))
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(text, units[i].name) == 0)
			return !__builtin_mul_overflow(value, UINT64_C(1) << units[i].shift, bytes);
	return false;
}

int parse_size(const char *what, const char *text, uint64_t minimum, uint64_t maximum,
	       uint64_t *bytes)
{
	uint64_t value;

	if (!read_size(text, &value))
		return usage("%s '%s' is no number of bytes; write 65536, 64K or 1M", what, text);
	if (value < minimum || value > maximum)
		return usage("%s %s is out of range; it can be %s to %s", what, text,
			     format_size(minimum).text, format_size(maximum).text);
	*bytes = value;
	return XPORT_OK;
}

int parse_count(const char *what, const char *text, uint64_t minimum, uint64_t maximum,
		uint64_t *count)
{
	const char *rest = text;
	uint64_t value;

	if (!read_digits(&rest, &value) || *rest != '\0')
		return usage("%s '%s' is no whole number", what, text);
	if (value < minimum || value > maximum)
		return usage("%s %s is out of range; it can be %" PRIu64 " to %" PRIu64, what, text,
			     minimum, maximum);
	*count = value;
	return XPORT_OK;
}

int parse_timeout(const char *what, const char *text, uint64_t *nanoseconds)
{
	const uint64_t day = UINT64_C(86400000000000);
	uint64_t value;

	if (parse_duration(text, &value) < 0)
		return usage("%s '%s' is no time; write 30s or 500ms, or 0s for no limit", what,
			     text);
	if (value > day)
		return usage("%s %s is more than a day; write 0s for no limit", what, text);
	*nanoseconds = value;
	return XPORT_OK;
}

/* ---- Addresses ----------------------------------------------------------------------------- */

/* Cuts "HOST:PORT" in two; the host is "" in ":PORT". False if it is no such text. */
static bool split_address(const char *text, char *host, size_t room, const char **port)
{
	const char *start = text, *colon = strrchr(text, ':');
	size_t length;

	if (colon == NULL || colon[1] == '\0')
		return false;
	length = (size_t)(colon - text);
	if (text[0] == '[') {
		if (length < 3 || text[length - 1] != ']')
			return false;
		start++;
		length -= 2;
	} else if (memchr(text, ':', length) != NULL) {
		return false; /* an IPv6 address without brackets: where would the port begin? */
	}
	if (length >= room)
		return false;
	memcpy(host, start, length);
	host[length] = '\0';
	*port = colon + 1;
	return true;
}

static bool take_address(const struct sockaddr *from, uint16_t port, struct transport_address *to)
{
	*to = (struct transport_address){.port = port};
	if (from->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)from;

		to->address_type = TDI_ADDRESS_TYPE_IP;
		memcpy(to->address, &in->sin_addr, sizeof(in->sin_addr));
		return true;
	}
	if (from->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)from;

		to->address_type = TDI_ADDRESS_TYPE_IP6;
		to->scope_id = in6->sin6_scope_id;
		memcpy(to->address, &in6->sin6_addr, sizeof(in6->sin6_addr));
		return true;
	}
	return false;
}

int parse_address(const char *what, const char *text, bool to_listen, struct address_list *list)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	const char *port_text, *rest;
	char host[NI_MAXHOST];
	uint64_t port;
	int error;

	if (!split_address(text, host, sizeof(host), &port_text))
		return usage("%s '%s' is no address; write HOST:PORT or [IPV6]:PORT", what, text);
	rest = port_text;
	if (!read_digits(&rest, &port) || *rest != '\0' || port > 65535 ||
	    (port == 0 && !to_listen))
		return usage("%s: '%s' is no port; it can be %d to 65535", what, port_text,
			     to_listen ? 0 : 1);
	hints.ai_flags = to_listen ? AI_PASSIVE : 0;
	error = getaddrinfo(host[0] != '\0' ? host : NULL, host[0] != '\0' ? NULL : "1", &hints,
			    &found);
	if (error != 0)
		return fail("%s: host '%s': %s", what, host,
			    error == EAI_NONAME ? "unknown" : gai_strerror(error));
	list->count = 0;
	for (struct addrinfo *one = found; one != NULL; one = one->ai_next)
		if (list->count < sizeof(list->addresses) / sizeof(list->addresses[0]) &&
		    take_address(one->ai_addr, (uint16_t)port, &list->addresses[list->count]))
			list->count++;
	freeaddrinfo(found);
	return list->count > 0 ? XPORT_OK : fail("%s: host '%s' has no IP address", what, host);
}

/* ---- Figures in words ---------------------------------------------------------------------- */

/* Three digits that count, in the largest decimal unit of which there is one. */
static struct text format_decimal(double value, const char *suffix)
{
	static const char *const prefixes[] = {"k", "M", "G", "T", "P"};
	struct text result;
	size_t i = 0;

	for (value /= 1000; value >= 999.5 && i + 1 < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		value /= 1000;
	snprintf(result.text, sizeof(result.text), "%.*f %s%s",
		 value < 9.995	 ? 2
		 : value < 99.95 ? 1
				 : 0,
		 value, prefixes[i], suffix);
	return result;
}

struct text format_bytes(uint64_t bytes)
{
	struct text result;

	if (bytes >= 1000)
		return format_decimal((double)bytes, "B");
	snprintf(result.text, sizeof(result.text), "%" PRIu64 " byte%s", bytes,
		 bytes == 1 ? "" : "s");
	return result;
}

struct text format_rate(double bytes_per_second)
{
	struct text result;

	if (bytes_per_second >= 1000)
		return format_decimal(bytes_per_second, "B/s");
	snprintf(result.text, sizeof(result.text), "%.0f B/s", bytes_per_second);
	return result;
}

struct text format_size(uint64_t bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB"};
	struct text result;
	size_t unit = 0;

	if (bytes == 0 || bytes % 1024 != 0)
		return format_bytes(bytes);
	for (bytes /= 1024; bytes % 1024 == 0 && unit < 2; unit++)
		bytes /= 1024;
	snprintf(result.text, sizeof(result.text), "%" PRIu64 " %s", bytes, units[unit]);
	return result;
}

struct text format_seconds(double seconds)
{
	struct text result;

	if (seconds < 0.0009995)
		snprintf(result.text, sizeof(result.text), "%.3g us", seconds * 1e6);
	else if (seconds < 0.9995)
		snprintf(result.text, sizeof(result.text), "%.3g ms", seconds * 1e3);
	else if (seconds < 99.5)
		snprintf(result.text, sizeof(result.text), "%.3g s", seconds);
	else
		snprintf(result.text, sizeof(result.text), "%" PRIu64 " min %02u s",
			 (uint64_t)seconds / 60, (unsigned)((uint64_t)seconds % 60));
	return result;
}

struct text format_address(const struct transport_address *address)
{
	bool ip6 = address->address_type == TDI_ADDRESS_TYPE_IP6;
	char host[INET6_ADDRSTRLEN] = "?";
	char scope[IF_NAMESIZE + 1] = "";
	struct text result;

	inet_ntop(ip6 ? AF_INET6 : AF_INET, address->address, host, sizeof(host));
	if (ip6 && address->scope_id != 0 && if_indextoname(address->scope_id, scope + 1) != NULL)
		scope[0] = '%';
	snprintf(result.text, sizeof(result.text), ip6 ? "[%s%s]:%u" : "%s%s:%u", host, scope,
		 address->port);
	return result;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

/* The length of the well-formed UTF-8 sequence at `s`, 0 if there is none. */
static size_t utf8_length(const unsigned char *s)
{
	size_t length = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (s[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, and beyond U+10FFFF. */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return length;
}

void print_json_string(FILE *stream, const char *string)
{
	const unsigned char *s = (const unsigned char *)string;

	fputc('"', stream);
	while (*s != '\0') {
		size_t length = utf8_length(s);

		if (length == 0) {
			fputs("\\ufffd", stream);
			s++;
		} else if (*s == '"' || *s == '\\') {
			fprintf(stream, "\\%c", *s++);
		} else if (*s < 0x20) {
			fprintf(stream, "\\u%04x", *s++);
		} else {
			fwrite(s, 1, length, stream);
			s += length;
		}
	}
	fputc('"', stream);
}
