/*
 * The report: the steps so far, the one that failed, what was expected and what came, the rule and
 * where the book explains it. One verdict, told in words or as JSON.
 *
 * A run that did not end by an expectation is judged by what it left on standard error: a bug check
 * of the executive, a sanitizer's report, the simulator's account of who waits for what. The
 * lab's causes say which rule such a sign speaks of.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "private.h"

struct verdict {
	bool well;
	int rule;
	char expected[LAB_WORDS_BYTES];
	char actual[LAB_WORDS_BYTES];
	const char *details; /* further lines, e.g. the table of lanes; may be empty */
};

/* ---- Signs --------------------------------------------------------------------------------- */

static void copy_line(char *to, size_t room, const char *from)
{
	snprintf(to, room, "%.*s", (int)strcspn(from, "\n"), from);
}

/*
 * Addresses differ from run to run and tell nobody anything: they go; a status, which is shorter,
 * stays. The way up from the build directory that begins the names of sources goes, too.
 */
static void drop_noise(char *text)
{
	for (char *at = text; *at != '\0'; at++) {
		size_t digits = strncmp(at, " 0x", 3) == 0 ? strspn(at + 3, "0123456789abcdef") : 0;
		size_t noise = digits > 8 ? 3 + digits : strncmp(at, "../", 3) == 0 ? 3 : 0;

		memmove(at, at + noise, strlen(at + noise) + 1);
	}
}

/* The first frame of a sanitizer's report that stands in the student's file: "file:line". */
static void append_place(char *text, const char *errors, const char *student)
{
	const char *name = strrchr(student, '/') != NULL ? strrchr(student, '/') + 1 : student;
	char wanted[128];
	const char *place, *function;

	snprintf(wanted, sizeof(wanted), "/%s:", name);
	place = name[0] != '\0' ? strstr(errors, wanted) : NULL;
	if (place == NULL)
		return;
	for (function = place; function > errors && strncmp(function, " in ", 4) != 0;)
		function--;
	snprintf(text + strlen(text), LAB_WORDS_BYTES - strlen(text), ", at %s:%d in %.*s", name,
		 atoi(place + strlen(wanted)), (int)strcspn(function + 4, " \n"), function + 4);
}

static bool judge_bug_check(struct verdict *verdict, const char *errors)
{
	static const char not_written[] = "bug check NOT-WRITTEN: ";
	const char *sign = strstr(errors, "bug check ");
	const char *place;
	size_t length;

	if (sign == NULL)
		return false;
	place = strstr(sign, "\n  at ");
	snprintf(verdict->expected, LAB_WORDS_BYTES, "a run without a bug check");
	if (strncmp(sign, not_written, strlen(not_written)) == 0) {
		snprintf(verdict->expected, LAB_WORDS_BYTES, "your code");
		verdict->details = "";
		sign += strlen(not_written);
	}
	copy_line(verdict->actual, LAB_WORDS_BYTES, sign);
	length = strlen(verdict->actual);
	if (place != NULL)
		snprintf(verdict->actual + length, LAB_WORDS_BYTES - length, ",%.*s",
			 (int)strcspn(place + 2, "\n,"), place + 2);
	return true;
}

/* The sanitizer's word for what happened, and ours. */
static void name_memory_error(char *text, const char *sign)
{
	static const char *const words[][2] = {
		{"SEGV", "memory is touched that is not there"},
		{"heap-use-after-free", "memory is used after it was freed"},
		{"attempting", "memory is freed twice, or was never allocated"},
		{"stack-overflow", "the stack is used up, as by calls without end"},
		{"stack-use-after-scope", "a variable is used after the end of its block"},
	};
	int length = (int)strcspn(sign, " \n:");

	snprintf(text, LAB_WORDS_BYTES, "%.*s", length, sign);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strncmp(sign, words[i][0], strlen(words[i][0])) == 0)
			snprintf(text, LAB_WORDS_BYTES, "%s (%.*s)", words[i][1], length, sign);
}

