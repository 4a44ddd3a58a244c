// What: a signalfd's mask, and a pending signal read through it.
#include "victim.h"
#include <sys/signalfd.h>
static void victim(void) {
  sigset_t m, n;
  sigemptyset(&m);
  sigaddset(&m, SIGUSR2);
  sigaddset(&m, SIGRTMIN + 1);
  sigprocmask(SIG_BLOCK, &m, 0);
  int a = signalfd(-1, &m, SFD_NONBLOCK);
  sigemptyset(&n);
  sigaddset(&n, SIGHUP);
  int other = signalfd(-1, &n, SFD_CLOEXEC | SFD_NONBLOCK);
  union sigval v = {.sival_int = 88};
  sigqueue(getpid(), SIGRTMIN + 1, v);
  raise(SIGUSR2);
  ready_and_wait();
  struct signalfd_siginfo si;
  CHECK(read(other, &si, sizeof si) == -1 && errno == EAGAIN && fcntl(other, F_GETFD) == FD_CLOEXEC);
  CHECK(read(a, &si, sizeof si) == sizeof si && si.ssi_signo == SIGUSR2);
  CHECK(read(a, &si, sizeof si) == sizeof si && si.ssi_signo == (unsigned)SIGRTMIN + 1 && si.ssi_int == 88);
  CHECK(read(a, &si, sizeof si) == -1 && errno == EAGAIN);
}
