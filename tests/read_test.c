/* Reading segments: what a writer counts a reader sees, and what a hostile file holds harms nobody.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "executive.h"
#include "stat/layout.h"
#include "stat/map.h"
#include "stat/publish.h"
#include "stat/render.h"
#include "suites.h"

enum { POSTED, DONE, FAILED, LATENCY, VALUES = LATENCY + STAT_HISTOGRAM_VALUES };

static const struct stat_counter counters[] = {
	{"posted", STAT_COUNTER, POSTED, "requests", "requests that were handed over"},
	{"done", STAT_COUNTER, DONE, "requests", "requests that have ended"},
	{"failed", STAT_COUNTER, FAILED, "requests", "those of them that failed"},
	{"latency_ns", STAT_HISTOGRAM, LATENCY, "ns", "from the one to the other"},
};
static const struct stat_law laws[] = {{0, 1, true}, {1, 2, false}, {1, 3, true}};
static const struct stat_table table = {.room = "tests",
					.object = "thing",
					.counter_count = 4,
					.law_count = 3,
					.value_count = VALUES,
					.counters = counters,
					.laws = laws};

static char runtime[64];   /* each case has one of its own */
static char directory[96]; /* in it */

static void begin_case(void)
{
	snprintf(runtime, sizeof(runtime), "/tmp/xport-test-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(runtime));
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	CU_ASSERT_EQUAL_FATAL(stat_directory(directory, sizeof(directory), true), 0);
}

static void end_case(void)
{
	CU_ASSERT_EQUAL(rmdir(directory), 0);
	CU_ASSERT_EQUAL(rmdir(runtime), 0);
}

static char *path_of(const char *name)
{
	static char path[192];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static const char *name_of(const struct stat_publication *publication)
{
	return strrchr(publication->path, '/') + 1;
}

/* ---- In good order --------------------------------------------------------------------------- */

static void take_one(void *context, const char *name)
{
	snprintf(context, STAT_FILE_NAME, "%s", name);
}

static void one_request(struct stat_block *block, bool is_lost)
{
	stat_count(block, POSTED, 1);
	if (is_lost)
		return;
	stat_count(block, DONE, 1);
	stat_record(block, LATENCY, 1000);
}

static void seen(void *context)
{
	struct stat_publication publication;
	struct stat_process process;
	struct stat_block_copy copy;
	struct stat_reader *reader;
	struct stat_block block;
	char name[STAT_FILE_NAME] = "";

	(void)context;
	CU_ASSERT_EQUAL_FATAL(stat_publish(&publication, "read"), 0);
	stat_add_block(&block, publication.segment, &table);
	for (int i = 0; i < 7; i++)
		one_request(&block, i >= 5);
	stat_each_segment(take_one, name);
	CU_ASSERT_STRING_EQUAL(name, name_of(&publication));
	CU_ASSERT_EQUAL_FATAL(stat_open_reader(&reader, name), 0);
	CU_ASSERT(stat_is_live(reader) && stat_is_current(reader));
	CU_ASSERT_EQUAL(stat_read_process(reader, &process), 0);
	CU_ASSERT_STRING_EQUAL(process.name, "read");
	CU_ASSERT_EQUAL(process.process, getpid());
	CU_ASSERT(process.consistent && process.slots == 1);
	CU_ASSERT_EQUAL(stat_read_block(reader, 0, &copy), 0);
	CU_ASSERT_STRING_EQUAL(copy.room, "tests");
	CU_ASSERT_STRING_EQUAL(copy.object, "thing");
	CU_ASSERT_STRING_EQUAL(copy.counters[0].help, counters[0].help);
	CU_ASSERT_EQUAL(copy.counters[0].count, 7);
	CU_ASSERT_EQUAL(copy.counters[1].count, 5);
	CU_ASSERT_EQUAL(copy.counters[3].count, 5);
	CU_ASSERT_EQUAL(copy.counters[3].sum, 5000);
	CU_ASSERT_EQUAL(stat_percentile(&copy.counters[3], 99), 1023);
	CU_ASSERT(copy.consistent && !copy.ended && copy.instance == 1);
	CU_ASSERT_EQUAL(stat_read_block(reader, 1, &copy), ENOENT);

	stat_remove_block(&block);
	CU_ASSERT_EQUAL(stat_read_block(reader, 0, &copy), 0);
	CU_ASSERT(copy.ended && copy.removed_ns >= copy.added_ns);
	CU_ASSERT_EQUAL(copy.counters[0].count, 7);
	stat_withdraw(&publication);
	CU_ASSERT_FALSE(stat_is_live(reader));
	CU_ASSERT_FALSE(stat_is_current(reader));
	CU_ASSERT_EQUAL(stat_read_block(reader, 0, &copy), 0); /* the file is gone, not its pages */
	stat_close_reader(reader);
	CU_ASSERT_EQUAL(stat_open_reader(&reader, name), ENOENT);
}

static void test_seen(void)
{
	begin_case();
	in_executive(seen, NULL);
	end_case();
}

enum { SNAPSHOTS = 1000 };

static void count_until_told(void *context)
{
	struct stat_block *block = ((void **)context)[0];
	int32_t *stop = ((void **)context)[1];

	while (read_count(stop) == 0)
		one_request(block, false);
}

static void lawful_while_counting(void *context)
{
	struct stat_publication publication;
	struct stat_block_copy copy;
	struct stat_reader *reader;
	struct stat_block block;
	struct kthread writer;
	int32_t stop = 0;
	void *both[] = {&block, &stop};
	unsigned broken = 0;
	uint32_t which;

	(void)context;
	CU_ASSERT_EQUAL_FATAL(stat_publish(&publication, "laws"), 0);
	stat_add_block(&block, publication.segment, &table);
	CU_ASSERT_EQUAL_FATAL(stat_open_reader(&reader, name_of(&publication)), 0);
	ps_create_system_thread(&writer, count_until_told, both);
	while (stat_read(&block, 0) == 0)
		ke_delay_execution_thread(1000); /* until it has begun */
	for (int i = 0; i < SNAPSHOTS; i++) {
		CU_ASSERT_EQUAL(stat_read_block(reader, 0, &copy), 0);
		broken += stat_check_laws(&copy, false, &which) + !copy.consistent;
	}
	CU_ASSERT_EQUAL(broken, 0);
	CU_ASSERT(copy.counters[3].count > 0);
	interlocked_increment(&stop);
	ke_wait_for_thread(&writer);
	CU_ASSERT_EQUAL(stat_read_block(reader, 0, &copy), 0);
	CU_ASSERT_EQUAL(stat_check_laws(&copy, true, &which), 0);
	stat_remove_block(&block);
	stat_close_reader(reader);
	stat_withdraw(&publication);
}

static void test_lawful_while_counting(void)
{
	begin_case();
	in_executive(lawful_while_counting, NULL);
	end_case();
}

static void lost_completion(void *context)
{
	struct stat_publication publication;
	struct stat_block_copy copy;
	struct stat_text text = {.bytes = NULL};
	struct stat_reader *reader;
	struct stat_block block;
	uint32_t which = 9;

	(void)context;
	CU_ASSERT_EQUAL_FATAL(stat_publish(&publication, "lost"), 0);
	stat_add_block(&block, publication.segment, &table);
	for (int i = 0; i < 9; i++)
		one_request(&block, i == 4);
	CU_ASSERT_EQUAL_FATAL(stat_open_reader(&reader, name_of(&publication)), 0);
	CU_ASSERT_EQUAL(stat_read_block(reader, 0, &copy), 0);
	CU_ASSERT_EQUAL(stat_check_laws(&copy, false, &which), 0); /* it may yet come */
	CU_ASSERT_EQUAL(stat_check_laws(&copy, true, &which), 1);
	stat_remove_block(&block);
	CU_ASSERT_EQUAL(stat_read_block(reader, 0, &copy), 0);
	CU_ASSERT_EQUAL(stat_check_laws(&copy, false, &which), 1);
	CU_ASSERT_EQUAL(which, 0);
	stat_render_block(&text, &copy);
	CU_ASSERT_PTR_NOT_NULL(strstr(text.bytes, "\nposted 9\ndone 8\nfailed 0\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text.bytes, "\nlatency_count 8\nlatency_sum_ns 8000\n"
						  "latency_p50_ns 1023\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text.bytes, "\nin_flight 1\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text.bytes, "\nlaw posted>=done BROKEN\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text.bytes, "\nlaw done>=latency_ns ok\n"));
	free(text.bytes);
	stat_close_reader(reader);
	stat_withdraw(&publication);
}

static void test_lost_completion(void)
{
	begin_case();
	in_executive(lost_completion, NULL);
	end_case();
}

/* ---- Hostile --------------------------------------------------------------------------------- */

enum { BYTES = STAT_SMALLEST_SEGMENT, WORDS = BYTES / 4 };

/* A segment as a file "hostile.1" that the test can change, and its bytes when all was well. */
struct hostile {
	int fd;
	uint32_t *words;
	uint32_t good[WORDS];
	uint32_t interesting; /* words from here on are values */
};

static struct hostile hostile;

static void fill_hostile(void *context)
{
	struct stat_segment *segment;
	struct stat_block blocks[3];
	struct stat_slot *slots;

	(void)context;
	segment = stat_format_segment(hostile.words, BYTES, "hostile", 1);
	CU_ASSERT_PTR_NOT_NULL_FATAL(segment);
	for (int i = 0; i < 3; i++) {
		stat_add_block(&blocks[i], segment, &table);
		one_request(&blocks[i], false);
	}
	for (int i = 0; i < 3; i++)
		if (i != 1)
			stat_remove_block(&blocks[i]);
	slots = (void *)(hostile.words +
			 ((struct stat_header *)(void *)hostile.words)->slots_offset / 4);
	hostile.interesting = slots[0].values_offset / 4;
	memcpy(hostile.good, hostile.words, BYTES);
}

static void begin_hostile(void)
{
	begin_case();
	hostile.fd = open(path_of("hostile.1"), O_RDWR | O_CREAT | O_EXCL, 0600);
	CU_ASSERT_FATAL(hostile.fd >= 0);
	CU_ASSERT_EQUAL_FATAL(ftruncate(hostile.fd, BYTES), 0);
	hostile.words = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, hostile.fd, 0);
	CU_ASSERT_FATAL(hostile.words != MAP_FAILED);
	in_executive(fill_hostile, NULL);
}

static void end_hostile(void)
{
	munmap(hostile.words, BYTES);
	close(hostile.fd);
	unlink(path_of("hostile.1"));
	end_case();
}

/* Moves the reader's mapping between pages that nobody may touch. */
static void put_between_walls(struct stat_reader *reader)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *walls = mmap(NULL, reader->mapped + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	char *moved = mremap((void *)(uintptr_t)reader->memory, reader->mapped, reader->mapped,
			     MREMAP_MAYMOVE | MREMAP_FIXED, walls + page);

	CU_ASSERT_FATAL(walls != MAP_FAILED && moved != MAP_FAILED);
	reader->memory = moved;
}

static void close_between_walls(struct stat_reader *reader)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *walls = (char *)(uintptr_t)reader->memory - page;
	size_t bytes = reader->mapped;

	stat_close_reader(reader);
	munmap(walls, page);
	munmap(walls + page + bytes, page);
}

static bool is_name(const char *name, size_t room)
{
	size_t length = strnlen(name, room);

	return length > 0 && length < room && name[0] != '.' && strchr(name, '/') == NULL &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.-") == length;
}

/* What a user of the copy relies on. */
static bool is_sound(const struct stat_block_copy *block)
{
	bool sound = block->counter_count <= STAT_MOST_COUNTERS &&
		     block->law_count <= STAT_MOST_LAWS && is_name(block->room, 16) &&
		     is_name(block->object, 16);

	for (uint32_t i = 0; sound && i < block->counter_count; i++)
		sound = is_name(block->counters[i].name, 32) &&
			strnlen(block->counters[i].unit, 16) < 16 &&
			strnlen(block->counters[i].help, 104) < 104 &&
			block->counters[i].kind <= STAT_HISTOGRAM;
	for (uint32_t i = 0; sound && i < block->law_count; i++)
		sound = block->laws[i].first < block->laws[i].second &&
			block->laws[i].second < block->counter_count;
	return sound;
}

/* Everything that a daemon or a command would read. Returns whether the copies can be used. */
static bool read_everything(bool walls)
{
	static struct stat_text text;
	struct stat_process process;
	struct stat_block_copy block;
	struct stat_reader *reader;
	bool sound = true;

	if (stat_open_reader(&reader, "hostile.1") != 0)
		return true;
	if (walls)
		put_between_walls(reader);
	text.length = 0;
	text.failed = false;
	stat_render_info(&text, reader);
	stat_render_all(&text, reader);
	sound = text.length == 0 || strlen(text.bytes) == text.length;
	if (stat_read_process(reader, &process) == 0)
		for (uint32_t i = 0; i < process.slots; i++) {
			if (stat_read_block(reader, i, &block) != 0)
				continue;
			sound = sound && is_sound(&block);
			text.length = 0;
			stat_render_block(&text, &block);
			for (uint32_t c = 0; c < block.counter_count; c++)
				stat_render_counter(&text, &block.counters[c]);
			stat_read_values(reader, &block, 0, block.counter_count);
		}
	if (walls)
		close_between_walls(reader);
	else
		stat_close_reader(reader);
	free(text.bytes);
	text = (struct stat_text){.bytes = NULL};
	return sound;
}

static void test_each_word(void)
{
	static const uint32_t values[] = {0,	 1,	      UINT32_MAX, BYTES - 1,
					  BYTES, 0x80000000u, 0x2f2f2f2f};
	bool sound = true;

	begin_hostile();
	CU_ASSERT(hostile.interesting > 100 && hostile.interesting < WORDS);
	for (uint32_t word = 0; word < hostile.interesting; word++) {
		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			if (hostile.good[word] == 0 && word > 200 && word % 16 != 0)
				continue; /* of the slots that are not in use */
			hostile.words[word] = values[i];
			sound = sound && read_everything(true);
		}
		hostile.words[word] = hostile.good[word];
	}
	CU_ASSERT(sound);
	end_hostile();
}

/* xorshift: the same variants on every machine. */
static uint32_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 16);
}

