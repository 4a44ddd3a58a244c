// What: as a 32-bit program: POSIX timers: every kind of notification, clocks, ids with gaps, intervals, what was left, overruns.
// Build: -pthread -m32
// Needs: /usr/lib32/libc.so
#include "timers_posix.c"
