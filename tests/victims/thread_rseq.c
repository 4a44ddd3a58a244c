// What: restartable sequences stay registered, for the main thread and another.
// Build: -pthread
#include "victim.h"
#include <linux/rseq.h>
#include <sys/rseq.h>
static volatile int state;
static struct rseq *area(void) { return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset); }
static void check(void) {
  // The kernel writes the CPU at each return from preemption: spoil it and see it written anew.
  volatile struct rseq *r = area();
  for (int i = 0; i < 1000; i++) {
    r->cpu_id_start = 77;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(i % 2, &one);
    if (sched_setaffinity(0, sizeof one, &one)) continue;
    sched_yield();
    if (r->cpu_id == (unsigned)(i % 2) && r->cpu_id_start == (unsigned)(i % 2)) return;
  }
  finish(1, "the kernel does not write to the registered rseq area");
}
static void *other(void *a) {
  while (!state) sleep_ms(1);
  check();
  return a;
}
static void victim(void) {
  if (!__rseq_size) SKIP("the C library registers no rseq");
  if (sysconf(_SC_NPROCESSORS_ONLN) < 2) SKIP("one CPU only");
  pthread_t t;
  pthread_create(&t, 0, other, 0);
  ready_and_wait();
  check();
  state = 1;
  pthread_join(t, 0);
}
