// What: clocks read through the vDSO and by system call never run backwards, and agree.
#include "victim.h"
static struct timespec last[12];
static void look(void) {
  clockid_t ids[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE};
  for (int i = 0; i < 5; i++)
    for (int direct = 0; direct < 2; direct++) {
      struct timespec t;
      if (direct) CHECK(syscall(SYS_clock_gettime, ids[i], &t) == 0);
      else CHECK(clock_gettime(ids[i], &t) == 0);
      CHECK(t.tv_sec > last[i].tv_sec || (t.tv_sec == last[i].tv_sec && t.tv_nsec >= last[i].tv_nsec));
      last[i] = t;
    }
  struct timeval tv;
  unsigned cpu;
  CHECK(gettimeofday(&tv, 0) == 0 && getcpu(&cpu, 0) == 0);
  CHECK(llabs(tv.tv_sec - last[0].tv_sec) <= 1);
}
static void victim(void) {
  look();
  ready_and_wait();
  struct timespec before = last[1];
  for (int i = 0; i < 1000; i++) look();
  CHECK(last[1].tv_sec - before.tv_sec < 60);
}
