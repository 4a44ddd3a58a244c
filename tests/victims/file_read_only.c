// What: a file on a read-only mount; one that was deleted there, so that nothing can stand in for it, is refused.
// Variants: open deleted
// Refused.deleted: its name & is gone & read-only & mount it writable
// Terminals: own
// Copy: no
#include "victim.h"
#include <sys/mount.h>
static void victim(void) {
  char b[8];
  CHECK(mkdir("there", 0755) == 0);
  int fd = open("there/file", O_RDWR | O_CREAT, 0600);
  CHECK(fd >= 0 && write(fd, "kept", 4) == 4 && close(fd) == 0);
  CHECK(mount("there", "there", 0, MS_BIND, 0) == 0);
  CHECK((fd = open("there/file", O_RDONLY | O_CLOEXEC)) >= 0 && lseek(fd, 2, SEEK_SET) == 2);
  if (is("deleted")) CHECK(unlink("there/file") == 0);
  CHECK(mount(0, "there", 0, MS_BIND | MS_REMOUNT | MS_RDONLY, 0) == 0);
  ready_and_wait();
  CHECK(read(fd, b, 8) == 2 && !memcmp(b, "pt", 2) && fcntl(fd, F_GETFD) == FD_CLOEXEC);
  CHECK(open("there/new", O_RDWR | O_CREAT, 0600) == -1 && errno == EROFS);
  close(fd);
  CHECK(umount2("there", MNT_DETACH) == 0);
}
