// What: stack and MAP_GROWSDOWN areas go on growing, brk goes on working, mremap and mmap too.
// Variants: stack growsdown brk
#include "victim.h"
static int __attribute__((noinline)) deep(int n) {
  volatile char frame[4096];
  memset((void *)frame, n, sizeof frame);
  int below = n ? deep(n - 1) : 0;
  for (int i = 0; i < 4096; i++)
    if (frame[i] != (char)n) return -1;
  return below < 0 ? below : below + 1;
}
static void victim(void) {
  if (is("stack")) {
    CHECK(deep(50) == 51);
    ready_and_wait();
    CHECK(deep(1000) == 1001);
  } else if (is("brk")) {
    char *start = sbrk(0);
    char *p = sbrk(1 << 20);
    CHECK(p != (void *)-1);
    fill(p, 1 << 20, 3);
    ready_and_wait();
    CHECK(sbrk(0) == start + (1 << 20) && filled(p, 1 << 20, 3));
    CHECK(sbrk(1 << 20) == start + (1 << 20));
    memset(start + (1 << 20), 5, 1 << 20);
    CHECK(sbrk(-(2 << 20)) == start + (2 << 20) && sbrk(0) == start);
    void *m = malloc(50 << 20);
    CHECK(m);
    memset(m, 1, 50 << 20);
    free(m);
  } else {
    char *room = map_anon(4 << 20, MAP_PRIVATE);
    CHECK(munmap(room, 4 << 20) == 0);
    char *p = mmap(room + (3 << 20), 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
    CHECK(p != MAP_FAILED);
    fill(p, 8192, 1);
    p[-4096 * 3] = 42; // it grows
    ready_and_wait();
    CHECK(filled(p, 8192, 1) && p[-4096 * 3] == 42);
    for (int i = 4; i < 200; i++) p[-4096 * i] = i;
    CHECK(p[-4096 * 100] == 100);
  }
}
