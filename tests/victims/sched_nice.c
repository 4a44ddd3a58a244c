// What: a nice value under a policy that makes no use of it, and the slice of time that a thread was given.
// Variants: idle fifo slice
#include "victim.h"
#include <sys/resource.h>
struct attributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};
static const uint64_t slice = 7000000;
static void victim(void) {
  struct attributes a = {sizeof a, SCHED_BATCH, .nice = 4, .runtime = slice}, now = {0};
  struct sched_param p = {is("fifo") ? 3 : 0};
  if (is("slice")) {
    CHECK(syscall(SYS_sched_setattr, 0, &a, 0) == 0 && syscall(SYS_sched_getattr, 0, &now, sizeof now, 0) == 0);
    if (now.runtime != slice) SKIP("the kernel gives no slices");
  } else {
    CHECK(setpriority(PRIO_PROCESS, 0, 6) == 0);
    if (sched_setscheduler(0, is("fifo") ? SCHED_FIFO : SCHED_IDLE, &p)) SKIP("sched_setscheduler: %s", strerror(errno));
  }
  ready_and_wait();
  CHECK(syscall(SYS_sched_getattr, 0, &now, sizeof now, 0) == 0);
  if (is("slice")) {
    CHECK(now.policy == SCHED_BATCH && now.runtime == slice && now.nice == 4);
    return;
  }
  CHECK(now.policy == (is("fifo") ? SCHED_FIFO : SCHED_IDLE) && now.priority == (is("fifo") ? 3 : 0));
  errno = 0;
  CHECK(getpriority(PRIO_PROCESS, 0) == 6 && !errno);
}
