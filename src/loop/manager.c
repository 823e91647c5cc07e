/* SPDX-License-Identifier: MIT
 *
 * Making and freeing a manager, its memory, look-up by id, and the calls of tavi/manager.h that are not the turn. */
#include "loop/manager.h"

#include <stdlib.h>
#include <string.h>

#include "base/hint.h"
#include "os/clock.h"
#include "os/errors.h"
#include "os/sock.h"
#include "os/wakefd.h"

void tavi_manager_opts_init(struct tavi_manager_opts *opts) {
  *opts = (struct tavi_manager_opts){
      .backend = TAVI_BACKEND_AUTO,
      .wakeup_bytes_max = (size_t) 64 << 20,
      .buffered_bytes_max = (size_t) 1 << 30,
      .dns_timeout_ms = 5000,
      .log_level = TAVI_LOG_INFO,
  };
}

/* ==== life ==== */

static void free_manager(struct tavi_manager *m) {
  tavi__timers_free(m);
  if (!m->is_forked) tavi__work_free(m->pool); /* a forked child has a copy of the lock in any state */
  tavi__mailbox_free(&m->mail);
  tavi__idmap_free(&m->ids);
  while (m->blocks != NULL) {
    struct tavi__block *b = m->blocks;
    m->blocks = b->next;
    free(b);
  }
  tavi__fd_close(m->alarm.fd);
  tavi__fd_close(m->wake.fd);
  tavi__fd_close(m->reserve_fd);
  if (m->poller != NULL) m->poller_ops->close(m->poller);
  free(m->rx);
  free(m->dns_servers);
  free(m);
}

static int open_descriptors(struct tavi_manager *m) {
  int err = m->poller_ops->open(&m->poller);
  if (err < 0) return err;

  m->reserve_fd = tavi__fd_reserve();
  if (m->reserve_fd < 0) return m->reserve_fd;

  int fd = tavi__wakefd_open();
  if (fd < 0) return fd;

  tavi__pollable_init(&m->wake, fd);
  m->wake.want = TAVI__IN;
  return m->poller_ops->update(m->poller, &m->wake);
}

int tavi__manager_new(const struct tavi_manager_opts *opts, struct tavi_manager **ret_manager) {
  struct tavi_manager_opts defaults;
  tavi_manager_opts_init(&defaults);
  if (opts == NULL) opts = &defaults;
  if ((opts->before_wait == NULL) != (opts->after_wait == NULL)) return TAVI_E_ARG;
  const struct tavi__poller_ops *poller_ops = tavi__poller_choose((int) opts->backend);
  if (poller_ops == NULL) return TAVI_E_UNSUPPORTED;

  struct tavi_manager *m = calloc(1, sizeof(*m));
  if (m == NULL) return TAVI_E_NOMEM;

  m->opts = *opts;
  m->poller_ops = poller_ops;
  m->work_end = &m->work;
  m->last_id = TAVI_ID_MANAGER;
  m->process_id = tavi__process_id();
  m->reserve_fd = -1;
  tavi__pollable_init(&m->wake, -1);
  tavi__pollable_init(&m->alarm, -1);
  m->now_ms = tavi__clock_ms();
  tavi__wheel_init(&m->timers, m->now_ms);
  tavi__wheel_init(&m->deadlines, m->now_ms);
  int err = tavi__mailbox_init(&m->mail, opts->wakeup_bytes_max);
  if (err < 0) {
    free(m);
    return err;
  }

  m->rx = malloc(TAVI__RX_BYTES);
  m->pool = tavi__work_new(m);
  if (opts->dns_servers != NULL) m->opts.dns_servers = m->dns_servers = strdup(opts->dns_servers);
  bool has_all = m->rx != NULL && m->pool != NULL && (opts->dns_servers == NULL || m->dns_servers != NULL);
  err = has_all ? open_descriptors(m) : TAVI_E_NOMEM;
  if (err < 0) {
    free_manager(m);
    return err;
  }
  *ret_manager = m;
  return 0;
}

int tavi_manager_close_all(struct tavi_manager *m) { return tavi__manager_finish_all(m); }

void tavi_manager_free(struct tavi_manager *m) {
  if (m == NULL) return;

  tavi__manager_finish_all(m);
  tavi__work_finish(m);
  while (m->parts != NULL) {
    struct tavi__part *part = m->parts;
    m->parts = part->next;
    part->end(part, m);
  }
  free_manager(m);
}

/* ==== parts ==== */

struct tavi__part *tavi__manager_part(const struct tavi_manager *m, const void *key) {
  struct tavi__part *part = m->parts;
  while (part != NULL && part->key != key) part = part->next;
  return part;
}

void tavi__manager_add_part(struct tavi_manager *m, struct tavi__part *part) {
  part->next = m->parts;
  m->parts = part;
}

/* ==== other threads ==== */

