// What: as a 32-bit program: a robust mutex held by a thread that dies after the restore is handed on with EOWNERDEAD.
// Build: -pthread -m32
// Needs: /usr/lib32/libc.so
#include "thread_robust.c"
