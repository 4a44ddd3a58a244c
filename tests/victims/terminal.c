// What: a shell job goes on with the terminal it inherits (shell-job).
// Options: --shell-job
// Terminal: yes
// Modes: plain leave
#include "victim.h"
#include <termios.h>
static void victim(void) {
  CHECK(isatty(0) && isatty(1));
  pid_t sid = getsid(0), pgrp = getpgrp();
  CHECK(sid != getpid());
  ready_and_wait();
  struct termios t;
  CHECK(tcgetattr(0, &t) == 0 && isatty(1) && isatty(2) && getsid(0) == sid && getpgrp() == pgrp);
  CHECK(open("/dev/tty", O_RDWR) == 3 && write(3, "\n", 1) == 1 && tcgetsid(3) == sid);
}
