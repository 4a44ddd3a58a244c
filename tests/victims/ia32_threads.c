// What: as a 32-bit program: threads keep their TLS, names, signal masks, scheduling, alternate stacks, and can be joined.
// Variants: tls names masks altstack cond
// Build: -pthread -m32
// Needs: /usr/lib32/libc.so
#include "threads.c"
