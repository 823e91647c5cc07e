/* SPDX-License-Identifier: MIT
 *
 * See filecache.h. */
#include "http/filecache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "http/mimetypes.h"
#include "loop/manager.h"
#include "net/sendq.h"
#include "os/sock.h"
#include "tavi/timer.h"
#include "wire/http1.h"
#include "wire/mime.h"

enum { BUCKETS = 512 };

struct tavi__filecache {
  struct tavi__part part; /* first */
  struct tavi_manager *manager;
  struct tavi__node used;  /* struct tavi__cached, the last one used is the last */
  size_t count, bytes;
  uint64_t sweep_ms;       /* when the timer is due; long past: there is none */
  struct tavi__mimetypes system_types;
  struct tavi__cached *buckets[BUCKETS];
};

/* ==== the table ==== */

static uint64_t hash_of(const char *root, const char *name, bool links_out) {
  uint64_t h = UINT64_C(14695981039346656037) + links_out; /* FNV-1a */
  for (const char *p = root; p != NULL && *p != 0; p++) h = (h ^ (unsigned char) *p) * UINT64_C(1099511628211);
  h = (h ^ '/') * UINT64_C(1099511628211);
  for (const char *p = name; *p != 0; p++) h = (h ^ (unsigned char) *p) * UINT64_C(1099511628211);
  return h;
}

static bool is_it(const struct tavi__cached *e, const char *root, const char *name, bool links_out) {
  size_t root_len = root == NULL ? 0 : strlen(root) + 1;
  if (e->links_out != links_out || e->name_at != root_len) return false;
  return (root == NULL || memcmp(e->path, root, root_len - 1) == 0) && strcmp(e->path + e->name_at, name) == 0;
}

static void drop(struct tavi__filecache *fc, struct tavi__cached *e) {
  struct tavi__cached **at = &fc->buckets[e->hash % BUCKETS];
  while (*at != e) at = &(*at)->next;
  *at = e->next;
  tavi__list_remove(&e->node);
  fc->count--;
  if (e->bytes != NULL) fc->bytes -= (size_t) e->stat.size;
  tavi_shared_unref(e->bytes);
  tavi__file_unref(e->file);
  free(e);
}

static struct tavi__cached *oldest(struct tavi__filecache *fc) {
  return TAVI__CONTAINER(fc->used.next, struct tavi__cached, node);
}

/* Make room. The two that were used last stay: a caller may hold both (a file and its neighbour). */
static void evict(struct tavi__filecache *fc, size_t count_max, size_t bytes_max) {
  while (fc->count > 2 && (fc->count > count_max || fc->bytes > bytes_max)) drop(fc, oldest(fc));
}

static void sweep(struct tavi_timer *t, void *user) {
  struct tavi__filecache *fc = user;
  uint64_t now_ms = fc->manager->now_ms;
  (void) t;
  while (fc->count > 0 && oldest(fc)->used_ms + TAVI__FILES_UNUSED_MS <= now_ms) drop(fc, oldest(fc));
  fc->sweep_ms = 0;
  if (fc->count == 0) return;
  if (tavi_timer_start(fc->manager, TAVI__FILES_UNUSED_MS, 0, sweep, fc, NULL) == 0)
    fc->sweep_ms = now_ms + TAVI__FILES_UNUSED_MS;
}

/* Who cancels all timers (tavi_manager_close_all()) cancels ours, too: its time tells whether it is running. */
static void keep_sweeping(struct tavi__filecache *fc) {
  uint64_t now_ms = fc->manager->now_ms;
  if (now_ms <= fc->sweep_ms + TAVI__FILES_UNUSED_MS) return;
  if (tavi_timer_start(fc->manager, TAVI__FILES_UNUSED_MS, 0, sweep, fc, NULL) == 0)
    fc->sweep_ms = now_ms + TAVI__FILES_UNUSED_MS;
}

static void end(struct tavi__part *part, struct tavi_manager *m) {
  struct tavi__filecache *fc = (struct tavi__filecache *) part;
  (void) m;
  while (fc->count > 0) drop(fc, oldest(fc));
  tavi__mimetypes_free(&fc->system_types);
  free(fc);
}

struct tavi__filecache *tavi__filecache_of(struct tavi_manager *m) {
  static const char key;
  struct tavi__part *part = tavi__manager_part(m, &key);
  if (part != NULL) return (struct tavi__filecache *) part;

  struct tavi__filecache *fc = calloc(1, sizeof(*fc));
  if (fc == NULL) return NULL;
  fc->part = (struct tavi__part){.key = &key, .end = end};
  fc->manager = m;
  tavi__list_init(&fc->used);
  tavi__manager_add_part(m, &fc->part);
  return fc;
}

