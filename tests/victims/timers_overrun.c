// What: how often a POSIX timer had run over when its last signal was taken (timer_getoverrun): on each clock, of a process and of a thread, one whose next signal waits already.
// Variants: realtime monotonic boottime tai thread several waits
// Build: -pthread
#include "victim.h"
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
#define MOST 4
static int ids[MOST], overruns[MOST], n;
static double interval_s;
// One that has rung before it is made.
static void overrun(clockid_t clock, int notify, int sig, int times) {
  struct sigevent e = {.sigev_notify = notify, .sigev_signo = sig};
  struct timespec now, second = {1, 0};
  struct itimerspec v;
  siginfo_t info;
  sigset_t s;
  if (notify == SIGEV_THREAD_ID) e.sigev_notify_thread_id = syscall(SYS_gettid);
  CHECK(syscall(SYS_timer_create, clock, &e, &ids[n]) == 0);
  CHECK(clock_gettime(clock, &now) == 0);
  double first = now.tv_sec - (times + .3) * interval_s;
  v = (struct itimerspec){{interval_s, 0}, {first, 0}};
  CHECK(syscall(SYS_timer_settime, ids[n], TIMER_ABSTIME, &v, 0) == 0);
  sigemptyset(&s);
  sigaddset(&s, sig);
  CHECK(sigtimedwait(&s, &info, &second) == sig && info.si_code == SI_TIMER && info.si_overrun == times);
  overruns[n++] = times;
}
static void look(void) {
  for (int i = 0; i < n; i++) {
    struct itimerspec v;
    CHECK(syscall(SYS_timer_getoverrun, ids[i]) == overruns[i]);
    CHECK(syscall(SYS_timer_gettime, ids[i], &v) == 0 && v.it_interval.tv_sec == (long)interval_s);
    CHECK(v.it_value.tv_sec > interval_s * .3 && v.it_value.tv_sec < interval_s * .9);
  }
}
static volatile int made, go_on, is_well;
static void *other(void *a) {
  overrun(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN + 2, 3);
  made = 1;
  while (!go_on) sleep_ms(1);
  sigset_t s;
  sigpending(&s);
  is_well = !sigismember(&s, SIGRTMIN + 2);
  return a;
}
static void victim(void) {
  sigset_t s;
  struct timespec up;
  sigemptyset(&s);
  for (int i = 1; i <= 3; i++) sigaddset(&s, SIGRTMIN + i);
  sigprocmask(SIG_BLOCK, &s, 0);
  // A machine that has just started has no long past.
  CHECK(clock_gettime(CLOCK_MONOTONIC, &up) == 0);
  interval_s = up.tv_sec / 10;
  if (interval_s < 20) SKIP("the machine has not run for long: %ld s", (long)up.tv_sec);
  int fast = -1;
  pthread_t t;
  if (is("thread") || is("several")) {
    CHECK(pthread_create(&t, 0, other, 0) == 0);
    while (!made) sleep_ms(1);
  }
  if (!is("thread")) overrun(is("realtime") ? CLOCK_REALTIME : is("boottime") ? CLOCK_BOOTTIME : is("tai") ? CLOCK_TAI : CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 1, 7);
  if (is("several")) {
    overrun(CLOCK_REALTIME, SIGEV_SIGNAL, SIGRTMIN + 1, 1);
    overrun(CLOCK_REALTIME, SIGEV_SIGNAL, SIGRTMIN + 1, 0);
  }
  if (is("several") || is("waits")) {
    // Of the same signals: one from somebody, one from a timer that rings all the time.
    union sigval v = {.sival_int = 77};
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1, .sigev_value.sival_int = 5};
    struct itimerspec soon = {{0, 1000000}, {0, 1000000}};
    CHECK(sigqueue(getpid(), SIGRTMIN + 1, v) == 0);
    CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &e, &fast) == 0 && syscall(SYS_timer_settime, fast, 0, &soon, 0) == 0);
    sleep_ms(5);
  }
  look();
  ready_and_wait();
  look();
  siginfo_t info;
  struct timespec none = {0, 0};
  sigset_t first;
  sigemptyset(&first);
  sigaddset(&first, SIGRTMIN + 1);
  if (fast >= 0) {
    CHECK(sigtimedwait(&first, &info, &none) == SIGRTMIN + 1 && info.si_code == SI_QUEUE && info.si_value.sival_int == 77);
    CHECK(sigtimedwait(&first, &info, &none) == SIGRTMIN + 1 && info.si_code == SI_TIMER && info.si_timerid == fast && info.si_value.sival_int == 5);
    CHECK(syscall(SYS_timer_delete, fast) == 0);
    while (sigtimedwait(&first, &info, &none) == SIGRTMIN + 1) CHECK(info.si_timerid == fast);
  }
  CHECK(sigtimedwait(&s, &info, &none) == -1 && errno == EAGAIN);
  if (is("thread") || is("several")) {
    go_on = 1;
    CHECK(pthread_join(t, 0) == 0 && is_well);
  }
}
