// What: a file whose name is gone while another hard link is left, with link-remap: still one file, and no link of the checkpoint stays.
// Options: --link-remap
// Modes: plain twice
#include "victim.h"
#include <dirent.h>
static int names_left(void) {
  int n = 0;
  DIR *d = opendir("dir");
  CHECK(d);
  for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}
static void victim(void) {
  CHECK(mkdir("dir", 0755) == 0);
  int f = open("dir/gone", O_RDWR | O_CREAT, 0640), again = open("dir/gone", O_RDONLY);
  CHECK(f >= 0 && again >= 0 && write(f, "text", 4) == 4 && link("dir/gone", "dir/left") == 0 && unlink("dir/gone") == 0);
  ready_and_wait();
  struct stat a, b;
  char t[16];
  CHECK(fstat(f, &a) == 0 && stat("dir/left", &b) == 0 && a.st_ino == b.st_ino);
  CHECK(lseek(f, 0, SEEK_CUR) == 4 && write(f, "+", 1) == 1 && read(again, t, 16) == 5 && !memcmp(t, "text+", 5));
  CHECK(names_left() == 1 && access("dir/gone", F_OK) == -1);
}
