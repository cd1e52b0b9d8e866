/*
 * fuzz-NAME [--seconds N] [--seed N] DIR: gives a target every file of a corpus, and then for so
 * long what becomes of them by chance: bits and bytes that are others, lengths that are extreme,
 * ends that are missing, halves of two. It knows nothing of what the target does with them: where
 * clang is at hand, libFuzzer does, and runs the same target.
 *
 * An input with which the program dies is left in the file fuzz-crash; put it into the corpus.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__asan_default_options(void);

enum { MOST_FILES = 256, MOST_BYTES = 64 * 1024, STEPS = 6, CLOCK_EVERY = 1024 };

struct input {
	uint8_t bytes[MOST_BYTES];
	size_t length;
};

static struct input corpus[MOST_FILES];
static struct input current; /* for the signal handler too */
static size_t corpus_count;

/* So that the handler below sees the sanitizer's errors. */
const char *__asan_default_options(void)
{
	return "abort_on_error=1:handle_segv=1";
}

static void keep_input(int signal_number)
{
	int file = open("fuzz-crash", O_WRONLY | O_CREAT | O_TRUNC, 0666);

	if (file >= 0 && write(file, current.bytes, current.length) < 0)
		_exit(1);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

/* From a block of just its size, so that the sanitizer sees who reads behind it. */
static void run_current(void)
{
	uint8_t *bytes = malloc(current.length > 0 ? current.length : 1);

	memcpy(bytes, current.bytes, current.length);
	LLVMFuzzerTestOneInput(bytes, current.length);
	free(bytes);
}

static int load_file(const char *folder, const char *name)
{
	struct input *input = &corpus[corpus_count];
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "rb");
	if (file == NULL || corpus_count == MOST_FILES) {
		fprintf(stderr, "fuzz: can't take %s\n", path);
		return -1;
	}
	input->length = fread(input->bytes, 1, MOST_BYTES, file);
	fclose(file);
	corpus_count++;
	return 0;
}

static int load_corpus(const char *folder)
{
	DIR *directory = opendir(folder);
	struct dirent *entry;
	int failed = 0;

	if (directory == NULL) {
		fprintf(stderr, "fuzz: can't read %s\n", folder);
		return -1;
	}
	while ((entry = readdir(directory)) != NULL && failed == 0)
		if (entry->d_name[0] != '.')
			failed = load_file(folder, entry->d_name);
	closedir(directory);
	if (failed == 0 && corpus_count == 0)
		fprintf(stderr, "fuzz: nothing in %s\n", folder);
	return corpus_count == 0 ? -1 : failed;
}

/* ---- Changes ------------------------------------------------------------------------------- */

static uint64_t draw(uint64_t *random, uint64_t below)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return below == 0 ? 0 : *random % below;
}

static void splice_inputs(uint64_t *random)
{
	const struct input *other = &corpus[draw(random, corpus_count)];
	size_t keep = draw(random, current.length + 1), from = draw(random, other->length + 1);
	size_t length = other->length - from;

	if (length > MOST_BYTES - keep)
		length = MOST_BYTES - keep;
	memcpy(current.bytes + keep, other->bytes + from, length);
	current.length = keep + length;
}

/* Mostly where a field of a protocol would be. */
static void set_extreme(uint64_t *random)
{
	static const uint32_t extremes[] = {
		0,	1,	  4,	    15,		16,	    17,		255,
		0xffff, 0x100000, 0x100001, 0x7fffffff, 0x80000000, 0xffffffff,
	};
	uint32_t value = extremes[draw(random, sizeof(extremes) / sizeof(extremes[0]))];

	if (current.length < sizeof(value))
		return;
	if (draw(random, 2) == 0)
		value = __builtin_bswap32(value);
	memcpy(current.bytes + draw(random, (current.length - sizeof(value)) / 4 + 1) * 4, &value,
	       sizeof(value));
}

static void change(uint64_t *random)
{
	size_t at = draw(random, current.length);

	switch (draw(random, 8)) {
	case 0:
		current.length = draw(random, current.length + 1);
		break;
	case 1:
		splice_inputs(random);
		break;
	case 2:
	case 3:
		set_extreme(random);
		break;
	case 4:
		current.bytes[at] = (uint8_t)draw(random, 256);
		break;
	default:
		current.bytes[at] ^= (uint8_t)(1 << draw(random, 8));
		break;
	}
}

static uint64_t run_changed(uint64_t seed, double seconds)
{
	uint64_t random = seed * 2 + 1, runs = 0;
	time_t end = time(NULL) + (time_t)seconds;

	for (; seconds > 0 && (runs % CLOCK_EVERY != 0 || time(NULL) < end); runs++) {
		const struct input *input = &corpus[draw(&random, corpus_count)];

		memcpy(current.bytes, input->bytes, input->length);
		current.length = input->length;
		for (uint64_t steps = 1 + draw(&random, STEPS); steps > 0; steps--)
			change(&random);
		run_current();
	}
	return runs;
}

int main(int argc, char **argv)
{
	double seconds = 0;
	uint64_t seed = 1, runs;
	int i = 1;

	for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
		if (strcmp(argv[i], "--seconds") == 0)
			seconds = strtod(argv[i + 1], NULL);
		else if (strcmp(argv[i], "--seed") == 0)
			seed = strtoull(argv[i + 1], NULL, 0);
		else
			break;
	}
	if (i + 1 != argc || argv[i][0] == '-') {
		fprintf(stderr, "usage: %s [--seconds N] [--seed N] DIR\n", argv[0]);
		return 2;
	}
	if (load_corpus(argv[i]) != 0)
		return 1;
	signal(SIGABRT, keep_input);
	for (size_t n = 0; n < corpus_count; n++) {
		current = corpus[n];
		run_current();
	}
	runs = run_changed(seed, seconds);
	printf("%zu files, and %llu made of them from seed %llu\n", corpus_count,
	       (unsigned long long)runs, (unsigned long long)seed);
	printf("%zu passed, 0 failed\n", corpus_count + (seconds > 0));
	return 0;
}