int tavi_manager_wakeup(struct tavi_manager *m, uint64_t id, const void *data, size_t len) {
  int err = 0;
  if (id != TAVI_ID_MANAGER) {
    pthread_mutex_lock(&m->mail.lock);
    bool is_known = tavi__idmap_find(&m->ids, id) != NULL;
    err = is_known ? tavi__mailbox_put(&m->mail, id, data, len) : TAVI_E_NOT_FOUND;
    pthread_mutex_unlock(&m->mail.lock);
  }
  if (err == 0 && !atomic_exchange(&m->mail.is_raised, true)) tavi__wakefd_raise(m->wake.fd);
  return err;
}

/* ==== a foreign loop ==== */

int tavi_manager_fd(struct tavi_manager *m, int *ret_fd) {
  int fd = m->poller_ops->fd(m->poller);
  if (fd < 0) return TAVI_E_UNSUPPORTED;

  if (m->alarm.fd < 0) {
    int alarm = tavi__alarm_open();
    if (alarm < 0) return alarm;
    tavi__pollable_init(&m->alarm, alarm);
    m->alarm.want = TAVI__IN;
    int err = m->poller_ops->update(m->poller, &m->alarm);
    if (err < 0) {
      tavi__fd_close(alarm);
      tavi__pollable_init(&m->alarm, -1);
      return err;
    }
    tavi__alarm_set(alarm, 1); /* the first turn is due at once: it sets the alarm right */
    m->alarm_ms = 1;
  }
  *ret_fd = fd;
  return 0;
}

void tavi_manager_break(struct tavi_manager *m) { m->is_broken = true; }

/* ==== looking up ==== */

static struct tavi__source *find(const struct tavi_manager *m, uint64_t id, enum tavi__source_kind kind) {
  const uint64_t *found = tavi__idmap_find(&m->ids, id);
  if (found == NULL) return NULL;

  struct tavi__source *s = TAVI__CONTAINER(found, struct tavi__source, id);
  return s->ops->kind == kind && !s->is_closing ? s : NULL;
}

/* Both handles begin with their source, so the pointer is the same (asserted where they are defined). */
struct tavi_conn *tavi_manager_conn(struct tavi_manager *m, uint64_t id) {
  return (struct tavi_conn *) (void *) find(m, id, TAVI__KIND_CONN);
}

struct tavi_listener *tavi_manager_listener(struct tavi_manager *m, uint64_t id) {
  return (struct tavi_listener *) (void *) find(m, id, TAVI__KIND_LISTENER);
}

static int by_number(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
  return x < y ? -1 : x > y;
}

static bool is_listed(const struct tavi__source *s, bool untold_too) {
  return !s->is_closing && (untold_too || s->ops->kind != TAVI__KIND_UNTOLD);
}

size_t tavi__manager_ids(struct tavi_manager *m, bool untold_too, uint64_t *ids, size_t cap) {
  size_t count = 0;
  for (size_t i = 0; m->ids.bits != 0 && i < (size_t) 1 << m->ids.bits; i++) {
    const uint64_t *id = m->ids.place[i];
    if (id == NULL || !is_listed(TAVI__CONTAINER(id, struct tavi__source, id), untold_too)) continue;
    if (count < cap) ids[count] = *id;
    count++;
  }
  size_t filled = count < cap ? count : cap;
  if (filled > 1) qsort(ids, filled, sizeof(*ids), by_number);
  return count;
}

size_t tavi_manager_ids(struct tavi_manager *m, uint64_t *ids, size_t cap) {
  return tavi__manager_ids(m, false, ids, cap);
}

int64_t tavi__manager_unix_ms(void) { return tavi__clock_unix_ms(); }

uint64_t tavi_millis(void) { return tavi__clock_ms(); }

enum tavi_backend tavi_manager_backend(const struct tavi_manager *m) {
  return m->poller_ops == &tavi__poller_poll ? TAVI_BACKEND_POLL : TAVI_BACKEND_EPOLL;
}

void tavi_manager_set_log_level(struct tavi_manager *m, enum tavi_log_level level) { m->opts.log_level = level; }

/* ==== memory ==== */

size_t tavi_manager_buffered(const struct tavi_manager *m) { return m->buffered; }

bool tavi__manager_take(struct tavi_manager *m, size_t bytes) {
  if (bytes > m->opts.buffered_bytes_max - m->buffered) return false; /* never more than the maximum is held */
  m->buffered += bytes;
  return true;
}

void tavi__manager_give(struct tavi_manager *m, size_t bytes) { m->buffered -= bytes; }

static TAVI__APART void *new_block(struct tavi_manager *m) {
  void *block = malloc(TAVI__BLOCK_BYTES);
  if (block == NULL) tavi__manager_give(m, TAVI__BLOCK_BYTES);
  return block;
}

void *tavi__manager_block(struct tavi_manager *m) {
  if (!tavi__manager_take(m, TAVI__BLOCK_BYTES)) return NULL;

  struct tavi__block *b = m->blocks;
  if (b == NULL) return new_block(m);
  m->blocks = b->next;
  m->block_count--;
  return b;
}

void tavi__manager_block_free(struct tavi_manager *m, void *block) {
  tavi__manager_give(m, TAVI__BLOCK_BYTES);
  if (m->block_count == TAVI__BLOCKS_KEPT) {
    free(block);
    return;
  }
  struct tavi__block *b = block;
  b->next = m->blocks;
  m->blocks = b;
  m->block_count++;
}
