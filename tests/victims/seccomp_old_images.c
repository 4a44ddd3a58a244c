// What: images from before per-thread filters, which have a task's seccomp chain once: every thread comes back under it.
// Build: -pthread
// Images: per-task-filters
#include "victim.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
static void forbid(int nr, int err) {
  struct sock_filter f[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog p = {4, f};
  CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) == 0);
}
static void confined(void) {
  CHECK(syscall(SYS_getppid) == -1 && errno == 31);
  CHECK(syscall(SYS_getpgrp) == -1 && errno == 32);
  CHECK(atoi(proc_field("/proc/thread-self/status", "Seccomp_filters")) == 2);
}
static pthread_barrier_t built, check;
static void *thread(void *arg) {
  confined();
  pthread_barrier_wait(&built);
  pthread_barrier_wait(&check);
  confined();
  return arg;
}
static void victim(void) {
  pthread_t t[2];
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  forbid(SYS_getppid, 31);
  // The one installed last decides first.
  forbid(SYS_getpgrp, 32);
  pthread_barrier_init(&built, 0, 3);
  pthread_barrier_init(&check, 0, 3);
  for (int i = 0; i < 2; i++) CHECK(pthread_create(&t[i], 0, thread, 0) == 0);
  pthread_barrier_wait(&built);
  ready_and_wait();
  confined();
  pthread_barrier_wait(&check);
  for (int i = 0; i < 2; i++) CHECK(pthread_join(t[i], 0) == 0);
}
