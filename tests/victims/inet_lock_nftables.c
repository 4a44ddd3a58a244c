// What: a connection whose dump and restore asks for a lock by nf_tables.
// Options: --tcp-established --network-lock nftables
#include "inet_lock.h"
