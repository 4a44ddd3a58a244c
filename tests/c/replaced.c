/* The library as its own worker when its file has changed since it was loaded: replaced, deleted, not executable; and for a
 * caller without rights. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

static char folder[] = "/tmp/libcriu-test-XXXXXX";
static char copy[256];

static void copy_library(const char *from)
{
	static char buffer[1 << 16];
	int in = open(from, O_RDONLY), out = open(copy, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	ssize_t n;

	EXPECT(in >= 0 && out >= 0);
	while ((n = read(in, buffer, sizeof(buffer))) > 0)
		EXPECT(write(out, buffer, n) == n);
	EXPECT(n == 0 && close(in) == 0 && close(out) == 0);
}

static void write_text(const char *text)
{
	FILE *f = fopen(copy, "w");

	EXPECT(f && fputs(text, f) >= 0 && fclose(f) == 0 && chmod(copy, 0755) == 0);
}

/* Loads the copy, lets `change` happen to the file, and asks for the version. */
static int version_after(void (*change)(void))
{
	int (*init)(void), (*version)(void);
	void *library = dlopen(copy, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	*(void **)&init = dlsym(library, "criu_init_opts");
	*(void **)&version = dlsym(library, "criu_get_version");
	EXPECT(init && version);
	EXPECT_INT(init(), 0);
	change();
	return version();
}

static void nothing(void)
{
}

static void deleted(void)
{
	EXPECT(unlink(copy) == 0);
}

static void replaced(void)
{
	EXPECT(unlink(copy) == 0);
	write_text("#!/bin/false\n");
}

static void not_executable(void)
{
	EXPECT(chmod(copy, 0644) == 0);
}

static void no_rights(void)
{
	EXPECT(setgid(65534) == 0 && setuid(65534) == 0);
}

static void no_rights_not_executable(void)
{
	not_executable();
	no_rights();
}

/* Whether this process may look at its own map_files, which takes a capability in the first user namespace. */
static int may_open_mappings(void)
{
	char line[256] = "", path[320];
	FILE *maps = fopen("/proc/self/maps", "r");

	EXPECT(maps && fgets(line, sizeof(line), maps));
	fclose(maps);
	*strchr(line, ' ') = 0;
	snprintf(path, sizeof(path), "/proc/self/map_files/%s", line);
	return open(path, O_PATH | O_CLOEXEC) >= 0;
}

static void check(const char *library, const char *what, void (*change)(void))
{
	pid_t pid;
	int status;

	copy_library(library);
	pid = fork();
	if (pid == 0) {
		int version = version_after(change);

		if (version != 40200)
			fprintf(stderr, "%s: version %d, errno %d\n", what, version, errno);
		_exit(version != 40200);
	}
	EXPECT(waitpid(pid, &status, 0) == pid);
	EXPECT_INT(status, 0);
	unlink(copy);
}

int main(void)
{
	Dl_info info;
	char library[4096];
	void *handle = dlopen("libcriu.so.2", RTLD_NOW);

	bounded(90);
	EXPECT(handle && dladdr(dlsym(handle, "criu_init_opts"), &info) && realpath(info.dli_fname, library));
	dlclose(handle);
	EXPECT(mkdtemp(folder) && chmod(folder, 0755) == 0);
	snprintf(copy, sizeof(copy), "%s/libcriu.so.2", folder);
	check(library, "unchanged", nothing);
	check(library, "not executable", not_executable);
	if (may_open_mappings()) {
		check(library, "deleted", deleted);
		check(library, "replaced", replaced);
	}
	if (getuid() == 0) {
		check(library, "without rights", no_rights);
		check(library, "without rights, not executable", no_rights_not_executable);
	}
	rmdir(folder);
	if (!may_open_mappings() || getuid() != 0) {
		puts("deleted and replaced files need CAP_CHECKPOINT_RESTORE, giving up rights needs root");
		return 77;
	}
	return 0;
}
