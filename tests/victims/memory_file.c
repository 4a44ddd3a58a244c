// What: file mappings: private (written and not), shared, read-only, beyond the end of the file, and of an unlinked file.
// Variants: private shared unlinked
// Copy: no
#include "victim.h"
#define N (1 << 20)
static void victim(void) {
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/mapped", victim_folder);
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
  static char b[N];
  fill(b, N, 7);
  CHECK(write(fd, b, N - 100) == N - 100);
  int flags = is("private") ? MAP_PRIVATE : MAP_SHARED;
  char *p = mmap(0, N, PROT_READ | PROT_WRITE, flags, fd, 0), *tail = mmap(0, 8192, PROT_READ, flags, fd, N - 8192);
  CHECK(p != MAP_FAILED && tail != MAP_FAILED);
  p[5000] = 'A';
  if (is("unlinked")) CHECK(unlink(path) == 0);
  close(fd);
  ready_and_wait();
  b[5000] = 'A';
  CHECK(!memcmp(p, b, N - 100) && !memcmp(tail, b + N - 8192, 8000));
  p[6000] = 'B';
  p[N - 200] = 'C';
  CHECK((tail[8192 - 200] == 'C') == !is("private"));
  if (is("unlinked")) {
    CHECK(access(path, F_OK) == -1);
    return;
  }
  fd = open(path, O_RDONLY);
  char c[1];
  CHECK(pread(fd, c, 1, 5000) == 1 && (c[0] == 'A') == is("shared"));
  CHECK(pread(fd, c, 1, 6000) == 1 && (c[0] == 'B') == is("shared"));
}
