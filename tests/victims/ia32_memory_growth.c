// What: as a 32-bit program: stack and MAP_GROWSDOWN areas go on growing, brk goes on working, mremap and mmap too.
// Variants: stack growsdown brk
// Build: -m32
// Needs: /usr/lib32/libc.so
#include "memory_growth.c"
