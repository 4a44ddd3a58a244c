// What: the working directory (also a deleted one), a changed root, a command line written over, environment and auxiliary vector.
// Variants: cwd deleted chroot cmdline environ auxv
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
  if (is("cwd")) CHECK(getcwd(now, sizeof now) && !strcmp(now, path));
  if (is("deleted")) CHECK(getcwd(now, sizeof now) == 0 && errno == ENOENT);
  if (is("chroot")) CHECK(getcwd(now, sizeof now) && !strcmp(now, "/inner") && access("/inner", F_OK) == 0 && access("/proc/self", F_OK) != 0);
  if (is("cmdline")) {
    FILE *f = fopen("/proc/self/cmdline", "r");
    CHECK(f && fread(now, 1, 7, f) == 7 && !memcmp(now, "renamed", 7));
  }
}
