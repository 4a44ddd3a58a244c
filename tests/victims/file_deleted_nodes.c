// What: deleted device nodes, open and held by O_PATH, and the deleted file of a socket.
#include "victim.h"
#include <sys/sysmacros.h>
#include <sys/un.h>
static void victim(void) {
  if (mknod("null", S_IFCHR | 0640, makedev(1, 3)) || mknod("disk", S_IFBLK | 0604, makedev(7, 77))) SKIP("mknod: %s", strerror(errno));
  struct sockaddr_un a = {AF_UNIX, "socket"};
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  CHECK(bind(s, (void *)&a, sizeof a) == 0 && close(s) == 0 && chmod("socket", 0713) == 0 && chmod("null", 0640) == 0 && chmod("disk", 0604) == 0 && chown("null", 7, 8) == 0);
  // A file system may be mounted without devices.
  int null = open("null", O_RDWR | O_CLOEXEC);
  if (null < 0) SKIP("a device node of one's own: %s", strerror(errno));
  int disk = open("disk", O_PATH), node = open("null", O_PATH), file = open("socket", O_PATH);
  CHECK(disk >= 0 && node >= 0 && file >= 0 && unlink("null") == 0 && unlink("disk") == 0 && unlink("socket") == 0);
  ready_and_wait();
  struct stat st;
  char b[4] = "old";
  CHECK(fstat(null, &st) == 0 && S_ISCHR(st.st_mode) && (st.st_mode & 07777) == 0640 && st.st_rdev == makedev(1, 3) && st.st_nlink == 0 && st.st_uid == 7 && st.st_gid == 8);
  CHECK(write(null, "x", 1) == 1 && read(null, b, 4) == 0 && fcntl(null, F_GETFD) == FD_CLOEXEC);
  ino_t inode = st.st_ino;
  CHECK(fstat(node, &st) == 0 && st.st_ino == inode && (fcntl(node, F_GETFL) & O_PATH));
  CHECK(fstat(disk, &st) == 0 && S_ISBLK(st.st_mode) && (st.st_mode & 07777) == 0604 && st.st_rdev == makedev(7, 77) && st.st_nlink == 0);
  CHECK(fstat(file, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 07777) == 0713 && st.st_nlink == 0);
  CHECK(access("null", F_OK) == -1 && access("disk", F_OK) == -1 && access("socket", F_OK) == -1);
}
