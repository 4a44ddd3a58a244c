// What: threads that try their filters all the time, also while the process is being stopped, never see one that is not in force.
// Build: -pthread
#include "victim.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
static volatile int end, slipped;
static volatile long last;
static void *thread(void *arg) {
  struct sock_filter f[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 42),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog p = {4, f};
  CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) == 0);
  while (!end) {
    long got = syscall(SYS_getppid);
    if (got == -1 && errno == 42) continue;
    last = got == -1 ? -errno : got;
    slipped++;
  }
  return arg;
}
static void victim(void) {
  pthread_t t[4];
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  for (int i = 0; i < 4; i++) CHECK(pthread_create(&t[i], 0, thread, 0) == 0);
  ready_and_wait();
  end = 1;
  for (int i = 0; i < 4; i++) CHECK(pthread_join(t[i], 0) == 0);
  if (slipped) finish(1, "%d calls slipped through, one gave %ld", slipped, last);
}
