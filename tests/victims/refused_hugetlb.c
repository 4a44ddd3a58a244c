// What: a descriptor of shared anonymous memory in huge pages, which is no memfd, is refused.
// Refused: huge pages
// Huge-pages: 2
#include "victim.h"
static void victim(void) {
  size_t size = 2 << 20;
  char path[96], *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), -1, 0);
  if (p == MAP_FAILED) SKIP("mmap(MAP_HUGETLB): %s", strerror(errno));
  snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", (unsigned long)p, (unsigned long)p + size);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) SKIP("map_files cannot be followed here");
  CHECK(munmap(p, size) == 0);
  ready_and_wait();
  char c = 0;
  CHECK(pread(fd, &c, 1, 0) == 1 && c == 0);
}
