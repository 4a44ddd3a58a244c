// What: the kernel's own vDSO stays where it was; also in a task with so much memory that a dump copies the task.
// Variants: small large
#include "victim.h"
#include <sys/auxv.h>
// Is the mapping at the address that the auxiliary vector tells the kernel's?
static int has_vdso(void) {
  char line[512];
  unsigned long start;
  int found = 0;
  FILE *f = fopen("/proc/self/maps", "re");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "%lx-", &start) == 1 && start == getauxval(AT_SYSINFO_EHDR)) found = !!strstr(line, "[vdso]");
  if (f) fclose(f);
  return found;
}
static void victim(void) {
  const size_t len = is("large") ? 12 << 20 : 4096;
  char *p = map_anon(len, MAP_PRIVATE);
  fill(p, len, 5);
  if (!has_vdso()) SKIP("there is no vDSO");
  ready_and_wait();
  CHECK(filled(p, len, 5) && has_vdso());
}
