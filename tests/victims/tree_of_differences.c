// What: families of processes, in each of which two children differ from their parent and sibling in one thing each, keep all of it.
// Seconds: 60
#include "victim.h"
#include "one_call.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/kcmp.h>
#include <linux/membarrier.h>
#include <sys/fsuid.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#define PAGE 4096
#define PAGES 8
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
// What all have from the first.
static char *area, *shared, *file_at, *memory_file_at;
static int file_fd, other_fd, memory_fd, timer_fd, pipes[2];
static void on_hup(int s, siginfo_t *i, void *c) { (void)s, (void)i, (void)c; }
static void put(const char *file, const char *text) {
  int fd = open(file, O_WRONLY | O_CLOEXEC);
  CHECK(fd >= 0 && write(fd, text, strlen(text)) > 0 && close(fd) == 0);
}
static int set_caps(int which, unsigned lost, unsigned inheritable) {
  struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct d[2];
  if (syscall(SYS_capget, &h, d)) return -1;
  if (which == 0) d[0].effective &= ~lost;
  if (which == 1) d[0].permitted &= ~lost, d[0].effective &= ~lost;
  d[0].inheritable |= inheritable;
  return syscall(SYS_capset, &h, d);
}
static int queue(int signal, int value) {
  siginfo_t i = {.si_signo = signal, .si_code = SI_QUEUE, .si_pid = getpid(), .si_value = {.sival_int = value}};
  return syscall(SYS_rt_sigqueueinfo, getpid(), signal, &i);
}
static int block(int signal) {
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, signal);
  return sigprocmask(SIG_BLOCK, &s, 0);
}
static int set_action(int signal, int flags, int masked) {
  struct sigaction a = {.sa_sigaction = on_hup, .sa_flags = flags};
  if (masked) sigaddset(&a.sa_mask, masked);
  return sigaction(signal, &a, 0);
}
static int lower(int resource, rlim_t by) {
  struct rlimit l;
  if (getrlimit(resource, &l)) return -1;
  if (l.rlim_cur == RLIM_INFINITY) l.rlim_cur = 1 << 30;
  l.rlim_cur -= by;
  return setrlimit(resource, &l);
}
static int arm(int clock, int kind, int seconds, int interval) {
  struct sigevent by = {.sigev_notify = kind, .sigev_signo = SIGWINCH, .sigev_value = {.sival_int = 77}};
  struct itimerspec at = {{interval, 0}, {seconds, 0}};
  int id = 0;
  return syscall(SYS_timer_create, clock, &by, &id) || syscall(SYS_timer_settime, id, 0, &at, 0);
}
static int set_sched(int policy, int slice_ns, int flags) {
  struct {
    unsigned size, policy;
    unsigned long long flags;
    int nice;
    unsigned priority;
    unsigned long long runtime, deadline, period;
  } a = {48, policy, flags, 0, 0, slice_ns, 0, 0};
  return syscall(SYS_sched_setattr, 0, &a, 0);
}
static int one_cpu(void) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  return sched_setaffinity(0, sizeof one, &one);
}
static void *idle(void *a) {
  for (;;) pause();
  return a;
}
// What a child does to be another; 0: not possible here.
static int differ(int kind) {
  int fd;
  pthread_t t;
  pid_t p;
  stack_t stack = {.ss_sp = area + PAGE, .ss_size = 2 * PAGE};
  struct itimerval hour = {{0, 0}, {3600, 0}};
  struct itimerspec day = {{7, 0}, {86400, 0}};
  static struct robust_list_head robust;
  gid_t groups[2] = {7, 8};
  switch (kind) {
  case 0: return 1;
  case 1: return setresgid(5, 0, 7) == 0;
  case 2: return setgroups(2, groups) == 0;
  case 3: return setresuid(1000, 0, 1001) == 0;
  case 4: return setfsuid(12) == 0;
  case 5: return set_caps(0, 1 << CAP_NET_RAW, 0) == 0;
  case 6: return set_caps(1, 1 << CAP_NET_RAW, 0) == 0;
  case 7: return set_caps(2, 0, 1 << CAP_NET_RAW) == 0;
  case 8: return set_caps(2, 0, 1 << CAP_NET_RAW) == 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0) == 0;
  case 9: return prctl(PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0) == 0;
  case 10: return prctl(PR_SET_SECUREBITS, 1 << 4) == 0;
  case 11: return prctl(PR_SET_KEEPCAPS, 1) == 0;
  case 12: return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
  case 13: umask(017); return 1;
  case 14: return chdir("/tmp") == 0;
  case 15: return chroot(victim_folder) == 0;
  case 16: return block(SIGWINCH) == 0;
  case 17: return signal(SIGWINCH, SIG_IGN) != SIG_ERR;
  case 18: return set_action(SIGHUP, SA_SIGINFO, 0) == 0;
  case 19: return set_action(SIGHUP, SA_SIGINFO | SA_ONSTACK | SA_NODEFER, SIGUSR2) == 0;
  case 20: return block(SIGRTMIN + 3) == 0 && queue(SIGRTMIN + 3, 5) == 0 && queue(SIGRTMIN + 3, 6) == 0;
  case 21: return block(SIGRTMIN + 3) == 0 && raise(SIGRTMIN + 3) == 0;
  case 22: return sigaltstack(&stack, 0) == 0;
  case 23: return setpriority(PRIO_PROCESS, 0, 7) == 0;
  case 24: return set_sched(SCHED_BATCH, 0, 0) == 0;
  case 25: return set_sched(SCHED_BATCH, 0, 0) == 0 && setpriority(PRIO_PROCESS, 0, 3) == 0;
  case 26: return set_sched(SCHED_OTHER, 7000000, 0) == 0;
  case 27: return set_sched(SCHED_OTHER, 0, 1) == 0;
  case 28: return one_cpu() == 0;
  case 29: return syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6) == 0;
  case 30: put("/proc/self/oom_score_adj", "123"); return 1;
  case 31: return prctl(PR_SET_NAME, "another") == 0;
  case 32: return personality(ADDR_NO_RANDOMIZE) >= 0;
  case 33: return prctl(PR_SET_TIMERSLACK, 77000) == 0;
  case 34: return prctl(PR_SET_DUMPABLE, 0) == 0;
  case 35: return prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0;
  case 36: return prctl(65, 1, 0, 0, 0) == 0; // PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
  case 37: return lower(RLIMIT_NOFILE, 5) == 0;
  case 38: return lower(RLIMIT_CORE, 0) == 0;
  case 39: return lower(RLIMIT_STACK, 4 * PAGE) == 0;
  case 40: return lower(RLIMIT_FSIZE, 0) == 0;
  case 41: filter(); return 1;
  case 42: return prctl(PR_SET_PDEATHSIG, SIGWINCH) == 0;
  case 43: return prctl(PR_SET_CHILD_SUBREAPER, 1) == 0;
  case 44: robust.list.next = &robust.list; return syscall(SYS_set_robust_list, &robust, sizeof robust) == 0;
  case 45: return syscall(SYS_set_tid_address, area) == getpid();
  case 46: return setitimer(ITIMER_REAL, &hour, 0) == 0;
  case 47: return setitimer(ITIMER_PROF, &hour, 0) == 0;
  case 48: return arm(CLOCK_MONOTONIC, SIGEV_SIGNAL, 3000, 9) == 0;
  case 49: return arm(CLOCK_PROCESS_CPUTIME_ID, SIGEV_NONE, 3000, 0) == 0;
  case 50: return (fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) >= 0 && timerfd_settime(fd, 0, &day, 0) == 0;
  case 51: return (fd = open("file", O_RDONLY)) >= 0 && dup2(fd, file_fd) == file_fd && close(fd) == 0 && lseek(file_fd, 5, SEEK_SET) == 5;
  case 52: return close(other_fd) == 0;
  case 53: return fcntl(other_fd, F_SETFD, FD_CLOEXEC) == 0;
  case 54: return dup2(file_fd, other_fd) == other_fd;
  case 55: return dup2(other_fd, 70) == 70;
  case 56: return dup(file_fd) >= 0;
  case 57: return (fd = open("file", O_WRONLY | O_APPEND)) >= 0;
  case 58: area[3 * PAGE + 9] ^= 0x55; return 1;
  case 59: memset(area + 3 * PAGE, 0, PAGE); return 1;
  case 60: return madvise(area + 3 * PAGE, PAGE, MADV_DONTNEED) == 0;
  case 61: return mprotect(area + 3 * PAGE, PAGE, PROT_READ) == 0;
  case 62: return mprotect(area + 3 * PAGE, PAGE, PROT_NONE) == 0;
  case 63: return mprotect(area, PAGES * PAGE, PROT_READ) == 0;
  case 64: return madvise(area, PAGES * PAGE, MADV_DONTFORK) == 0;
  case 65: return madvise(area, PAGES * PAGE, MADV_DONTDUMP) == 0;
  case 66: return madvise(area, PAGES * PAGE, MADV_NOHUGEPAGE) == 0;
  case 67: return madvise(area, PAGES * PAGE, MADV_WIPEONFORK) == 0;
  case 68: return madvise(area, PAGES * PAGE, MADV_SEQUENTIAL) == 0;
  case 69: return madvise(area, PAGES * PAGE, MADV_MERGEABLE) == 0;
  case 70: return mlock(area, 2 * PAGE) == 0 || errno == EPERM || errno == ENOMEM;
  case 71: return madvise(area + 3 * PAGE, PAGE, MADV_GUARD_INSTALL) == 0;
  case 72: return munmap(area + 3 * PAGE, PAGE) == 0;
  case 73: return mmap(area + 3 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == area + 3 * PAGE;
  case 74: return mmap(area + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == area + 3 * PAGE && (area[3 * PAGE] = 8);
  case 75: return mmap(area + 3 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, file_fd, PAGE) == area + 3 * PAGE;
  case 76: return mmap(file_at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file_fd, PAGE) == file_at;
  case 77: file_at[7] = 'c'; return 1;
  case 78: return (fd = open("twin", O_RDWR | O_CLOEXEC)) >= 0 && mmap(file_at, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) == file_at && close(fd) == 0;
  case 79: return mmap(file_at, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file_fd, 0) == file_at;
  case 80: return munmap(shared, PAGE) == 0;
  case 81: return mprotect(shared, PAGE, PROT_READ) == 0;
  case 82: return mmap(shared, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == shared && (shared[0] = 99);
  case 83: return sbrk(PAGE * 3) != (void *)-1;
  case 84: return sbrk(-PAGE) != (void *)-1;
  case 85: return mremap(area, PAGES * PAGE, 2 * PAGES * PAGE, MREMAP_MAYMOVE) != MAP_FAILED;
  case 86: return mremap(area + 4 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, area + 5 * PAGE) == area + 5 * PAGE && mprotect(area + 5 * PAGE, PAGE, PROT_READ) == 0;
  case 87: return setsid() == getpid();
  case 88: return setpgid(0, 0) == 0;
  case 89:
    if (!(p = fork())) _exit(7);
    return p > 0 && waitid(P_PID, p, 0, (fd = WEXITED | WNOWAIT)) == 0;
  case 90: return pthread_create(&t, 0, idle, 0) == 0;
  case 91:
    if (!(p = fork())) prctl(PR_SET_PDEATHSIG, SIGKILL), idle(0);
    return p > 0;
  case 92: put("/proc/self/coredump_filter", "0x7"); return 1;
  case 93: return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
  case 94: return mlockall(MCL_FUTURE | MCL_ONFAULT) == 0 || errno == EPERM || errno == ENOMEM;
  case 95: return prctl(PR_SET_TSC, PR_TSC_SIGSEGV) == 0;
  case 96: return prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0) == 0;
  case 97: return syscall(SYS_set_mempolicy, 2, (unsigned long[]){1}, 65) == 0 || errno == ENOSYS;
  case 98: return prctl(0x53564d41, 0, area, PAGES * PAGE, "named") == 0 || errno == EINVAL; // PR_SET_VMA
  case 99: return pkey_alloc(0, 0) > 0 || errno == ENOSPC || errno == EINVAL;
  case 100: return fcntl(pipes[0], F_SETPIPE_SZ, 1 << 17) > 0 || 1;
  case 101: return mmap(memory_file_at, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, memory_fd, 0) == memory_file_at;
  case 102: return prctl(PR_SET_TIMERSLACK, 1) == 0 && block(SIGWINCH) == 0 && prctl(PR_SET_NAME, "\n(x) 9") == 0;
  case 103: return mmap(0, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
  case 104: memset(*environ, 'e', strlen(*environ)); return 1;
  case 105: return madvise(area + 2 * PAGE, PAGE, MADV_HUGEPAGE) == 0 || errno == EINVAL;
  case 106: return mmap(area + 3 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == area + 3 * PAGE;
  case 107: return mmap(area + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0) == area + 3 * PAGE;
  case 108: return prctl(PR_SET_SPECULATION_CTRL, 1, 1 << 3, 0, 0) == 0 || 1;
  }
  return -1;
}

// Two for each family; the rest is in tree_of_kinds and tree_twins.
static const int kinds[] = {4, 5, 6, 7, 8, 9, 11, 14, 15, 19, 20, 24, 26, 27, 29, 36, 38, 39, 44, 45, 50, 51, 52, 53, 54, 55, 56, 57, 59, 61, 62, 64, 65, 66, 67, 68, 70, 71, 74, 75, 76, 77, 78, 79, 80, 81, 82, 84, 85, 86, 87, 89, 90, 91, 95, 97, 98, 99, 101, 103, 104, 105, 107, 0};
#define FAMILIES (int)(sizeof kinds / sizeof *kinds / 2)
#define CHILDREN 3
// What was seen, line by line.
struct seen {
  int used;
  char text[28 << 10];
};
static struct seen before, after;
static struct {
  int ready;
  char complaint[1 << 10];
} *common;
__attribute__((format(printf, 2, 3))) static void note(struct seen *s, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  s->used += vsnprintf(s->text + s->used, sizeof s->text - s->used, fmt, ap);
  va_end(ap);
  CHECK(s->used < (int)sizeof s->text - 200);
}
static char bytes[64 << 10];
static int contents(const char *file) {
  int fd = open(file, O_RDONLY | O_CLOEXEC), n = 0, got;
  if (fd < 0) return -1;
  while ((got = read(fd, bytes + n, sizeof bytes - 1 - n)) > 0) n += got;
  close(fd);
  bytes[n] = 0;
  return n;
}
static unsigned long sum_of(const void *at, int n) {
  unsigned long sum = 1469598103934665603ul;
  for (int i = 0; i < n; i++) sum = (sum ^ ((const unsigned char *)at)[i]) * 1099511628211ul;
  return sum;
}
static void note_file(struct seen *s, const char *file) {
  int n = contents(file);
  note(s, "%s: %d %lx\n", file, n, n < 0 ? 0 : sum_of(bytes, n));
}
static void note_pages(struct seen *s, const char *name, char *from, char *to) {
  for (char *at = from; at < to; at += PAGE) {
    struct iovec own = {bytes, PAGE}, there = {at, PAGE};
    int n = process_vm_readv(getpid(), &own, 1, &there, 1, 0);
    note(s, "%s+%lx: %d %lx\n", name, (long)(at - from), n, n > 0 ? sum_of(bytes, n) : 0);
  }
}
static char *heap_start;
static void look(struct seen *s) {
  unsigned long w[16] = {0};
  uid_t r, e, f;
  gid_t groups[8];
  struct stat st;
  struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
  int n = 0;
  s->used = 0;
  note(s, "session %d group %d parent %d fs %d %d\n", getsid(0), getpgid(0), getppid(), setfsuid(-1), setfsgid(-1));
  getresuid(&r, &e, &f), note(s, "uids %d %d %d\n", r, e, f);
  getresgid(&r, &e, &f), note(s, "gids %d %d %d\n", r, e, f);
  n = getgroups(8, groups), note(s, "groups %d %lx\n", n, sum_of(groups, n > 0 ? 4 * n : 0));
  syscall(SYS_capget, &h, w), note(s, "caps %lx %lx %lx\n", w[0], w[1], w[2]);
  for (int c = 0; c < 41; c++) w[4] |= (unsigned long)(prctl(PR_CAPBSET_READ, c) == 1) << c, w[5] |= (unsigned long)(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, c, 0, 0) == 1) << c;
  note(s, "bounding %lx ambient %lx secure %d nnp %d\n", w[4], w[5], prctl(PR_GET_SECUREBITS), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  mode_t mask = umask(0);
  umask(mask);
  note(s, "umask %o cwd %s root %lx\n", mask, getcwd(bytes, sizeof bytes) ? bytes : "-", stat("/", &st) ? 0 : st.st_ino);
  syscall(SYS_rt_sigprocmask, 0, 0, w, 8), syscall(SYS_rt_sigpending, w + 1, 8), note(s, "blocked %lx pending %lx\n", w[0], w[1]);
  for (int i = 1; i < 65; i++) {
    memset(w, 0, sizeof w);
    syscall(SYS_rt_sigaction, i, 0, w, 8);
    if (w[0] | w[1] | w[3]) note(s, "action %d: %lx %lx %lx %lx\n", i, w[0], w[1], w[2], w[3]);
  }
  stack_t stack = {0};
  sigaltstack(0, &stack), note(s, "stack %p %d %zx\n", stack.ss_sp, stack.ss_flags, stack.ss_size);
  memset(w, 0, sizeof w), syscall(SYS_sched_getattr, 0, w, 48, 0), note(s, "sched %lx %lx %lx %lx nice %d io %ld\n", w[0], w[1], w[2], w[3], getpriority(PRIO_PROCESS, 0), syscall(SYS_ioprio_get, 1, 0));
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  sched_getaffinity(0, sizeof cpus, &cpus), note(s, "cpus %lx\n", sum_of(&cpus, sizeof cpus));
  for (int i = 0; i < 16; i++) prlimit(0, i, 0, (void *)w), note(s, "limit %d: %lx %lx\n", i, w[0], w[1]);
  prctl(PR_GET_NAME, w), note(s, "name %s\n", (char *)w);
  int death = 0, reaps = 0, tsc = 0, mode = 0;
  prctl(PR_GET_PDEATHSIG, &death), prctl(PR_GET_CHILD_SUBREAPER, &reaps), prctl(PR_GET_TSC, &tsc);
  note(s, "death %d reaps %d tsc %d mce %d personality %x slack %d dumpable %d thp %d mdwe %d filtered %d\n", death, reaps, tsc, prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), personality(-1), prctl(PR_GET_TIMERSLACK), prctl(PR_GET_DUMPABLE), prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), prctl(66, 0, 0, 0, 0), filtered());
  syscall(SYS_get_robust_list, 0, w, w + 1), prctl(PR_GET_TID_ADDRESS, w + 2), note(s, "robust %lx tid address %lx\n", w[0], w[2]);
  memset(w, 0, sizeof w), syscall(SYS_get_mempolicy, &mode, w, 513, 0, 0), note(s, "policy %d %lx membarrier %ld\n", mode, w[0], syscall(SYS_membarrier, 1 << 9, 0, 0));
  note(s, "speculation %d %d %d\n", prctl(52, 0, 0, 0, 0), prctl(52, 1, 0, 0, 0), prctl(52, 2, 0, 0, 0));
  for (int which = 0; which < 3; which++) {
    struct itimerval t = {{0, 0}, {0, 0}};
    getitimer(which, &t), note(s, "interval timer %ld %d\n", t.it_interval.tv_sec, t.it_value.tv_sec > 3000);
  }
  struct itimerspec t = {{0, 0}, {0, 0}};
  n = syscall(SYS_timer_gettime, 0, &t), note(s, "timer %d: %ld %d over %ld\n", n, t.it_interval.tv_sec, t.it_value.tv_sec > 2000, syscall(SYS_timer_getoverrun, 0));
  for (int fd = 0; fd < 80; fd++) {
    char path[32], to[256];
    if (fcntl(fd, F_GETFD) < 0) continue;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    n = readlink(path, to, sizeof to - 1), to[n > 0 ? n : 0] = 0;
    if (!strncmp(to, "pipe:", 5)) to[5] = 0;
    note(s, "fd %d: %d %x %ld %s like", fd, fcntl(fd, F_GETFD), fcntl(fd, F_GETFL), (long)lseek(fd, 0, SEEK_CUR), to);
    for (int other = 0; other < 80; other++)
      if (other != fd && syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, fd, other) == 0) note(s, " %d", other);
    note(s, ", parent's %d\n", syscall(SYS_kcmp, getpid(), getppid(), KCMP_FILE, fd, fd) == 0);
  }
  memset(&t, 0, sizeof t);
  for (int fd = timer_fd; fd < timer_fd + 12; fd++)
    if (timerfd_gettime(fd, &t) == 0) note(s, "timerfd %d: %ld %d\n", fd, t.it_interval.tv_sec, t.it_value.tv_sec > 2000);
  const char *files[] = {"/proc/self/oom_score_adj", "/proc/self/coredump_filter", "/proc/self/loginuid", "/proc/self/cmdline", "/proc/self/environ", "/proc/self/auxv", "/proc/thread-self/children"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) note_file(s, files[i]);
  n = contents("/proc/self/autogroup"), note(s, "autogroup %s", n > 0 && strstr(bytes, "nice") ? strstr(bytes, "nice") : "-\n");
  siginfo_t child = {0};
  n = waitid(P_ALL, 0, &child, WEXITED | WNOWAIT | WNOHANG), note(s, "waits %d %d %d\n", n, n ? 0 : child.si_pid, n ? 0 : child.si_status);
  note_pages(s, "area", area, area + PAGES * PAGE);
  note_pages(s, "shared", shared, shared + PAGE);
  note_pages(s, "file", file_at, file_at + 2 * PAGE);
  note_pages(s, "memory", memory_file_at, memory_file_at + PAGE);
  note_pages(s, "heap", heap_start, heap_start + 4 * PAGE);
  n = contents("/proc/self/smaps");
  char *line = n > 0 ? bytes : 0, *end;
  for (; line && (end = strchr(line, '\n')); line = end + 1) {
    *end = 0;
    if ((*line >= '0' && *line <= '9') || (*line >= 'a' && *line <= 'f')) {
      // The kernel numbers what is in memory alone.
      char *own = strstr(line, " 00:01 "), *name = strchr(line, '/');
      note(s, "%.*s %s\n", own ? (int)(own - line) : (int)strlen(line), line, own && name ? name : "");
    }
    if (strncmp(line, "VmFlags", 7)) continue;
    // What the kernel accounts for is its own affair.
    char *ac = strstr(line, "ac ");
    if (ac) memmove(ac, ac + 3, strlen(ac + 3) + 1);
    note(s, "%s\n", line);
  }
}
static void complain(int kind, const char *was, const char *is) {
  int a = strcspn(was, "\n"), b = strcspn(is, "\n");
  if (!__atomic_fetch_add(&common->complaint[1000], 1, __ATOMIC_SEQ_CST))
    snprintf(common->complaint, 1000, "kind %d, pid %d: was `%.*s`, is `%.*s`", kind, getpid(), a, was, b, is);
  _exit(1);
}
static void child(int kind, int which) {
  if (which && differ(kind) != 1) snprintf(common->complaint, 1000, "kind %d cannot be: %s", kind, strerror(errno)), _exit(1);
  look(&after);
  look(&before);
  __atomic_fetch_add(&common->ready, 1, __ATOMIC_SEQ_CST);
  wait_go();
  look(&after);
  for (int at = 0, line = 0; before.text[at]; at++) {
    if (before.text[at] != after.text[at]) complain(kind, before.text + line, after.text + line);
    if (before.text[at] == '\n') line = at + 1;
  }
  if (which && kind == 20)
    for (int n = 5; n < 7; n++) {
      sigset_t s;
      siginfo_t i = {0};
      sigemptyset(&s), sigaddset(&s, SIGRTMIN + 3);
      if (sigwaitinfo(&s, &i) != SIGRTMIN + 3 || i.si_value.sival_int != n) complain(kind, "queue", "another");
    }
  _exit(0);
}
static void family(int number) {
  pid_t all[CHILDREN];
  for (int i = 0; i < CHILDREN; i++)
    if (!(all[i] = fork())) child(i ? kinds[2 * number + i - 1] : 0, i);
  __atomic_fetch_add(&common->ready, 1, __ATOMIC_SEQ_CST);
  wait_go();
  for (int i = 0; i < CHILDREN; i++) pass_on(all[i]);
  for (int i = 0; i < CHILDREN; i++) {
    int st = status_of(all[i]);
    if (st) complain(number, "alive", st == 256 ? "no more" : "killed");
  }
  _exit(0);
}
static void victim(void) {
  int fd;
  common = map_anon(2 * PAGE, MAP_SHARED);
  area = (char *)map_anon((PAGES + 2) * PAGE, MAP_PRIVATE) + PAGE;
  CHECK(mprotect(area - PAGE, PAGE, PROT_NONE) == 0 && mprotect(area + PAGES * PAGE, PAGE, PROT_NONE) == 0);
  fill(area, PAGES * PAGE, 5);
  shared = map_anon(PAGE, MAP_SHARED);
  shared[0] = 's';
  heap_start = sbrk(4 * PAGE);
  fill(heap_start, 4 * PAGE, 6);
  fill(bytes, 4 * PAGE, 7);
  CHECK((fd = open("twin", O_RDWR | O_CREAT, 0644)) >= 0 && write(fd, bytes, 4 * PAGE) == 4 * PAGE && close(fd) == 0);
  CHECK((file_fd = open("file", O_RDWR | O_CREAT, 0644)) >= 0 && write(file_fd, bytes, 4 * PAGE) == 4 * PAGE);
  CHECK((file_at = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file_fd, 0)) != MAP_FAILED);
  CHECK((other_fd = open("/dev/null", O_RDWR)) >= 0 && pipe(pipes) == 0);
  CHECK((memory_fd = memfd_create("memory", 0)) >= 0 && write(memory_fd, bytes, PAGE) == PAGE);
  CHECK((memory_file_at = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0)) != MAP_FAILED);
  timer_fd = memory_fd + 1;
  pid_t all[FAMILIES];
  for (int i = 0; i < FAMILIES; i++)
    if (!(all[i] = fork())) family(i);
  for (int i = 0; __atomic_load_n(&common->ready, __ATOMIC_SEQ_CST) < FAMILIES * (1 + CHILDREN) && !*common->complaint; i++) {
    if (i > 20000) finish(1, "%d are ready", common->ready);
    sleep_ms(1);
  }
  if (*common->complaint) finish(1, "%s", common->complaint);
  ready_and_wait();
  for (int i = 0; i < FAMILIES; i++) pass_on(all[i]);
  for (int i = 0; i < FAMILIES; i++) {
    int st = status_of(all[i]);
    if (st) finish(1, "family %d: %x: %s", i, st, common->complaint);
  }
}
