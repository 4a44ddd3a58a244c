// What: memory policies of single areas (mbind), with their home nodes, are kept, in one process, among thousands of areas and in children that have others.
// Variants: areas many children home
#include "victim.h"
#define PAGE 4096
#ifndef SYS_set_mempolicy_home_node
#define SYS_set_mempolicy_home_node 450
#endif
#define N (16 * PAGE)
#define BIND 2
#define PREFERRED 1
#define INTERLEAVE 3
#define LOCAL 4
#define STATIC_NODES (1 << 15)
#define CHILDREN 12
static const unsigned long node_0 = 1;
static void bind_to(void *at, size_t n, int mode, int has_node) {
  if (syscall(SYS_mbind, at, n, mode, has_node ? &node_0 : 0, has_node ? 65 : 0, 0) == 0) return;
  if (errno == ENOSYS) SKIP("mbind: %s", strerror(errno));
  CHECK(!"mbind");
}
static int policy(void *at, unsigned long *nodes) {
  int mode = -1;
  unsigned long all[9] = {0};
  CHECK(syscall(SYS_get_mempolicy, &mode, all, 513, at, 2) == 0);
  *nodes = all[0];
  return mode;
}
static int is_bound(void *at, int mode, unsigned long expected) {
  unsigned long nodes;
  return policy(at, &nodes) == mode && nodes == expected;
}
static void areas(void) {
  char *plain = map_anon(N, MAP_PRIVATE), *shared = map_anon(N, MAP_SHARED), *untouched = map_anon(N, MAP_PRIVATE | MAP_NORESERVE);
  int fd = open("file", O_RDWR | O_CREAT, 0600);
  CHECK(fd >= 0 && ftruncate(fd, N) == 0);
  char *file = mmap(0, N, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  CHECK(file != MAP_FAILED);
  bind_to(plain, 4 * PAGE, BIND, 1);
  bind_to(plain + 8 * PAGE, PAGE, INTERLEAVE | STATIC_NODES, 1);
  bind_to(shared, N, PREFERRED, 1);
  bind_to(untouched, N, LOCAL, 0);
  bind_to(file, PAGE, BIND, 1);
  fill(plain, N, 1), fill(shared, N, 2), fill(file, N, 3);
  CHECK(mprotect(plain + 2 * PAGE, PAGE, PROT_READ) == 0);
  ready_and_wait();
  CHECK(is_bound(plain, BIND, 1) && is_bound(plain + 2 * PAGE, BIND, 1) && is_bound(plain + 3 * PAGE, BIND, 1) && is_bound(plain + 4 * PAGE, 0, 0));
  CHECK(is_bound(plain + 7 * PAGE, 0, 0) && is_bound(plain + 8 * PAGE, INTERLEAVE | STATIC_NODES, 1) && is_bound(plain + 9 * PAGE, 0, 0));
  CHECK(is_bound(shared, PREFERRED, 1) && is_bound(shared + N - PAGE, PREFERRED, 1) && is_bound(untouched + PAGE, LOCAL, 0));
  CHECK(is_bound(file, BIND, 1) && is_bound(file + PAGE, 0, 0));
  CHECK(filled(plain, N, 1) && filled(shared, N, 2) && filled(file, N, 3));
}
static void many(void) {
  enum { MANY = 5000 };
  char *all = map_anon((size_t)MANY * PAGE, MAP_PRIVATE);
  for (int i = 0; i < MANY; i += 2) CHECK(mprotect(all + (size_t)i * PAGE, PAGE, PROT_READ) == 0);
  // Behind as many as one question reaches.
  char *bound = all + (MANY - 100) * (size_t)PAGE;
  bind_to(bound, PAGE, BIND, 1);
  ready_and_wait();
  CHECK(is_bound(bound, BIND, 1) && is_bound(bound - PAGE, 0, 0) && is_bound(bound + PAGE, 0, 0));
}
static void children(void) {
  char *area = map_anon(N, MAP_PRIVATE), *one = map_anon(N, MAP_PRIVATE | MAP_NORESERVE);
  pid_t all[CHILDREN];
  char name[16];
  bind_to(area, N, BIND, 1);
  fill(area, N, 1), fill(one, N, 2);
  for (int i = 0; i < CHILDREN; i++)
    if (!(all[i] = fork())) {
      if (i == 4) bind_to(area, N, 0, 0);
      if (i == 6) bind_to(one, N, INTERLEAVE, 1);
      if (i == 8) bind_to(area + PAGE, PAGE, PREFERRED, 1);
      snprintf(name, sizeof name, "child %d", i);
      mark(name);
      wait_go();
      CHECK(is_bound(area, i == 4 ? 0 : BIND, i != 4) && is_bound(one, i == 6 ? INTERLEAVE : 0, i == 6));
      CHECK(is_bound(area + PAGE, i == 4 ? 0 : i == 8 ? PREFERRED : BIND, i != 4) && filled(area, N, 1) && filled(one, N, 2));
      _exit(i);
    }
  for (int i = 0; i < CHILDREN; i++) snprintf(name, sizeof name, "child %d", i), await_mark(name);
  ready_and_wait();
  CHECK(is_bound(area, BIND, 1) && is_bound(one, 0, 0));
  for (int i = 0; i < CHILDREN; i++) pass_on(all[i]);
  for (int i = 0; i < CHILDREN; i++) expect_exit(all[i], i);
}
// How many areas lie between two places.
static int areas_between(char *start, char *end) {
  FILE *f = fopen("/proc/self/maps", "re");
  char line[512];
  unsigned long from, to;
  int found = 0;
  while (f && fgets(line, sizeof line, f))
    found += sscanf(line, "%lx-%lx", &from, &to) == 2 && from < (unsigned long)end && to > (unsigned long)start;
  if (f) fclose(f);
  return found;
}
static void settle(char *at, size_t n) {
  if (syscall(SYS_set_mempolicy_home_node, at, n, 0, 0) == 0) return;
  if (errno == ENOSYS) SKIP("set_mempolicy_home_node: %s", strerror(errno));
  CHECK(!"set_mempolicy_home_node");
}
// No call tells a home node; but the kernel makes one area of neighbours only if they have the same.
static void home(void) {
  char *with = mmap(0, 4 * N, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) + N, *without = with + 2 * N;
  CHECK(mprotect(with, N, PROT_READ) == 0 && mprotect(without, N, PROT_READ) == 0);
  bind_to(with, N, BIND, 1), bind_to(without, N, BIND, 1);
  settle(with, N / 2);
  CHECK(areas_between(with, with + N) == 2 && areas_between(without, without + N) == 1);
  ready_and_wait();
  CHECK(is_bound(with, BIND, 1) && is_bound(with + N - PAGE, BIND, 1) && is_bound(without, BIND, 1));
  CHECK(areas_between(with, with + N) == 2 && areas_between(without, without + N) == 1);
  settle(without, N / 2), settle(with + N / 2, N / 2);
  CHECK(areas_between(without, without + N) == 2);
  CHECK(areas_between(with, with + N) == 1);
}
static void victim(void) { is("areas") ? areas() : is("many") ? many() : is("home") ? home() : children(); }