static void mutate(uint64_t *state)
{
	uint32_t word = next_random(state) % 3 == 0 ? next_random(state) % 90 /* header, slots */
						    : next_random(state) % hostile.interesting;
	uint32_t value = next_random(state);

	switch (next_random(state) % 4) {
	case 0:
		hostile.words[word] = value;
		break;
	case 1:
		hostile.words[word] ^= 1u << value % 32;
		break;
	case 2:
		hostile.words[word] = value % BYTES / 8 * 8; /* an offset that can be right */
		break;
	default:
		hostile.words[word] = hostile.good[value % hostile.interesting];
	}
}

static void test_random_variants(void)
{
	uint64_t state = 0x9e3779b97f4a7c15u;
	bool sound = true;

	begin_hostile();
	for (int variant = 0; variant < 20000; variant++) {
		memcpy(hostile.words, hostile.good, hostile.interesting * 4);
		for (uint32_t i = next_random(&state) % 8 + 1; i > 0; i--)
			mutate(&state);
		sound = sound && read_everything(variant % 2 == 0);
	}
	CU_ASSERT(sound);
	end_hostile();
}

static void *mutate_until_told(void *context)
{
	uint64_t state = 88172645463325252u;

	while (__atomic_load_n((int *)context, __ATOMIC_RELAXED) == 0) {
		mutate(&state);
		if (next_random(&state) % 4 == 0)
			memcpy(hostile.words, hostile.good, hostile.interesting * 4);
	}
	return NULL;
}

