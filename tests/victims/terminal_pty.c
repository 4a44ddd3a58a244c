// What: pseudo terminals: a session with its controlling terminal, foreground and background groups; waiting bytes, modes; ends left
// alone; what was typed before the slave was opened; speeds that are no standard ones; the terminal that controls another session; one
// that a session has and holds no descriptor of.
// Variants: session bytes ends typed speed other unheld
// Terminals: own
#include "victim.h"
#include <sys/ioctl.h>
#include <termios.h>
static int master_of(char *name, size_t n) {
  int m = open("/dev/ptmx", O_RDWR | O_NOCTTY), unlock = 0;
  CHECK(m >= 0 && ioctl(m, TIOCSPTLCK, &unlock) == 0 && ptsname_r(m, name, n) == 0);
  return m;
}
static void settings(int fd, int on, int off, int vmin) {
  struct termios t;
  CHECK(tcgetattr(fd, &t) == 0);
  t.c_lflag = (t.c_lflag | on) & ~off;
  if (vmin) t.c_cc[VMIN] = vmin;
  CHECK(tcsetattr(fd, TCSANOW, &t) == 0);
}
static int reads(int fd, const char *text) {
  char b[4096];
  ssize_t n = read(fd, b, sizeof b);
  return n == (ssize_t)strlen(text) && !memcmp(b, text, n);
}
// Until what is on its way has arrived.
static void await_bytes(int fd, int wanted) {
  int n = 0;
  for (int i = 0; i < 5000 && ioctl(fd, FIONREAD, &n) == 0 && n < wanted; i++) sleep_ms(1);
  CHECK(n >= wanted);
}

