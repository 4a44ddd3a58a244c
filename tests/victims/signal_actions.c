// What: signal actions with flags, masks and restorers; ignored signals.
#include "victim.h"
#include <sys/ucontext.h>
static void plain(int s) { (void)s; }
static int got_info;
static void with_info(int s, siginfo_t *i, void *u) { (void)u; got_info = s == SIGUSR2 ? i->si_value.sival_int : -1; }
static void victim(void) {
  struct sigaction a = {.sa_sigaction = with_info, .sa_flags = SA_SIGINFO | SA_RESTART | SA_NODEFER}, was[NSIG] = {0}, now;
  sigaddset(&a.sa_mask, SIGHUP);
  CHECK(sigaction(SIGUSR2, &a, 0) == 0);
  struct sigaction b = {.sa_handler = plain, .sa_flags = SA_RESETHAND | SA_ONSTACK};
  CHECK(sigaction(SIGTERM, &b, 0) == 0 && sigaction(SIGRTMIN + 3, &b, 0) == 0);
  struct sigaction c = {.sa_handler = SIG_IGN, .sa_flags = SA_NOCLDWAIT | SA_NOCLDSTOP};
  CHECK(sigaction(SIGCHLD, &c, 0) == 0 && sigaction(SIGINT, &c, 0) == 0);
  for (int i = 1; i < NSIG; i++) sigaction(i, 0, &was[i]);
  ready_and_wait();
  for (int i = 1; i < NSIG; i++) {
    memset(&now, 0, sizeof now);
    if (sigaction(i, 0, &now)) continue;
    CHECK(now.sa_handler == was[i].sa_handler && now.sa_flags == was[i].sa_flags && !memcmp(&now.sa_mask, &was[i].sa_mask, 8));
  }
  union sigval v = {.sival_int = 4711};
  CHECK(sigqueue(getpid(), SIGUSR2, v) == 0 && got_info == 4711);
  raise(SIGINT);
  raise(SIGTERM);
  CHECK(sigaction(SIGTERM, 0, &now) == 0 && now.sa_handler == SIG_DFL);
}