/* ==== entries ==== */

/* Would another change give another time stamp? The kernel's clock for files ticks every few milliseconds; file systems
 * that keep whole seconds show it by their zeros. */
static bool is_settled(const struct tavi__disk_stat *st) {
  int64_t now_ns = tavi__manager_unix_ms() * 1000000;
  int64_t last_ns = st->changed_ns > st->modified_ns ? st->changed_ns : st->modified_ns;
  int64_t tick_ns = last_ns % 1000000000 == 0 ? 2000000000 : 20000000;
  return last_ns < now_ns - tick_ns || last_ns > now_ns + tick_ns; /* a time in the future says nothing */
}

static void fill_validators(struct tavi__cached *e) {
  int len = snprintf(e->etag, sizeof(e->etag), "W/\"%llx-%llx\"", (unsigned long long) e->stat.modified_ns,
                     (unsigned long long) e->stat.size);
  e->etag_len = (uint8_t) len;
  int64_t now_s = tavi__manager_unix_ms() / 1000;
  e->modified_s = e->stat.modified_ns / 1000000000 - (e->stat.modified_ns % 1000000000 < 0);
  if (e->modified_s > now_s) e->modified_s = now_s;
  tavi__http1_date(e->modified_s, e->modified);
}

/* Read a small file whole. NULL: better send it from the file: it is in no memory yet, it changes, or we have none. */
static struct tavi_shared *read_small(struct tavi__cached *e, int fd) {
  char bytes[TAVI__FILE_KEPT_BYTES];
  size_t size = (size_t) e->stat.size;
  struct tavi_shared *shared = NULL;
  struct tavi__disk_stat after;
  if (e->stat.size > sizeof(bytes) || !e->is_settled || !tavi__disk_is_near(fd, 0, size)) return NULL;
  if (tavi__disk_read(fd, bytes, size, 0) != (ssize_t) size) return NULL;
  if (tavi__disk_stat(e->path, &after) < 0 || !tavi__disk_same(&e->stat, &after)) return NULL;
  return tavi_shared_new(bytes, size, &shared) == 0 ? shared : NULL;
}

/* Look at it, and open it when it is a file: a directory may be one that is entered and not read, and a pipe or a
 * device would notice. Returns 0, *ret_fd -1 for a directory. */
static int open_file(const char *root, const char *name, bool links_out, struct tavi__disk_stat *ret_stat,
                     int *ret_fd) {
  *ret_fd = -1;
  int err = root != NULL ? tavi__disk_stat_below(root, name, links_out, ret_stat) : tavi__disk_stat(name, ret_stat);
  if (err < 0 || ret_stat->kind == TAVI__DISK_DIR) return err;
  if (ret_stat->kind != TAVI__DISK_FILE) return TAVI_E_NOT_FOUND;

  int fd = root != NULL ? tavi__disk_open_below(root, name, links_out, ret_stat) : tavi__disk_open(name, ret_stat);
  if (fd < 0) return fd;
  if (ret_stat->kind != TAVI__DISK_FILE) { /* it has just become something else */
    tavi__fd_close(fd);
    return TAVI_E_NOT_FOUND;
  }
  *ret_fd = fd;
  return 0;
}

static int find_file(struct tavi__filecache *fc, const char *root, const char *name, bool links_out,
                     struct tavi__disk_stat *ret_stat, int *ret_fd) {
  int err = open_file(root, name, links_out, ret_stat, ret_fd);
  if (err != TAVI_E_DESCRIPTORS) return err;
  evict(fc, 0, 0); /* we may hold those that are missing */
  return open_file(root, name, links_out, ret_stat, ret_fd);
}

static const char *type_of(struct tavi__filecache *fc, const char *name) {
  struct tavi_slice extension = tavi__mime_extension(name);
  const char *type = tavi__mime_known(extension);
  if (type == NULL) type = tavi__mimetypes_find(&fc->system_types, extension);
  return type != NULL ? type : TAVI__MIME_UNKNOWN;
}

/* The descriptor is taken. */
static int take_file(struct tavi__filecache *fc, struct tavi__cached *e, int fd) {
  e->type = type_of(fc, e->path + e->name_at);
  e->bytes = read_small(e, fd);
  if (e->bytes != NULL) {
    tavi__fd_close(fd);
    return 0;
  }
  e->file = tavi__file_new(fd);
  return e->file != NULL ? 0 : TAVI_E_NOMEM;
}

