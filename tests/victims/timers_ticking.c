// What: a repeating interval timer ticks on after the restore without losing its rhythm.
#include "victim.h"
static volatile int ticks;
static void tick(int s) { (void)s; ticks++; }
static void victim(void) {
  signal(SIGALRM, tick);
  struct itimerval v = {{0, 20000}, {0, 20000}};
  CHECK(setitimer(ITIMER_REAL, &v, 0) == 0);
  ready_and_wait();
  int before = ticks;
  double until = now_s() + 1;
  while (now_s() < until) sleep_ms(5);
  // 50 in a second, were the machine idle.
  int seen = ticks - before;
  if (seen < 30 || seen > 70) finish(1, "%d ticks in a second, and %d before", seen, before);
}
