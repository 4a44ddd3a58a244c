// What: processes that others trace or probe, code of the other kind (32 or 64 bits) than the process and cgroups of threads are refused.
// Variants: traced_parent traced_outside code64 code32 uprobe uprobe_hit thread_cgroup
// Refused.traced_parent: traced | ptrace
// Refused.traced_outside: traced | ptrace
// Refused.code64: 64-bit code in a 32-bit process
// Refused.code32: 32-bit code in a 64-bit process
// Refused.uprobe: uprobe
// Refused.uprobe_hit: uprobe
// Refused.thread_cgroup: cgroups of thread
// Build: -pthread
#include "outsider.h"
#include <elf.h>
#include <linux/perf_event.h>
#include <sys/ptrace.h>
static volatile pid_t thread_id;
static void *thread(void *arg) {
  thread_id = syscall(SYS_gettid);
  for (;;) pause();
  return arg;
}
static pid_t target;
static int seize_target(void) {
  CHECK(ptrace(PTRACE_SEIZE, target, 0, 0) == 0);
  return 0;
}
// Lets through what stops the target, until that ends.
static void let_through(void) {
  for (int st; waitpid(target, &st, __WALL) == target;) ptrace(PTRACE_CONT, target, 0, WIFSTOPPED(st) && !(st >> 16) ? WSTOPSIG(st) : 0);
}
static int trace_target(void) {
  seize_target();
  mark("outside");
  alarm(120);
  let_through();
  _exit(0);
}
__attribute__((noinline)) static int probed(int n) {
  __asm__ volatile("" ::: "memory");
  return n + 1;
}
// Where `probed` stands in the program's file.
static unsigned long probed_offset(void) {
  unsigned long start, end, offset, at = (unsigned long)probed;
  char line[512];
  FILE *f = fopen("/proc/self/maps", "r");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "%lx-%lx %*s %lx", &start, &end, &offset) == 3 && start <= at && at < end) {
      fclose(f);
      return at - start + offset;
    }
  CHECK(!"the function is mapped");
  return 0;
}
static int probe_target(void) {
  int type = -1;
  FILE *f = fopen("/sys/bus/event_source/devices/uprobe/type", "r");
  if (f && fscanf(f, "%d", &type) == 1) {
    struct perf_event_attr p = {.size = sizeof p};
    p.type = type, p.config1 = (uintptr_t)"/proc/self/exe", p.config2 = probed_offset();
    if (syscall(SYS_perf_event_open, &p, target, -1, -1, PERF_FLAG_FD_CLOEXEC) >= 0) mark("probed");
  }
  return 0;
}
// A program of 32 bits that goes on in 64-bit code: it writes its first byte to descriptor 100, then only waits.
static pid_t start_code64(void) {
  static const unsigned char code[] = {0xea, 0x5b, 0x80, 0x04, 0x08, 0x33, 0,                        // ljmp to what follows
                                       0xb8, 1, 0, 0, 0, 0xbf, 100, 0, 0, 0, 0xbe, 0x54, 0x80, 0x04, 0x08, // write(100, code,
                                       0xba, 1, 0, 0, 0, 0x0f, 0x05,                                  // 1)
                                       0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7};                    // pause(), for ever
  Elf32_Ehdr e = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT}};
  e.e_type = ET_EXEC, e.e_machine = EM_386, e.e_version = EV_CURRENT, e.e_entry = 0x8048000 + sizeof e + sizeof(Elf32_Phdr);
  CHECK(e.e_entry == 0x8048054);
  e.e_phoff = sizeof e, e.e_ehsize = sizeof e, e.e_phentsize = sizeof(Elf32_Phdr), e.e_phnum = 1;
  Elf32_Phdr h = {.p_type = PT_LOAD, .p_vaddr = 0x8048000, .p_flags = PF_R | PF_X, .p_align = 4096};
  h.p_filesz = h.p_memsz = sizeof e + sizeof h + sizeof code;
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/code64", victim_folder);
  int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755), told[2];
  CHECK(write(out, &e, sizeof e) == sizeof e && write(out, &h, sizeof h) == sizeof h && write(out, code, sizeof code) == sizeof code);
  close(out);
  CHECK(pipe2(told, O_CLOEXEC) == 0);
  pid_t child = fork();
  if (!child) {
    dup2(told[1], 100);
    execl(path, path, NULL);
    _exit(1);
  }
  close(told[1]);
  unsigned char byte = 0;
  need(read(told[0], &byte, 1) == 1 && byte == code[0], "executing a program of 32 bits");
  close(told[0]);
  return child;
}
// A 64-bit process that goes on in 32-bit code, which sets a byte and only waits.
static pid_t start_code32(void) {
  static const unsigned char code[] = {0xb8, 0x2b, 0, 0, 0, 0x8e, 0xd8,                         // mov $0x2b, %ds
                                       0xc6, 0x05, 0, 0, 0, 0, 1,                               // movb $1, flag
                                       0xb8, 29, 0, 0, 0, 0xcd, 0x80, 0xeb, 0xf7};              // pause(), for ever
  unsigned char *page = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  CHECK(page != MAP_FAILED);
  memcpy(page, code, sizeof code);
  uint32_t flag = (uintptr_t)page + 64;
  memcpy(page + 9, &flag, sizeof flag);
  pid_t child = fork();
  if (!child) __asm__ volatile("pushq $0x23\n pushq %0\n lretq" ::"r"((uint64_t)(uintptr_t)page));
  for (int n = 0; n < 20000 && !((volatile unsigned char *)page)[64]; n++) sleep_ms(1);
  need(page[64], "running 32-bit code");
  return child;
}
static char cgroup[PATH_MAX], cgroup_below[PATH_MAX + 16];
static int cgroup_write(const char *folder, const char *file, const char *text) {
  char path[PATH_MAX + 64];
  snprintf(path, sizeof path, "%s/%s", folder, file);
  int f = open(path, O_WRONLY);
  ssize_t n = f < 0 ? -1 : write(f, text, strlen(text));
  if (f >= 0) close(f);
  return n == (ssize_t)strlen(text);
}
static char *cgroup_root(void) {
  static char root[PATH_MAX];
  char line[PATH_MAX + 256], type[64];
  FILE *f = fopen("/proc/self/mounts", "r");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "%*s %4000s %63s", root, type) == 2 && !strcmp(type, "cgroup2")) return fclose(f), root;
  SKIP("there are no cgroups of version 2");
}
// A cgroup below that of the process holds one of its threads.
static void put_into_cgroup(pid_t tid) {
  char me[16], it[16], *own = proc_field("/proc/self/cgroup", "0:");
  snprintf(me, sizeof me, "%d", getpid());
  snprintf(it, sizeof it, "%d", tid);
  CHECK((size_t)snprintf(cgroup, sizeof cgroup, "%s%s/refused-%s", cgroup_root(), own ? own : "", me) < sizeof cgroup);
  snprintf(cgroup_below, sizeof cgroup_below, "%s/below", cgroup);
  need(mkdir(cgroup, 0755) == 0 && cgroup_write(cgroup, "cgroup.procs", me) && mkdir(cgroup_below, 0755) == 0, "making a cgroup");
  need(cgroup_write(cgroup_below, "cgroup.type", "threaded") && cgroup_write(cgroup_below, "cgroup.threads", it), "cgroups of threads");
}
static void leave_cgroup(void) {
  char me[16], above[PATH_MAX];
  snprintf(me, sizeof me, "%d", getpid());
  strcpy(above, cgroup);
  *strrchr(above, '/') = 0;
  CHECK(cgroup_write(above, "cgroup.procs", me) && rmdir(cgroup_below) == 0 && rmdir(cgroup) == 0);
}
static void victim(void) {
  pid_t child = 0;
  if (is("thread_cgroup")) {
    pthread_t t;
    CHECK(pthread_create(&t, 0, thread, 0) == 0);
    while (!thread_id) sleep_ms(1);
    put_into_cgroup(thread_id);
  } else if (is("traced_outside")) {
    target = getpid();
    outsider(trace_target);
  } else if (is("traced_parent")) {
    target = getpid();
    child = fork();
    if (!child) {
      seize_target();
      mark("seized");
      let_through();
      _exit(1);
    }
    await_mark("seized");
  } else if (is("code64")) child = start_code64();
  else if (is("code32")) child = start_code32();
  else if (is("uprobe") || is("uprobe_hit")) {
    target = getpid();
    outsider(probe_target);
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/probed", victim_folder);
    if (access(path, F_OK)) SKIP("the kernel lets nobody set uprobes here");
    if (is("uprobe_hit")) CHECK(probed(1) == 2);
  }
  ready_and_wait();
  if (child) {
    CHECK(kill(child, SIGKILL) == 0);
    status_of(child);
  }
  if (is("thread_cgroup")) leave_cgroup();
  if (target && !child) {
    CHECK(probed(3) == 4);
    end_outsider();
  }
}
