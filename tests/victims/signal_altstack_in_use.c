// What: a task dumped while its handler runs on the alternate stack returns from it well.
#include "victim.h"
// Room for what the victim writes there, whatever the size of the CPU's registers.
#define STACK_BYTES 65536
static char *base;
static void handler(int s) {
  char here;
  CHECK(s == SIGUSR2 && &here > base && &here < base + STACK_BYTES);
  ready_and_wait();
  stack_t st;
  CHECK(sigaltstack(0, &st) == 0 && (st.ss_flags & SS_ONSTACK) && st.ss_sp == base);
}
static void victim(void) {
  base = malloc(STACK_BYTES);
  stack_t st = {.ss_sp = base, .ss_size = STACK_BYTES}, now;
  CHECK(sigaltstack(&st, 0) == 0);
  struct sigaction a = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
  sigaction(SIGUSR2, &a, 0);
  raise(SIGUSR2);
  CHECK(sigaltstack(0, &now) == 0 && !(now.ss_flags & SS_ONSTACK) && now.ss_sp == base);
}
