// What: what madvise and mlock asked for (the outside view compares the flags of every mapping).
// Variants: dontfork dontdump hugepage nohugepage sequential random mergeable wipeonfork mlock mlock2 droppable
#include "victim.h"
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif
static void victim(void) {
  struct { const char *name; int advice; } table[] = {
    {"dontfork", MADV_DONTFORK}, {"dontdump", MADV_DONTDUMP}, {"hugepage", MADV_HUGEPAGE}, {"nohugepage", MADV_NOHUGEPAGE},
    {"sequential", MADV_SEQUENTIAL}, {"random", MADV_RANDOM}, {"mergeable", MADV_MERGEABLE}, {"wipeonfork", MADV_WIPEONFORK}};
  size_t n = 4 << 20;
  char *p;
  if (is("droppable")) {
    p = mmap(0, n, PROT_READ | PROT_WRITE, 0x08 /* MAP_DROPPABLE */ | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) SKIP("the kernel has no MAP_DROPPABLE");
  } else {
    p = map_anon(n, MAP_PRIVATE);
  }
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (is(table[i].name) && madvise(p, n, table[i].advice)) SKIP("madvise(%s): %s", table[i].name, strerror(errno));
  if (is("mlock")) CHECK(mlock(p, 65536) == 0);
  if (is("mlock2")) CHECK(mlock2(p, 65536, MLOCK_ONFAULT) == 0);
  fill(p, n, 2);
  ready_and_wait();
  if (!is("droppable")) CHECK(filled(p, n, 2));
}
