// What: F_SETOWN, F_SETSIG and O_ASYNC on a pipe and a socket pair still bring the signal.
#include "victim.h"
static volatile int rang;
static void ring(int s) { (void)s; rang++; }
static void victim(void) {
  int s[2];
  signal(SIGRTMIN + 2, ring);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
  CHECK(fcntl(s[0], F_SETOWN, getpid()) == 0 && fcntl(s[0], F_SETSIG, SIGRTMIN + 2) == 0);
  CHECK(fcntl(s[0], F_SETFL, O_ASYNC | O_NONBLOCK | O_RDWR) == 0);
  ready_and_wait();
  CHECK(fcntl(s[0], F_GETOWN) == getpid() && fcntl(s[0], F_GETSIG) == SIGRTMIN + 2);
  CHECK(rang == 0 && write(s[1], "x", 1) == 1);
  sleep_ms(10);
  CHECK(rang == 1);
}
