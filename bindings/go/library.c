//go:build cgo

#include "library.h"

#include <criu-ext.h>

#include "_cgo_export.h"

static int stage(const char *name, int pid, int fd, void *handle) {
  return criuGoStage((uintptr_t)handle, (char *)name, pid, fd);
}

static void progress(const char *phase, uint64_t done, uint64_t total, void *handle) {
  criuGoProgress((uintptr_t)handle, (char *)phase, done, total);
}

static void log_line(int level, const char *line, void *handle) {
  criuGoLog((uintptr_t)handle, level, (char *)line);
}

void criu_go_callbacks(struct criu_opts *opts, uintptr_t handle, bool stages, bool wants_progress, int log_level) {
  void *user = (void *)handle;
  criu_local_set_stage_cb(opts, stages ? stage : NULL, user);
  criu_local_set_progress_cb(opts, wants_progress ? progress : NULL, user);
  criu_local_set_log_cb(opts, log_level >= 0 ? log_line : NULL, user, log_level);
}
