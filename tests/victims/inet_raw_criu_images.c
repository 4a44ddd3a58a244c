// What: options of raw sockets that CRIU's images have fields for: they come back by these alone.
// Variants: icmp own_protocol icmp6
// Images: criu-socket-fields
#include "inet_raw.c"
