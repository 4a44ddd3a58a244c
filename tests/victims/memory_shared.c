// What: shared anonymous memory is one memory for parent and child again, also where each maps another part of it.
#include "victim.h"
#define N (1 << 20)
static void victim(void) {
  volatile char *p = map_anon(N, MAP_SHARED);
  int z = open("/dev/zero", O_RDWR);
  volatile char *zero = mmap(0, N, PROT_READ | PROT_WRITE, MAP_SHARED, z, 0);
  close(z);
  CHECK(zero != MAP_FAILED);
  fill((void *)p, N, 5);
  fill((void *)zero, 4096, 6);
  pid_t child = fork();
  if (!child) {
    CHECK(munmap((void *)p, N / 2) == 0);
    mark("child");
    wait_go();
    CHECK(p[N - 1] == 'x' && zero[0] == 'z');
    p[N / 2] = 'y';
    CHECK(filled((char *)zero + 1, 0, 0));
    _exit(3);
  }
  await_mark("child");
  ready_and_wait();
  CHECK(filled((void *)p, N, 5) && filled((void *)zero, 4096, 6) && zero[8192] == 0);
  p[N - 1] = 'x';
  zero[0] = 'z';
  pass_on(child);
  expect_exit(child, 3);
  CHECK(p[N / 2] == 'y');
}