/* Between a check and what it was for. */
static void test_changing_meanwhile(void)
{
	pthread_t thread;
	bool sound = true;
	int stop = 0;

	begin_hostile();
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, mutate_until_told, &stop), 0);
	for (int i = 0; i < 3000; i++)
		sound = sound && read_everything(true);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	CU_ASSERT(sound);
	end_hostile();
}

/* Where all else is right: more counters than a copy has room for, and values of a neighbour. */
static void test_too_many(void)
{
	struct stat_table_record *record;
	struct stat_counter_record *many;
	struct stat_law_record *many_laws;
	struct stat_block_copy block;
	struct stat_reader *reader;
	struct stat_slot *slots;
	uint32_t offset = BYTES / 2;

	begin_hostile();
	slots = (void *)(hostile.words +
			 ((struct stat_header *)(void *)hostile.words)->slots_offset / 4);
	record = (void *)(hostile.words + slots[0].table_offset / 4);
	many = (void *)(hostile.words + offset / 4);
	for (int i = 0; i <= STAT_MOST_COUNTERS; i++)
		memcpy(&many[i], hostile.words + record->counters_offset / 4, sizeof(many[i]));
	many_laws = (void *)&many[STAT_MOST_COUNTERS + 1];
	for (int i = 0; i <= STAT_MOST_LAWS; i++)
		many_laws[i] = (struct stat_law_record){.first = 0, .second = 1};
	record->counters_offset = offset;
	record->laws_offset = (uint32_t)((char *)many_laws - (char *)hostile.words);
	CU_ASSERT_EQUAL_FATAL(stat_open_reader(&reader, "hostile.1"), 0);
	record->counter_count = STAT_MOST_COUNTERS;
	record->law_count = STAT_MOST_LAWS;
	CU_ASSERT_EQUAL(stat_read_block(reader, 0, &block), 0);
	record->counter_count = STAT_MOST_COUNTERS + 1;
	CU_ASSERT_EQUAL(stat_read_block(reader, 0, &block), EBADMSG);
	record->counter_count = STAT_MOST_COUNTERS;
	record->law_count = STAT_MOST_LAWS + 1;
	CU_ASSERT_EQUAL(stat_read_block(reader, 0, &block), EBADMSG);
	record->law_count = 0;
	many[7].value = VALUES - 1;
	CU_ASSERT_EQUAL(stat_read_block(reader, 0, &block), 0);
	many[7].value = VALUES;
	CU_ASSERT_EQUAL(stat_read_block(reader, 0, &block), EBADMSG);
	many[7].value = UINT32_MAX;
	CU_ASSERT_EQUAL(stat_read_block(reader, 0, &block), EBADMSG);
	stat_close_reader(reader);
	end_hostile();
}

