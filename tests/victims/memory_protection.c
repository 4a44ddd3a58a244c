// What: code in anonymous memory runs, read-only data faults, guard pages fault, a mapping's neighbours stay apart.
#include "victim.h"
#include <setjmp.h>
static sigjmp_buf out;
static void fault(int s) { (void)s; siglongjmp(out, 1); }
static int faults(volatile char *at, int write) {
  if (sigsetjmp(out, 1)) return 1;
  if (write) *at = 1;
  else (void)*at;
  return 0;
}
static void victim(void) {
  signal(SIGSEGV, fault);
  unsigned char code[] = {0xb8, 0x2a, 0, 0, 0, 0xc3}; // mov eax, 42; ret
  char *x = map_anon(4096, MAP_PRIVATE), *ro = map_anon(8192, MAP_PRIVATE), *guard = map_anon(3 * 4096, MAP_PRIVATE);
  memcpy(x, code, sizeof code);
  CHECK(mprotect(x, 4096, PROT_READ | PROT_EXEC) == 0);
  fill(ro, 8192, 3);
  CHECK(mprotect(ro, 8192, PROT_READ) == 0 && mprotect(guard + 4096, 4096, PROT_NONE) == 0);
  fill(guard, 4096, 4);
  ready_and_wait();
  CHECK(((int (*)(void))x)() == 42 && faults(x, 1));
  CHECK(filled(ro, 8192, 3) && faults(ro + 5000, 1));
  CHECK(filled(guard, 4096, 4) && faults(guard + 4096, 0) && !faults(guard + 8192, 1));
}
