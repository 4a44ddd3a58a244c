// What: a terminal whose master is outside the tree is refused, and the hint names the option: that for jobs of a shell, or, where
// the leader of its session is in the tree, those that give it another one.
// Variants: job leader
// Refused.job: shell-job
// Refused.leader: inside the tree & --external tty[ & --inherit-fd fd[N]:tty[
// Terminal: yes
#include "victim.h"
#include <sys/ioctl.h>
#include <termios.h>
static void victim(void) {
  pid_t child = is("leader") ? fork() : -1;
  if (!child) {
    // It is taken from the session that has it.
    CHECK(setsid() == getpid() && ioctl(0, TIOCSCTTY, 1) == 0);
    mark("child");
    wait_go();
    CHECK(isatty(0) && tcgetsid(0) == getpid());
    _exit(5);
  }
  if (child > 0) {
    await_mark("child");
    for (int fd = 0; fd < 3; fd++) close(fd);
  }
  ready_and_wait();
  if (child > 0) {
    pass_on(child);
    expect_exit(child, 5);
  } else {
    CHECK(isatty(0));
  }
}