static sigjmp_buf elsewhere;
static int elsewhere_count;

static void on_other_bus_error(int number)
{
	(void)number;
	elsewhere_count++;
	siglongjmp(elsewhere, 1);
}

static void test_cut_short(void)
{
	struct sigaction action = {.sa_handler = on_other_bus_error}, before, now;
	struct stat_process process;
	struct stat_block_copy block;
	struct stat_text text = {.bytes = NULL};
	struct stat_reader *reader;

	begin_hostile();
	sigaction(SIGBUS, &action, &before);
	CU_ASSERT_EQUAL_FATAL(stat_open_reader(&reader, "hostile.1"), 0);
	CU_ASSERT_EQUAL(stat_read_block(reader, 1, &block), 0);
	CU_ASSERT_EQUAL(ftruncate(hostile.fd, 4096), 0);
	CU_ASSERT_EQUAL(stat_read_process(reader, &process), 0);
	CU_ASSERT_EQUAL(stat_read_values(reader, &block, 0, block.counter_count), EIO);
	CU_ASSERT_EQUAL(stat_read_block(reader, 1, &block), EIO);
	CU_ASSERT_EQUAL(ftruncate(hostile.fd, 0), 0);
	CU_ASSERT_EQUAL(stat_read_process(reader, &process), EIO);
	CU_ASSERT_EQUAL(stat_render_all(&text, reader), EIO);
	CU_ASSERT_EQUAL(stat_render_info(&text, reader), EIO);

	/* A fault that is somebody else's reaches who was there before. */
	if (sigsetjmp(elsewhere, 1) == 0)
		(void)*(volatile uint32_t *)hostile.words;
	CU_ASSERT_EQUAL(elsewhere_count, 1);
	CU_ASSERT_EQUAL(stat_read_process(reader, &process), EIO);
	stat_close_reader(reader);
	sigaction(SIGBUS, &before, &now);
	CU_ASSERT(now.sa_handler == on_other_bus_error);
	CU_ASSERT_EQUAL(ftruncate(hostile.fd, BYTES), 0);
	CU_ASSERT_EQUAL(stat_open_reader(&reader, "hostile.1"), EBADMSG);
	free(text.bytes);
	end_hostile();
}

