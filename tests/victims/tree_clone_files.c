// What: two processes that share one table of descriptors (CLONE_FILES), or cwd, root and umask (CLONE_FS), go on sharing.
// Variants: files fs
#include "victim.h"
static int child_main(void *unused) {
  (void)unused;
  wait_go();
  if (is("files")) {
    CHECK(open("/dev/zero", O_RDONLY) == 3);
  } else {
    CHECK(chdir("/proc") == 0);
    umask(0123);
  }
  _exit(6);
}
static void victim(void) {
  static char stack[65536] __attribute__((aligned(16)));
  pid_t child = clone(child_main, stack + sizeof stack, SIGCHLD | (is("files") ? CLONE_FILES : CLONE_FS), 0);
  CHECK(child > 0);
  ready_and_wait();
  pass_on(child);
  expect_exit(child, 6);
  char b[PATH_MAX];
  if (is("files")) CHECK(read(3, b, 4) == 4);
  else CHECK(!strcmp(getcwd(b, sizeof b), "/proc") && umask(022) == 0123);
}
