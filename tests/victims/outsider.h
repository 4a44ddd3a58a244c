// A process outside of the tree, for what a dump refuses on its account.
#pragma once
#include "victim.h"
static void need(int ok, const char *what) {
  if (!ok) SKIP("%s: %s", what, strerror(errno));
}
static pid_t outsider(int (*body)(void)) {
  // A process that leaves the tree: a new session below the test's subreaper.
  pid_t middle = fork();
  if (!middle) {
    pid_t p = fork();
    if (!p) {
      setsid();
      // A tracer would have to let through the signal of its parent's end.
      await_mark("alone");
      body();
      mark("outside");
      // Until the tree has closed its end, or some seconds.
      for (int i = 0; i < 100; i++) sleep_ms(100);
      _exit(0);
    }
    char text[32];
    snprintf(text, sizeof text, "%d", p);
    victim_write("outsider", text);
    _exit(0);
  }
  status_of(middle);
  mark("alone");
  await_mark("outside");
  return middle;
}
// Ends it.
static void end_outsider(void) {
  char path[PATH_MAX + 32];
  int outside = 0;
  snprintf(path, sizeof path, "%s/outsider", victim_folder);
  FILE *f = fopen(path, "r");
  CHECK(f && fscanf(f, "%d", &outside) == 1);
  fclose(f);
  CHECK(kill(outside, SIGKILL) == 0);
}
