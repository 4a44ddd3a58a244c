// What: a thread's own personality, which others of its process do not share.
// Variants: two many
// Build: -pthread
#include "victim.h"
#include <sys/personality.h>
enum { MANY = 80 };
static volatile int started, checked, go_on;
static unsigned long wanted(long number) { return number % 3 == 1 ? ADDR_COMPAT_LAYOUT | STICKY_TIMEOUTS : number % 3 == 2 ? UNAME26 : 0; }
static void *thread(void *number) {
  CHECK(personality(wanted((long)number)) != -1);
  __atomic_fetch_add(&started, 1, __ATOMIC_SEQ_CST);
  while (!go_on) sleep_ms(1);
  CHECK((unsigned)personality(0xffffffff) == wanted((long)number));
  __atomic_fetch_add(&checked, 1, __ATOMIC_SEQ_CST);
  return 0;
}
static void victim(void) {
  int many = is("many") ? MANY : 2;
  pthread_t threads[MANY];
  CHECK(personality(ADDR_COMPAT_LAYOUT) != -1);
  for (long i = 0; i < many; i++) CHECK(pthread_create(threads + i, 0, thread, (void *)i) == 0);
  while (started < many) sleep_ms(1);
  ready_and_wait();
  CHECK(personality(0xffffffff) == ADDR_COMPAT_LAYOUT);
  go_on = 1;
  for (int i = 0; i < many; i++) CHECK(pthread_join(threads[i], 0) == 0);
  CHECK(checked == many);
}
