// What: as a 32-bit program: pending signals of a process and of one thread: standard ones, real-time ones queued several times, with siginfo, in order.
// Variants: process thread
// Build: -pthread -m32
// Needs: /usr/lib32/libc.so
#include "signal_pending.c"
