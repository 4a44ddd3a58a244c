// What: files of /proc of a dead task, of which several tasks have one. One that was read in part is refused.
// Variants: dead part
// Refused.part: a /proc file of a process that is gone, read in part
#include "victim.h"
static void victim(void) {
  pid_t task = fork();
  if (!task) {
    signal(SIGUSR1, SIG_IGN);
    for (;;) pause();
  }
  char path[64], b[64], link[64] = {0}, now[64] = {0};
  snprintf(path, sizeof path, "/proc/%d/status", task);
  int part = open(path, O_RDONLY | O_CLOEXEC);
  snprintf(path, sizeof path, "/proc/%d/stat", task);
  int whole = open(path, O_RDONLY);
  snprintf(path, sizeof path, "/proc/%d", task);
  int folder = open(path, O_RDONLY | O_DIRECTORY);
  CHECK(part >= 0 && whole >= 0 && folder >= 0 && (is("dead") || read(part, b, 5) == 5));
  pid_t child = fork();
  if (!child) {
    mark("child");
    wait_go();
    CHECK(read(whole, b, 8) == -1 && errno == ESRCH);
    _exit(7);
  }
  await_mark("child");
  CHECK(kill(task, SIGKILL) == 0 && status_of(task) >= 0);
  snprintf(path, sizeof path, "/proc/self/fd/%d", whole);
  CHECK(readlink(path, link, sizeof link - 1) > 0);
  ready_and_wait();
  CHECK(readlink(path, now, sizeof now - 1) > 0 && !strcmp(link, now) && fcntl(part, F_GETFD) == FD_CLOEXEC);
  if (is("dead")) {
    CHECK(lseek(part, 0, SEEK_CUR) == 0 && read(part, b, 8) == -1 && errno == ESRCH && pread(whole, b, 8, 0) == -1 && errno == ESRCH);
    CHECK(openat(folder, "status", O_RDONLY) == -1 && (errno == ENOENT || errno == ESRCH));
  } else CHECK(read(part, b, 8) == 8);
  pass_on(child);
  expect_exit(child, 7);
}
