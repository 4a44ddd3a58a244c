// What: seccomp per thread: no filter, strict mode, chains of different length in order, flags, TSYNC afterwards, filters that forbid what a restore needs.
// Variants: family chains strict order flags tsync forbid inherited equal main_only privileged
// Build: -pthread
#include "victim.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
// A filter of `pad` idle loads: `nr` fails with `err`, everything else is allowed.
static long install(unsigned flags, int pad, int nr, int err) {
  struct sock_filter f[64];
  int i = 0;
  for (; i < pad; i++) f[i] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4);
  f[i++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
  f[i++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1);
  f[i++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err);
  f[i++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog p = {i, f};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p);
}
static int err_of(long nr) { return syscall(nr) == -1 ? errno : 0; }
static pthread_barrier_t built, check;
static volatile int go_strict;
static int depth(void) { return atoi(proc_field("/proc/thread-self/status", "Seccomp_filters")); }
static void *thread(void *arg) {
  long i = (long)arg;
  int want = 0;
  if (is("chains")) {
    for (int k = 0; k < i * 3; k++) CHECK(install(0, k, k % 2 ? SYS_getppid : SYS_getpgrp, 30 + k) == 0);
    want = i * 3;
  } else if (is("equal")) {
    for (int k = 0; k < 4; k++) CHECK(install(0, 1, SYS_getppid, 33) == 0);
    want = 4;
  } else if (is("order")) {
    // Of several errors the one of the filter installed last counts.
    for (int k = 0; k <= i; k++) CHECK(install(0, 0, SYS_getppid, 40 + k) == 0);
    want = i + 1;
  } else if (is("main_only") || is("tsync") || is("strict")) {
    want = 0;
  }
  pthread_barrier_wait(&built);
  if (is("strict") && i == 1) {
    // In strict mode: read, write, exit and sigreturn are all there is; a shared word tells it to end.
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0);
    while (!go_strict) __builtin_ia32_pause();
    syscall(SYS_exit, 0);
  }
  if (is("strict") && i == 2) {
    pthread_barrier_wait(&check);
    return arg;
  }
  pthread_barrier_wait(&check);
  CHECK(depth() == want || is("tsync") || is("inherited"));
  if (is("chains")) {
    CHECK(err_of(SYS_getpgrp) == (i ? 30 + (want - 1) / 2 * 2 : 0));
    CHECK(err_of(SYS_getppid) == (want > 1 ? 30 + (want / 2) * 2 - 1 : 0));
  }
  if (is("order")) CHECK(err_of(SYS_getppid) == 40 + i);
  if (is("equal")) CHECK(err_of(SYS_getppid) == 33);
  if (is("main_only")) CHECK(err_of(SYS_getppid) == 0);
  if (is("tsync")) {
    pthread_barrier_wait(&built);
    CHECK(err_of(SYS_getppid) == 61 && err_of(SYS_getuid) == 60);
  }
  if (is("inherited")) CHECK(depth() == 2 && err_of(SYS_getppid) == 50 && err_of(SYS_getpgrp) == 51);
  CHECK(err_of(SYS_gettid) == 0);
  return arg;
}
// Forbids every call but the few that the check needs.
static void forbid(void) {
  struct sock_filter f[64];
  int allowed[] = {SYS_openat, SYS_write, SYS_close, SYS_link, SYS_unlink, SYS_exit_group, SYS_rt_sigsuspend, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_gettid, SYS_open};
  int n = sizeof allowed / sizeof *allowed, i = 0;
  f[i++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
  for (int k = 0; k < n; k++) f[i++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[k], n - k, 0);
  f[i++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  f[i++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog p = {i, f};
  CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) == 0);
}
// Threads that were born with another's filters, three of them deep; TSYNC of the deepest works for all of them only while
// these are the same filters still. The main thread, and one beside it, have none.
static pthread_barrier_t family_built, family_check, family_synced;
static void *family(void *arg) {
  long who = (long)arg;
  pthread_t child[2];
  int children = 0;
  if (who == 1) {
    CHECK(install(0, 0, SYS_getppid, 80) == 0);
    CHECK(pthread_create(&child[children++], 0, family, (void *)2) == 0);
    CHECK(install(0, 1, SYS_getpgrp, 81) == 0);
    CHECK(pthread_create(&child[children++], 0, family, (void *)3) == 0);
  }
  if (who == 3) {
    CHECK(install(SECCOMP_FILTER_FLAG_LOG, 2, SYS_getuid, 82) == 0);
    CHECK(pthread_create(&child[children++], 0, family, (void *)4) == 0);
  }
  static const int want[] = {0, 2, 1, 3, 3};
  CHECK(depth() == want[who]);
  pthread_barrier_wait(&family_built);
  pthread_barrier_wait(&family_check);
  CHECK(depth() == want[who]);
  CHECK(err_of(SYS_getppid) == (who ? 80 : 0) && err_of(SYS_getpgrp) == (want[who] > 1 ? 81 : 0));
  CHECK(err_of(SYS_getuid) == (want[who] > 2 ? 82 : 0));
  pthread_barrier_wait(&family_check);
  if (who == 4) CHECK(install(SECCOMP_FILTER_FLAG_TSYNC, 3, SYS_getgid, 83) == 0);
  pthread_barrier_wait(&family_synced);
  CHECK(depth() == 4 && err_of(SYS_getgid) == 83 && err_of(SYS_getuid) == 82);
  for (int i = 0; i < children; i++) pthread_join(child[i], 0);
  return arg;
}
static void victim_family(void) {
  pthread_t t[2];
  pthread_barrier_init(&family_built, 0, 6);
  pthread_barrier_init(&family_check, 0, 6);
  pthread_barrier_init(&family_synced, 0, 6);
  for (long i = 0; i < 2; i++) CHECK(pthread_create(&t[i], 0, family, (void *)i) == 0);
  pthread_barrier_wait(&family_built);
  ready_and_wait();
  CHECK(depth() == 0 && err_of(SYS_getppid) == 0);
  pthread_barrier_wait(&family_check);
  pthread_barrier_wait(&family_check);
  pthread_barrier_wait(&family_synced);
  CHECK(depth() == 4 && err_of(SYS_getppid) == 80);
  for (int i = 0; i < 2; i++) pthread_join(t[i], 0);
}
static void victim(void) {
  pthread_t t[4];
  // Without no_new_privs a filter needs CAP_SYS_ADMIN.
  if (!is("privileged")) CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  if (is("family")) {
    victim_family();
    return;
  }
  if (is("privileged")) {
    CHECK(install(0, 3, SYS_getppid, 70) == 0);
    ready_and_wait();
    CHECK(err_of(SYS_getppid) == 70 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
    return;
  }
  if (is("forbid")) {
    forbid();
    ready_and_wait();
    return;
  }
  if (is("flags")) {
    CHECK(install(SECCOMP_FILTER_FLAG_LOG, 0, SYS_getppid, 71) == 0);
    CHECK(install(SECCOMP_FILTER_FLAG_SPEC_ALLOW, 1, SYS_getpgrp, 72) == 0);
    CHECK(install(SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW, 2, SYS_getuid, 73) == 0);
    ready_and_wait();
    CHECK(err_of(SYS_getppid) == 71 && err_of(SYS_getpgrp) == 72 && err_of(SYS_getuid) == 73 && depth() == 3);
    return;
  }
  pthread_barrier_init(&built, 0, 5);
  pthread_barrier_init(&check, 0, is("strict") ? 4 : 5);
  if (is("inherited")) CHECK(install(0, 0, SYS_getppid, 50) == 0 && install(0, 0, SYS_getpgrp, 51) == 0);
  for (long i = 0; i < 4; i++) CHECK(pthread_create(&t[i], 0, thread, (void *)i) == 0);
  pthread_barrier_wait(&built);
  if (is("main_only")) CHECK(install(0, 0, SYS_getppid, 55) == 0);
  if (is("tsync")) CHECK(install(SECCOMP_FILTER_FLAG_TSYNC, 0, SYS_getuid, 60) == 0);
  pid_t child = 0;
  if (is("inherited")) {
    child = fork();
    if (!child) {
      CHECK(install(0, 5, SYS_getuid, 52) == 0);
      mark("child");
      wait_go();
      CHECK(depth() == 3 && err_of(SYS_getppid) == 50 && err_of(SYS_getuid) == 52);
      _exit(3);
    }
    await_mark("child");
  }
  if (is("strict")) sleep_ms(20);
  ready_and_wait();
  if (child) {
    pass_on(child);
    expect_exit(child, 3);
  }
  pthread_barrier_wait(&check);
  if (is("tsync")) {
    CHECK(install(SECCOMP_FILTER_FLAG_TSYNC, 0, SYS_getppid, 61) == 0);
    pthread_barrier_wait(&built);
  }
  go_strict = 1;
  for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
  if (is("main_only")) CHECK(err_of(SYS_getppid) == 55 && depth() == 1);
  if (is("strict")) CHECK(depth() == 0 && err_of(SYS_getppid) == 0);
}
