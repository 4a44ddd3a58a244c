// What: a thread whose credentials differ from the leader's keeps its own.
// Build: -pthread
#include "victim.h"
static volatile int state;
static void *other(void *a) {
  CHECK(syscall(SYS_setresuid, 1000, 0, 0) == 0);
  state = 1;
  while (state != 2) sleep_ms(1);
  uid_t r, e, s;
  CHECK(syscall(SYS_getresuid, &r, &e, &s) == 0 && r == 1000 && e == 0 && s == 0);
  return a;
}
static void victim(void) {
  pthread_t t;
  pthread_create(&t, 0, other, 0);
  while (!state) sleep_ms(1);
  ready_and_wait();
  state = 2;
  pthread_join(t, 0);
  CHECK(getuid() == 0);
}
