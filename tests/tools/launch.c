// Starts a program with nothing but its standard descriptors and default signal dispositions.
//   launch -s PROGRAM ARGS...   in a session of its own
//   launch -g PROGRAM ARGS...   in the foreground process group of the terminal
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: launch -s|-g PROGRAM ARGS...\n");
    return 2;
  }
  sigset_t none;
  sigemptyset(&none);
  if (strcmp(argv[1], "-s") == 0) {
    setsid();
  } else {
    setpgid(0, 0);
    signal(SIGTTOU, SIG_IGN);
    tcsetpgrp(0, getpgrp());
  }
  for (int i = 1; i < NSIG; i++)
    signal(i, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, 0);
  syscall(SYS_close_range, 3, ~0U, 0);
  execvp(argv[2], argv + 2);
  perror(argv[2]);
  return 127;
}
