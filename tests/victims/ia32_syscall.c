// What: as a 32-bit program: a task caught in a system call goes on in it: it is neither cut short nor does EINTR surface.
// Variants: nanosleep poll select epoll_wait read futex futex_timeout wait4 sigsuspend sigtimedwait pause_stopped
// Build: -pthread -m32
// Seconds: 30
// Needs: /usr/lib32/libc.so
#include "syscall.c"
