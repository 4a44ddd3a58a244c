// What: a program that has unmapped its vDSO goes on without, and so do its child and threads.
// Build: -pthread
#include "victim.h"
static int areas(void) {
  char line[512];
  int found = 0;
  FILE *f = fopen("/proc/self/maps", "re");
  while (f && fgets(line, sizeof line, f)) found += strstr(line, "[vdso]") || strstr(line, "[vvar");
  if (f) fclose(f);
  return found;
}
static void unmap(void) {
  char line[512];
  unsigned long start, end, at[8][2];
  int n = 0;
  FILE *f = fopen("/proc/self/maps", "re");
  while (f && fgets(line, sizeof line, f) && n < 8)
    if ((strstr(line, "[vvar") || strstr(line, "[vdso]")) && sscanf(line, "%lx-%lx", &start, &end) == 2)
      at[n][0] = start, at[n++][1] = end;
  if (f) fclose(f);
  if (!n) SKIP("there is no vDSO");
  while (n--) CHECK(munmap((void *)at[n][0], at[n][1] - at[n][0]) == 0);
}
static volatile int counted;
static void *count(void *go) {
  while (!*(volatile int *)go) counted++;
  return go;
}
static void victim(void) {
  static volatile int go;
  pthread_t t;
  CHECK(pthread_create(&t, 0, count, (void *)&go) == 0);
  unmap();
  pid_t child = fork();
  if (!child) {
    wait_go();
    CHECK(areas() == 0);
    _exit(5);
  }
  ready_and_wait();
  int before = counted;
  while (counted == before) sched_yield();
  go = 1;
  CHECK(pthread_join(t, 0) == 0 && areas() == 0);
  pass_on(child);
  expect_exit(child, 5);
}
