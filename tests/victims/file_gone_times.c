// What: what has no name any more keeps its times to the nanosecond: a file, a fifo, a symbolic link, and a directory that was read in part
// when it had entries.
// Ignore: pos
#include "victim.h"
static const struct timespec times[2] = {{1000000001, 123456789}, {1100000002, 987654321}};
// A link is read by a dump: the time of that is not compared.
static int is_as_set(int fd) {
  struct stat st;
  if (fstat(fd, &st) || st.st_nlink || memcmp(&st.st_mtim, &times[1], sizeof *times)) return 0;
  return S_ISLNK(st.st_mode) || !memcmp(&st.st_atim, &times[0], sizeof *times);
}
static void victim(void) {
  char b[4096], name[32];
  CHECK(mkdir("folder", 0755) == 0);
  for (int i = 0; i < 300; i++) {
    snprintf(name, sizeof name, "folder/entry%d", i);
    CHECK(close(open(name, O_CREAT | O_RDWR, 0600)) == 0);
  }
  int folder = open("folder", O_RDONLY | O_DIRECTORY), file = open("file", O_CREAT | O_RDWR, 0600);
  CHECK(syscall(SYS_getdents64, folder, b, 1024) > 0 && lseek(folder, 0, SEEK_CUR) > 0 && write(file, "kept", 4) == 4);
  for (int i = 0; i < 300; i++) {
    snprintf(name, sizeof name, "folder/entry%d", i);
    CHECK(unlink(name) == 0);
  }
  CHECK(mkfifo("fifo", 0600) == 0 && symlink("nowhere", "link") == 0);
  int fifo = open("fifo", O_RDWR), link = open("link", O_PATH | O_NOFOLLOW);
  const char *names[] = {"folder", "file", "fifo", "link"};
  for (int i = 0; i < 4; i++) {
    CHECK(utimensat(AT_FDCWD, names[i], times, AT_SYMLINK_NOFOLLOW) == 0);
    CHECK((i ? unlink(names[i]) : rmdir(names[i])) == 0);
  }
  CHECK(is_as_set(folder) && is_as_set(file) && is_as_set(fifo) && is_as_set(link));
  ready_and_wait();
  CHECK(is_as_set(folder) && is_as_set(file) && is_as_set(fifo) && is_as_set(link));
  CHECK(syscall(SYS_getdents64, folder, b, sizeof b) <= 0 && pread(file, b, 8, 0) == 4);
}
