/*
 * The verb `xport doctor`: what this machine can do for xport, what follows from it, and what to do
 * about what it can't.
 *
 * Each check tries the thing itself where that leaves no trace, rather than to conclude from a
 * version or a setting; what would leave one, like a network namespace, is tried in a child.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mounts.h"
#include "xport.h"

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif

static const char doctor_help[] = "usage: xport doctor [--json]\n"
				  "\n"
				  "Tells what this machine can do, what follows from it, and what "
				  "to do about the rest. The exit\n"
				  "status is 0 whatever it finds.\n"
				  "\n"
				  "  --json   print a JSON array with an object for each check\n";

enum verdict { VERDICT_OK, VERDICT_LIMITED, VERDICT_MISSING };

static const char *const verdict_names[] = {"ok", "limited", "missing"};

struct finding {
	enum verdict verdict;
	char detail[256]; /* what was found, and what follows */
	char advice[256]; /* what to do; empty when all is well */
};

struct check {
	const char *name;
	void (*run)(struct finding *finding);
};

/* ---- Filling a finding in ------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) static void found(struct finding *finding, const char *format,
							...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(finding->detail, sizeof(finding->detail), format, arguments);
	va_end(arguments);
}

__attribute__((format(printf, 3, 4))) static void
advise(struct finding *finding, enum verdict verdict, const char *format, ...)
{
	va_list arguments;

	finding->verdict = verdict;
	va_start(arguments, format);
	vsnprintf(finding->advice, sizeof(finding->advice), format, arguments);
	va_end(arguments);
}

/* The first line of a small file; false if it can't be read. */
static bool read_line(const char *path, char *line, size_t room)
{
	FILE *file = fopen(path, "re");
	bool read;

	if (file == NULL)
		return false;
	read = fgets(line, (int)room, file) != NULL;
	fclose(file);
	if (read)
		line[strcspn(line, "\n")] = '\0';
	return read;
}

static bool has_capability(unsigned capability)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) != 0)
		return false;
	return data[capability / 32].effective >> capability % 32 & 1;
}

/* ---- The machine --------------------------------------------------------------------------- */

static void check_kernel(struct finding *finding)
{
	unsigned major = 0, minor = 0;
	struct utsname name;

	uname(&name);
	sscanf(name.release, "%u.%u", &major, &minor);
	found(finding, "%s %s on %s", name.sysname, name.release, name.machine);
	if (major < 4 || (major == 4 && minor < 14))
		advise(finding, VERDICT_LIMITED,
		       "from Linux 4.14 on, sends can go without a copy (xport send --direct)");
}

static void check_processors(struct finding *finding)
{
	cpu_set_t set;
	int usable = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
	long online = sysconf(_SC_NPROCESSORS_ONLN);

	found(finding, "%d usable of %ld online: as many virtual processors by default", usable,
	      online);
	if (usable < 2)
		advise(finding, VERDICT_LIMITED,
		       "everything works, but a sender and a receiver take turns; measure on a "
		       "machine with two");
}

static void check_clock(struct finding *finding)
{
	enum { READINGS = 20000 };
	char source[64] = "of unknown source";
	struct timespec begin, end, reading;
	double cost_ns;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (int i = 0; i < READINGS; i++)
		clock_gettime(CLOCK_MONOTONIC, &reading);
	clock_gettime(CLOCK_MONOTONIC, &end);
	cost_ns = ((double)(end.tv_sec - begin.tv_sec) * 1e9 +
		   (double)(end.tv_nsec - begin.tv_nsec)) /
		  READINGS;
	read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", source,
		  sizeof(source));
	found(finding, "%s, %.0f ns a reading", source, cost_ns);
	if (cost_ns > 200)
		advise(finding, VERDICT_LIMITED,
		       "a reading goes through the kernel, so that latencies are measured too "
		       "long; a clock source like tsc avoids it");
}

/* ---- Direct sends -------------------------------------------------------------------------- */

static void check_zero_copy(struct finding *finding)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0) {
		found(finding, "no TCP socket: %s", strerror(errno));
		advise(finding, VERDICT_MISSING, "allow this user to open IPv4 sockets");
		return;
	}
	found(finding, "MSG_ZEROCOPY works: xport send --direct; within the machine the system "
		       "copies nevertheless");
	if (setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)) != 0) {
		found(finding, "no MSG_ZEROCOPY: %s", strerror(errno));
		advise(finding, VERDICT_MISSING,
		       "leave --direct out, or use Linux 4.14 or later, without a sandbox");
	}
	close(fd);
}

