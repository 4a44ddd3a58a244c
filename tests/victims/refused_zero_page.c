// What: a program that has memory at address 0 is refused by name, and finds it as it was.
// Refused: address 0 & unmap it
#include "victim.h"
static void victim(void) {
  void *zero = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (zero == MAP_FAILED) SKIP("mmap at 0: %s", strerror(errno));
  // The compiler must not know.
  unsigned char *volatile at = zero;
  for (int i = 0; i < 4096; i++) at[i] = (unsigned char)(i * 7 + 1);
  ready_and_wait();
  for (int i = 0; i < 4096; i++) CHECK(at[i] == (unsigned char)(i * 7 + 1));
}
