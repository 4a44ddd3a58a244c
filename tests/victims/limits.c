// What: soft and hard resource limits, lowered ones too.
#include "victim.h"
#include <sys/resource.h>
static void victim(void) {
  struct rlimit set[] = {{100, 200}, {0, 0}, {7 << 20, 64 << 20}, {3, 5}};
  int which[] = {RLIMIT_NOFILE, RLIMIT_CORE, RLIMIT_STACK, RLIMIT_NICE};
  for (int i = 0; i < 3; i++) CHECK(setrlimit(which[i], &set[i]) == 0);
  struct rlimit all[RLIM_NLIMITS], now;
  for (int i = 0; i < RLIM_NLIMITS; i++) CHECK(getrlimit(i, &all[i]) == 0);
  ready_and_wait();
  for (int i = 0; i < RLIM_NLIMITS; i++) CHECK(getrlimit(i, &now) == 0 && now.rlim_cur == all[i].rlim_cur && now.rlim_max == all[i].rlim_max);
}
