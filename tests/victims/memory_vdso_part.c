// What: a program that has unmapped a part of what the kernel gave it with the vDSO does not get it back.
// Variants: data clock code
#include "victim.h"
static unsigned long areas[8][2];
static int read_areas(unsigned long at[8][2], const char *name) {
  char line[512];
  int found = 0;
  FILE *f = fopen("/proc/self/maps", "re");
  while (f && fgets(line, sizeof line, f) && found < 8)
    if (strstr(line, name) && sscanf(line, "%lx-%lx", &at[found][0], &at[found][1]) == 2) found++;
  if (f) fclose(f);
  return found;
}
static void drop(const char *name) {
  unsigned long at[8][2];
  int n = read_areas(at, name);
  if (!n) SKIP("there is no %s", name);
  while (n--) CHECK(munmap((void *)at[n][0], at[n][1] - at[n][0]) == 0);
}
static void victim(void) {
  unsigned long now[8][2];
  // The C library asks the vDSO for the time.
  if (is("code")) drop("[vdso]");
  else if (is("clock")) drop("[vvar_vclock]");
  else drop("[vvar");
  int n = read_areas(areas, "[v");
  ready_and_wait();
  CHECK(read_areas(now, "[v") == n);
  for (int i = 0; i < n; i++) CHECK(now[i][0] == areas[i][0] && now[i][1] == areas[i][1]);
}
