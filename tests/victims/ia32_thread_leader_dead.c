// What: as a 32-bit program: a process whose first thread has exited while others go on: descriptors, memory, signals, timers and threads are there, the first thread stays dead.
// Variants: two child
// Build: -pthread -m32
// Needs: /usr/lib32/libc.so
#include "thread_leader_dead.c"