static int load(struct tavi__filecache *fc, const char *root, const char *name, bool links_out, uint64_t hash,
                struct tavi__cached **ret_entry) {
  struct tavi__disk_stat st;
  int fd, err = find_file(fc, root, name, links_out, &st, &fd);
  if (err < 0) return err;

  size_t root_len = root == NULL ? 0 : strlen(root) + 1, name_len = strlen(name);
  struct tavi__cached *e = calloc(1, sizeof(*e) + root_len + name_len + 1);
  if (e == NULL) {
    tavi__fd_close(fd);
    return TAVI_E_NOMEM;
  }
  e->hash = hash;
  e->stat = st;
  e->links_out = links_out;
  e->name_at = (uint32_t) root_len;
  if (root != NULL) {
    memcpy(e->path, root, root_len - 1);
    e->path[root_len - 1] = '/';
  }
  memcpy(e->path + root_len, name, name_len);
  e->walked_ms = fc->manager->now_ms;
  e->is_settled = is_settled(&st);
  fill_validators(e);
  if (fd >= 0) err = take_file(fc, e, fd);
  if (err < 0) {
    free(e);
    return err;
  }
  e->next = fc->buckets[hash % BUCKETS];
  fc->buckets[hash % BUCKETS] = e;
  tavi__list_append(&fc->used, &e->node);
  fc->count++;
  if (e->bytes != NULL) fc->bytes += (size_t) st.size;
  evict(fc, TAVI__FILES_KEPT, TAVI__FILES_KEPT_BYTES);
  *ret_entry = e;
  return 0;
}

/* Is what we know still so? That the way there leads out of the root now (a directory was moved, and a link put in its
 * place) is looked for once in a while only: it takes five system calls in place of one. */
static bool is_current(const struct tavi__filecache *fc, struct tavi__cached *e, const char *root) {
  struct tavi__disk_stat now;
  uint64_t now_ms = fc->manager->now_ms;
  int err = TAVI_E_DESCRIPTORS;
  if (!e->is_settled) return false;
  if (root != NULL && !e->links_out && now_ms >= e->walked_ms + TAVI__FILES_WALK_MS) {
    err = tavi__disk_stat_below(root, e->path + e->name_at, false, &now);
    if (err == 0) e->walked_ms = now_ms;
  }
  if (err == TAVI_E_DESCRIPTORS) err = tavi__disk_stat(e->path, &now); /* needs none */
  return err == 0 && tavi__disk_same(&e->stat, &now);
}

int tavi__filecache_find(struct tavi__filecache *fc, const char *root, const char *name, bool links_out,
                         struct tavi__cached **ret_entry) {
  struct tavi_manager *m = fc->manager;
  uint64_t hash = hash_of(root, name, links_out);
  struct tavi__cached *e = fc->buckets[hash % BUCKETS];
  while (e != NULL && (e->hash != hash || !is_it(e, root, name, links_out))) e = e->next;
  if (e != NULL && (e->turn != m->turn || !m->is_in_turn) && !is_current(fc, e, root)) {
    drop(fc, e);
    e = NULL;
  }
  if (e == NULL) {
    int err = load(fc, root, name, links_out, hash, &e);
    if (err < 0) return err;
  } else {
    tavi__list_remove(&e->node);
    tavi__list_append(&fc->used, &e->node);
  }
  e->turn = m->turn;
  e->used_ms = m->now_ms;
  keep_sweeping(fc);
  *ret_entry = e;
  return 0;
}

/* ==== compressed neighbours ==== */

bool tavi__filecache_neighbour(const char *name, unsigned coding, char ret_name[TAVI__FILE_PATH_BYTES]) {
  const char *ending = coding == TAVI_CODING_BROTLI ? ".br" : coding == TAVI_CODING_ZSTD ? ".zst" : ".gz";
  int len = snprintf(ret_name, TAVI__FILE_PATH_BYTES, "%s%s", name, ending);
  return len >= 0 && len < TAVI__FILE_PATH_BYTES;
}

unsigned tavi__filecache_neighbours(struct tavi__filecache *fc, struct tavi__cached *e) {
  static const unsigned codings[] = {TAVI_CODING_BROTLI, TAVI_CODING_ZSTD, TAVI_CODING_GZIP};
  uint64_t now_ms = fc->manager->now_ms;
  if (e->neighbours_ms != 0 && now_ms < e->neighbours_ms + TAVI__FILES_NEIGHBOURS_MS) return e->neighbours;

  e->neighbours = 0;
  e->neighbours_ms = now_ms;
  for (size_t i = 0; i < sizeof(codings) / sizeof(codings[0]); i++) {
    struct tavi__disk_stat st;
    char path[TAVI__FILE_PATH_BYTES];
    if (!tavi__filecache_neighbour(e->path, codings[i], path) || tavi__disk_stat(path, &st) < 0) continue;
    if (st.kind == TAVI__DISK_FILE && st.modified_ns >= e->stat.modified_ns) e->neighbours |= codings[i];
  }
  return e->neighbours;
}
