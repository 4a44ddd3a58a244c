// What: as a 32-bit program: a task dumped while its handler runs on the alternate stack returns from it well.
// Build: -m32
// Needs: /usr/lib32/libc.so
#include "signal_altstack_in_use.c"
