/* SPDX-License-Identifier: MIT
 *
 * See sendq.h. */
#include "net/sendq.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/hint.h"
#include "loop/manager.h"
#include "net/file.h"

enum piece_kind { BLOCK, OWNED, FOREIGN, FILE_RANGE };

struct tavi__piece {
  struct tavi__piece *next;
  const char *ptr; /* memory: the unsent bytes */
  size_t len;      /* unsent bytes */
  size_t held;     /* size of this piece in memory, as counted */
  enum piece_kind kind;
  union {
    char bytes[1]; /* BLOCK, OWNED: ptr points in here */
    struct {
      struct tavi__file *file;
      uint64_t offset;
    } range;       /* FILE_RANGE */
    struct {
      void (*fn)(void *arg);
      void *arg;
    } release;
  } u;
};

#define HEAD offsetof(struct tavi__piece, u)

_Static_assert(TAVI__SENDQ_ROOM_MAX <= TAVI__BLOCK_BYTES - HEAD, "a block holds that much");

static struct tavi__piece *first(const struct tavi__sendq *q) { return q->last == NULL ? NULL : q->last->next; }

/* The piece behind p, NULL at the end of the queue. */
static struct tavi__piece *after(const struct tavi__sendq *q, const struct tavi__piece *p) {
  return p == q->last ? NULL : p->next;
}

static void append(struct tavi__sendq *q, struct tavi__piece *p) {
  p->next = q->last == NULL ? p : q->last->next;
  if (q->last != NULL) q->last->next = p;
  q->last = p;
  q->bytes += p->len;
}

static struct tavi__piece *unlink_first(struct tavi__sendq *q) {
  struct tavi__piece *p = first(q);
  if (p == q->last)
    q->last = NULL;
  else
    q->last->next = p->next;
  return p;
}

size_t tavi__sendq_in_memory(const struct tavi__sendq *q) {
  size_t sum = 0;
  for (const struct tavi__piece *p = first(q); p != NULL; p = after(q, p)) sum += p->kind == FILE_RANGE ? 0 : p->len;
  return sum;
}

size_t tavi__sendq_held(const struct tavi__sendq *q) {
  size_t sum = 0;
  for (const struct tavi__piece *p = first(q); p != NULL; p = after(q, p)) sum += p->held;
  return sum;
}

static size_t block_room(const struct tavi__piece *p) {
  return p->kind == BLOCK ? (size_t) ((const char *) p + TAVI__BLOCK_BYTES - (p->ptr + p->len)) : 0;
}

char *tavi__sendq_room(struct tavi__sendq *q, struct tavi_manager *m, size_t len) {
  assert(len <= TAVI__SENDQ_ROOM_MAX);
  if (q->last != NULL && block_room(q->last) >= len) return (char *) (uintptr_t) (q->last->ptr + q->last->len);

  struct tavi__piece *p = tavi__manager_block(m);
  if (p == NULL) return NULL;
  p->kind = BLOCK;
  p->ptr = p->u.bytes;
  p->len = 0;
  p->held = TAVI__BLOCK_BYTES;
  append(q, p);
  return p->u.bytes;
}

void tavi__sendq_commit(struct tavi__sendq *q, size_t len) {
  q->last->len += len;
  q->bytes += len;
}

/* A piece with its own allocation: a header, and `extra` bytes behind it. */
static struct tavi__piece *new_piece(struct tavi_manager *m, enum piece_kind kind, size_t extra, int *ret_err) {
  size_t held = sizeof(struct tavi__piece) + extra;
  *ret_err = TAVI_E_LIMIT;
  if (held < extra || !tavi__manager_take(m, held)) return NULL;

  *ret_err = TAVI_E_NOMEM;
  struct tavi__piece *p = malloc(held);
  if (p == NULL) {
    tavi__manager_give(m, held);
    return NULL;
  }
  p->kind = kind;
  p->held = held;
  return p;
}

int tavi__sendq_copy(struct tavi__sendq *q, struct tavi_manager *m, const void *data, size_t len) {
  if (len == 0) return 0;

  if (len <= TAVI__SENDQ_ROOM_MAX) {
    char *room = tavi__sendq_room(q, m, len);
    if (room == NULL) return m->buffered + TAVI__BLOCK_BYTES > m->opts.buffered_bytes_max ? TAVI_E_LIMIT : TAVI_E_NOMEM;
    memcpy(room, data, len);
    tavi__sendq_commit(q, len);
    return 0;
  }

  int err;
  struct tavi__piece *p = new_piece(m, OWNED, len, &err);
  if (p == NULL) return err;
  memcpy(p->u.bytes, data, len);
  p->ptr = p->u.bytes;
  p->len = len;
  append(q, p);
  return 0;
}

int tavi__sendq_foreign(struct tavi__sendq *q, struct tavi_manager *m, const void *data, size_t len,
                        void (*release)(void *), void *arg) {
  int err = 0;
  struct tavi__piece *p = len == 0 ? NULL : new_piece(m, FOREIGN, 0, &err);
  if (p == NULL) {
    release(arg);
    return err;
  }
  p->ptr = data;
  p->len = len;
  p->u.release.fn = release;
  p->u.release.arg = arg;
  append(q, p);
  return 0;
}

