// What: what madvise and mlock asked for (the outside view compares the flags of every mapping).
// Variants: dontfork dontdump hugepage nohugepage sequential random mergeable wipeonfork mlock mlock2 droppable mlockall mlockall_onfault
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
  if (!strncmp(victim_variant, "mlockall", 8)) CHECK(mlockall(MCL_FUTURE | (is("mlockall_onfault") ? MCL_ONFAULT : 0)) == 0);
  fill(p, n, 2);
  ready_and_wait();
  if (!strncmp(victim_variant, "mlockall", 8)) {
    // What was there is not locked, what comes is, and counts at once only without MCL_ONFAULT.
    int before = atoi(proc_field("/proc/self/status", "VmLck"));
    char *new = map_anon(n, MAP_PRIVATE);
    int locked = atoi(proc_field("/proc/self/status", "VmLck")) - before;
    unsigned char there[1024];
    CHECK(locked == 4096 && mincore(new, n, there) == 0 && (there[512] & 1) == is("mlockall"));
    CHECK(munlockall() == 0);
    map_anon(n, MAP_PRIVATE);
    CHECK(atoi(proc_field("/proc/self/status", "VmLck")) == 0);
  }
  if (!is("droppable")) CHECK(filled(p, n, 2));
}
