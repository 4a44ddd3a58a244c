// What: the memory devices: null, zero, full, random, urandom.
#include "victim.h"
static void victim(void) {
  int n = open("/dev/null", O_RDWR), z = open("/dev/zero", O_RDONLY | O_CLOEXEC), f = open("/dev/full", O_RDWR);
  int r = open("/dev/urandom", O_RDONLY | O_NONBLOCK), r2 = open("/dev/random", O_RDWR);
  ready_and_wait();
  char b[16], c[16];
  memset(b, 1, 16);
  CHECK(read(n, b, 16) == 0 && write(n, b, 16) == 16 && read(z, b, 16) == 16 && b[15] == 0 && fcntl(z, F_GETFD) == FD_CLOEXEC);
  CHECK(write(f, b, 1) == -1 && errno == ENOSPC);
  CHECK(read(r, b, 16) == 16 && read(r2, c, 16) == 16 && memcmp(b, c, 16));
}
