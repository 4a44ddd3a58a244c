// What: the C library's own signals, ignored, in a process whose restore needs a thread: they stay ignored.
#include "victim.h"
static void ignore(int signo) {
  // The C library lets nobody choose these.
  struct {
    void *handler;
    unsigned long flags;
    void *restorer;
    unsigned long mask;
  } a = {SIG_IGN, 0, 0, 0};
  CHECK(syscall(SYS_rt_sigaction, signo, &a, 0, 8) == 0);
}
static void check(void) { CHECK(strtoull(proc_field("/proc/self/status", "SigIgn"), 0, 16) >> 31 == 3); }
static void victim(void) {
  ignore(32);
  ignore(33);
  // Copy-on-write memory, which a restore compares with the parent's.
  size_t len = 32 << 20;
  char *p = mmap(0, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  fill(p, len, 1);
  pid_t child = fork();
  if (!child) {
    p[0] ^= 1;
    mark("child");
    wait_go();
    check();
    _exit(3);
  }
  await_mark("child");
  ready_and_wait();
  check();
  pass_on(child);
  expect_exit(child, 3);
}
