// What: a connection whose dump and restore asks for no lock: somebody else keeps peers away, or, as here, both ends stand still.
// Options: --tcp-established --network-lock skip
#include "inet_lock.h"
