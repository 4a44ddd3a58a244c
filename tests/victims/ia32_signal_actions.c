// What: as a 32-bit program: signal actions with flags, masks and restorers; ignored signals.
// Build: -m32
// Needs: /usr/lib32/libc.so
#include "signal_actions.c"