/* The kernel charges each direct send whose pages are out with a message on the error queue. */
static void check_option_memory(struct finding *finding)
{
	enum { CHARGE = 1024 }; /* about */
	const char *path = "/proc/sys/net/core/optmem_max";
	char line[32];
	unsigned long long bytes;

	if (!read_line(path, line, sizeof(line))) {
		found(finding, "cannot read %s", path);
		advise(finding, VERDICT_LIMITED, "direct sends may be put off for want of it");
		return;
	}
	bytes = strtoull(line, NULL, 10);
	found(finding,
	      "net.core.optmem_max is %llu: about %llu direct sends under way a connection", bytes,
	      bytes / CHARGE);
	if (bytes / CHARGE < 64)
		advise(finding, VERDICT_LIMITED,
		       "for more: sysctl -w net.core.optmem_max=1048576 (as root)");
}

/* A direct send is charged its pages and two, as the kernel rounds. */
static void check_locked_memory(struct finding *finding)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t charge = 64 * 1024 + 2 * page;
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
		limit.rlim_cur = 0;
	if (has_capability(CAP_IPC_LOCK) || limit.rlim_cur == RLIM_INFINITY) {
		found(finding, "no limit for this user: any number of direct sends under way");
		return;
	}
	found(finding, "RLIMIT_MEMLOCK is %s: %" PRIu64 " direct sends of 64 KiB under way a user",
	      format_size(limit.rlim_cur).text, (uint64_t)limit.rlim_cur / charge);
	if (limit.rlim_cur / charge < 64)
		advise(finding, VERDICT_LIMITED,
		       "for more: ulimit -l unlimited, or 'memlock' in /etc/security/limits.conf");
}

/* ---- A link with a round trip -------------------------------------------------------------- */

enum stage { STAGE_DONE, STAGE_NAMESPACE, STAGE_OPEN, STAGE_DEVICE };

/* How far the child came, and why not further. */
struct trial {
	enum stage stage;
	int error;
};

/* In the child, which ends with the namespaces that it made. */
static struct trial try_tun(void)
{
	int flags = geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET;
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
	int fd;

	if (unshare(flags) != 0)
		return (struct trial){STAGE_NAMESPACE, errno};
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return (struct trial){STAGE_OPEN, errno};
	if (ioctl(fd, TUNSETIFF, &request) != 0)
		return (struct trial){STAGE_DEVICE, errno};
	return (struct trial){STAGE_DONE, 0};
}

static struct trial run_trial(void)
{
	struct trial trial = {STAGE_NAMESPACE, EIO};
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return (struct trial){STAGE_NAMESPACE, errno};
	child = fork();
	if (child == 0) {
		trial = try_tun();
		_exit(write(ends[1], &trial, sizeof(trial)) != sizeof(trial));
	}
	close(ends[1]);
	if (child < 0 || read(ends[0], &trial, sizeof(trial)) != sizeof(trial))
		trial = (struct trial){STAGE_NAMESPACE, child < 0 ? errno : EIO};
	close(ends[0]);
	if (child > 0)
		waitpid(child, NULL, 0);
	return trial;
}

static void check_namespaces(struct finding *finding)
{
	struct trial trial = run_trial();
	const char *how = geteuid() == 0 ? "as root" : "without root";

	if (trial.stage != STAGE_NAMESPACE) {
		found(finding, "network namespaces can be made %s", how);
		return;
	}
	found(finding, "network namespaces cannot be made %s: %s; no xport wan", how,
	      strerror(trial.error));
	advise(finding, VERDICT_MISSING,
	       geteuid() == 0
		       ? "a container needs CAP_SYS_ADMIN for it (docker run --privileged)"
		       : "run as root, or allow user namespaces: sysctl -w "
			 "user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1");
}

static void check_tun(struct finding *finding)
{
	struct trial trial = run_trial();

	if (trial.stage == STAGE_DONE) {
		found(finding, "/dev/net/tun works: xport wan");
	} else if (trial.stage == STAGE_NAMESPACE) {
		found(finding, "/dev/net/tun not tried for want of a namespace");
		advise(finding, VERDICT_LIMITED, "see namespaces");
	} else {
		found(finding, "/dev/net/tun: %s; no xport wan", strerror(trial.error));
		advise(finding, VERDICT_MISSING,
		       trial.stage == STAGE_OPEN && trial.error == EACCES
			       ? "chmod 666 /dev/net/tun (as root)"
			       : "modprobe tun (as root); a container needs --device=/dev/net/tun");
	}
}

/* ---- The counters -------------------------------------------------------------------------- */