static bool judge_sanitizer(struct verdict *verdict, const char *errors, const char *student)
{
	const char *sign = strstr(errors, "ERROR: AddressSanitizer: ");
	const char *runtime = strstr(errors, "runtime error: ");

	if (sign != NULL) {
		sign += strlen("ERROR: AddressSanitizer: ");
		name_memory_error(verdict->actual, sign);
	} else if (runtime != NULL) {
		copy_line(verdict->actual, LAB_WORDS_BYTES, runtime);
	} else {
		return false;
	}
	append_place(verdict->actual, sign != NULL ? sign : runtime, student);
	snprintf(verdict->expected, LAB_WORDS_BYTES,
		 sign != NULL ? "only memory that is still there is touched"
			      : "only what the language allows");
	return true;
}

static void judge_signal(struct verdict *verdict, int number)
{
	if (number == SIGALRM) {
		snprintf(verdict->expected, LAB_WORDS_BYTES, "an end");
		snprintf(verdict->actual, LAB_WORDS_BYTES,
			 "none within the time limit: an endless loop, or a wait for ever");
		return;
	}
	snprintf(verdict->expected, LAB_WORDS_BYTES, "a run without a crash");
	snprintf(verdict->actual, LAB_WORDS_BYTES, "the process died of signal %d (%s)", number,
		 strsignal(number));
}

static void judge_exit(struct verdict *verdict, const char *errors, int status)
{
	const char *sign = strstr(errors, "deadlock: ");

	if (sign == NULL)
		sign = strstr(errors, "livelock: ");
	snprintf(verdict->expected, LAB_WORDS_BYTES, "an end of the exercise");
	if (sign != NULL)
		copy_line(verdict->actual, LAB_WORDS_BYTES, sign);
	else
		snprintf(verdict->actual, LAB_WORDS_BYTES,
			 "the process ended itself, with exit status %d", status);
}

static int blame(const char *errors, int step_rule)
{
	for (const struct lab_cause *cause = lab_under_check.causes; cause->sign != NULL; cause++)
		if (strstr(errors, cause->sign) != NULL)
			return cause->rule;
	return step_rule;
}

static struct verdict judge(const struct lab_options *options, const struct lab_ending *ending)
{
	struct verdict verdict = {.details = ""};
	const char *table;

	if (lab_record->passed == lab_record->total && WIFEXITED(ending->status)) {
		verdict.well = true;
		return verdict;
	}
	if (lab_record->failed) {
		verdict.rule = lab_record->failed_rule;
		memcpy(verdict.expected, lab_record->expected, LAB_WORDS_BYTES);
		memcpy(verdict.actual, lab_record->actual, LAB_WORDS_BYTES);
		return verdict;
	}
	drop_noise(ending->errors);
	table = strstr(ending->errors, "  lane  kind");
	verdict.rule = blame(ending->errors, lab_record->step_rule);
	if (table != NULL)
		verdict.details = table;
	if (judge_bug_check(&verdict, ending->errors) ||
	    judge_sanitizer(&verdict, ending->errors, options->student))
		return verdict;
	if (WIFSIGNALED(ending->status))
		judge_signal(&verdict, WTERMSIG(ending->status));
	else
		judge_exit(&verdict, ending->errors, WEXITSTATUS(ending->status));
	return verdict;
}

/* ---- In words ------------------------------------------------------------------------------ */

static uint32_t kept_steps(void)
{
	return lab_record->step_count < LAB_STEPS ? lab_record->step_count : LAB_STEPS;
}

/* A long run's first steps set the scene and its last ones tell; the middle can go. */
static bool is_shown(uint32_t index)
{
	enum { FIRST = 4, LAST = 12 };

	return index < FIRST || index + LAST >= kept_steps();
}

/* Prints a first line's head and a text, which goes on below itself when it is too long. */
static void print_wrapped(const char *head, const char *text)
{
	enum { COLUMNS = 96 };
	size_t room = COLUMNS - strlen(head), length;

	fputs(head, stdout);
	for (;; text += length + 1) {
		length = strlen(text);
		if (length > room)
			for (length = room; length > 0 && text[length] != ' ';)
				length--;
		if (length == 0)
			length = strcspn(text, " ");
		printf("%.*s\n", (int)length, text);
		if (text[length] == '\0')
			return;
		printf("%*s", (int)strlen(head), "");
	}
}