// ---- a shell, its foreground job, a job in the background
static void shell(const char *name) {
  setsid();
  int s = open(name, O_RDWR), t;
  CHECK(s >= 0 && tcgetsid(s) == getpid() && (t = open("/dev/tty", O_RDWR | O_NONBLOCK)) >= 0);
  pid_t job = fork();
  if (!job) {
    signal(SIGUSR1, SIG_DFL);
    setpgid(0, 0);
    mark("job");
    for (;;) pause();
  }
  pid_t background = fork();
  if (!background) {
    setpgid(0, 0);
    mark("background");
    wait_go();
    // A read in the background stops it.
    char c;
    read(s, &c, 1);
    _exit(3);
  }
  await_mark("job");
  await_mark("background");
  signal(SIGTTOU, SIG_IGN);
  CHECK(tcsetpgrp(s, job) == 0);
  mark("shell");
  wait_go();
  struct winsize size;
  CHECK(tcgetsid(s) == getpid() && tcgetpgrp(s) == job && getpgid(job) == job && getpgid(background) == background);
  CHECK(tcgetsid(t) == getpid() && ioctl(t, TIOCGWINSZ, &size) == 0 && size.ws_row == 33 && size.ws_col == 101);
  CHECK(fcntl(t, F_GETFL) & O_NONBLOCK);
  int status, again = open("/dev/tty", O_RDWR);
  CHECK(again >= 0 && write(again, "ready", 5) == 5);
  // ^C reaches the job, not this.
  CHECK(waitpid(job, &status, 0) == job && WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
  pass_on(background);
  CHECK(waitpid(background, &status, WUNTRACED) == background && WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN);
  CHECK(kill(background, SIGKILL) == 0 && tcsetpgrp(s, getpgrp()) == 0 && reads(s, "last line\n"));
  _exit(5);
}
static void session(void) {
  char name[64];
  int m = master_of(name, sizeof name);
  struct winsize size = {33, 101, 0, 0};
  CHECK(ioctl(m, TIOCSWINSZ, &size) == 0);
  pid_t child = fork();
  if (!child) {
    close(m);
    shell(name);
  }
  await_mark("shell");
  ready_and_wait();
  pass_on(child);
  CHECK(reads(m, "ready") && write(m, "\003", 1) == 1);
  expect_exit(child, (write(m, "last line\n", 10), 5));
}

// ---- a task that has the terminal of another session open, which controls nothing of its own
static void other(void) {
  char name[64];
  int m = master_of(name, sizeof name);
  pid_t leader = fork();
  if (!leader) {
    setsid();
    int s = open(name, O_RDWR);
    CHECK(s >= 0 && tcgetsid(s) == getpid());
    mark("leader");
    wait_go();
    CHECK(tcgetsid(s) == getpid() && tcgetpgrp(s) == getpid() && reads(s, "to the leader\n") && open("/dev/tty", O_RDWR) >= 0);
    _exit(5);
  }
  await_mark("leader");
  pid_t stranger = fork();
  if (!stranger) {
    setsid();
    int s = open(name, O_RDWR | O_NOCTTY);
    CHECK(s >= 0);
    mark("stranger");
    wait_go();
    CHECK(tcgetsid(s) == -1 && errno == ENOTTY && open("/dev/tty", O_RDWR) == -1 && errno == ENXIO && write(s, "from outside", 12) == 12);
    _exit(6);
  }
  await_mark("stranger");
  ready_and_wait();
  pass_on(stranger);
  expect_exit(stranger, 6);
  CHECK(reads(m, "from outside") && write(m, "to the leader\n", 14) == 14);
  pass_on(leader);
  expect_exit(leader, 5);
}

// ---- what waits in both directions, by lines and by bytes; packet and exclusive mode
static void bytes(void) {
  char name[64], raw_name[64];
  int m = master_of(name, sizeof name), s = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK), on = 1;
  int rm = master_of(raw_name, sizeof raw_name), rs = open(raw_name, O_RDWR | O_NOCTTY);
  settings(s, 0, ECHO, 0);
  settings(rs, 0, ECHO | ICANON | ISIG, 1);
  CHECK(write(m, "one\ntwo\004\nthree\n", 15) == 15 && write(s, "out\n", 4) == 4);
  await_bytes(s, 14);
  await_bytes(m, 5);
  CHECK(write(m, "fo", 2) == 2 && write(rm, "\003raw\n", 5) == 5);
  await_bytes(rs, 5);
  CHECK(ioctl(m, TIOCPKT, &on) == 0 && ioctl(s, TIOCEXCL) == 0);
  ready_and_wait();
  int packet = 0, exclusive = 0;
  CHECK(ioctl(m, TIOCGPKT, &packet) == 0 && packet && ioctl(s, TIOCGEXCL, &exclusive) == 0 && exclusive);
  char b[16];
  CHECK(read(m, b, 16) == 6 && !memcmp(b, "\0out\r\n", 6));
  CHECK(reads(s, "one\n") && reads(s, "two") && reads(s, "\n") && reads(s, "three\n"));
  CHECK(read(s, b, 16) == -1 && errno == EAGAIN && write(m, "\177our\n", 5) == 5);
  await_bytes(s, 5);
  CHECK(reads(s, "four\n") && reads(rs, "\003raw\n"));
  CHECK(write(rs, "x\n", 2) == 2);
  await_bytes(rm, 3);
  CHECK(reads(rm, "x\r\n"));
}

// ---- a master never unlocked, one whose slave was closed, a slave whose master was closed
static void ends(void) {
  char name[64], gone[64], b[16];
  int never = open("/dev/ptmx", O_RDWR | O_NOCTTY), locked = 0, number, was;
  CHECK(never >= 0 && ioctl(never, TIOCGPTN, &was) == 0);
  int m = master_of(name, sizeof name), s = open(name, O_RDWR | O_NOCTTY);
  CHECK(write(s, "bye", 3) == 3 && close(s) == 0);
  int closed = master_of(gone, sizeof gone), hung = open(gone, O_RDWR | O_NOCTTY);
  CHECK(hung >= 0 && close(closed) == 0);
  CHECK(chmod(name, 0640) == 0 && chown(name, 5, 6) == 0);
  ready_and_wait();
  struct stat st;
  CHECK(ioctl(never, TIOCGPTLCK, &locked) == 0 && locked && ioctl(never, TIOCGPTN, &number) == 0 && number == was);
  CHECK(stat(name, &st) == 0 && (st.st_mode & 07777) == 0640 && st.st_uid == 5 && st.st_gid == 6);
  CHECK(reads(m, "bye") && read(m, b, 16) == -1 && errno == EIO);
  CHECK((s = open(name, O_RDWR | O_NOCTTY)) >= 0 && write(s, "again", 5) == 5 && reads(m, "again"));
  CHECK(read(hung, b, 16) == 0 && write(hung, "x", 1) == -1 && errno == EIO);
}

