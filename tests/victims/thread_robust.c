// What: a robust mutex held by a thread that dies after the restore is handed on with EOWNERDEAD.
// Build: -pthread
#include "victim.h"
static pthread_mutex_t m;
static volatile int die;
static void *owner(void *a) {
  pthread_mutex_lock(&m);
  mark("locked");
  while (!die) sleep_ms(1);
  return a; // without unlocking
}
static void victim(void) {
  pthread_mutexattr_t a;
  pthread_mutexattr_init(&a);
  pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&m, &a);
  pthread_t t;
  pthread_create(&t, 0, owner, 0);
  await_mark("locked");
  void *head;
  size_t len;
  CHECK(syscall(SYS_get_robust_list, 0, &head, &len) == 0);
  ready_and_wait();
  void *now;
  CHECK(syscall(SYS_get_robust_list, 0, &now, &len) == 0 && now == head);
  die = 1;
  CHECK(pthread_mutex_lock(&m) == EOWNERDEAD);
  pthread_join(t, 0);
}
