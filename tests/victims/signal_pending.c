// What: pending signals of a process and of one thread: standard ones, real-time ones queued several times, with siginfo, in order.
// Variants: process thread
// Build: -pthread
#include "victim.h"
static volatile int state;
static void queue(int to_thread, pid_t tid, int sig, int value) {
  siginfo_t si = {.si_signo = sig, .si_code = SI_QUEUE};
  si.si_pid = 4242;
  si.si_uid = 17;
  si.si_value.sival_int = value;
  if (to_thread) CHECK(syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, sig, &si) == 0);
  else CHECK(syscall(SYS_rt_sigqueueinfo, getpid(), sig, &si) == 0);
}
static void expect(int sig, int value) {
  siginfo_t si;
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, sig);
  struct timespec zero = {0};
  CHECK(sigtimedwait(&s, &si, &zero) == sig);
  CHECK(si.si_code == SI_QUEUE && si.si_pid == 4242 && si.si_uid == 17 && si.si_value.sival_int == value);
}
static void check(void) {
  for (int i = 0; i < 5; i++) expect(SIGRTMIN + 5, i * 100);
  expect(SIGRTMIN + 4, -9);
  expect(SIGUSR2, 55);
  sigset_t left;
  sigpending(&left);
  CHECK(!sigismember(&left, SIGUSR2) && !sigismember(&left, SIGRTMIN + 5));
}
static void *other(void *a) {
  while (state != 2) {
    if (state == 0) {
      pid_t tid = syscall(SYS_gettid);
      for (int i = 0; i < 5; i++) queue(1, tid, SIGRTMIN + 5, i * 100);
      queue(1, tid, SIGRTMIN + 4, -9);
      queue(1, tid, SIGUSR2, 55);
      state = 1;
    }
    sleep_ms(1);
  }
  check();
  return a;
}
static void victim(void) {
  sigset_t s;
  sigemptyset(&s);
  for (int i = 0; i < 10; i++) sigaddset(&s, SIGRTMIN + i);
  sigaddset(&s, SIGUSR2);
  sigprocmask(SIG_BLOCK, &s, 0);
  pthread_t t;
  if (is("thread")) {
    pthread_create(&t, 0, other, 0);
    while (state != 1) sleep_ms(1);
  } else {
    for (int i = 0; i < 5; i++) queue(0, 0, SIGRTMIN + 5, i * 100);
    queue(0, 0, SIGRTMIN + 4, -9);
    queue(0, 0, SIGUSR2, 55);
  }
  ready_and_wait();
  if (is("thread")) {
    sigset_t none;
    CHECK(sigpending(&none) == 0 && !sigismember(&none, SIGUSR2));
    state = 2;
    pthread_join(t, 0);
  } else {
    check();
  }
}