static void print_steps(void)
{
	bool gap = false;
	char head[16];

	for (uint32_t i = 0; i < kept_steps(); i++) {
		snprintf(head, sizeof(head), "    %2u. ", i + 1);
		if (is_shown(i))
			print_wrapped(head, lab_record->steps[i]);
		else if (!gap)
			puts("        ...");
		gap = !is_shown(i);
	}
}

static void print_details(const char *details)
{
	while (*details != '\0') {
		int length = (int)strcspn(details, "\n");

		printf("    %.*s\n", length, details);
		details += length + (details[length] == '\n');
	}
}

static void tell_in_words(const struct lab_options *options, const struct verdict *verdict)
{
	const char *says = lab_under_check.exercises[lab_record->exercise].says;
	char head[16];

	if (verdict->well) {
		printf("%s, %s: all %u exercises pass\n", lab_under_check.name, lab_executive,
		       lab_record->total);
		return;
	}
	printf("%s, %s: %u of %u exercises pass; the next one fails\n\n", lab_under_check.name,
	       lab_executive, lab_record->passed, lab_record->total);
	printf("  Exercise %u: %s\n", lab_record->exercise + 1, says);
	print_steps();
	putchar('\n');
	print_wrapped("  expected  ", verdict->expected);
	print_wrapped("  actual    ", verdict->actual);
	putchar('\n');
	if (verdict->rule > 0) {
		snprintf(head, sizeof(head), "  Rule %.2s.%d: ", lab_under_check.name,
			 verdict->rule);
		print_wrapped(head, lab_rule_sentence(options, verdict->rule));
	}
	printf("  Read:   build/book/%s.html#rule-%.2s.%d ('ninja -C build book' makes it)\n",
	       lab_under_check.name, lab_under_check.name, verdict->rule);
	if (lab_can_repeat) {
		fputs("  Again:  add --again ", stdout);
		lab_print_token();
		puts("\n\n  The order of events ('>' another context goes on, '!' while one could "
		     "have "
		     "gone on):");
		lab_print_drawing();
	}
	if (verdict->details[0] != '\0') {
		puts("\n  Who was where:");
		print_details(verdict->details);
	}
}

/* ---- As JSON ------------------------------------------------------------------------------- */

static void print_string(const char *text)
{
	putchar('"');
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < ' ')
			printf("\\u%04x", (unsigned)*text);
		else
			putchar(*text);
	}
	putchar('"');
}

static void print_member(const char *name, const char *text)
{
	printf(",\"%s\":", name);
	print_string(text);
}

static void tell_as_json(const struct lab_options *options, const struct verdict *verdict)
{
	printf("{\"executive\":\"%s\",\"passed\":%u,\"exercises\":%u,\"ok\":%s", lab_executive,
	       lab_record->passed, lab_record->total, verdict->well ? "true" : "false");
	if (!verdict->well) {
		print_member("exercise", lab_under_check.exercises[lab_record->exercise].says);
		if (lab_can_repeat) {
			fputs(",\"token\":\"", stdout);
			lab_print_token();
			printf("\",\"deviations\":%u", lab_deviations());
		}
		fputs(",\"steps\":[", stdout);
		for (uint32_t i = 0; i < kept_steps(); i++) {
			fputs(i > 0 ? "," : "", stdout);
			print_string(lab_record->steps[i]);
		}
		putchar(']');
		print_member("expected", verdict->expected);
		print_member("actual", verdict->actual);
		printf(",\"rule\":%d", verdict->rule);
		print_member("sentence", lab_rule_sentence(options, verdict->rule));
		printf(",\"page\":\"%s.html#rule-%.2s.%d\"", lab_under_check.name,
		       lab_under_check.name, verdict->rule);
		print_member("details", verdict->details);
	}
	puts("}");
}

bool lab_judge(const struct lab_options *options, const struct lab_ending *ending, int *rule)
{
	struct verdict verdict = judge(options, ending);

	*rule = verdict.rule;
	return verdict.well;
}

bool lab_tell(const struct lab_options *options, const struct lab_ending *ending)
{
	struct verdict verdict = judge(options, ending);

	if (options->json)
		tell_as_json(options, &verdict);
	else
		tell_in_words(options, &verdict);
	return verdict.well;
}
