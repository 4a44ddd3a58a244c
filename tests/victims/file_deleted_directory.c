// What: a deleted directory, a file and a nested directory that went with theirs, a deleted fifo and symbolic link held by O_PATH.
#include "victim.h"
static void victim(void) {
  CHECK(mkdir("gone", 0750) == 0 && mkdir("outer", 0755) == 0 && mkdir("outer/inner", 0711) == 0 && chown("gone", 7, 8) == 0);
  int dir = open("gone", O_RDONLY | O_DIRECTORY), inner = open("outer/inner", O_PATH | O_DIRECTORY | O_CLOEXEC);
  int file = open("outer/file", O_RDWR | O_CREAT, 0600);
  CHECK(symlink("target", "link") == 0 && mkfifo("fifo", 0622) == 0 && chmod("fifo", 0622) == 0);
  int link = open("link", O_PATH | O_NOFOLLOW), fifo = open("fifo", O_PATH);
  CHECK(dir >= 0 && inner >= 0 && link >= 0 && fifo >= 0 && write(file, "kept", 4) == 4);
  CHECK(rmdir("gone") == 0 && unlink("outer/file") == 0 && rmdir("outer/inner") == 0 && rmdir("outer") == 0 && unlink("link") == 0 && unlink("fifo") == 0);
  ready_and_wait();
  struct stat st;
  char b[16];
  CHECK(fstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & 07777) == 0750 && st.st_nlink == 0 && st.st_uid == 7 && st.st_gid == 8);
  CHECK(openat(dir, "new", O_CREAT | O_RDWR, 0600) == -1 && errno == ENOENT);
  CHECK(fstat(inner, &st) == 0 && (st.st_mode & 07777) == 0711 && st.st_nlink == 0 && (fcntl(inner, F_GETFL) & O_PATH));
  CHECK(pread(file, b, 16, 0) == 4 && !memcmp(b, "kept", 4) && fstat(file, &st) == 0 && st.st_nlink == 0);
  CHECK(readlinkat(link, "", b, 16) == 6 && !memcmp(b, "target", 6));
  CHECK(fstat(fifo, &st) == 0 && S_ISFIFO(st.st_mode) && (st.st_mode & 07777) == 0622);
  CHECK(access("outer", F_OK) == -1 && access("gone", F_OK) == -1);
}
