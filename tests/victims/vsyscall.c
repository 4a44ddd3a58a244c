// What: the vsyscall page is where it was and works as it did.
#include "victim.h"
static int is_mapped(void) {
  FILE *f = fopen("/proc/self/maps", "re");
  char line[512];
  int found = 0;
  while (f && fgets(line, sizeof line, f)) found |= strstr(line, "[vsyscall]") != 0;
  if (f) fclose(f);
  return found;
}
static time_t ask(void) {
  return ((time_t(*)(time_t *))0xffffffffff600400ul)(0);
}
static void victim(void) {
  if (!is_mapped()) SKIP("the kernel gives no vsyscall page");
  time_t before = ask();
  ready_and_wait();
  CHECK(is_mapped());
  time_t now = ask(), real = time(0);
  CHECK(now >= before && now <= real && real - now <= 1);
}
