// What: a task caught in a system call goes on in it: it is neither cut short nor does EINTR surface.
// Variants: nanosleep clock_nanosleep poll ppoll select pselect epoll_wait read write futex futex_timeout wait4 waitid sigsuspend pause pause_stopped sigtimedwait recv
// Build: -pthread
// Seconds: 30
#include "victim.h"
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/select.h>
// The call is made by a child in its only thread and by a second thread of the root; both must come out by themselves.
#define LONG_MS 1500
static int p[2], q[2];
static int *word;
static volatile sig_atomic_t got;
static void on_hup(int s) { (void)s; got = 1; }
static void call(void) {
  double start = now_s(), took;
  struct timespec t = {LONG_MS / 1000, LONG_MS % 1000 * 1000000};
  struct timeval tv = {LONG_MS / 1000, LONG_MS % 1000 * 1000};
  struct pollfd f = {p[0], POLLIN, 0};
  fd_set set;
  FD_ZERO(&set);
  FD_SET(p[0], &set);
  sigset_t m;
  sigemptyset(&m);
  int timed = 1;
  char b[8];
  if (is("nanosleep")) CHECK(syscall(SYS_nanosleep, &t, &t) == 0);
  else if (is("clock_nanosleep")) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += 1, at.tv_nsec += 500000000;
    if (at.tv_nsec >= 1000000000) at.tv_sec++, at.tv_nsec -= 1000000000;
    CHECK(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &at, 0) == 0);
  } else if (is("poll")) CHECK(poll(&f, 1, LONG_MS) == 0);
  else if (is("ppoll")) CHECK(ppoll(&f, 1, &t, 0) == 0);
  else if (is("select")) CHECK(select(p[0] + 1, &set, 0, 0, &tv) == 0);
  else if (is("pselect")) CHECK(pselect(p[0] + 1, &set, 0, 0, &t, 0) == 0);
  else if (is("futex_timeout")) CHECK(syscall(SYS_futex, word + 1, FUTEX_WAIT, 0, &t, 0, 0) == -1 && errno == ETIMEDOUT);
  else if (is("sigtimedwait")) {
    sigaddset(&m, SIGRTMIN + 9);
    sigprocmask(SIG_BLOCK, &m, 0);
    CHECK(sigtimedwait(&m, 0, &t) == -1 && errno == EAGAIN);
  } else {
    timed = 0;
    if (is("read")) CHECK(read(p[0], b, 1) == 1);
    else if (is("write")) {
      static char big[200000];
      fill(big, sizeof big, 1);
      // A write that has moved a part may return that; it must neither fail nor lose anything.
      for (size_t done = 0; done < sizeof big;) {
        ssize_t n = write(q[1], big + done, sizeof big - done);
        CHECK(n > 0);
        done += n;
      }
    } else if (is("epoll_wait")) {
      int ep = epoll_create1(0);
      struct epoll_event e = {EPOLLIN, {.u64 = 9}};
      CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e) == 0 && epoll_wait(ep, &e, 1, -1) == 1 && read(p[0], b, 1) == 1);
    } else if (is("recv")) CHECK(recv(q[0], b, 1, 0) == 1);
    else if (is("futex")) {
      while (!__atomic_load_n(word, __ATOMIC_SEQ_CST)) CHECK(syscall(SYS_futex, word, FUTEX_WAIT, 0, 0, 0, 0) == 0 || errno == EAGAIN);
    }
  }
  took = now_s() - start;
  if (timed && (took < LONG_MS / 1000.0 - 0.01 || took > 15)) finish(1, "it took %.3f s", took);
}
static void *thread(void *a) { call(); return a; }
static void child_calls(void) {
  int st;
  if (is("wait4") || is("waitid")) {
    pid_t grandchild = fork();
    if (!grandchild) {
      wait_go();
      _exit(9);
    }
    char name[32];
    snprintf(name, sizeof name, "%d", grandchild);
    victim_write("grandchild", name);
    siginfo_t si;
    if (is("wait4")) CHECK(syscall(SYS_wait4, -1, &st, 0, 0) == grandchild && WEXITSTATUS(st) == 9);
    else CHECK(waitid(P_ALL, 0, &si, WEXITED) == 0 && si.si_status == 9);
  } else if (is("sigsuspend") || is("pause") || is("pause_stopped")) {
    sigset_t m, none;
    signal(SIGHUP, on_hup);
    sigemptyset(&none);
    sigemptyset(&m);
    sigaddset(&m, SIGHUP);
    if (is("sigsuspend")) {
      sigprocmask(SIG_BLOCK, &m, 0);
      CHECK(sigsuspend(&none) == -1 && errno == EINTR && got);
      sigprocmask(SIG_BLOCK, 0, &none);
      CHECK(sigismember(&none, SIGHUP));
    } else {
      CHECK(pause() == -1 && errno == EINTR && got);
    }
  } else {
    call();
  }
  _exit(4);
}
static void victim(void) {
  CHECK(is("recv") ? socketpair(AF_UNIX, SOCK_STREAM, 0, q) == 0 : pipe(q) == 0);
  CHECK(pipe(p) == 0);
  word = map_anon(4096, MAP_SHARED);
  int kin = is("wait4") || is("waitid") || is("sigsuspend") || is("pause") || is("pause_stopped");
  pid_t child = fork();
  if (!child) child_calls();
  pthread_t t;
  if (!kin) CHECK(pthread_create(&t, 0, thread, 0) == 0);
  sleep_ms(100);
  // Its signal comes while it is stopped: the call ends when it goes on, it is not made again.
  if (is("pause_stopped")) {
    int st;
    CHECK(kill(child, SIGSTOP) == 0 && waitpid(child, &st, WUNTRACED) == child && WIFSTOPPED(st));
    CHECK(kill(child, SIGHUP) == 0);
  }
  ready_and_wait();
  if (is("pause_stopped")) CHECK(kill(child, SIGCONT) == 0);
  if (is("read") || is("epoll_wait")) {
    CHECK(write(p[1], "ab", 1) == 1);
    sleep_ms(20);
    CHECK(write(p[1], "b", 1) == 1);
  }
  if (is("recv")) CHECK(write(q[1], "ab", 2) == 2);
  if (is("write")) {
    static char b[65536];
    long all = 0, n;
    while (all < 400000 && (n = read(q[0], b, sizeof b)) > 0) all += n;
    CHECK(all == 400000);
  }
  if (is("futex")) {
    __atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, word, FUTEX_WAKE, 100, 0, 0, 0);
  }
  if (is("wait4") || is("waitid")) {
    char path[PATH_MAX + 32];
    int grandchild = 0;
    snprintf(path, sizeof path, "%s/grandchild", victim_folder);
    FILE *f = fopen(path, "r");
    CHECK(f && fscanf(f, "%d", &grandchild) == 1);
    fclose(f);
    pass_on(grandchild);
  }
  if (is("sigsuspend") || is("pause")) CHECK(kill(child, SIGHUP) == 0);
  expect_exit(child, 4);
  if (!kin) pthread_join(t, 0);
}
