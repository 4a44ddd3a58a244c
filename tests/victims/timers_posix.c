// What: POSIX timers: every kind of notification, clocks, ids with gaps, intervals, what was left, overruns.
// Build: -pthread
#include "victim.h"
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
typedef int ktimer;
static ktimer make(clockid_t clock, int notify, int sig, int value) {
  struct sigevent e = {.sigev_notify = notify, .sigev_signo = sig, .sigev_value = {.sival_int = value}};
  if (notify == SIGEV_THREAD_ID) e.sigev_notify_thread_id = syscall(SYS_gettid);
  ktimer id = -1;
  CHECK(syscall(SYS_timer_create, clock, &e, &id) == 0);
  return id;
}
static void victim(void) {
  sigset_t s;
  sigemptyset(&s);
  for (int i = 1; i <= 6; i++) sigaddset(&s, SIGRTMIN + i);
  sigprocmask(SIG_BLOCK, &s, 0);
  ktimer t[6], gap = make(CLOCK_REALTIME, SIGEV_NONE, 0, 0);
  t[0] = make(CLOCK_REALTIME, SIGEV_SIGNAL, SIGRTMIN + 1, 100);
  t[1] = make(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN + 2, 200);
  ktimer gap2 = make(CLOCK_REALTIME, SIGEV_NONE, 0, 0);
  t[2] = make(CLOCK_BOOTTIME, SIGEV_NONE, 0, 0);
  t[3] = make(CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, SIGRTMIN + 3, 300);
  t[4] = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 4, 400);
  t[5] = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 5, 500);
  CHECK(syscall(SYS_timer_delete, gap) == 0 && syscall(SYS_timer_delete, gap2) == 0);
  for (int i = 0; i < 4; i++) {
    struct itimerspec v = {{500 + i, 7000000}, {1000 + i, 0}};
    CHECK(syscall(SYS_timer_settime, t[i], 0, &v, 0) == 0);
  }
  struct itimerspec fast = {{0, 1000000}, {0, 1000000}}; // it overruns while its signal is blocked
  CHECK(syscall(SYS_timer_settime, t[5], 0, &fast, 0) == 0);
  sleep_ms(30);
  ready_and_wait();
  struct itimerspec v;
  for (int i = 0; i < 4; i++) {
    CHECK(syscall(SYS_timer_gettime, t[i], &v) == 0);
    CHECK(v.it_interval.tv_sec == 500 + i && v.it_interval.tv_nsec == 7000000);
    CHECK(v.it_value.tv_sec >= 900 + i && v.it_value.tv_sec <= 1000 + i);
  }
  CHECK(syscall(SYS_timer_gettime, t[4], &v) == 0 && v.it_value.tv_sec == 0 && v.it_value.tv_nsec == 0);
  CHECK(syscall(SYS_timer_gettime, gap, &v) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_timer_gettime, gap2, &v) == -1 && errno == EINVAL);
  struct itimerspec soon = {{0, 0}, {0, 1000000}};
  siginfo_t si;
  struct timespec wait = {2, 0};
  int order[] = {0, 1, 4};
  for (int i = 0; i < 3; i++) {
    int k = order[i];
    CHECK(syscall(SYS_timer_settime, t[k], 0, &soon, 0) == 0);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGRTMIN + 1 + (k == 4 ? 3 : k));
    CHECK(sigtimedwait(&one, &si, &wait) > 0 && si.si_code == SI_TIMER && si.si_value.sival_int == (k + 1) * 100 - (k == 4 ? 100 : 0));
  }
  sigset_t over;
  sigemptyset(&over);
  sigaddset(&over, SIGRTMIN + 5);
  CHECK(sigtimedwait(&over, &si, &wait) == SIGRTMIN + 5 && si.si_value.sival_int == 500);
  // A new timer can still be made: the allocation of ids is as usual again.
  CHECK(make(CLOCK_REALTIME, SIGEV_NONE, 0, 0) >= 0);
}
