// What: the working directory (also a deleted one, and those of processes in /proc), a changed root, a command line written over, environment and auxiliary vector.
// Variants: cwd deleted proc_self proc_child proc_dead chroot cmdline environ auxv
// Refused.proc_dead: current directory & process that is gone
// Ignore: cwd
#include "victim.h"
#include <sys/auxv.h>
static size_t contents(const char *path, char *to, size_t room) {
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0);
  size_t n = 0;
  for (ssize_t got; (got = read(fd, to + n, room - n)) > 0; n += got);
  close(fd);
  CHECK(n > 0 && n < room);
  return n;
}
extern char *program_invocation_name;
static void victim(void) {
  char path[PATH_MAX + 32], now[PATH_MAX];
  snprintf(path, sizeof path, "%s/inner", victim_folder);
  CHECK(mkdir(path, 0755) == 0);
  if (is("cwd") || is("deleted")) CHECK(chdir(path) == 0);
  if (is("deleted")) CHECK(rmdir(path) == 0);
  pid_t child = 0;
  if (!strncmp(victim_variant, "proc_", 5)) {
    child = is("proc_self") ? 0 : fork();
    if (!child && !is("proc_self")) {
      wait_go();
      _exit(6);
    }
    snprintf(path, sizeof path, "/proc/%d", is("proc_self") ? getpid() : child);
    CHECK(chdir(path) == 0);
    if (is("proc_dead")) {
      CHECK(kill(child, SIGKILL) == 0);
      status_of(child);
    }
  }
  if (is("chroot")) {
    CHECK(chroot(victim_folder) == 0 && chdir("/inner") == 0);
    strcpy(victim_folder, "/");
  }
  if (is("cmdline")) memcpy(program_invocation_name, "renamed", 7);
  static char was[1 << 16], is_now[1 << 16], random[16];
  const char *vector = is("environ") ? "/proc/self/environ" : "/proc/self/auxv";
  size_t n = is("environ") || is("auxv") ? contents(vector, was, sizeof was) : 0;
  memcpy(random, (char *)getauxval(AT_RANDOM), 16);
  if (is("environ")) CHECK(setenv("ADDED", "by itself", 1) == 0);
  ready_and_wait();
  if (is("environ") || is("auxv")) CHECK(contents(vector, is_now, sizeof is_now) == n && !memcmp(was, is_now, n));
  if (is("environ")) CHECK(!strcmp(getenv("ADDED"), "by itself") && getenv("CRIU_TEST_LIB"));
  if (is("auxv")) CHECK(!memcmp((char *)getauxval(AT_RANDOM), random, 16) && !memcmp((char *)getauxval(AT_SYSINFO_EHDR), "\177ELF", 4));
  if (is("proc_self") || is("proc_child")) {
    char *pid = proc_field("status", "Pid");
    CHECK(pid && atoi(pid) == (child ? child : getpid()) && getcwd(now, sizeof now) && !strcmp(now, path));
  }
  if (is("proc_child")) {
    pass_on(child);
    expect_exit(child, 6);
  }
  if (is("proc_dead")) {
    char word[8];
    CHECK(open("status", O_RDONLY) == -1 && (errno == ENOENT || errno == ESRCH));
    CHECK(readlink("/proc/self/cwd", word, sizeof word) > 0);
  }
  if (is("cwd")) CHECK(getcwd(now, sizeof now) && !strcmp(now, path));
  if (is("deleted")) CHECK(getcwd(now, sizeof now) == 0 && errno == ENOENT);
  if (is("chroot")) CHECK(getcwd(now, sizeof now) && !strcmp(now, "/inner") && access("/inner", F_OK) == 0 && access("/proc/self", F_OK) != 0);
  if (is("cmdline")) {
    FILE *f = fopen("/proc/self/cmdline", "r");
    CHECK(f && fread(now, 1, 7, f) == 7 && !memcmp(now, "renamed", 7));
  }
}
