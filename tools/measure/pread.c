/*
 * measure-pread FILE [COUNT]: the cost of reading a small file from its start, in nanoseconds: open
 * all the while, and opened, read and closed each time. Prints the median of batches for each.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BATCHES = 50 };

static const char *path;

static double now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int open_it(void)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		fprintf(stderr, "measure-pread: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	return fd;
}

static void read_it(int fd)
{
	char text[256];

	if (pread(fd, text, sizeof(text), 0) <= 0) {
		fprintf(stderr, "measure-pread: nothing in %s\n", path);
		exit(1);
	}
}

static int compare(const void *one, const void *other)
{
	double a = *(const double *)one, b = *(const double *)other;

	return (a > b) - (a < b);
}

static double measure(long count, int fd)
{
	double batches[BATCHES];

	for (int i = 0; i < BATCHES; i++) {
		double start = now_ns();

		for (long j = 0; j < count; j++) {
			int this = fd >= 0 ? fd : open_it();

			read_it(this);
			if (fd < 0)
				close(this);
		}
		batches[i] = (now_ns() - start) / (double)count;
	}
	qsort(batches, BATCHES, sizeof(batches[0]), compare);
	return batches[BATCHES / 2];
}

int main(int argc, char **argv)
{
	long count = argc > 2 ? atol(argv[2]) : 50000;
	int fd;

	if (argc < 2 || count < BATCHES) {
		fputs("usage: measure-pread FILE [COUNT]\n", stderr);
		return 2;
	}
	path = argv[1];
	fd = open_it();
	printf("%.0f", measure(count / BATCHES, fd));
	close(fd);
	printf(" %.0f\n", measure(count / BATCHES / 4 + 1, -1));
	return 0;
}
