// What: the root of the tree is to be signalled when its parent dies; the end of the engine, which comes with that of a restore, is none
// of its business. Of the main thread, of another one.
// Variants: main thread
#include "victim.h"
static int told[2], go[2];
static void ask(int sig) {
  int now = 0;
  CHECK(prctl(PR_SET_PDEATHSIG, sig) == 0 && prctl(PR_GET_PDEATHSIG, &now) == 0 && now == sig);
}
static void still_asks(int sig) {
  int now = 0;
  CHECK(prctl(PR_GET_PDEATHSIG, &now) == 0 && now == sig);
}
static void *other(void *arg) {
  char b;
  ask(SIGUSR2);
  CHECK(write(told[1], "r", 1) == 1 && read(go[0], &b, 1) == 1);
  still_asks(SIGUSR2);
  return arg;
}
static void victim(void) {
  sigset_t all, now;
  pthread_t t;
  char b;
  sigemptyset(&all), sigaddset(&all, SIGUSR1), sigaddset(&all, SIGUSR2);
  CHECK(sigprocmask(SIG_BLOCK, &all, 0) == 0 && pipe(told) == 0 && pipe(go) == 0);
  if (is("thread")) CHECK(pthread_create(&t, 0, other, 0) == 0 && read(told[0], &b, 1) == 1);
  else ask(SIGUSR1);
  ready_and_wait();
  // The engine may end a little later than it says that all is done.
  usleep(100000);
  CHECK(sigpending(&now) == 0 && !sigismember(&now, SIGUSR1) && !sigismember(&now, SIGUSR2));
  if (is("main")) still_asks(SIGUSR1);
  if (is("thread")) CHECK(write(go[1], "g", 1) == 1 && pthread_join(t, 0) == 0);
}
