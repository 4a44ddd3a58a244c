// What: timerfds: relative, absolute, expired and not read, not armed, ticking.
#include "victim.h"
#include <sys/timerfd.h>
static void victim(void) {
  int rel = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), abs = timerfd_create(CLOCK_REALTIME, 0);
  int due = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK), off = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  int tick = timerfd_create(CLOCK_MONOTONIC, 0);
  struct itimerspec r = {{60, 5}, {3600, 0}}, a = {{0, 0}, {time(0) + 5000, 0}}, d = {{0, 0}, {0, 1000}}, t = {{0, 5000000}, {0, 5000000}}, now;
  CHECK(timerfd_settime(rel, 0, &r, 0) == 0 && timerfd_settime(abs, TFD_TIMER_ABSTIME, &a, 0) == 0);
  CHECK(timerfd_settime(due, 0, &d, 0) == 0 && timerfd_settime(tick, 0, &t, 0) == 0);
  sleep_ms(5);
  ready_and_wait();
  uint64_t n;
  CHECK(timerfd_gettime(rel, &now) == 0 && now.it_interval.tv_sec == 60 && now.it_interval.tv_nsec == 5);
  CHECK(now.it_value.tv_sec > 3500 && now.it_value.tv_sec <= 3600);
  CHECK(timerfd_gettime(abs, &now) == 0 && now.it_interval.tv_sec == 0 && now.it_value.tv_sec > 4900 && now.it_value.tv_sec <= 5000);
  CHECK(read(due, &n, 8) == 8 && n == 1 && read(due, &n, 8) == -1 && errno == EAGAIN);
  CHECK(timerfd_gettime(off, &now) == 0 && now.it_value.tv_sec == 0 && now.it_value.tv_nsec == 0 && fcntl(off, F_GETFD) == FD_CLOEXEC);
  CHECK(read(tick, &n, 8) == 8 && n >= 1 && read(tick, &n, 8) == 8);
}
