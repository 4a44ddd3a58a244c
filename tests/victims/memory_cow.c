// What: pages shared copy-on-write by parent and children stay shared: the tree's proportional memory does not grow.
#include "victim.h"
#define N (32 << 20)
static long pss_kb(void) {
  char *v = proc_field("/proc/self/smaps_rollup", "Pss");
  return v ? atol(v) : -1;
}
static char *p;
static void hold(int i, long *pss) {
  char name[16];
  snprintf(name, sizeof name, "child-%d", i);
  p[4096 * i] = 'c'; // one page of its own
  mark(name);
  wait_go();
  *pss = pss_kb();
  CHECK(p[4096 * i] == 'c');
  p[4096 * i] = (char)(4096 * i * 31 + i * 7 + 8);
  CHECK(filled(p, N, 8));
  _exit(0);
}
static void victim(void) {
  p = map_anon(N, MAP_PRIVATE);
  long *pss = map_anon(4096, MAP_SHARED);
  fill(p, N, 8);
  pid_t child[3];
  for (int i = 0; i < 3; i++) {
    child[i] = fork();
    if (!child[i]) hold(i + 1, &pss[i]);
  }
  await_mark("child-1");
  await_mark("child-2");
  await_mark("child-3");
  long before = pss_kb();
  ready_and_wait();
  long after = pss_kb();
  CHECK(before > 0);
  if (after > before + before / 5) finish(1, "Pss grew from %ld to %ld kB", before, after);
  for (int i = 0; i < 3; i++) {
    pass_on(child[i]);
    expect_exit(child[i], 0);
    // While four share: 8 MiB each and a little; each that has gone makes it more.
    CHECK(pss[i] > 0 && pss[i] < (N >> 10) / (4 - i) * 5 / 4);
  }
  p[0] = p[0];
  CHECK(filled(p, N, 8));
}
