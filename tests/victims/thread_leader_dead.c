// What: a process whose first thread has ended while others live on is refused by name.
// Refused: main thread
// Build: -pthread
#include "victim.h"
static void *rest(void *a) {
  sleep_ms(20);
  ready_and_wait();
  finish(0, "OK");
  return a;
}
static void victim(void) {
  pthread_t t;
  pthread_create(&t, 0, rest, 0);
  pthread_exit(0);
}
