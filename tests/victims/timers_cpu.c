// What: POSIX timers on the CPU clocks of single threads and of the process by its pid.
// Build: -pthread
#include "victim.h"
static volatile int working;
static void *worker(void *arg) {
  (void)arg;
  while (!working) sleep_ms(5);
  while (working == 1);
  return 0;
}
static timer_t make(clockid_t clock, int value, int seconds) {
  struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1, .sigev_value = {.sival_int = value}};
  timer_t t;
  CHECK(timer_create(clock, &e, &t) == 0);
  struct itimerspec v = {{0, 0}, {seconds, 0}};
  CHECK(timer_settime(t, 0, &v, 0) == 0);
  return t;
}
static void victim(void) {
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, SIGRTMIN + 1);
  pthread_sigmask(SIG_BLOCK, &s, 0);
  pthread_t other;
  CHECK(pthread_create(&other, 0, worker, 0) == 0);
  clockid_t of_other, of_self, of_process;
  CHECK(pthread_getcpuclockid(other, &of_other) == 0 && pthread_getcpuclockid(pthread_self(), &of_self) == 0);
  CHECK(clock_getcpuclockid(getpid(), &of_process) == 0);
  timer_t t[] = {make(of_other, 1, 100), make(of_self, 2, 200), make(of_process, 3, 300)};
  ready_and_wait();
  struct itimerspec v;
  for (int i = 0; i < 3; i++) {
    CHECK(timer_gettime(t[i], &v) == 0);
    CHECK(v.it_value.tv_sec >= 98 + 100 * i && v.it_value.tv_sec <= 100 + 100 * i);
  }
  // Only the other thread's time makes its timer ring.
  struct itimerspec soon = {{0, 0}, {0, 20000000}};
  siginfo_t si;
  CHECK(timer_settime(t[0], 0, &soon, 0) == 0 && timer_settime(t[1], 0, &soon, 0) == 0);
  working = 1;
  struct timespec wait = {10, 0};
  CHECK(sigtimedwait(&s, &si, &wait) == SIGRTMIN + 1 && si.si_code == SI_TIMER && si.si_value.sival_int == 1);
  working = 2;
  CHECK(pthread_join(other, 0) == 0);
}
