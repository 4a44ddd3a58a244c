// What: memory in transparent huge pages.
#include "victim.h"
static void victim(void) {
  size_t n = 16 << 20;
  char *p = map_anon(n + (2 << 20), MAP_PRIVATE);
  char *a = (char *)(((uintptr_t)p + (2 << 20) - 1) & ~((2ul << 20) - 1));
  if (madvise(a, n, MADV_HUGEPAGE)) SKIP("the kernel has no transparent huge pages");
  fill(a, n, 4);
  CHECK(mprotect(a + (4 << 20), 4096, PROT_READ) == 0);
  CHECK(madvise(a + (8 << 20), 1 << 20, MADV_DONTNEED) == 0);
  ready_and_wait();
  CHECK(filled(a, 4 << 20, 4));
  for (int i = 0; i < 1 << 20; i++) CHECK(a[(8 << 20) + i] == 0);
  CHECK(a[n - 1] == (char)((n - 1) * 31 + ((n - 1) >> 12) * 7 + 4));
}