// ---- typed into masters whose slaves nobody has opened: by lines with an end of file, and by bytes
static void typed(void) {
  char name[64], raw_name[64], b[16];
  int m = master_of(name, sizeof name), rm = master_of(raw_name, sizeof raw_name);
  settings(m, 0, ECHO, 0);
  settings(rm, 0, ECHO | ICANON | ISIG, 1);
  CHECK(write(m, "one\ntwo\004\nfo", 11) == 11 && write(rm, "\003raw\n", 5) == 5);
  // No call tells when it has arrived where it would be read.
  sleep_ms(50);
  ready_and_wait();
  struct pollfd p = {m, POLLIN, 0};
  CHECK(poll(&p, 1, 0) == 0);
  int s = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK), rs = open(raw_name, O_RDWR | O_NOCTTY | O_NONBLOCK);
  CHECK(reads(s, "one\n") && reads(s, "two") && reads(s, "\n"));
  CHECK(read(s, b, 16) == -1 && errno == EAGAIN && write(m, "ur\n", 3) == 3);
  await_bytes(s, 5);
  CHECK(reads(s, "four\n") && reads(rs, "\003raw\n"));
}

// ---- struct termios2, which the C library's header does not go with
struct speeds { unsigned iflag, oflag, cflag, lflag; unsigned char line, cc[19]; unsigned in, out; };
enum { GET_SPEEDS = 0x802c542a, SET_SPEEDS = 0x402c542b, OTHER = 010000, ALL = 010017 };
static void speed(void) {
  char name[64], usual_name[64];
  int m = master_of(name, sizeof name), s = open(name, O_RDWR | O_NOCTTY), usual = master_of(usual_name, sizeof usual_name);
  struct speeds t, before, u;
  CHECK(ioctl(s, GET_SPEEDS, &t) == 0 && ioctl(usual, GET_SPEEDS, &u) == 0);
  t.cflag = (t.cflag & ~(ALL | ALL << 16)) | OTHER | OTHER << 16;
  t.in = 12345, t.out = 54321;
  CHECK(ioctl(s, SET_SPEEDS, &t) == 0 && ioctl(m, GET_SPEEDS, &before) == 0 && before.in == 12345 && before.out == 54321);
  ready_and_wait();
  struct speeds now, un;
  CHECK(ioctl(s, GET_SPEEDS, &now) == 0 && !memcmp(&now, &before, sizeof now));
  CHECK(ioctl(usual, GET_SPEEDS, &un) == 0 && !memcmp(&u, &un, sizeof u));
}

// ---- a session that has closed all it had of its terminal
static void unheld(void) {
  char name[64];
  int m = master_of(name, sizeof name);
  pid_t leader = fork();
  if (!leader) {
    close(m);
    setsid();
    int s = open(name, O_RDWR);
    CHECK(s >= 0 && tcgetsid(s) == getpid());
    close(s);
    mark("closed");
    wait_go();
    int t = open("/dev/tty", O_RDWR);
    CHECK(t >= 0 && tcgetpgrp(t) == getpid() && write(t, "here", 4) == 4);
    pause();
  }
  await_mark("closed");
  ready_and_wait();
  pass_on(leader);
  struct pollfd p = {m, POLLIN, 0};
  for (int i = 0; i < 5000 && poll(&p, 1, 1) == 1 && !(p.revents & POLLIN); i++) sleep_ms(1);
  CHECK(reads(m, "here"));
  // The end of its terminal is the leader's.
  close(m);
  int st = status_of(leader);
  CHECK(WIFSIGNALED(st) && WTERMSIG(st) == SIGHUP);
}
static void victim(void) {
  if (is("session")) session();
  else if (is("unheld")) unheld();
  else if (is("typed")) typed();
  else if (is("speed")) speed();
  else if (is("bytes")) bytes();
  else if (is("other")) other();
  else ends();
}
