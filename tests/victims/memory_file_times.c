// What: the times of a file with a shared mapping are those of its last change, not of the dump or restore.
// Copy: no
#include "victim.h"
static void victim(void) {
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/mapped", victim_folder);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0 && ftruncate(fd, 65536) == 0);
  char *p = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CHECK(p != MAP_FAILED);
  fill(p, 65536, 9);
  struct timespec old[2] = {{1000000, 5}, {2000000, 7}};
  CHECK(msync(p, 65536, MS_SYNC) == 0 && futimens(fd, old) == 0);
  ready_and_wait();
  struct stat st;
  CHECK(stat(path, &st) == 0 && st.st_mtim.tv_sec == 2000000 && st.st_mtim.tv_nsec == 7);
  p[4096] ^= 1;
  CHECK(msync(p, 65536, MS_SYNC) == 0 && fstat(fd, &st) == 0 && st.st_mtim.tv_sec > 2000000);
}
