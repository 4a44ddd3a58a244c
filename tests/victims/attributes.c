// What: one attribute of a task each: name, umask, personality, oom score, nice value, timer slack, dumpable, core filter ...
// Variants: comm umask personality oom nice slack dumpable corefilter pdeathsig thp thp_advised mdwe affinity ioprio loginuid tsc cpuid mce mempolicy
#include "victim.h"
#include <asm/prctl.h>
#include <setjmp.h>
#include <sys/personality.h>
#include <sys/resource.h>
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif
#ifndef PR_THP_DISABLE_EXCEPT_ADVISED
#define PR_THP_DISABLE_EXCEPT_ADVISED 2
#endif
#define MPOL_INTERLEAVE 3
static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY);
  CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  close(fd);
}
static int holds(const char *path, const char *text) {
  char b[64] = {0};
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0 && read(fd, b, 63) > 0);
  close(fd);
  return !strncmp(b, text, strlen(text));
}
static void parent_and_child(void) {
  pid_t child = fork();
  if (!child) {
    CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR2) == 0);
    mark("child");
    wait_go();
    int sig = 0;
    CHECK(prctl(PR_GET_PDEATHSIG, &sig) == 0 && sig == SIGUSR2);
    _exit(2);
  }
  await_mark("child");
  ready_and_wait();
  pass_on(child);
  expect_exit(child, 2);
}
static sigjmp_buf denied;
static void on_segv(int s) {
  (void)s;
  siglongjmp(denied, 1);
}
static void time_stamp_is_denied(void) {
  int how = 0;
  CHECK(prctl(PR_GET_TSC, &how) == 0 && how == PR_TSC_SIGSEGV);
  signal(SIGSEGV, on_segv);
  if (sigsetjmp(denied, 1) == 0) {
    __builtin_ia32_rdtsc();
    CHECK(!"rdtsc went through");
  }
}
static void victim(void) {
  cpu_set_t cpus, now;
  char name[16];
  CPU_ZERO(&cpus);
  CPU_SET(0, &cpus);
  if (is("pdeathsig")) {
    parent_and_child();
    return;
  }
  if (is("comm")) prctl(PR_SET_NAME, "odd ) \xe2\x82 (");
  else if (is("umask")) umask(0137);
  else if (is("personality")) CHECK(personality(ADDR_NO_RANDOMIZE | SHORT_INODE) >= 0);
  else if (is("oom")) put("/proc/self/oom_score_adj", "321");
  else if (is("nice")) CHECK(setpriority(PRIO_PROCESS, 0, 11) == 0);
  else if (is("slack")) CHECK(prctl(PR_SET_TIMERSLACK, 123456) == 0);
  else if (is("dumpable")) CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
  else if (is("corefilter")) put("/proc/self/coredump_filter", "0x7");
  else if (is("thp")) CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
  else if (is("affinity")) CHECK(sched_setaffinity(0, sizeof cpus, &cpus) == 0);
  else if (is("ioprio")) CHECK(syscall(SYS_ioprio_set, 1, 0, (2 << 13) | 6) == 0);
  else if (is("loginuid")) {
    int fd = open("/proc/self/loginuid", O_WRONLY);
    if (fd < 0 || write(fd, "4321", 4) != 4) SKIP("/proc/self/loginuid: %s", strerror(errno));
    close(fd);
  } else if (is("tsc")) CHECK(prctl(PR_SET_TSC, PR_TSC_SIGSEGV) == 0);
  else if (is("cpuid") && syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0)) SKIP("ARCH_SET_CPUID: %s", strerror(errno));
  else if (is("mce")) CHECK(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0) == 0);
  else if (is("mdwe") && prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)) SKIP("the kernel has no PR_SET_MDWE");
  else if (is("thp_advised") && prctl(PR_SET_THP_DISABLE, 1, PR_THP_DISABLE_EXCEPT_ADVISED, 0, 0)) SKIP("PR_SET_THP_DISABLE has no flags");
  unsigned long nodes[16] = {1};
  if (is("mempolicy") && syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, nodes, 64)) SKIP("set_mempolicy: %s", strerror(errno));
  ready_and_wait();
  if (is("mempolicy")) {
    int mode = -1;
    nodes[0] = 0;
    CHECK(syscall(SYS_get_mempolicy, &mode, nodes, 1024, 0, 0) == 0 && mode == MPOL_INTERLEAVE && nodes[0] == 1);
  } else if (is("thp_advised")) CHECK(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == (1 | PR_THP_DISABLE_EXCEPT_ADVISED));
  else if (is("comm")) CHECK(prctl(PR_GET_NAME, name) == 0 && !strcmp(name, "odd ) \xe2\x82 ("));
  else if (is("umask")) CHECK(umask(0) == 0137);
  else if (is("personality")) CHECK(personality(0xffffffff) == (ADDR_NO_RANDOMIZE | SHORT_INODE));
  else if (is("oom")) CHECK(holds("/proc/self/oom_score_adj", "321\n"));
  else if (is("nice")) CHECK(getpriority(PRIO_PROCESS, 0) == 11);
  else if (is("slack")) CHECK(prctl(PR_GET_TIMERSLACK) == 123456);
  else if (is("dumpable")) CHECK(prctl(PR_GET_DUMPABLE) == 0);
  else if (is("corefilter")) CHECK(holds("/proc/self/coredump_filter", "00000007"));
  else if (is("thp")) CHECK(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1);
  else if (is("affinity")) CHECK(sched_getaffinity(0, sizeof now, &now) == 0 && CPU_EQUAL(&now, &cpus));
  else if (is("ioprio")) CHECK(syscall(SYS_ioprio_get, 1, 0) == ((2 << 13) | 6));
  else if (is("loginuid")) CHECK(holds("/proc/self/loginuid", "4321"));
  else if (is("cpuid")) CHECK(syscall(SYS_arch_prctl, ARCH_GET_CPUID, 0) == 0);
  else if (is("mce")) CHECK(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0) == PR_MCE_KILL_EARLY);
  else if (is("tsc")) time_stamp_is_denied();
  else if (is("mdwe")) CHECK(prctl(PR_GET_MDWE, 0, 0, 0, 0) == PR_MDWE_REFUSE_EXEC_GAIN);
}
