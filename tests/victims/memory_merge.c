// What: a process all of whose memory may be merged (PR_SET_MEMORY_MERGE) stays one, as do those areas that have said no, and children without it.
// Variants: process child
#include "victim.h"
#define PAGE 4096
#define SET_MEMORY_MERGE 67
#define GET_MEMORY_MERGE 68
// Does smaps say that the kernel may merge the pages at `at`?
static int may_merge(void *at) {
  char line[4096];
  int inside = 0, found = -1;
  unsigned long start, end;
  FILE *f = fopen("/proc/self/smaps", "re");
  while (f && fgets(line, sizeof line, f)) {
    if (sscanf(line, "%lx-%lx ", &start, &end) == 2) inside = start <= (unsigned long)at && (unsigned long)at < end;
    else if (inside && !strncmp(line, "VmFlags:", 8)) found = strstr(line, " mg") != 0;
  }
  fclose(f);
  return found;
}
static int is_set(void) { return prctl(GET_MEMORY_MERGE, 0, 0, 0, 0); }
static void victim(void) {
  char *area = map_anon(4 * PAGE, MAP_PRIVATE), *not = map_anon(4 * PAGE, MAP_PRIVATE);
  // With fences: its neighbours can become what it is.
  CHECK(mprotect(not, PAGE, PROT_NONE) == 0 && mprotect(not + 3 * PAGE, PAGE, PROT_NONE) == 0);
  fill(area, 4 * PAGE, 1), fill(not + PAGE, 2 * PAGE, 2);
  if (prctl(SET_MEMORY_MERGE, 1, 0, 0, 0)) SKIP("PR_SET_MEMORY_MERGE: %s", strerror(errno));
  CHECK(madvise(not, 4 * PAGE, MADV_UNMERGEABLE) == 0);
  pid_t child = is("child") ? fork() : -1;
  if (!child) {
    CHECK(is_set() == 1 && prctl(SET_MEMORY_MERGE, 0, 0, 0, 0) == 0);
    mark("child");
    wait_go();
    CHECK(is_set() == 0 && may_merge(area) == 0 && filled(area, 4 * PAGE, 1));
    _exit(3);
  }
  if (child > 0) await_mark("child");
  ready_and_wait();
  CHECK(is_set() == 1 && may_merge(area) == 1 && may_merge(not + PAGE) == 0 && may_merge(map_anon(9 * PAGE, MAP_PRIVATE)) == 1);
  CHECK(filled(area, 4 * PAGE, 1) && filled(not + PAGE, 2 * PAGE, 2));
  if (child > 0) pass_on(child), expect_exit(child, 3);
}
