/* Hosts of every kind: SIGCHLD ignored, handled, blocked; a thread in wait(-1); many threads and much memory; many operations
 * at once. And what the worker gets from them: nothing but the connection. This program is its own spy: executed with
 * `swrk FD` (criu_set_service_binary) it looks at itself and answers. */
#define _GNU_SOURCE
#include <criu-ext.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "expect.h"

/* The field of /proc/self/status as a number of base 16. */
static unsigned long long status_field(const char *name)
{
	char line[256];
	unsigned long long value = ~0ull;
	FILE *f = fopen("/proc/self/status", "r");

	EXPECT(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			value = strtoull(line + strlen(name) + 1, NULL, 16);
	fclose(f);
	return value;
}

static int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;
	int n = 0;

	EXPECT(dir);
	while ((e = readdir(dir)))
		n += e->d_name[0] != '.';
	closedir(dir);
	return n - 1;
}

/* A worker's view; the version tells what it saw: 0 for nothing wrong, else the number of the check. */
static int spy(int connection)
{
	char request[4096];
	char answer[] = "\x08\x0a\x10\x01\x52\x06\x08\x00\x10\x00\x20\x00";
	int wrong = 0;

	if (recv(connection, request, sizeof(request), 0) <= 0)
		return 1;
	if (descriptors() != 4)
		wrong = 1;
	else if (status_field("SigBlk") || status_field("SigIgn") || status_field("SigCgt"))
		wrong = 2;
	else if (getenv("LD_PRELOAD") || !getenv("HOST_MARK"))
		wrong = 3;
	else if (fcntl(0, F_GETFD) < 0 || fcntl(1, F_GETFD) < 0 || fcntl(2, F_GETFD) < 0)
		wrong = 4;
	answer[11] = wrong;
	return send(connection, answer, sizeof(answer) - 1, 0) < 0;
}

static void worker_is_clean(criu_opts *opts)
{
	struct sigaction ignored = { .sa_handler = SIG_IGN };
	sigset_t all, old;
	int i, fds[50];

	for (i = 0; i < 50; i++)
		EXPECT((fds[i] = open("/dev/null", O_RDONLY)) >= 0);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	sigaction(SIGUSR1, &ignored, NULL);
	sigaction(SIGPIPE, &ignored, NULL);
	setenv("HOST_MARK", "1", 1);
	setenv("LD_PRELOAD", "", 1);
	EXPECT_INT(criu_local_set_service_binary(opts, "/proc/self/exe"), 0);
	EXPECT_INT(criu_local_get_version(opts), 0);
	criu_free_service(opts);
	unsetenv("LD_PRELOAD");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	for (i = 0; i < 50; i++)
		close(fds[i]);
}

/* A worker that has one stage, then waits for the end of the connection, and says in a file that it came. */
static int one_stage(int connection)
{
	static const char notify[] = "\x08\x06\x10\x01\x2a\x0a\x0a\x08pre-dump", success[] = "\x08\x03\x10\x01";
	char buffer[4096];

	if (recv(connection, buffer, sizeof(buffer), 0) <= 0)
		return 1;
	if (getenv("ONE_STAGE")[0] == 'd') {
		/* Dead, with a copy of the connection left in another process. */
		if (fork() == 0) {
			int i;

			close(0), close(1), close(2);
			for (i = 0; i < 600 && access("over", F_OK) != 0; i++)
				usleep(100000);
			_exit(i < 600 || creat("too-late", 0600) < 0);
		}
		return 0;
	}
	if (send(connection, notify, sizeof(notify) - 1, 0) < 0 || recv(connection, buffer, sizeof(buffer), 0) <= 0)
		return 1;
	if (send(connection, success, sizeof(success) - 1, 0) < 0 || recv(connection, buffer, sizeof(buffer), 0) != 0)
		return 1;
	return creat(getenv("ONE_STAGE"), 0600) < 0;
}

static pid_t copy;

/* The host forks while an operation is under way: the child has copies of all descriptors. */
static int fork_meanwhile(char *action, criu_notify_arg_t na)
{
	(void)action, (void)na;
	copy = fork();
	if (copy == 0)
		for (;;)
			pause();
	return copy < 0;
}

