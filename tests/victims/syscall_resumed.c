// What: a wait with a timeout that had been interrupted before, so that the kernel goes on with it by restart_syscall, goes on.
// Variants: nanosleep clock_nanosleep poll futex
#include "victim.h"
#include <linux/futex.h>
static const struct timespec minutes = {600, 0};
static void wait_long(void) {
  static int word;
  if (is("nanosleep")) syscall(SYS_nanosleep, &minutes, 0);
  else if (is("clock_nanosleep")) syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &minutes, 0);
  else if (is("poll")) syscall(SYS_poll, 0, 0, 600000);
  else syscall(SYS_futex, &word, FUTEX_WAIT, 0, &minutes, 0, 0);
}
static long first_call(void) {
  if (is("nanosleep")) return SYS_nanosleep;
  if (is("clock_nanosleep")) return SYS_clock_nanosleep;
  return is("poll") ? SYS_poll : SYS_futex;
}
// The call that a process waits in; -1: none.
static long call_of(pid_t pid) {
  char path[64];
  long call = -1;
  snprintf(path, sizeof path, "/proc/%d/syscall", pid);
  FILE *f = fopen(path, "re");
  if (!f || fscanf(f, "%ld", &call) != 1) call = -1;
  if (f) fclose(f);
  return call;
}
static int is_over(pid_t pid) {
  siginfo_t info = {0};
  return waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid;
}
static void victim(void) {
  if (access("/sys/kernel/btf/vmlinux", R_OK)) SKIP("the kernel does not describe itself");
  pid_t child = fork();
  if (!child) {
    wait_long();
    _exit(1);
  }
  while (call_of(child) != first_call()) sleep_ms(1);
  int st;
  CHECK(kill(child, SIGSTOP) == 0 && waitpid(child, &st, WUNTRACED) == child && WIFSTOPPED(st));
  CHECK(kill(child, SIGCONT) == 0);
  while (call_of(child) != SYS_restart_syscall) sleep_ms(1);
  ready_and_wait();
  for (long call = -1; call != first_call() && call != SYS_restart_syscall; call = call_of(child)) {
    CHECK(!is_over(child));
    sleep_ms(1);
  }
  CHECK(kill(child, SIGKILL) == 0);
  st = status_of(child);
  CHECK(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
}
