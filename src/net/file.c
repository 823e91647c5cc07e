/* SPDX-License-Identifier: MIT
 *
 * See file.h. Whether bytes are in memory costs two system calls to find out, so it is asked for a window of the file
 * at a time and believed for a moment. What is thrown out of memory within that moment is read by the loop itself:
 * rare. */
#include "net/file.h"

#include <stdlib.h>

#include "loop/work.h"
#include "net/conn.h"
#include "os/disk.h"

struct fetch {
  struct tavi__job job; /* first */
  struct tavi__file *file;
  uint64_t conn_id, offset;
  size_t len;
};

struct tavi__file *tavi__file_new(int fd) {
  struct tavi__file *file = calloc(1, sizeof(*file));
  if (file == NULL) {
    tavi__fd_close(fd);
    return NULL;
  }
  file->refs = 1;
  file->fd = fd;
  return file;
}

void tavi__file_unref(struct tavi__file *file) {
  if (file == NULL || --file->refs > 0) return;
  tavi__fd_close(file->fd);
  free(file);
}

static void is_near(struct tavi__file *file, uint64_t offset, size_t len, uint64_t now_ms) {
  file->near_start = offset;
  file->near_end = offset + len;
  file->near_until_ms = now_ms + TAVI__FILE_NEAR_MS;
}

static void run(struct tavi__job *job) {
  const struct fetch *f = (const struct fetch *) job;
  tavi__disk_fetch(f->file->fd, f->offset, f->len);
}

static void done(struct tavi__job *job, struct tavi_manager *m) {
  struct fetch *f = (struct fetch *) job;
  struct tavi_conn *c = tavi_manager_conn(m, f->conn_id);
  is_near(f->file, f->offset, f->len, m->now_ms);
  if (c != NULL) {
    c->is_fetching = false;
    tavi__source_flush(&c->src);
  }
  tavi__file_unref(f->file);
  free(f);
}

size_t tavi__file_near(struct tavi_conn *c, struct tavi__file *file, uint64_t offset, size_t len) {
  uint64_t now_ms = c->src.manager->now_ms;
  if (offset >= file->near_start && offset < file->near_end && now_ms < file->near_until_ms)
    return len < file->near_end - offset ? len : (size_t) (file->near_end - offset);

  size_t window = len < TAVI__FILE_WINDOW_BYTES ? len : TAVI__FILE_WINDOW_BYTES;
  if (tavi__disk_is_near(file->fd, offset, window)) {
    is_near(file, offset, window, now_ms);
    return window;
  }
  struct fetch *f = malloc(sizeof(*f));
  if (f == NULL) return window; /* then the loop waits for the disk itself */
  *f = (struct fetch){{.run = run, .done = done}, tavi__file_ref(file), c->src.id, offset, window};
  c->is_fetching = true;
  tavi__work_add(c->src.manager, &f->job);
  return 0;
}
