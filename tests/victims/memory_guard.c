// What: guard regions installed by MADV_GUARD_INSTALL still fault, or the dump is refused by name.
#include "victim.h"
#include <setjmp.h>
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
static sigjmp_buf out;
static void fault(int s) { (void)s; siglongjmp(out, 1); }
static int faults(volatile char *at) {
  if (sigsetjmp(out, 1)) return 1;
  (void)*at;
  return 0;
}
static void victim(void) {
  signal(SIGSEGV, fault);
  char *p = map_anon(16 * 4096, MAP_PRIVATE);
  fill(p, 16 * 4096, 9);
  if (madvise(p + 4096 * 4, 4096 * 2, MADV_GUARD_INSTALL)) SKIP("the kernel has no MADV_GUARD_INSTALL");
  ready_and_wait();
  CHECK(filled(p, 4096 * 4, 9));
  CHECK(faults(p + 4096 * 4) && faults(p + 4096 * 5) && !faults(p + 4096 * 6) && !faults(p + 4096 * 3));
}
