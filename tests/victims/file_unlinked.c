// What: unlinked files: contents, holes, mode, one description shared by two descriptors, opened twice.
#include "victim.h"
static void victim(void) {
  char path[PATH_MAX + 16], b[64];
  snprintf(path, sizeof path, "%s/gone", victim_folder);
  int f = open(path, O_RDWR | O_CREAT | O_TRUNC, 0604), g = open(path, O_RDONLY);
  CHECK(write(f, "ghost", 5) == 5 && pwrite(f, "far", 3, 1 << 20) == 3 && fchown(f, 12, 34) == 0);
  int h = dup(f);
  CHECK(unlink(path) == 0);
  ready_and_wait();
  struct stat st;
  CHECK(fstat(f, &st) == 0 && st.st_nlink == 0 && (st.st_mode & 0777) == 0604 && st.st_uid == 12 && st.st_gid == 34);
  CHECK(st.st_size == (1 << 20) + 3 && st.st_blocks < 256);
  CHECK(pread(g, b, 5, 0) == 5 && !memcmp(b, "ghost", 5) && pread(g, b, 9, 1 << 20) == 3);
  CHECK(lseek(h, 0, SEEK_CUR) == 5 && lseek(f, 3, SEEK_SET) == 3 && lseek(h, 0, SEEK_CUR) == 3);
  CHECK(pwrite(f, "G", 1, 0) == 1 && pread(g, b, 1, 0) == 1 && b[0] == 'G');
  CHECK(access(path, F_OK) == -1);
}
