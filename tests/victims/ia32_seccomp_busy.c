// What: as a 32-bit program: threads that try their filters all the time, also while the process is being stopped, never see one that is not in force.
// Build: -pthread -m32
// Needs: /usr/lib32/libc.so
#include "seccomp_busy.c"
