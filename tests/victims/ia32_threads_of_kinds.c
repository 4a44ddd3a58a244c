// What: as a 32-bit program: of many threads, few of which are alike, each keeps what is its own.
// Build: -pthread -m32
// Needs: /usr/lib32/libc.so
#include "threads_of_kinds.c"