static bool is_in_path(const char *program)
{
	const char *path = getenv("PATH");
	char *copy = strdup(path != NULL ? path : "/usr/bin:/bin");
	bool there = false;
	char *rest = NULL;

	if (copy == NULL)
		return false;
	for (char *folder = strtok_r(copy, ":", &rest); folder != NULL && !there;
	     folder = strtok_r(NULL, ":", &rest)) {
		char *file;

		if (asprintf(&file, "%s/%s", folder, program) < 0)
			break;
		there = access(file, X_OK) == 0;
		free(file);
	}
	free(copy);
	return there;
}

static void check_fuse(struct finding *finding)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	int error = errno;

	if (fd >= 0)
		close(fd);
	if (fd < 0) {
		found(finding, "/dev/fuse: %s; no xport mount, xport stat shows the same",
		      strerror(error));
		advise(finding, VERDICT_MISSING,
		       error == EACCES
			       ? "chmod 666 /dev/fuse (as root)"
			       : "modprobe fuse (as root); a container needs --device=/dev/fuse");
	} else if (!is_in_path("fusermount3")) {
		found(finding, "/dev/fuse works, fusermount3 is missing; %s",
		      geteuid() == 0 ? "root can mount nevertheless" : "only root can mount");
		advise(finding, geteuid() == 0 ? VERDICT_LIMITED : VERDICT_MISSING,
		       "install the package fuse3");
	} else {
		found(finding, "/dev/fuse and fusermount3 work: xport mount");
	}
}

static void check_mount(struct finding *finding)
{
	struct mount mount;
	int error = mount_find(&mount, MOUNT_DEFAULT);

	if (error != 0) {
		found(finding, "%s: %s", MOUNT_DEFAULT, strerror(error));
		advise(finding, VERDICT_LIMITED, "mount elsewhere: xport mount ~/xport");
	} else if (mount.state == MOUNT_LIVING) {
		found(finding, "the counters are shown on %s", MOUNT_DEFAULT);
	} else if (mount.state == MOUNT_NONE) {
		found(finding, "nothing is mounted on %s", MOUNT_DEFAULT);
		if (access(MOUNT_DEFAULT, W_OK) != 0 && access("/mnt", W_OK) != 0)
			advise(finding, VERDICT_LIMITED, "mount elsewhere: xport mount ~/xport");
	} else if (mount.state == MOUNT_FOREIGN) {
		found(finding, "another file system is mounted on %s", MOUNT_DEFAULT);
		advise(finding, VERDICT_LIMITED, "mount elsewhere: xport mount ~/xport");
	} else {
		found(finding, "xportfs on %s %s", MOUNT_DEFAULT,
		      mount.state == MOUNT_STALE ? "has died" : "does not answer");
		advise(finding, VERDICT_LIMITED,
		       mount.state == MOUNT_STALE ? "xport mount starts it again"
						  : "xport umount ends it");
	}
}

/* ---- Printing ------------------------------------------------------------------------------ */

static const struct check checks[] = {
	{"kernel", check_kernel},
	{"processors", check_processors},
	{"clock", check_clock},
	{"zero copy", check_zero_copy},
	{"option memory", check_option_memory},
	{"locked memory", check_locked_memory},
	{"namespaces", check_namespaces},
	{"tun", check_tun},
	{"fuse", check_fuse},
	{"mount", check_mount},
};

static void print_words(const struct check *check, const struct finding *finding)
{
	printf("%-8s  %-13s  %s\n", verdict_names[finding->verdict], check->name, finding->detail);
	if (finding->advice[0] != '\0')
		printf("%-8s  %-13s  -> %s\n", "", "", finding->advice);
}

static void print_json(const struct check *check, const struct finding *finding)
{
	printf("%s{\"check\":", check == checks ? "[" : ",\n ");
	print_json_string(stdout, check->name);
	printf(",\"verdict\":\"%s\",\"detail\":", verdict_names[finding->verdict]);
	print_json_string(stdout, finding->detail);
	fputs(",\"advice\":", stdout);
	print_json_string(stdout, finding->advice);
	putchar('}');
}

int cmd_doctor(int argc, char **argv)
{
	static const struct option table[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
	bool json = false, first = true;
	int option;

	if (wants_help(argc, argv)) {
		fputs(doctor_help, stdout);
		return XPORT_OK;
	}
	while ((option = next_option(argc, argv, ":", table, first)) != -1) {
		if (option != 'j')
			return XPORT_USAGE;
		json = true;
		first = false;
	}
	if (optind < argc)
		return usage("'%s' is too much", argv[optind]);
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		struct finding finding = {.verdict = VERDICT_OK};

		checks[i].run(&finding);
		if (json)
			print_json(&checks[i], &finding);
		else
			print_words(&checks[i], &finding);
	}
	if (json)
		puts("]");
	return XPORT_OK;
}
