// What: a task that never enters the kernel goes on computing, with the right result.
#include "victim.h"
static void victim(void) {
  volatile uint64_t x = 1;
  uint64_t y = 1, n = 0;
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  mark("ready");
  sigprocmask(SIG_UNBLOCK, &usr1, 0);
  while (!victim_go) {
    x = x * 6364136223846793005ull + 1442695040888963407ull;
    n++;
  }
  for (uint64_t i = 0; i < n; i++) y = y * 6364136223846793005ull + 1442695040888963407ull;
  CHECK(x == y && n > 1000);
}
