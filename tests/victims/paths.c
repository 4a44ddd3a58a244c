// What: the working directory (also a deleted one), a changed root, and a command line written over.
// Variants: cwd deleted chroot cmdline
// Ignore: cwd
#include "victim.h"
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
  ready_and_wait();
  if (is("cwd")) CHECK(getcwd(now, sizeof now) && !strcmp(now, path));
  if (is("deleted")) CHECK(getcwd(now, sizeof now) == 0 && errno == ENOENT);
  if (is("chroot")) CHECK(getcwd(now, sizeof now) && !strcmp(now, "/inner") && access("/inner", F_OK) == 0 && access("/proc/self", F_OK) != 0);
  if (is("cmdline")) {
    FILE *f = fopen("/proc/self/cmdline", "r");
    CHECK(f && fread(now, 1, 7, f) == 7 && !memcmp(now, "renamed", 7));
  }
}
