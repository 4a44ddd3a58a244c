// Runs a program, and lets one system call of it or of the processes that it starts fail, or kills the program there.
//   inject -o REPORT [-n N -e ERRNO | -n N -k] PROGRAM ARGS...
// Calls are counted from 1, from the start of main on, in the order in which they are made, over all tasks. Without -n they are only counted. The report has
// `calls COUNT`, and `failed N: call NUMBER(ARGUMENTS) of TASK` (`killed`) when the N-th was reached. The exit status is the program's; 128 + signal.
//
// A task that the program wants to trace is let go at that moment: it is no longer the engine's own then.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANY 65536
enum { UNKNOWN, RUNNING, IN_CALL, FAILING, SPOILING, BREAKING };
static unsigned char state[MANY];
static long calls, wanted;
static int code, kills, started;
static pid_t program;
static unsigned long long asked_break;
static FILE *report;

// Looking again and again at one task is counted twice: how often it takes is another number each time.
static int polled(const struct user_regs_struct *r) {
  static unsigned long long task, times;
  if (!(r->rdx & WNOHANG)) return 0;
  times = task == r->rdi ? times + 1 : 1;
  task = r->rdi;
  return times > 2;
}

// A close may report what became of writing; nothing else can be wrong with it.
static int harmless_close(pid_t tid, int fd) {
  char path[64];
  struct stat st;
  snprintf(path, sizeof path, "/proc/%d/fd/%d", tid, fd);
  return lstat(path, &st) || !(st.st_mode & S_IWUSR);
}

// Calls that the kernel cannot fail, and without which nothing is as it is outside of a test.
static int exempt(pid_t tid, const struct user_regs_struct *r) {
  switch (r->orig_rax) {
    case SYS_exit:
    case SYS_exit_group:
    case SYS_rt_sigreturn:
    case SYS_getpid:
    case SYS_gettid:
    case SYS_getppid:
    case SYS_getrandom:
      return 1;
    case SYS_prlimit64:
      return r->rdi == 0 && r->rdx == 0;
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
    case SYS_restart_syscall:
    case SYS_sched_yield:
      return 1;
    case SYS_close:
      return harmless_close(tid, r->rdi);
    case SYS_wait4:
      return polled(r);
    case SYS_futex:
      return (r->rsi & FUTEX_CMD_MASK) == FUTEX_WAKE || (r->rsi & FUTEX_CMD_MASK) == FUTEX_WAKE_BITSET;
    default:
      return 0;
  }
}

static void go_on(pid_t tid, int signal) {
  ptrace(PTRACE_SYSCALL, tid, 0, (void *)(long)signal);
}

// A task is about to be traced by the program: it has to be stopped to be let go.
static void let_go(pid_t tid) {
  int status;
  if (tid <= 0 || tid >= MANY || state[tid] == UNKNOWN) return;
  if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) == 0 && waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status)) {
    int signal = status >> 16 || WSTOPSIG(status) & 0x80 ? 0 : WSTOPSIG(status);
    if (status >> 16 == PTRACE_EVENT_CLONE || status >> 16 == PTRACE_EVENT_FORK) {
      unsigned long child;
      ptrace(PTRACE_GETEVENTMSG, tid, 0, &child);
      let_go(child);
    }
    ptrace(PTRACE_DETACH, tid, 0, (void *)(long)signal);
  }
  state[tid] = UNKNOWN;
}

static void entered(pid_t tid) {
  struct user_regs_struct r;
  state[tid] = IN_CALL;
  if (ptrace(PTRACE_GETREGS, tid, 0, &r)) return;
  if (r.orig_rax == SYS_ptrace && r.rdi == PTRACE_SEIZE) let_go(r.rsi);
  // What the loader does before is none of the program's; the first that Rust's runtime does is this.
  started |= r.orig_rax == SYS_poll;
  if (!started || exempt(tid, &r) || ++calls != wanted) return;
  fprintf(report, "%s %ld: call %lld(%#llx, %#llx) of %d\n", kills ? "killed" : "failed", wanted, r.orig_rax, r.rdi, r.rsi, tid);
  if (kills) {
    // The call is not made if it is the program's own.
    kill(program, SIGKILL);
    return;
  }
  // A close that fails has closed all the same.
  state[tid] = r.orig_rax == SYS_close ? SPOILING : FAILING;
  if (r.orig_rax == SYS_brk) {
    // Its failure is that the break stays where it is.
    asked_break = r.rdi;
    r.rdi = 0;
    state[tid] = BREAKING;
    ptrace(PTRACE_SETREGS, tid, 0, &r);
  }
  if (state[tid] == FAILING) {
    r.orig_rax = -1;
    ptrace(PTRACE_SETREGS, tid, 0, &r);
  }
}

static void left(pid_t tid) {
  struct user_regs_struct r;
  if (state[tid] != IN_CALL && !ptrace(PTRACE_GETREGS, tid, 0, &r)) {
    if (state[tid] == BREAKING) r.rdi = asked_break;
    else r.rax = -code;
    ptrace(PTRACE_SETREGS, tid, 0, &r);
  }
  state[tid] = RUNNING;
}

static void stopped(pid_t tid, int status) {
  int signal = WSTOPSIG(status), event = status >> 16;
  if (state[tid] == UNKNOWN) state[tid] = RUNNING;
  if (event == PTRACE_EVENT_STOP) {
    // A new task, or a group stop, which lasts.
    if (signal == SIGTRAP) go_on(tid, 0);
    else ptrace(PTRACE_LISTEN, tid, 0, 0);
  } else if (event) {
    if (event == PTRACE_EVENT_EXEC) state[tid] = IN_CALL;
    go_on(tid, 0);
  } else if (signal == (SIGTRAP | 0x80)) {
    if (state[tid] == RUNNING) entered(tid);
    else left(tid);
    go_on(tid, 0);
  } else {
    go_on(tid, signal);
  }
}

int main(int argc, char **argv) {
  int option, start[2], result = 127;
  const char *path = "/dev/null";
  while ((option = getopt(argc, argv, "+n:e:ko:")) != -1) {
    if (option == 'n') wanted = atol(optarg);
    else if (option == 'e') code = atoi(optarg);
    else if (option == 'k') kills = 1;
    else if (option == 'o') path = optarg;
    else return 2;
  }
  report = fopen(path, "we");
  if (!report || optind >= argc || pipe2(start, O_CLOEXEC)) return 2;
  program = fork();
  if (program == 0) {
    char byte;
    close(start[1]);
    read(start[0], &byte, 1);
    execv(argv[optind], argv + optind);
    _exit(127);
  }
  long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
  if (program < 0 || ptrace(PTRACE_SEIZE, program, 0, options) || ptrace(PTRACE_INTERRUPT, program, 0, 0)) {
    perror("inject");
    return 2;
  }
  close(start[0]);
  close(start[1]);
  for (int status, ended = 0; !ended;) {
    pid_t tid = waitpid(-1, &status, __WALL);
    if (tid < 0) break;
    if (tid >= MANY) return 2;
    if (WIFSTOPPED(status)) {
      stopped(tid, status);
      continue;
    }
    state[tid] = UNKNOWN;
    if (tid == program) {
      result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      ended = 1;
    }
  }
  // What goes on without the program is let go by this one's end.
  fprintf(report, "calls %ld\n", calls);
  return fclose(report) ? 2 : result;
}
