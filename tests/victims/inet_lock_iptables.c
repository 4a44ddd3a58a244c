// What: a connection whose dump and restore asks for a lock by iptables (which is made by nf_tables all the same: no program is executed).
// Options: --tcp-established --network-lock iptables
#include "inet_lock.h"
