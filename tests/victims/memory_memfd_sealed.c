// What: a memfd sealed against writes to come: who had it mapped before still writes, what was mapped since is never written to.
// Ignore: vma
// (The kernel shows one flag less of a mapping that can never be written to because its file was opened so.)
#include "victim.h"
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif
static void victim(void) {
  const size_t len = 5 * 4096;
  const int seals = F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_SEAL;
  int fd = memfd_create("sealed", MFD_ALLOW_SEALING);
  CHECK(fd >= 0 && ftruncate(fd, len) == 0);
  char *before = mmap(0, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(before != MAP_FAILED);
  fill(before, len, 3);
  if (fcntl(fd, F_ADD_SEALS, seals)) SKIP("F_SEAL_FUTURE_WRITE: %s", strerror(errno));
  char *since = mmap(0, len, PROT_READ, MAP_SHARED, fd, 0);
  CHECK(since != MAP_FAILED);
  ready_and_wait();
  CHECK(filled(before, len, 3) && filled(since, len, 3) && fcntl(fd, F_GET_SEALS) == seals);
  before[4096] = 'w';
  CHECK(since[4096] == 'w');
  CHECK(mprotect(since, len, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
  CHECK(mmap(0, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
  CHECK(pwrite(fd, "x", 1, 0) == -1 && errno == EPERM && ftruncate(fd, 4096) == -1 && errno == EPERM);
}
