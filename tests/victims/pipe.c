// What: pipes and fifos: data, size, half-closed ends, packets, ends in several tasks.
// Variants: data size full noreader nowriter packet shared many
#include "victim.h"
#include <sys/ioctl.h>
static void victim(void) {
  int p[2], q[2], size = 0;
  char b[70000];
  CHECK(pipe2(p, is("packet") ? O_DIRECT | O_NONBLOCK : O_NONBLOCK) == 0);
  if (is("data")) CHECK(write(p[1], "in the pipe", 11) == 11 && write(p[1], " twice", 6) == 6);
  if (is("size")) {
    CHECK(fcntl(p[1], F_SETPIPE_SZ, 256 << 10) == 256 << 10);
    fill(b, 70000, 1);
    CHECK(write(p[1], b, 70000) == 70000);
    size = fcntl(p[0], F_GETPIPE_SZ);
  }
  if (is("full")) {
    fill(b, 65536, 2);
    CHECK(write(p[1], b, 65536) == 65536 && write(p[1], "x", 1) == -1 && errno == EAGAIN);
  }
  if (is("noreader")) close(p[0]);
  if (is("nowriter")) {
    CHECK(write(p[1], "last", 4) == 4);
    close(p[1]);
  }
  if (is("packet")) CHECK(write(p[1], "one", 3) == 3 && write(p[1], "three", 5) == 5);
  pid_t child = 0;
  if (is("shared")) {
    CHECK(pipe(q) == 0);
    child = fork();
    if (!child) {
      close(p[0]);
      close(q[1]);
      mark("child");
      wait_go();
      CHECK(write(p[1], "to parent", 9) == 9 && read(q[0], b, 16) == 8 && !memcmp(b, "to child", 8));
      _exit(1);
    }
    close(p[1]);
    close(q[0]);
    await_mark("child");
  }
  int many[200][2];
  if (is("many"))
    for (int i = 0; i < 200; i++) CHECK(pipe(many[i]) == 0 && write(many[i][1], &i, sizeof i) == sizeof i);
  ready_and_wait();
  if (is("data")) CHECK(read(p[0], b, 32) == 17 && !memcmp(b, "in the pipe twice", 17) && (fcntl(p[0], F_GETFL) & O_NONBLOCK));
  if (is("size")) CHECK(fcntl(p[0], F_GETPIPE_SZ) == size && read(p[0], b, 70000) == 70000 && filled(b, 70000, 1));
  if (is("full")) CHECK(write(p[1], "x", 1) == -1 && errno == EAGAIN && read(p[0], b, 70000) == 65536 && filled(b, 65536, 2));
  if (is("noreader")) {
    signal(SIGPIPE, SIG_IGN);
    CHECK(write(p[1], "x", 1) == -1 && errno == EPIPE);
  }
  if (is("nowriter")) CHECK(read(p[0], b, 16) == 4 && read(p[0], b, 16) == 0);
  if (is("packet")) CHECK(read(p[0], b, 64) == 3 && read(p[0], b, 64) == 5 && (fcntl(p[1], F_GETFL) & O_DIRECT));
  if (is("shared")) {
    CHECK(write(q[1], "to child", 8) == 8);
    pass_on(child);
    expect_exit(child, 1);
    CHECK(read(p[0], b, 32) == 9 && read(p[0], b, 1) == 0);
  }
  if (is("many")) {
    int v;
    for (int i = 0; i < 200; i++) CHECK(read(many[i][0], &v, sizeof v) == sizeof v && v == i);
  }
  if (is("data")) CHECK(write(p[1], "on", 2) == 2 && read(p[0], b, 32) == 2);
}
