// What: the three interval timers go on with what was left of them.
#include "victim.h"
static volatile int rang[NSIG];
static void ring(int s) { rang[s]++; }
static void victim(void) {
  int which[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF}, sig[] = {SIGALRM, SIGVTALRM, SIGPROF};
  for (int i = 0; i < 3; i++) {
    signal(sig[i], ring);
    struct itimerval v = {{1000 + i, 5000}, {2000 + i, 0}};
    CHECK(setitimer(which[i], &v, 0) == 0);
  }
  ready_and_wait();
  for (int i = 0; i < 3; i++) {
    struct itimerval v;
    CHECK(getitimer(which[i], &v) == 0);
    CHECK(v.it_interval.tv_sec == 1000 + i && v.it_interval.tv_usec / 1000 == 5);
    CHECK(v.it_value.tv_sec >= 1900 + i && v.it_value.tv_sec <= 2000 + i);
  }
  struct itimerval soon = {{0, 0}, {0, 10000}};
  CHECK(setitimer(ITIMER_REAL, &soon, 0) == 0);
  sleep_ms(50);
  CHECK(rang[SIGALRM] == 1);
}
