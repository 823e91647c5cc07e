/* SPDX-License-Identifier: MIT
 *
 * See recvbuf.h. */
#include "net/recvbuf.h"

#include <stdlib.h>
#include <string.h>

#include "loop/manager.h"

static size_t held(const struct tavi__recvbuf *b) { return sizeof(*b) + b->cap; }

static char *end(struct tavi__recvbuf *b) { return b->bytes + b->start + b->len; }

int tavi__recvbuf_reserve(struct tavi__recvbuf **ref, struct tavi_manager *m, size_t more) {
  struct tavi__recvbuf *b = *ref;
  if (b != NULL && b->cap - b->start - b->len >= more) return 0;

  if (b != NULL && b->start > 0 && b->cap - b->len >= more && b->start >= b->len) { /* cheap to slide down */
    memcpy(b->bytes, b->bytes + b->start, b->len);
    b->start = 0;
    return 0;
  }

  size_t len = b == NULL ? 0 : b->len, cap = len + len / 2;
  if (cap < len + more) cap = len + more;
  if (cap < TAVI__RECV_STEP) cap = TAVI__RECV_STEP;
  if (!tavi__manager_take(m, sizeof(*b) + cap)) return TAVI_E_LIMIT;

  struct tavi__recvbuf *bigger = malloc(sizeof(*b) + cap);
  if (bigger == NULL) {
    tavi__manager_give(m, sizeof(*b) + cap);
    return TAVI_E_NOMEM;
  }
  bigger->start = 0;
  bigger->len = len;
  bigger->cap = cap;
  if (b != NULL) memcpy(bigger->bytes, b->bytes + b->start, len);
  tavi__recvbuf_free(ref, m);
  *ref = bigger;
  return 0;
}

int tavi__recvbuf_append(struct tavi__recvbuf **ref, struct tavi_manager *m, const void *data, size_t len) {
  int err = tavi__recvbuf_reserve(ref, m, len);
  if (err < 0) return err;

  memcpy(end(*ref), data, len);
  (*ref)->len += len;
  return 0;
}

void tavi__recvbuf_consume(struct tavi__recvbuf **ref, struct tavi_manager *m, size_t n) {
  struct tavi__recvbuf *b = *ref;
  b->start += n;
  b->len -= n;
  if (b->len == 0) tavi__recvbuf_free(ref, m);
}

void tavi__recvbuf_free(struct tavi__recvbuf **ref, struct tavi_manager *m) {
  if (*ref == NULL) return;

  tavi__manager_give(m, held(*ref));
  free(*ref);
  *ref = NULL;
}
