// What: 3000 mappings with differing protections.
#include "victim.h"
#define COUNT 3000
static void victim(void) {
  char *p = map_anon(COUNT * 8192ul, MAP_PRIVATE);
  for (long i = 0; i < COUNT; i++) {
    *(long *)(p + i * 8192) = i;
    CHECK(mprotect(p + i * 8192, 4096, PROT_READ) == 0);
  }
  ready_and_wait();
  for (long i = 0; i < COUNT; i++) CHECK(*(long *)(p + i * 8192) == i && p[i * 8192 + 4096] == 0);
  CHECK(mprotect(p, COUNT * 8192ul, PROT_READ | PROT_WRITE) == 0);
  memset(p, 1, COUNT * 8192ul);
}