static void forks_meanwhile(criu_opts *opts)
{
	int i;

	/* The worker learns that the operation is over all the same. */
	unlink("ended"), unlink("over"), unlink("too-late");
	setenv("ONE_STAGE", "ended", 1);
	EXPECT_INT(criu_local_set_service_binary(opts, "/proc/self/exe"), 0);
	criu_local_set_notify_cb(opts, fork_meanwhile);
	EXPECT_INT(criu_local_check(opts), 0);
	for (i = 0; i < 2000 && access("ended", F_OK) != 0; i++)
		usleep(10000);
	EXPECT(access("ended", F_OK) == 0);
	EXPECT(kill(copy, SIGKILL) == 0 && waitpid(copy, NULL, 0) == copy);
	criu_local_set_notify_cb(opts, NULL);
	/* And we learn that the worker died, though some process still has its end of the connection. */
	setenv("ONE_STAGE", "dead", 1);
	EXPECT_FAILS(criu_local_check(opts), -ECOMM, ECONNRESET);
	EXPECT_FAILS(criu_local_restore_child(opts), -ECOMM, ECONNRESET);
	EXPECT(access("too-late", F_OK) != 0);
	EXPECT(close(creat("over", 0600)) == 0);
	unsetenv("ONE_STAGE");
	criu_free_service(opts);
}

static atomic_int children;

static void on_child(int signal)
{
	(void)signal;
	children++;
}

static void no_child(void)
{
	EXPECT(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
}

static void versions(criu_opts *opts, int count)
{
	while (count--)
		EXPECT_INT(criu_local_get_version(opts), 40200);
}

static void dispositions(criu_opts *opts)
{
	struct sigaction handled = { .sa_handler = on_child }, ignored = { .sa_handler = SIG_IGN },
			 nowait = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT }, normal = { .sa_handler = SIG_DFL };
	sigset_t set, pending;

	sigaction(SIGCHLD, &handled, NULL);
	versions(opts, 20);
	EXPECT_INT(children, 0);
	no_child();
	sigaction(SIGCHLD, &ignored, NULL);
	versions(opts, 20);
	/* A worker that is a child for a while, collected by the kernel. */
	EXPECT_INT(criu_local_restore_child(opts), -EBADE);
	no_child();
	sigaction(SIGCHLD, &nowait, NULL);
	versions(opts, 20);
	EXPECT_INT(criu_local_restore_child(opts), -EBADE);
	no_child();
	sigaction(SIGCHLD, &normal, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	versions(opts, 20);
	EXPECT(sigpending(&pending) == 0 && !sigismember(&pending, SIGCHLD));
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	no_child();
}

static atomic_bool over;
static atomic_int collected;

/* A host that collects whatever child ends. It has one child that lives all the time. */
static void *collector(void *data)
{
	pid_t living = fork();

	(void)data;
	if (living == 0)
		for (;;)
			pause();
	while (!over) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);

		if (pid > 0)
			collected++;
	}
	EXPECT(kill(living, SIGKILL) == 0 && waitpid(living, NULL, 0) == living);
	return NULL;
}

static void beside_a_collector(criu_opts *opts)
{
	pthread_t thread;
	int i;

	EXPECT(pthread_create(&thread, NULL, collector, NULL) == 0);
	versions(opts, 100);
	EXPECT_INT(collected, 0);
	for (i = 0; i < 20; i++)
		EXPECT_INT(criu_local_restore_child(opts), -EBADE);
	over = true;
	pthread_join(thread, NULL);
	no_child();
}

/* A daemon without standard descriptors; nothing stays open. */
static void nothing_open(void)
{
	int open_before = descriptors(), status;
	pid_t pid = fork();

	if (pid == 0) {
		criu_opts *opts = NULL;
		int i;

		for (i = 0; i < 3; i++)
			close(i);
		if (criu_local_init_opts(&opts))
			_exit(1);
		for (i = 0; i < 5; i++)
			if (criu_local_get_version(opts) != 40200)
				_exit(2);
		_exit(descriptors() == open_before - 3 ? 0 : 3);
	}
	EXPECT(waitpid(pid, &status, 0) == pid);
	EXPECT_INT(status, 0);
}

