// What: SIGCONT that waits, blocked, in a process, in its child or in one of its threads goes on waiting; a handler for it is called then.
// Variants: process child thread
// Build: -pthread
#include "victim.h"
static volatile int go_on, handled;
static void handler(int s) { handled += s == SIGCONT; }
static int waits(void) {
  sigset_t waiting;
  CHECK(sigpending(&waiting) == 0);
  return sigismember(&waiting, SIGCONT);
}
static void check(void) {
  sigset_t cont;
  sigemptyset(&cont);
  sigaddset(&cont, SIGCONT);
  CHECK(waits() && !handled);
  CHECK(pthread_sigmask(SIG_UNBLOCK, &cont, 0) == 0 && handled == 1 && !waits());
}
static void *thread(void *arg) {
  CHECK(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGCONT) == 0);
  *(volatile int *)arg = 1;
  while (!go_on) sleep_ms(1);
  check();
  return 0;
}
static void victim(void) {
  struct sigaction sa = {.sa_handler = handler};
  sigset_t cont;
  sigemptyset(&cont);
  sigaddset(&cont, SIGCONT);
  CHECK(sigaction(SIGCONT, &sa, 0) == 0 && sigprocmask(SIG_BLOCK, &cont, 0) == 0);
  volatile int is_sent = 0;
  pthread_t t;
  pid_t child = 0;
  if (is("thread")) {
    CHECK(pthread_create(&t, 0, thread, (void *)&is_sent) == 0);
    while (!is_sent) sleep_ms(1);
  } else if (is("child")) {
    child = fork();
    if (!child) {
      CHECK(kill(getpid(), SIGCONT) == 0);
      mark("sent");
      wait_go();
      check();
      _exit(3);
    }
    await_mark("sent");
  } else {
    CHECK(kill(getpid(), SIGCONT) == 0);
  }
  ready_and_wait();
  if (is("thread")) {
    CHECK(!waits());
    go_on = 1;
    CHECK(pthread_join(t, 0) == 0);
  } else if (child) {
    CHECK(!waits());
    pass_on(child);
    expect_exit(child, 3);
  } else {
    check();
  }
}
