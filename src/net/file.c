/* SPDX-License-Identifier: MIT
 *
 * See file.h. Whether bytes are in memory costs a system call or more to find out, so it is asked for a window of the
 * file at a time, and believed for a moment by all who send it. What is thrown out of memory within that moment is read
 * by the loop itself: rare. */
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

static void run(struct tavi__job *job) {
  const struct fetch *f = (const struct fetch *) job;
  tavi__disk_fetch(f->file->fd, f->offset, f->len);
}

static void done(struct tavi__job *job, struct tavi_manager *m) {
  struct fetch *f = (struct fetch *) job;
  struct tavi_conn *c = tavi_manager_conn(m, f->conn_id);
  if (c != NULL) {
    c->is_fetching = false;
    c->is_fetched = true; /* so it is sent now, whatever becomes of that memory: there are files that are never near */
    tavi__source_flush(&c->src);
  }
  tavi__file_unref(f->file);
  free(f);
}

/* Have another thread read the window. False: there is no memory for that, so the loop waits for the disk itself. */
static bool fetch(struct tavi_conn *c, struct tavi__file *file, uint64_t start, size_t len) {
  struct fetch *f = malloc(sizeof(*f));
  if (f == NULL) return false;
  *f = (struct fetch){{.run = run, .done = done}, tavi__file_ref(file), c->src.id, start, len};
  c->is_fetching = true;
  c->write_deadline_ms = 0; /* it is not the peer who is slow */
  tavi__work_add(c->src.manager, &f->job);
  return true;
}

/* Is the window known to be in memory, or found to be? */
static bool is_window_near(struct tavi__file *file, uint64_t window, uint64_t start, size_t len) {
  if (window < 64 && file->near >> window & 1) return true;
  if (!tavi__disk_is_near(file->fd, start, len)) return false;
  if (window < 64) file->near |= UINT64_C(1) << window;
  return true;
}

size_t tavi__file_near(struct tavi_conn *c, struct tavi__file *file, uint64_t offset, size_t len) {
  const uint64_t bytes = TAVI__FILE_WINDOW_BYTES;
  uint64_t now_ms = c->src.manager->now_ms;
  if (now_ms >= file->near_until_ms) {
    file->near = 0;
    file->size = tavi__disk_size(file->fd);
    file->near_until_ms = now_ms + TAVI__FILE_NEAR_MS;
  }
  size_t near = 0;
  while (near < len && offset + near < file->size) {
    uint64_t window = (offset + near) / bytes, start = window * bytes;
    size_t whole = (size_t) (file->size - start < bytes ? file->size - start : bytes);
    bool is_near = c->is_fetched || is_window_near(file, window, start, whole);
    c->is_fetched = false;
    if (!is_near && (near > 0 || fetch(c, file, start, whole))) return near;
    near = (size_t) (start + bytes - offset);
  }
  return near < len && offset + near < file->size ? near : len; /* behind its end: who sends it will see */
}
