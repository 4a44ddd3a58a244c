/* What can be wrong with a request, its surroundings or its images: each is told by code, errno, object and a hint; the target
 * is unharmed and nothing is left behind.
 *
 * Driven by libcriu/capi/tests: arguments are checkpoints of another architecture and for another processor. */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <linux/capability.h>

#include "victim.h"

static criu_opts *opts;
static int counter;
static pid_t victim;

/* The error that an operation has just left. */
static void told(const char *row, int line, int value, int wanted, int number, int code, const char *object)
{
	const struct criu_error *e = criu_local_last_error(opts);
	int seen = errno;

	if (!e || value != wanted || seen != number || e->error_number != number || e->code != code ||
	    !strstr(e->object, object)) {
		fprintf(stderr, "bad_input.c:%d: %s: value %d, errno %d, code %d, object \"%s\": %s\n", line, row, value, seen,
			e ? e->code : 0, e ? e->object : "", e ? e->message : "no error");
		exit(1);
	}
	if (!*e->cause || !*e->hint || !*e->phase || !*e->message || !criu_last_error()) {
		fprintf(stderr, "bad_input.c:%d: %s: phase \"%s\", cause \"%s\", hint \"%s\"\n", line, row, e->phase, e->cause, e->hint);
		exit(1);
	}
}

#define TOLD(operation, ...)                                               \
	do {                                                               \
		int value_;                                                \
		expect_what = #operation, expect_line = __LINE__;          \
		errno = 0;                                                 \
		value_ = operation;                                        \
		told(#operation, __LINE__, value_, __VA_ARGS__);           \
	} while (0)

static int children(void)
{
	char path[64];
	FILE *list;
	int pid, count = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	list = fopen(path, "r");
	EXPECT(list);
	while (fscanf(list, "%d", &pid) == 1)
		count++;
	fclose(list);
	return count;
}

static void unharmed(void)
{
	counts_on(counter);
	EXPECT_INT(waitpid(-1, NULL, WNOHANG | __WALL), 0);
	EXPECT_INT(children(), 1);
}

static void nothing_left(void)
{
	int i;

	/* Killed tasks of a dead worker come to us as orphans. */
	for (i = 0; i < 1000 && waitpid(-1, NULL, WNOHANG | __WALL) >= 0; i++)
		usleep(10000);
	EXPECT(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
	EXPECT(kill(victim, 0) == -1 && errno == ESRCH);
}

/* Workers of a process that has ended come to us. */
static void collect_orphans(void)
{
	int i;

	for (i = 0; i < 1000 && children() > 1; i++) {
		EXPECT(waitpid(-1, NULL, WNOHANG | __WALL) != victim);
		usleep(10000);
	}
}

/* As its own process, so that what it changes of itself stays there. It has the victim as a sibling. */
#define APART(what)                                                                     \
	do {                                                                            \
		int status_;                                                            \
		pid_t pid_ = fork();                                                    \
		if (pid_ == 0) {                                                        \
			prctl(PR_SET_PDEATHSIG, SIGKILL);                               \
			bounded(60);                                                    \
			what;                                                           \
			exit(0);                                                        \
		}                                                                       \
		EXPECT(waitpid(pid_, &status_, 0) == pid_);                             \
		EXPECT_INT(status_, 0);                                                 \
		collect_orphans();                                                      \
	} while (0)

static void without_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };
	int cap;

	for (cap = 0; prctl(PR_CAPBSET_DROP, cap) == 0; cap++)
		;
	EXPECT(syscall(SYS_capset, &header, none) == 0);
}

static void use_dir(const char *name, int flags)
{
	int fd = open(name, flags | O_DIRECTORY | O_CLOEXEC);

	EXPECT(fd >= 0);
	criu_local_set_images_dir_fd(opts, fd);
}

static void no_permission(void)
{
	without_capabilities();
	use_dir("plain", O_RDONLY);
	TOLD(criu_local_dump(opts), -EBADE, EPERM, CRIU_ERR_ENGINE, "");
	EXPECT_INT(criu_local_last_error(opts)->pid, victim);
}

static void unreadable_dir(void)
{
	without_capabilities();
	EXPECT(mkdir("unreadable", 0) == 0);
	use_dir("unreadable", O_PATH);
	TOLD(criu_local_restore(opts), -EBADE, EBADRQC, CRIU_ERR_OPTIONS, "images_dir_fd");
}

static void unwritable_dir(void)
{
	without_capabilities();
	EXPECT(mkdir("unwritable", 0500) == 0);
	use_dir("unwritable", O_RDONLY);
	TOLD(criu_local_dump(opts), -EBADE, EACCES, CRIU_ERR_ENGINE, "");
}

/* A file system of its own: of a size, or read-only. */
static void mounted(const char *data, unsigned long flags)
{
	EXPECT(mkdir("mounted", 0755) == 0 || errno == EEXIST);
	EXPECT(mount("tmpfs", "mounted", "tmpfs", flags, data) == 0);
	use_dir("mounted", O_RDONLY);
}

static void read_only(void)
{
	mounted(NULL, MS_RDONLY);
	TOLD(criu_local_dump(opts), -EBADE, EROFS, CRIU_ERR_ENGINE, "log");
}

static void full_disk(void)
{
	mounted("size=2m", 0);
	TOLD(criu_local_dump(opts), -EBADE, ENOSPC, CRIU_ERR_ENGINE, ".img");
	EXPECT(access("mounted/inventory.img", F_OK) != 0);
}

