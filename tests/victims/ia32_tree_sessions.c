// What: as a 32-bit program: pids, parents, process groups and sessions over several branches of a tree, a background group among them.
// Build: -m32
// Needs: /usr/lib32/libc.so
#include "tree_sessions.c"
