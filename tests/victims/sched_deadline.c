// What: deadline scheduling: the times promised, its flags, nice value and reset-on-fork, of the process and of a thread.
// Variants: process thread flags stopped
// Build: -pthread
#include "victim.h"
#include <sys/resource.h>
struct attr {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};
enum { DEADLINE = 6, RESET_ON_FORK = 1, RECLAIM = 2, OVERRUN = 4 };
static uint64_t flags(void) { return RESET_ON_FORK | (is("flags") ? RECLAIM | OVERRUN : 0); }
static void set(uint64_t period) {
  struct attr a = {sizeof a, DEADLINE, flags(), 0, 0, 2000000, 10000000, period};
  if (syscall(SYS_sched_setattr, 0, &a, 0)) SKIP("sched_setattr SCHED_DEADLINE: %s", strerror(errno));
}
static void check(int tid, uint64_t period) {
  struct attr a;
  CHECK(syscall(SYS_sched_getattr, tid, &a, sizeof a, 0) == 0 && a.policy == DEADLINE && a.flags == flags());
  CHECK(a.runtime == 2000000 && a.deadline == 10000000 && a.period == period);
}
static volatile int is_set, go_on;
static void *thread(void *arg) {
  set(30000000);
  is_set = 1;
  while (!go_on) sleep_ms(1);
  check(0, 30000000);
  return arg;
}
static void victim(void) {
  pthread_t t;
  CHECK(setpriority(PRIO_PROCESS, 0, 3) == 0);
  if (is("thread")) {
    CHECK(pthread_create(&t, 0, thread, 0) == 0);
    while (!is_set) sleep_ms(1);
  } else if (is("stopped")) {
    pid_t child = fork();
    if (!child) {
      set(20000000);
      raise(SIGSTOP);
      check(0, 20000000);
      _exit(7);
    }
    int st;
    CHECK(waitpid(child, &st, WUNTRACED) == child);
    if (WIFEXITED(st)) return;
    ready_and_wait();
    check(child, 20000000);
    CHECK(kill(child, SIGCONT) == 0);
    expect_exit(child, 7);
    return;
  } else {
    set(20000000);
  }
  ready_and_wait();
  if (is("thread")) {
    go_on = 1;
    CHECK(pthread_join(t, 0) == 0);
  } else {
    check(0, 20000000);
    // Without reset-on-fork nobody may fork under it.
    pid_t child = fork();
    if (!child) _exit(sched_getscheduler(0) == SCHED_OTHER ? 5 : 6);
    expect_exit(child, 5);
  }
  errno = 0;
  CHECK(getpriority(PRIO_PROCESS, 0) == 3 && errno == 0);
}
