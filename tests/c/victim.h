/* A process that counts, to be dumped: its number stands in a file, where both sides and both lives see it. */
#ifndef VICTIM_H
#define VICTIM_H

#include <criu-ext.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "expect.h"

static inline int open_dir(const char *name)
{
	int fd;

	EXPECT(mkdir(name, 0755) == 0 || errno == EEXIST);
	fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	EXPECT(fd >= 0);
	return fd;
}

static inline void explain(criu_opts *opts)
{
	const struct criu_error *e = criu_local_last_error(opts);
	size_t i;

	if (!e)
		return;
	fprintf(stderr, "%s\n", e->message);
	for (i = 0; i < criu_local_blocker_count(opts); i++)
		fprintf(stderr, "  %s\n", criu_local_blocker(opts, i)->message);
}

#define WORKS(opts, operation, condition)                 \
	({                                                \
		int value_ = (operation);                 \
		if (!(value_ condition)) {                \
			fprintf(stderr, "%s:%d: %s is %d (errno %d)\n", __FILE__, __LINE__, #operation, value_, errno); \
			explain(opts);                    \
			exit(1);                          \
		}                                         \
		value_;                                   \
	})

/* The counter lives in a file, so that both sides and both lives see it. */
static inline long counted(int file)
{
	long value = 0;

	EXPECT(pread(file, &value, sizeof(value), 0) >= 0);
	return value;
}

/* The child writes a number, and then a larger one; returns the first. */
static inline long counts_on(int file)
{
	long first = -1;
	int i;

	EXPECT(pwrite(file, &first, sizeof(first), 0) == sizeof(first));
	for (i = 0; i < 2000 && (first = counted(file)) < 0; i++)
		usleep(10000);
	EXPECT(first >= 0);
	for (i = 0; i < 2000 && counted(file) <= first; i++)
		usleep(10000);
	EXPECT(counted(file) > first);
	return first;
}

/* With so many MiB of memory, each page of which says where it is; it ends when one says something else. */
static inline pid_t counting_child(int file, int to_close, size_t mib)
{
	pid_t pid = fork();

	if (pid == 0) {
		size_t pages = mib << 8, at = 0, i;
		uint64_t *memory = NULL;
		long n = 0;

		if (to_close >= 0)
			close(to_close);
		setsid();
		if (pages) {
			memory = mmap(NULL, pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			if (memory == MAP_FAILED)
				_exit(2);
			for (i = 0; i < pages; i++)
				memory[i << 9] = i + 1;
		}
		close(0), close(1), close(2);
		for (;;) {
			n++;
			if (pwrite(file, &n, sizeof(n), 0) != sizeof(n))
				_exit(1);
			for (i = 0; pages && i < 4096; i++, at = (at + 1) % pages)
				if (memory[at << 9] != at + 1)
					_exit(3);
			usleep(2000);
		}
	}
	return pid;
}

#endif
