// What: as a 32-bit program: restartable sequences stay registered, for the main thread and another.
// Build: -pthread -m32
// Needs: /usr/lib32/libc.so
#include "thread_rseq.c"
