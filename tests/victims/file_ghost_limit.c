// What: an unlinked file with more contents than the limit (1 MiB, unless an option says otherwise) is refused, and the hint names the option; holes do not count.
// Refused: unlinked & ghost-limit
#include "victim.h"
static void victim(void) {
  static char page[4096] = {1};
  int small = open("small", O_RDWR | O_CREAT, 0600), big = open("big", O_RDWR | O_CREAT, 0600);
  CHECK(small >= 0 && big >= 0 && pwrite(small, "x", 1, 1 << 24) == 1);
  for (int i = 0; i < 512; i++) CHECK(write(big, page, sizeof page) == sizeof page);
  CHECK(unlink("small") == 0 && unlink("big") == 0);
  ready_and_wait();
  struct stat st;
  CHECK(fstat(big, &st) == 0 && st.st_size == 512 * 4096 && st.st_nlink == 0);
}
