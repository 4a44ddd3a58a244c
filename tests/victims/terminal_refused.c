// What: the same without the option is refused, and the hint names the option.
// Refused: shell-job
// Terminal: yes
#include "victim.h"
static void victim(void) {
  ready_and_wait();
  CHECK(isatty(0));
}