int tavi__sendq_file(struct tavi__sendq *q, struct tavi_manager *m, struct tavi__file *file, uint64_t offset,
                     uint64_t len) {
  int err = 0;
  struct tavi__piece *p = len == 0 || len > SIZE_MAX ? NULL : new_piece(m, FILE_RANGE, 0, &err);
  if (p == NULL) {
    tavi__file_unref(file);
    return len > SIZE_MAX ? TAVI_E_ARG : err;
  }
  p->ptr = NULL;
  p->len = (size_t) len;
  p->u.range.file = file;
  p->u.range.offset = offset;
  append(q, p);
  return 0;
}

const char *tavi__sendq_only(const struct tavi__sendq *q, size_t *ret_len) {
  const struct tavi__piece *p = q->last;
  *ret_len = p->len;
  return p->next == p ? p->ptr : NULL;
}

int tavi__sendq_next(const struct tavi__sendq *q, struct iovec *iov, int cap, struct tavi__file **ret_file,
                     uint64_t *ret_offset, size_t *ret_len, bool *ret_more) {
  const struct tavi__piece *p = first(q);
  if (p->kind == FILE_RANGE) {
    *ret_file = p->u.range.file;
    *ret_offset = p->u.range.offset;
    *ret_len = p->len;
    *ret_more = p != q->last;
    return 0;
  }

  int n = 0;
  *ret_len = 0;
  do {
    iov[n].iov_base = (void *) (uintptr_t) p->ptr;
    iov[n++].iov_len = p->len;
    *ret_len += p->len;
    p = after(q, p);
  } while (p != NULL && p->kind != FILE_RANGE && n < cap);
  *ret_more = p != NULL;
  return n;
}

static void free_piece(struct tavi_manager *m, struct tavi__piece *p) {
  if (p->kind == BLOCK) {
    tavi__manager_block_free(m, p);
    return;
  }
  tavi__manager_give(m, p->held);
  if (p->kind == FOREIGN) p->u.release.fn(p->u.release.arg);
  if (p->kind == FILE_RANGE) tavi__file_unref(p->u.range.file);
  free(p);
}

static TAVI__APART void drop_front(struct tavi__sendq *q, struct tavi_manager *m, size_t n) {
  q->bytes -= n;
  while (q->last != NULL) {
    struct tavi__piece *p = q->last->next;
    if (n < p->len) {
      p->len -= n;
      if (p->kind == FILE_RANGE)
        p->u.range.offset += n;
      else
        p->ptr += n;
      return;
    }
    n -= p->len;
    free_piece(m, unlink_first(q)); /* unlinked before: a release function may use the connection */
  }
}

void tavi__sendq_sent(struct tavi__sendq *q, struct tavi_manager *m, size_t n) {
  struct tavi__piece *p = q->last;
  if (p->next != p || n != p->len || p->kind != BLOCK) {
    drop_front(q, m, n);
    return;
  }
  *q = (struct tavi__sendq){0}; /* what nearly always happens: there was one block, and it went */
  tavi__manager_block_free(m, p);
}

void tavi__sendq_clear(struct tavi__sendq *q, struct tavi_manager *m) {
  q->bytes = 0;
  while (q->last != NULL) free_piece(m, unlink_first(q));
}

size_t tavi__sendq_peek(const struct tavi__sendq *q, char *buf, size_t cap) {
  size_t done = 0;
  for (const struct tavi__piece *p = first(q); p != NULL && done < cap; p = after(q, p)) {
    if (p->kind == FILE_RANGE) continue;
    size_t part = p->len < cap - done ? p->len : cap - done;
    memcpy(buf + done, p->ptr, part);
    done += part;
  }
  return done;
}

/* ==== shared buffers ==== */

struct tavi_shared {
  atomic_size_t refs;
  size_t len;
  char bytes[];
};

int tavi_shared_new(const void *data, size_t len, struct tavi_shared **ret_shared) {
  if (len > SIZE_MAX - sizeof(struct tavi_shared)) return TAVI_E_ARG;
  struct tavi_shared *s = malloc(sizeof(*s) + len);
  if (s == NULL) return TAVI_E_NOMEM;

  atomic_init(&s->refs, 1);
  s->len = len;
  if (len != 0) memcpy(s->bytes, data, len);
  *ret_shared = s;
  return 0;
}

void tavi_shared_unref(struct tavi_shared *s) {
  if (s != NULL && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) free(s);
}

struct tavi_slice tavi__shared_bytes(const struct tavi_shared *s) { return (struct tavi_slice){s->bytes, s->len}; }

struct tavi_shared *tavi__shared_ref(struct tavi_shared *s) {
  atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
  return s;
}

static void release_shared(void *arg) { tavi_shared_unref(arg); }

int tavi_conn_send_shared(struct tavi_conn *c, struct tavi_shared *s) {
  return tavi_conn_send_foreign(c, s->bytes, s->len, release_shared, tavi__shared_ref(s));
}
