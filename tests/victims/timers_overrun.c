// What: how often a POSIX timer had run over when its last signal was taken (timer_getoverrun): on each clock, of a process and of a thread, one whose next signal waits already;
// and how often one has run over whose signal was not taken yet.
// Variants: realtime monotonic boottime tai thread several waits waiting waiting_order waiting_thread waiting_again
// Build: -pthread
#include "victim.h"
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
#define MOST 4
static int ids[MOST], overruns[MOST], n;
static double interval_s;
// One that has rung before it is made.
static void ring(clockid_t clock, int notify, int sig, int times) {
  struct sigevent e = {.sigev_notify = notify, .sigev_signo = sig, .sigev_value.sival_int = times};
  struct timespec now;
  struct itimerspec v;
  if (notify == SIGEV_THREAD_ID) e.sigev_notify_thread_id = syscall(SYS_gettid);
  CHECK(syscall(SYS_timer_create, clock, &e, &ids[n]) == 0);
  CHECK(clock_gettime(clock, &now) == 0);
  double first = now.tv_sec - (times + .3) * interval_s;
  v = (struct itimerspec){{interval_s, 0}, {first, 0}};
  CHECK(syscall(SYS_timer_settime, ids[n], TIMER_ABSTIME, &v, 0) == 0);
}
static void overrun(clockid_t clock, int notify, int sig, int times) {
  struct timespec second = {1, 0};
  siginfo_t info;
  sigset_t s;
  ring(clock, notify, sig, times);
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
// What was not taken yet.
static void take_ringing(int sig, int times, int told) {
  struct timespec none = {0, 0};
  siginfo_t info;
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, sig);
  CHECK(sigtimedwait(&s, &info, &none) == sig && info.si_code == SI_TIMER && info.si_value.sival_int == times);
  CHECK(info.si_overrun == times && syscall(SYS_timer_getoverrun, info.si_timerid) == told);
}
static volatile int made, go_on, is_well;
static void *waiting(void *a) {
  ring(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN + 2, 3);
  made = 1;
  while (!go_on) sleep_ms(1);
  take_ringing(SIGRTMIN + 2, 3, 3);
  is_well = 1;
  return a;
}
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
  if (!strncmp(victim_variant, "waiting", 7)) {
    union sigval v = {.sival_int = 77};
    siginfo_t info;
    struct timespec none = {0, 0};
    if (is("waiting_thread")) {
      CHECK(pthread_create(&t, 0, waiting, 0) == 0);
      while (!made) sleep_ms(1);
    } else {
      if (is("waiting_order")) CHECK(sigqueue(getpid(), SIGRTMIN + 1, v) == 0);
      ring(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 1, 5);
    }
    if (is("waiting_order")) CHECK(sigqueue(getpid(), SIGRTMIN + 1, v) == 0);
    if (is("waiting_again")) {
      take_ringing(SIGRTMIN + 1, 5, 5);
      n = 0;
      // Until it has run over once more.
      struct timespec now;
      CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
      struct itimerspec soon = {{0, 300000000}, {now.tv_sec - 1, now.tv_nsec}};
      CHECK(syscall(SYS_timer_settime, ids[0], TIMER_ABSTIME, &soon, 0) == 0);
      CHECK(sigwaitinfo(&s, &info) == SIGRTMIN + 1 && info.si_overrun >= 3);
      overruns[0] = info.si_overrun;
      sleep_ms(700);
    }
    ready_and_wait();
    if (is("waiting_thread")) {
      go_on = 1;
      CHECK(pthread_join(t, 0) == 0 && is_well);
    } else if (is("waiting_again")) {
      CHECK(syscall(SYS_timer_getoverrun, ids[0]) == overruns[0]);
      CHECK(sigtimedwait(&s, &info, &none) == SIGRTMIN + 1 && info.si_code == SI_TIMER && info.si_overrun >= 1);
      CHECK(syscall(SYS_timer_delete, ids[0]) == 0);
      while (sigtimedwait(&s, &info, &none) == SIGRTMIN + 1) CHECK(info.si_code == SI_TIMER);
    } else {
      if (is("waiting_order")) CHECK(sigtimedwait(&s, &info, &none) == SIGRTMIN + 1 && info.si_value.sival_int == 77);
      CHECK(syscall(SYS_timer_getoverrun, ids[0]) == 0);
      take_ringing(SIGRTMIN + 1, 5, 5);
      if (is("waiting_order")) CHECK(sigtimedwait(&s, &info, &none) == SIGRTMIN + 1 && info.si_value.sival_int == 77);
      struct itimerspec v;
      CHECK(syscall(SYS_timer_gettime, ids[0], &v) == 0 && v.it_interval.tv_sec == (long)interval_s);
      CHECK(v.it_value.tv_sec > interval_s * .3 && v.it_value.tv_sec < interval_s * .9);
    }
    CHECK(sigtimedwait(&s, &info, &none) == -1);
    return;
  }
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
