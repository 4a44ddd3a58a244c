// What: private memory: written, untouched, zeroed and protected pages, huge holes, and a mapping with no access.
#include "victim.h"
#define N (8 << 20)
static void victim(void) {
  char *p = map_anon(N, MAP_PRIVATE), *zero = map_anon(N, MAP_PRIVATE), *none = map_anon(N, MAP_PRIVATE);
  char *sparse = mmap(0, 1ull << 40, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(sparse != MAP_FAILED);
  fill(p, N, 1);
  CHECK(mprotect(p + N / 2, 4096 * 3, PROT_READ) == 0);
  fill(none, 65536, 2);
  CHECK(mprotect(none, N, PROT_NONE) == 0);
  for (int i = 0; i < 100; i++) sparse[(1ull << 33) * i + 4097 * i] = i + 1;
  memset(zero, 1, 8192);
  memset(zero, 0, 8192);
  // Holes are not made real by a dump and a restore.
  unsigned char in[N / 4096];
  ready_and_wait();
  CHECK(filled(p, N, 1));
  CHECK(mprotect(p + N / 2, 4096, PROT_READ | PROT_WRITE) == 0);
  CHECK(mprotect(none, N, PROT_READ) == 0 && filled(none, 65536, 2) && none[N - 1] == 0);
  for (int i = 0; i < 100; i++) CHECK(sparse[(1ull << 33) * i + 4097 * i] == i + 1);
  CHECK(mincore(zero + 65536, N - 65536, in) == 0);
  for (int i = 0; i < (N - 65536) / 4096; i++) CHECK(!(in[i] & 1));
  for (int i = 0; i < N; i++) CHECK(zero[i] == 0);
  CHECK(atol(proc_field("/proc/self/status", "VmRSS")) < 200 << 10);
}
