// What: the next watch of an inotify instance has the number that it would have had: none of a watch that was removed.
#include "victim.h"
#include <sys/inotify.h>
#include <sys/ioctl.h>
#define SET_NEXT _IOW('I', 0, int32_t)
static int watch(int i, const char *name) {
  int wd = inotify_add_watch(i, name, IN_CREATE);
  CHECK(wd > 0);
  return wd;
}
static int instance(void) {
  int i = inotify_init1(IN_NONBLOCK);
  CHECK(i >= 0);
  return i;
}
// Is the next one, and the one after it.
static void next_is(int i, int number) {
  int a = watch(i, "c"), b = watch(i, "d");
  if (a != number || b != number + 1) finish(1, "watches %d and %d instead of %d and the next", a, b, number);
}
static void victim(void) {
  char b[4096];
  for (char name[2] = "a"; *name < 'e'; ++*name) CHECK(mkdir(name, 0755) == 0);
  int last = instance(), all = instance(), none = instance(), full = instance(), wrapped = instance();
  CHECK(watch(last, "a") == 1 && watch(last, "b") == 2 && inotify_rm_watch(last, 2) == 0 && read(last, b, sizeof b) > 0);
  for (int n = 1; n <= 5; n++) CHECK(watch(all, "a") == n && inotify_rm_watch(all, n) == 0 && read(all, b, sizeof b) > 0);
  CHECK(watch(full, "b") == 1 && watch(full, "a") == 2);
  int can_be_told = ioctl(wrapped, SET_NEXT, 5000000) == 0;
  if (can_be_told) CHECK(watch(wrapped, "a") == 5000000 && ioctl(wrapped, SET_NEXT, 7) == 0);
  ready_and_wait();
  CHECK(read(last, b, sizeof b) == -1 && read(all, b, sizeof b) == -1 && read(wrapped, b, sizeof b) == -1);
  next_is(last, 3);
  next_is(all, 6);
  next_is(none, 1);
  next_is(full, 3);
  if (can_be_told) {
    next_is(wrapped, 7);
    CHECK(watch(wrapped, "a") == 5000000);
  }
}
