// What: timers that ring while their process is dumped: each rings once, none is lost or rings twice.
// Variants: process thread
// Build: -pthread
#include "victim.h"
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
#define TIMERS 4000
static void victim(void) {
  static unsigned char rung[TIMERS];
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, SIGRTMIN + 1);
  sigprocmask(SIG_BLOCK, &s, 0);
  for (int i = 0; i < TIMERS; i++) {
    struct sigevent e = {.sigev_notify = is("thread") ? SIGEV_THREAD_ID : SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1, .sigev_value.sival_int = i};
    if (is("thread")) e.sigev_notify_thread_id = syscall(SYS_gettid);
    struct itimerspec v = {{0, 0}, {i / 2000, 500000 * (i % 2000) + 1}};
    int id;
    if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &e, &id)) SKIP("timer_create: %s", strerror(errno));
    CHECK(syscall(SYS_timer_settime, id, 0, &v, 0) == 0);
  }
  ready_and_wait();
  struct timespec wait = {4, 0};
  siginfo_t info;
  for (int i = 0; i < TIMERS; i++) {
    CHECK(sigtimedwait(&s, &info, &wait) == SIGRTMIN + 1 && info.si_code == SI_TIMER);
    CHECK(!rung[info.si_value.sival_int]++);
  }
  struct timespec none = {0, 0};
  CHECK(sigtimedwait(&s, &info, &none) == -1);
}
