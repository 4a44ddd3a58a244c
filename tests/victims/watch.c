// What: inotify and fanotify instances with the numbers and masks of their watches; pidfds of a child, a zombie and the dead.
#include "victim.h"
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
static int dead_pidfd(void) {
  pid_t p = fork();
  if (!p) for (;;) pause();
  int fd = syscall(SYS_pidfd_open, p, 0);
  CHECK(fd >= 0 && kill(p, SIGKILL) == 0 && waitpid(p, 0, 0) == p);
  return fd;
}
static void victim(void) {
  char b[4096];
  CHECK(mkdir("dir", 0755) == 0 && mkdir("other", 0755) == 0);
  int i = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  CHECK(i >= 0 && inotify_add_watch(i, "other", IN_CREATE) == 1 && inotify_rm_watch(i, 1) == 0);
  CHECK(inotify_add_watch(i, "dir", IN_CREATE | IN_DELETE) == 2 && inotify_add_watch(i, "other", IN_OPEN) == 3);
  CHECK(inotify_add_watch(i, "/dev/shm", IN_DELETE_SELF) == 4 && read(i, b, sizeof b) > 0);
  int fa = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDONLY);
  if (fa == -1 && (errno == EPERM || errno == ENOSYS)) SKIP("fanotify_init: %s", strerror(errno));
  CHECK(fanotify_mark(fa, FAN_MARK_ADD, FAN_OPEN | FAN_EVENT_ON_CHILD, AT_FDCWD, "dir") == 0);
  pid_t child = fork();
  if (!child) {
    // Has descriptions with its parent in common.
    wait_go();
    _exit(6);
  }
  pid_t zombie = fork();
  if (!zombie) _exit(9);
  siginfo_t info;
  CHECK(waitid(P_PID, zombie, &info, WEXITED | WNOWAIT) == 0);
  int of_child = syscall(SYS_pidfd_open, child, O_NONBLOCK), of_zombie = syscall(SYS_pidfd_open, zombie, 0);
  int of_self = syscall(SYS_pidfd_open, getpid(), 0), of_dead = dead_pidfd(), twin = dup(of_child), ep = epoll_create1(0);
  CHECK(of_child >= 0 && of_zombie >= 0 && of_self >= 0 && twin >= 0);
  struct epoll_event e = {EPOLLIN, {.u64 = 77}};
  CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, of_child, &e) == 0);
  pid_t heir = fork();
  if (!heir) {
    wait_go();
    CHECK(syscall(SYS_pidfd_send_signal, of_child, SIGUSR1, 0, 0) == 0);
    _exit(7);
  }
  ready_and_wait();
  CHECK(read(i, b, sizeof b) == -1 && errno == EAGAIN);
  int x = open("dir/new", O_CREAT | O_RDWR, 0600);
  CHECK(x >= 0 && close(open("other", O_RDONLY)) == 0);
  struct inotify_event *ev = (void *)b;
  ssize_t n = read(i, b, sizeof b);
  CHECK(n > 0 && ev->wd == 2 && (ev->mask & IN_CREATE) && !strcmp(ev->name, "new"));
  ev = (void *)(b + sizeof *ev + ev->len);
  CHECK(ev->wd == 3 && (ev->mask & IN_OPEN));
  struct fanotify_event_metadata fm;
  CHECK(read(fa, &fm, sizeof fm) == sizeof fm && (fm.mask & FAN_OPEN));
  CHECK(unlink("dir/new") == 0 && read(i, b, sizeof b) > 0);
  CHECK(inotify_add_watch(i, "/dev", IN_CREATE) > 4 && inotify_rm_watch(i, 4) == 0);
  CHECK(fcntl(of_child, F_GETFL) & O_NONBLOCK);
  CHECK(syscall(SYS_pidfd_send_signal, of_self, 0, 0, 0) == 0);
  CHECK(syscall(SYS_pidfd_send_signal, of_dead, 0, 0, 0) == -1 && errno == ESRCH);
  CHECK(waitid(P_PIDFD, of_zombie, &info, WEXITED) == 0 && info.si_pid == zombie && info.si_status == 9);
  struct epoll_event got;
  CHECK(epoll_wait(ep, &got, 1, 0) == 0);
  pass_on(heir);
  CHECK(epoll_wait(ep, &got, 1, 10000) == 1 && got.data.u64 == 77);
  CHECK(waitid(P_PIDFD, twin, &info, WEXITED) == 0 && info.si_pid == child && info.si_status == 6);
  expect_exit(heir, 7);
}