/* The one child that is not the victim: the worker. */
static int kill_worker(const char *stage, int pid, int fd, void *user)
{
	char path[64];
	FILE *list;
	int child, killed = 0;

	(void)pid, (void)fd;
	if (strcmp(stage, user) != 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	list = fopen(path, "r");
	EXPECT(list);
	while (fscanf(list, "%d", &child) == 1)
		if (child != victim)
			killed += kill(child, SIGKILL) == 0;
	fclose(list);
	EXPECT_INT(killed, 1);
	return 0;
}

static void before_a_dump(void)
{
	pid_t ended = fork();

	if (ended == 0)
		_exit(0);
	EXPECT(waitpid(ended, NULL, 0) == ended);
	/* No such pid. */
	use_dir("plain", O_RDONLY);
	criu_local_set_pid(opts, ended);
	TOLD(criu_local_dump(opts), -EBADE, ESRCH, CRIU_ERR_NO_PROCESS, "");
	EXPECT_INT(criu_local_last_error(opts)->pid, ended);
	/* Wrong options. */
	criu_local_set_pid(opts, -5);
	TOLD(criu_local_dump(opts), -EBADE, EBADRQC, CRIU_ERR_OPTIONS, "pid");
	criu_local_set_pid(opts, victim);
	EXPECT_INT(criu_local_set_log_file(opts, "a/b"), 0);
	TOLD(criu_local_dump(opts), -EBADE, EBADRQC, CRIU_ERR_OPTIONS, "log");
	EXPECT_INT(criu_local_set_log_file(opts, "bad-input.log"), 0);
	/* No directory: none, a number that is not open, a file. */
	criu_local_set_images_dir_fd(opts, -1);
	TOLD(criu_local_dump(opts), -EBADE, EBADRQC, CRIU_ERR_OPTIONS, "images_dir");
	criu_local_set_images_dir_fd(opts, 9999);
	TOLD(criu_local_dump(opts), -EBADE, EBADRQC, CRIU_ERR_OPTIONS, "images_dir_fd");
	criu_local_set_images_dir_fd(opts, counter);
	TOLD(criu_local_dump(opts), -EBADE, EBADRQC, CRIU_ERR_OPTIONS, "images_dir_fd");
	unharmed();
	APART(unreadable_dir());
	APART(unwritable_dir());
	APART(read_only());
	EXPECT(umount2("mounted", MNT_DETACH) == 0);
	APART(full_disk());
	EXPECT(umount2("mounted", MNT_DETACH) == 0);
	APART(no_permission());
	unharmed();
}

int main(int argc, char *argv[])
{
	int status;

	EXPECT_INT(argc, 3);
	bounded(110);
	EXPECT(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	/* What is mounted is mounted for us and the victim alone. */
	EXPECT(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	EXPECT(mkdir("plain", 0755) == 0);
	counter = open("counter", O_RDWR | O_CREAT | O_TRUNC, 0644);
	EXPECT(counter >= 0);
	victim = counting_child(counter, -1, 16);
	counts_on(counter);
	EXPECT_INT(criu_local_init_opts(&opts), 0);
	before_a_dump();

	use_dir("plain", O_RDONLY);
	/* The worker dies while the victim is frozen and all is saved. */
	criu_local_set_stage_cb(opts, kill_worker, "post-dump");
	TOLD(criu_local_dump(opts), -ECOMM, ECONNRESET, CRIU_ERR_TRANSPORT, "engine");
	unharmed();
	criu_local_set_stage_cb(opts, NULL, NULL);
	criu_local_set_leave_running(opts, true);
	WORKS(opts, criu_local_dump(opts), == 0);
	/* The pid is taken: by the victim itself. */
	TOLD(criu_local_restore(opts), -EBADE, EEXIST, CRIU_ERR_PID_TAKEN, "");
	EXPECT_INT(criu_local_last_error(opts)->pid, victim);
	unharmed();
	criu_local_set_leave_running(opts, false);
	WORKS(opts, criu_local_dump(opts), == 0);
	EXPECT(waitpid(victim, &status, 0) == victim && WIFSIGNALED(status));
	nothing_left();

	criu_local_set_stage_cb(opts, kill_worker, "post-restore");
	TOLD(criu_local_restore(opts), -ECOMM, ECONNRESET, CRIU_ERR_TRANSPORT, "engine");
	nothing_left();
	criu_local_set_stage_cb(opts, NULL, NULL);
	EXPECT(rename("plain/inventory.img", "inventory.img") == 0);
	TOLD(criu_local_restore(opts), -EBADE, 0, CRIU_ERR_ENGINE, "inventory.img");
	TOLD(criu_local_restore_child(opts), -EBADE, 0, CRIU_ERR_ENGINE, "inventory.img");
	nothing_left();
	EXPECT(rename("inventory.img", "plain/inventory.img") == 0);
	use_dir(argv[1], O_RDONLY);
	TOLD(criu_local_restore(opts), -EBADE, 0, CRIU_ERR_ENGINE, "core-");
	use_dir(argv[2], O_RDONLY);
	TOLD(criu_local_restore(opts), -EBADE, 0, CRIU_ERR_BLOCKED, "");
	nothing_left();

	/* After all that, the checkpoint is as good as it was. */
	use_dir("plain", O_RDONLY);
	EXPECT_INT(WORKS(opts, criu_local_restore_child(opts), > 0), victim);
	counts_on(counter);
	EXPECT(kill(victim, SIGKILL) == 0 && waitpid(victim, NULL, 0) == victim);
	nothing_left();
	criu_local_free_opts(opts);
	return 0;
}
