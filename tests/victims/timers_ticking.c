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
  CHECK(ticks - before >= 30 && ticks - before <= 70);
}
