// What: SIGTRAP, which tracers use: blocked and pending, with a handler that counts, and raised by a breakpoint.
#include "victim.h"
static volatile int traps, value;
static void on_trap(int s, siginfo_t *info, void *context) {
  (void)s, (void)context;
  traps++;
  if (info->si_code == SI_QUEUE) value = info->si_value.sival_int;
}
static void victim(void) {
  struct sigaction a = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
  CHECK(sigaction(SIGTRAP, &a, 0) == 0);
  sigset_t trap;
  sigemptyset(&trap);
  sigaddset(&trap, SIGTRAP);
  sigprocmask(SIG_BLOCK, &trap, 0);
  CHECK(sigqueue(getpid(), SIGTRAP, (union sigval){.sival_int = 42}) == 0);
  ready_and_wait();
  CHECK(traps == 0);
  sigset_t pending;
  CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGTRAP));
  sigprocmask(SIG_UNBLOCK, &trap, 0);
  CHECK(traps == 1 && value == 42);
  asm volatile("int3");
  CHECK(traps == 2);
}
