// What: memory in pages of hugetlbfs keeps its kind, its contents, which pages are touched, and who shares it with whom.
// Variants: private noreserve protected large cow shared shared_sparse memfd memfd_private shm shm_removed shm_parts shm_detached
// Huge-pages: 12
#include "victim.h"
#include <sys/shm.h>
#define PAGE (2ul << 20)
static void *huge_or_skip(void *p, const char *what) {
  if (p == MAP_FAILED) SKIP("%s: %s", what, strerror(errno));
  return p;
}
static char *map_huge(size_t pages, int flags) {
  void *p = mmap(0, pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), -1, 0);
  return huge_or_skip(p, "mmap(MAP_HUGETLB)");
}
// A line of the area at `p` in smaps, in kB or as text.
static char *told(void *p, const char *key) {
  static char line[512];
  unsigned long start, end, at = (unsigned long)p;
  int inside = 0;
  FILE *f = fopen("/proc/self/smaps", "re");
  CHECK(f != NULL);
  while (fgets(line, sizeof line, f)) {
    if (sscanf(line, "%lx-%lx ", &start, &end) == 2) inside = start <= at && at < end;
    else if (inside && !strncmp(line, key, strlen(key))) return fclose(f), line + strlen(key);
  }
  finish(1, "no %s of the area at %p", key, p);
}
static int is_huge(void *p) { return atol(told(p, "KernelPageSize:")) == (long)(PAGE >> 10) && strstr(told(p, "VmFlags:"), " ht"); }
// Does this process have the page?
static int has(char *p) {
  unsigned char there = 0;
  CHECK(mincore(p, 4096, &there) == 0);
  return there & 1;
}
static int is_zero(const char *p) {
  for (size_t i = 0; i < PAGE; i++)
    if (p[i]) return 0;
  return 1;
}
// Pages of the file that are there, whoever has them.
static long blocks(int fd) {
  struct stat st;
  CHECK(fstat(fd, &st) == 0);
  return st.st_blocks / (PAGE / 512);
}
static int open_mapped(char *p, size_t pages) {
  char path[96];
  snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", (unsigned long)p, (unsigned long)(p + pages * PAGE));
  return open(path, O_RDONLY | O_CLOEXEC);
}
static void private_pages(void) {
  size_t pages = is("large") ? 6 : 4;
  char *p = map_huge(pages, MAP_PRIVATE | (is("noreserve") ? MAP_NORESERVE : 0));
  size_t untouched = pages - 1;
  for (size_t i = 0; i < untouched; i++)
    if (i != 1) fill(p + i * PAGE, PAGE, i + 1);
  CHECK(*(volatile char *)(p + PAGE) == 0); // touched, and zero
  if (is("protected")) CHECK(mprotect(p, PAGE, PROT_NONE) == 0 && mprotect(p + 2 * PAGE, PAGE, PROT_READ) == 0);
  ready_and_wait();
  CHECK(is_huge(p) && is_huge(p + untouched * PAGE) && !!strstr(told(p + PAGE, "VmFlags:"), " nr") == is("noreserve"));
  if (is("protected")) {
    CHECK(strstr(told(p, "VmFlags:"), " rd") == NULL && strstr(told(p + 2 * PAGE, "VmFlags:"), " wr") == NULL);
    CHECK(mprotect(p, 3 * PAGE, PROT_READ | PROT_WRITE) == 0);
  }
  CHECK(has(p) && has(p + PAGE) && !has(p + untouched * PAGE));
  for (size_t i = 0; i < untouched; i++) CHECK(i == 1 ? is_zero(p + PAGE) : filled(p + i * PAGE, PAGE, i + 1));
  CHECK(is_zero(p + untouched * PAGE));
  fill(p, pages * PAGE, 9);
  CHECK(filled(p, pages * PAGE, 9));
}
static void copy_on_write(void) {
  char *p = map_huge(3, MAP_PRIVATE);
  fill(p, 2 * PAGE, 1);
  pid_t child = fork();
  if (!child) {
    fill(p + PAGE, PAGE, 2);
    mark("child");
    wait_go();
    CHECK(is_huge(p) && filled(p, PAGE, 1) == 1 && filled(p + PAGE, PAGE, 2) && !has(p + 2 * PAGE));
    CHECK(atol(told(p, "Shared_Hugetlb:")) == (long)(PAGE >> 10) && atol(told(p, "Private_Hugetlb:")) == (long)(PAGE >> 10));
    p[0] = 'c';
    _exit(3);
  }
  await_mark("child");
  ready_and_wait();
  CHECK(is_huge(p) && filled(p, 2 * PAGE, 1) && !has(p + 2 * PAGE));
  CHECK(atol(told(p, "Shared_Hugetlb:")) == (long)(PAGE >> 10));
  pass_on(child);
  expect_exit(child, 3);
  CHECK(filled(p, 2 * PAGE, 1));
  fill(p, 3 * PAGE, 4);
  CHECK(filled(p, 3 * PAGE, 4));
}
static void shared_by(char *p) {
  pid_t child = fork();
  if (!child) {
    mark("child");
    wait_go();
    CHECK(is_huge(p) && p[PAGE] == 'P');
    p[PAGE + 1] = 'C';
    _exit(3);
  }
  await_mark("child");
  ready_and_wait();
  p[PAGE] = 'P';
  pass_on(child);
  expect_exit(child, 3);
  CHECK(p[PAGE + 1] == 'C');
}
static void shared_pages(void) {
  char *p = map_huge(4, MAP_SHARED);
  int fd = open_mapped(p, 4);
  if (fd < 0) SKIP("map_files cannot be followed here");
  close(fd);
  if (is("shared_sparse")) {
    // The first page goes, the second is all zero, the third is written, the fourth is untouched.
    fill(p + 2 * PAGE, PAGE, 3);
    p[PAGE] = 0;
    CHECK(munmap(p, PAGE) == 0);
    ready_and_wait();
    CHECK(is_huge(p + PAGE));
    CHECK((fd = open_mapped(p + PAGE, 3)) >= 0);
    CHECK(blocks(fd) == 2 && close(fd) == 0);
    CHECK(is_zero(p + PAGE) && filled(p + 2 * PAGE, PAGE, 3) && is_zero(p + 3 * PAGE));
  } else {
    fill(p, 4 * PAGE, 3);
    shared_by(p);
    CHECK(is_huge(p) && filled(p, PAGE, 3) && p[2 * PAGE] == (char)(2 * PAGE * 31 + (2 * PAGE >> 12) * 7 + 3));
  }
}
static void memfd(void) {
  int fd = memfd_create("of huge pages", MFD_HUGETLB | MFD_ALLOW_SEALING | (21 << MAP_HUGE_SHIFT)), copy = -1;
  if (fd < 0 || ftruncate(fd, 5 * PAGE)) SKIP("memfd_create(MFD_HUGETLB): %s", strerror(errno));
  // The first page is mapped, the third by another mapping, the fourth was written and is mapped no more; two are untouched.
  char *p = huge_or_skip(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), "mmap of a memfd");
  char *own = huge_or_skip(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 2 * PAGE), "mmap of a memfd");
  char *gone = huge_or_skip(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 3 * PAGE), "mmap of a memfd");
  fill(p, PAGE, 1);
  fill(gone, PAGE, 4);
  CHECK(munmap(gone, PAGE) == 0);
  if (is("memfd_private")) fill(own, PAGE, 7);
  CHECK(lseek(fd, 3 * PAGE + 5, SEEK_SET) > 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
  CHECK((copy = dup(fd)) >= 0 && fchmod(fd, 0640) == 0);
  long there = blocks(fd);
  ready_and_wait();
  struct stat st;
  char link[96] = {0}, name[96];
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  CHECK(readlink(name, link, sizeof link - 1) > 0 && !strcmp(link, "/memfd:of huge pages (deleted)"));
  CHECK(fstat(fd, &st) == 0 && st.st_size == (off_t)(5 * PAGE) && st.st_blksize == (long)PAGE && (st.st_mode & 0777) == 0640);
  CHECK(blocks(fd) == there && fcntl(fd, F_GET_SEALS) == F_SEAL_SHRINK && lseek(copy, 0, SEEK_CUR) == (off_t)(3 * PAGE + 5));
  CHECK(is_huge(p) && is_huge(own) && filled(p, PAGE, 1));
  CHECK(is("memfd_private") ? filled(own, PAGE, 7) : !has(own));
  gone = mmap(0, PAGE, PROT_READ, MAP_SHARED, fd, 3 * PAGE);
  CHECK(gone != MAP_FAILED && filled(gone, PAGE, 4));
  char c = 0, *again = mmap(0, PAGE, PROT_READ, MAP_SHARED, copy, 0);
  p[3] = 'S';
  CHECK(again != MAP_FAILED && again[3] == 'S' && pread(fd, &c, 1, 3) == 1 && c == 'S');
  if (is("memfd_private")) CHECK(pread(fd, &c, 1, 2 * PAGE) == 1 && c == 0);
}
static void segment(void) {
  key_t key = 0x43530000 | getpid();
  size_t size = 3 * PAGE - 100;
  int id = shmget(key, size, IPC_CREAT | IPC_EXCL | SHM_HUGETLB | (21 << MAP_HUGE_SHIFT) | 0600);
  if (id < 0) SKIP("shmget(SHM_HUGETLB): %s", strerror(errno));
  char *p = shmat(id, 0, 0), *second = 0;
  CHECK(p != (void *)-1);
  fill(p, 3 * PAGE, 5);
  if (is("shm_removed")) CHECK(shmctl(id, IPC_RMID, 0) == 0);
  if (is("shm_parts")) {
    second = shmat(id, 0, SHM_RDONLY);
    CHECK(second != (void *)-1 && munmap(p + PAGE, PAGE) == 0);
    ready_and_wait();
    p[0] = 'x';
    CHECK(is_huge(p) && is_huge(second) && second[0] == 'x' && !strstr(told(second, "VmFlags:"), " mw"));
    CHECK(!memcmp(second + 2 * PAGE, p + 2 * PAGE, PAGE) && shmdt(second) == 0);
    p[0] = 5;
  } else if (is("shm_detached")) {
    CHECK(shmdt(p) == 0);
    ready_and_wait();
    p = shmat(id, 0, 0);
    CHECK(p != (void *)-1 && is_huge(p) && filled(p, 3 * PAGE, 5));
  } else {
    shared_by(p);
    p[PAGE] = (char)(PAGE * 31 + (PAGE >> 12) * 7 + 5);
    p[PAGE + 1] = (char)((PAGE + 1) * 31 + ((PAGE + 1) >> 12) * 7 + 5);
    CHECK(is_huge(p) && filled(p, 3 * PAGE, 5));
  }
  struct shmid_ds d;
  CHECK(shmctl(id, IPC_STAT, &d) == 0 && d.shm_segsz == size && d.shm_nattch == (is("shm_parts") ? 2u : 1u));
  CHECK(!!(d.shm_perm.mode & 01000) == is("shm_removed") && shmdt(p) == 0);
  CHECK(shmctl(id, is("shm_removed") ? IPC_STAT : IPC_RMID, &d) == (is("shm_removed") ? -1 : 0));
}
static void victim(void) {
  if (is("cow")) copy_on_write();
  else if (!strncmp(victim_variant, "shared", 6)) shared_pages();
  else if (!strncmp(victim_variant, "memfd", 5)) memfd();
  else if (!strncmp(victim_variant, "shm", 3)) segment();
  else private_pages();
}