/* Writers that were killed in the middle of a change. */
static void test_half_way(void)
{
	struct stat_header *header;
	struct stat_slot *slots;
	struct stat_process process;
	struct stat_block_copy block;
	struct stat_text text = {.bytes = NULL};
	struct stat_reader *reader;

	begin_hostile();
	header = (void *)hostile.words;
	slots = (void *)(hostile.words + header->slots_offset / 4);
	header->epoch++;
	CU_ASSERT_EQUAL_FATAL(stat_open_reader(&reader, "hostile.1"), 0);
	CU_ASSERT_EQUAL(stat_read_process(reader, &process), 0);
	CU_ASSERT_FALSE(process.consistent);
	CU_ASSERT_EQUAL(stat_read_block(reader, 0, &block), 0);
	CU_ASSERT(block.consistent && block.counters[POSTED].count == 1);
	CU_ASSERT_EQUAL(stat_render_all(&text, reader), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(text.bytes, "tests/thing.1/posted 1\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text.bytes, "\nconsistent 0\n"));
	slots[0].generation++;
	CU_ASSERT_EQUAL(stat_read_block(reader, 0, &block), 0);
	CU_ASSERT(!block.consistent && block.counters[POSTED].count == 1);
	CU_ASSERT_EQUAL(stat_check_law(&block, 0, false), STAT_LAW_UNKNOWN);
	slots[0].generation++;
	slots[0].instance = 77;
	CU_ASSERT_EQUAL(stat_read_values(reader, &block, 0, 1), ENOENT);
	CU_ASSERT_FALSE(stat_is_live(reader));
	stat_close_reader(reader);
	free(text.bytes);
	end_hostile();
}

/* ---- Files that are none --------------------------------------------------------------------- */

static int try_open(const char *name)
{
	struct stat_reader *reader;
	int error = stat_open_reader(&reader, name);

	if (error == 0)
		stat_close_reader(reader);
	return error;
}

static void test_no_segments(void)
{
	struct stat_header *header;

	begin_hostile();
	header = (void *)hostile.words;
	CU_ASSERT_EQUAL(try_open("hostile.1"), 0);
	CU_ASSERT_EQUAL(symlink("hostile.1", path_of("link.1")), 0);
	CU_ASSERT_EQUAL(try_open("link.1"), EPERM);
	unlink(path_of("link.1"));
	CU_ASSERT_EQUAL(mkfifo(path_of("fifo.1"), 0600), 0);
	CU_ASSERT_EQUAL(try_open("fifo.1"), EPERM);
	unlink(path_of("fifo.1"));
	CU_ASSERT_EQUAL(mkdir(path_of("directory.1"), 0700), 0);
	CU_ASSERT_EQUAL(try_open("directory.1"), EPERM);
	rmdir(path_of("directory.1"));
	CU_ASSERT_EQUAL(try_open("none.1"), ENOENT);
	CU_ASSERT_EQUAL(try_open("../hostile.1"), ENOENT);
	CU_ASSERT_EQUAL(fchmod(hostile.fd, 0604), 0);
	CU_ASSERT_EQUAL(try_open("hostile.1"), EPERM);
	fchmod(hostile.fd, 0600);
	if (geteuid() == 0) {
		CU_ASSERT_EQUAL(fchown(hostile.fd, 65534, 65534), 0);
		CU_ASSERT_EQUAL(try_open("hostile.1"), EPERM);
		CU_ASSERT_EQUAL(fchown(hostile.fd, 0, 0), 0);
	}
	header->compatible_version = STAT_VERSION + 1;
	CU_ASSERT_EQUAL(try_open("hostile.1"), EBADMSG);
	header->compatible_version = STAT_VERSION;
	header->version = STAT_VERSION + 1; /* newer, and readable as it says */
	CU_ASSERT_EQUAL(try_open("hostile.1"), 0);
	CU_ASSERT_EQUAL(ftruncate(hostile.fd, STAT_LARGEST_SEGMENT + 1), 0);
	CU_ASSERT_EQUAL(try_open("hostile.1"), EBADMSG);
	CU_ASSERT_EQUAL(ftruncate(hostile.fd, BYTES - 1), 0);
	CU_ASSERT_EQUAL(try_open("hostile.1"), EBADMSG);
	CU_ASSERT_EQUAL(ftruncate(hostile.fd, BYTES), 0);
	end_hostile();
}

void register_read_suite(void)
{
	static const struct test_case cases[] = {
		{"what a writer counts a reader sees, also when it has ended", test_seen},
		{"1,000 snapshots while a writer counts obey the laws", test_lawful_while_counting},
		{"a lost completion is reported", test_lost_completion},
		{"no word of a segment, whatever it says, leads a reader astray", test_each_word},
		{"nor do 20,000 variants of it", test_random_variants},
		{"nor words that change while they are read", test_changing_meanwhile},
		{"nor more counters than there is room for, nor values of a neighbour",
		 test_too_many},
		{"a file that is cut short is an error, and other faults are not swallowed",
		 test_cut_short},
		{"a writer killed half-way: its values are served, as not consistent",
		 test_half_way},
		{"links, fifos, directories and the files of others are no segments",
		 test_no_segments},
		{NULL, NULL},
	};

	add_suite("read", cases);
}
