// What: real-time scheduling: policy, priority, reset-on-fork; of the process and of a thread.
// Variants: fifo rr
// Build: -pthread
#include "victim.h"
static volatile int go_on;
static int policy(void) { return is("fifo") ? SCHED_FIFO : SCHED_RR; }
static void *thread(void *arg) {
  struct sched_param p = {5};
  if (sched_setscheduler(0, policy(), &p)) SKIP("sched_setscheduler: %s", strerror(errno));
  *(int *)arg = 1;
  while (!go_on) sleep_ms(1);
  CHECK(sched_getscheduler(0) == policy() && sched_getparam(0, &p) == 0 && p.sched_priority == 5);
  return 0;
}
static void victim(void) {
  struct sched_param p = {7};
  if (sched_setscheduler(0, policy() | SCHED_RESET_ON_FORK, &p)) SKIP("sched_setscheduler: %s", strerror(errno));
  volatile int is_set = 0;
  pthread_t t;
  CHECK(pthread_create(&t, 0, thread, (void *)&is_set) == 0);
  while (!is_set) sleep_ms(1);
  ready_and_wait();
  CHECK(sched_getscheduler(0) == (policy() | SCHED_RESET_ON_FORK) && sched_getparam(0, &p) == 0 && p.sched_priority == 7);
  go_on = 1;
  CHECK(pthread_join(t, 0) == 0);
}
