//go:build cgo

// Callbacks of libcriu as calls of Go functions; `handle` is a cgo.Handle.
#ifndef CRIU_GO_LIBRARY_H
#define CRIU_GO_LIBRARY_H

#include <criu.h>

void criu_go_callbacks(struct criu_opts *opts, uintptr_t handle, bool stages, bool progress, int log_level);

#endif