/* A host that gets the orphans, and so the worker, collects it. */
static void subreaper(criu_opts *opts)
{
	EXPECT(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	versions(opts, 20);
	no_child();
	EXPECT(prctl(PR_SET_CHILD_SUBREAPER, 0) == 0);
}

static void *operate(void *data)
{
	criu_opts *opts = NULL;
	struct criu_feature_check features = { true, true, true };
	long n = (long)data;
	int i;

	EXPECT_INT(criu_local_init_opts(&opts), 0);
	for (i = 0; i < 10; i++) {
		EXPECT_INT(criu_local_get_version(opts), 40200);
		if (n % 2) {
			EXPECT_FAILS(criu_local_dump(opts), -EBADE, EBADRQC);
			EXPECT(criu_local_last_error(opts) && criu_last_error());
		} else {
			EXPECT_INT(criu_local_feature_check(opts, &features, sizeof(features)), 0);
			EXPECT(!criu_local_last_error(opts) && !criu_last_error());
		}
		/* The global options, shared by all. */
		EXPECT_INT(criu_check_version(31500), 1);
		criu_set_pid(n);
	}
	criu_local_free_opts(opts);
	return NULL;
}

static void many_at_once(void)
{
	pthread_t threads[16];
	int before = descriptors();
	long i;

	EXPECT_INT(criu_init_opts(), 0);
	for (i = 0; i < 16; i++)
		EXPECT(pthread_create(&threads[i], NULL, operate, (void *)i) == 0);
	for (i = 0; i < 16; i++)
		pthread_join(threads[i], NULL);
	criu_free_opts();
	EXPECT_INT(descriptors(), before);
	no_child();
}

static double cpu_milliseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* What this thread itself spends on an operation (the best of some), which a busy machine does not change: to start a
 * worker by fork would copy page tables in this thread's time. */
static double cost(criu_opts *opts)
{
	double best = 1e9;
	int i;

	for (i = 0; i < 15; i++) {
		double start = cpu_milliseconds();

		versions(opts, 1);
		if (cpu_milliseconds() - start < best)
			best = cpu_milliseconds() - start;
	}
	return best;
}

/* The same of a fork. */
static double cost_of_fork(void)
{
	double best = 1e9;
	int i;

	for (i = 0; i < 3; i++) {
		double start = cpu_milliseconds(), spent;
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		spent = cpu_milliseconds() - start;
		EXPECT(waitpid(pid, NULL, 0) == pid);
		if (spent < best)
			best = spent;
	}
	return best;
}

static void *sleeper(void *data)
{
	(void)data;
	for (;;)
		pause();
	return NULL;
}

static void large_host(criu_opts *opts)
{
	const size_t mapped = 10ull << 30, touched = 512ull << 20;
	double small = cost(opts), large, forked;
	pthread_t thread;
	char *memory;
	int i;

	memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	EXPECT(memory != MAP_FAILED);
	/* Small pages: a fork would copy all their table entries. */
	madvise(memory, mapped, MADV_NOHUGEPAGE);
	memset(memory, 1, touched);
	for (i = 0; i < 100; i++) {
		pthread_attr_t attr;

		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, 64 << 10);
		EXPECT(pthread_create(&thread, &attr, sleeper, NULL) == 0);
		pthread_attr_destroy(&attr);
	}
	large = cost(opts), forked = cost_of_fork();
	printf("CPU time of one operation: %.3f ms from a small host, %.3f ms with 100 threads and 10 GiB; a fork: %.3f ms\n",
	       small, large, forked);
	EXPECT(large < small * 2 + 0.2);
	EXPECT(forked > large * 3);
	munmap(memory, mapped);
}

int main(int argc, char *argv[])
{
	criu_opts *opts = NULL;

	if (argc == 3 && !strcmp(argv[1], "swrk"))
		return getenv("ONE_STAGE") ? one_stage(atoi(argv[2])) : spy(atoi(argv[2]));
	bounded(100);
	EXPECT_INT(criu_local_init_opts(&opts), 0);
	worker_is_clean(opts);
	dispositions(opts);
	beside_a_collector(opts);
	subreaper(opts);
	nothing_open();
	many_at_once();
	forks_meanwhile(opts);
	large_host(opts);
	criu_local_free_opts(opts);
	return 0;
}
