// What: a memfd keeps name, contents, size, offset, seals; mapped, inherited and not mapped at all.
#include "victim.h"
static void victim(void) {
  int fd = memfd_create("a memfd", MFD_ALLOW_SEALING), bare = memfd_create("bare", MFD_CLOEXEC);
  static char b[3 << 20], c[3 << 20];
  fill(b, sizeof b, 9);
  CHECK(write(fd, b, sizeof b) == sizeof b && ftruncate(fd, 8 << 20) == 0 && lseek(fd, 777, SEEK_SET) == 777);
  CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
  CHECK(write(bare, "bare", 4) == 4);
  char *p = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 1 << 20);
  CHECK(p != MAP_FAILED);
  pid_t child = fork();
  if (!child) {
    wait_go();
    CHECK(p[10] == 'p' && lseek(fd, 0, SEEK_CUR) == 888);
    p[11] = 'c';
    _exit(1);
  }
  ready_and_wait();
  CHECK(lseek(fd, 0, SEEK_CUR) == 777 && fcntl(fd, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW));
  struct stat st;
  CHECK(fstat(fd, &st) == 0 && st.st_size == 8 << 20 && st.st_blocks < (5 << 20) / 512);
  CHECK(pread(fd, c, sizeof c, 0) == sizeof c && !memcmp(b, c, sizeof b));
  CHECK(ftruncate(fd, 9 << 20) == -1 && errno == EPERM);
  p[10] = 'p';
  lseek(fd, 888, SEEK_SET);
  pass_on(child);
  expect_exit(child, 1);
  CHECK(p[11] == 'c' && pread(fd, c, 1, (1 << 20) + 11) == 1 && c[0] == 'c');
  char link[64];
  CHECK(readlink("/proc/self/fd/3", link, sizeof link) > 0 && !strncmp(link, "/memfd:a memfd", 14));
  CHECK(pread(bare, c, 8, 0) == 4 && !memcmp(c, "bare", 4) && fcntl(bare, F_GETFD) == FD_CLOEXEC);
}
