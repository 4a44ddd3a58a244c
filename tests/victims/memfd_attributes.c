// What: a memfd keeps its times to the nanosecond and its extended attributes, with contents, mapped, or sealed.
// Variants: plain mapped sealed
#include "victim.h"
#include <sys/xattr.h>
static void victim(void) {
  const struct timespec times[2] = {{1000000001, 123456789}, {1100000002, 987654321}};
  int fd = memfd_create("timed", MFD_ALLOW_SEALING);
  char b[16], *map = 0;
  CHECK(fd >= 0 && ftruncate(fd, 8192) == 0 && write(fd, "contents", 8) == 8);
  if (is("mapped")) CHECK((map = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) != MAP_FAILED && (map[4096] = 'm'));
  // User attributes there are since Linux 6.6.
  int has_own = fsetxattr(fd, "user.note", "value", 5, 0) == 0, has_trusted = fsetxattr(fd, "trusted.note", "other", 5, 0) == 0;
  if (is("sealed")) CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0);
  CHECK(futimens(fd, times) == 0);
  ready_and_wait();
  struct stat st;
  // To map it is an access.
  CHECK(fstat(fd, &st) == 0 && !memcmp(&st.st_mtim, &times[1], sizeof *times) && (map || !memcmp(&st.st_atim, &times[0], sizeof *times)));
  if (has_own) CHECK(fgetxattr(fd, "user.note", b, 16) == 5 && !memcmp(b, "value", 5));
  if (has_trusted) CHECK(fgetxattr(fd, "trusted.note", b, 16) == 5 && !memcmp(b, "other", 5));
  CHECK(pread(fd, b, 8, 0) == 8 && !memcmp(b, "contents", 8) && (!map || map[4096] == 'm'));
}
