// What: among hundreds of ordinary mappings, or beside very many pages, mappings of other kinds keep their kind.
// Variants: areas pages
#include "victim.h"
#define COUNT 1000
#define PAGE 4096ul
#define MANY_BYTES (160ul << 20)
// The letters of VmFlags of the area at `at`.
static int has_flag(const void *at, const char *letters) {
  FILE *f = fopen("/proc/self/smaps", "re");
  char line[8192];
  int here = 0, found = 0;
  while (fgets(line, sizeof line, f)) {
    unsigned long start, end;
    if (sscanf(line, "%lx-%lx ", &start, &end) == 2) here = start <= (unsigned long)at && (unsigned long)at < end;
    if (here && !strncmp(line, "VmFlags:", 8)) found = strstr(line + 8, letters) != 0;
  }
  fclose(f);
  return found;
}
static void victim(void) {
  struct { int advice; const char *letters; } advice[] = {{MADV_DONTFORK, " dc"}, {MADV_DONTDUMP, " dd"}, {MADV_RANDOM, " rr"},
                                                          {MADV_SEQUENTIAL, " sr"}, {MADV_WIPEONFORK, " wf"}};
  int n = sizeof advice / sizeof *advice;
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/a\nfile", victim_folder);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0 && ftruncate(fd, 8 * PAGE) == 0 && pwrite(fd, "file", 4, 4 * PAGE) == 4);
  char *p = map_anon(2 * COUNT * PAGE, MAP_PRIVATE), *heap = sbrk(4 * PAGE);
  memset(heap, 7, 4 * PAGE);
  for (long i = 0; i < COUNT; i++) {
    *(long *)(p + i * 2 * PAGE) = i;
    if (is("areas")) CHECK(mprotect(p + i * 2 * PAGE, PAGE, PROT_READ) == 0);
  }
  // Every second of these pages can be written to.
  for (int i = 0; i < n; i++) CHECK(madvise(p + (2 * i + 1) * PAGE, PAGE, advice[i].advice) == 0);
  CHECK(mlock(p + 401 * PAGE, PAGE) == 0);
  CHECK(mmap(p + 501 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS, -1, 0) == p + 501 * PAGE);
  strcpy(p + 501 * PAGE, "shared");
  CHECK(mmap(p + 601 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, fd, 4 * PAGE) == p + 601 * PAGE);
  CHECK(mmap(p + 603 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE, fd, 4 * PAGE) == p + 603 * PAGE);
  p[603 * PAGE] = 'F';
  CHECK(mmap(p + 701 * PAGE, PAGE, PROT_NONE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == p + 701 * PAGE);
  char *many = is("pages") ? map_anon(MANY_BYTES, MAP_PRIVATE) : 0;
  for (unsigned long i = 0; many && i < MANY_BYTES; i += PAGE) *(unsigned long *)(many + i) = i;
  ready_and_wait();
  for (unsigned long i = 0; many && i < MANY_BYTES; i += PAGE) CHECK(*(unsigned long *)(many + i) == i);
  for (long i = 0; i < COUNT; i++) CHECK(*(long *)(p + i * 2 * PAGE) == i);
  for (int i = 0; i < n; i++) CHECK(has_flag(p + (2 * i + 1) * PAGE, advice[i].letters));
  CHECK(!has_flag(p + 21 * PAGE, " dc") && has_flag(p + 401 * PAGE, " lo") && !has_flag(p + 403 * PAGE, " lo"));
  CHECK(!strcmp(p + 501 * PAGE, "shared") && has_flag(p + 501 * PAGE, " sh"));
  CHECK(!memcmp(p + 601 * PAGE, "file", 4) && !memcmp(p + 603 * PAGE, "File", 4));
  CHECK(has_flag(p + 701 * PAGE, " nr") && !has_flag(p + 701 * PAGE, " rd"));
  CHECK(has_flag(p + 601 * PAGE, " sh") && !has_flag(p + 603 * PAGE, " sh"));
  CHECK(heap[4 * PAGE - 1] == 7 && sbrk(0) > (void *)heap && sbrk(PAGE) != (void *)-1);
}
