// What: a file that never had a name (O_TMPFILE) is given one at last; one that had a name and lost it is not.
// Ignore: fd
#include "victim.h"
static void name_it(int fd, const char *name, int possible) {
  char from[64], to[PATH_MAX + 16];
  snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
  snprintf(to, sizeof to, "%s/%s", victim_folder, name);
  unlink(to);
  CHECK((linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW) == 0) == possible);
}
static void victim(void) {
  char b[8], path[PATH_MAX + 16];
  struct stat st;
  int nameless = open(victim_folder, O_TMPFILE | O_RDWR | O_APPEND, 0640);
  if (nameless < 0) SKIP("O_TMPFILE: %s", strerror(errno));
  snprintf(path, sizeof path, "%s/lost", victim_folder);
  int lost = open(path, O_RDWR | O_CREAT, 0600);
  CHECK(lost >= 0 && unlink(path) == 0 && write(nameless, "text", 4) == 4);
  ready_and_wait();
  CHECK(fstat(nameless, &st) == 0 && st.st_nlink == 0 && (st.st_mode & 07777) == 0640 && lseek(nameless, 0, SEEK_CUR) == 4);
  CHECK(pread(nameless, b, 8, 0) == 4 && !memcmp(b, "text", 4) && (fcntl(nameless, F_GETFL) & O_APPEND));
  name_it(nameless, "named", 1);
  name_it(lost, "again", 0);
}
