/* SPDX-License-Identifier: MIT
 *
 * See mailbox.h. A block holds records back to back: a header of 16 bytes, the payload, padding to 8. */
#include "loop/mailbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

struct tavi__mail_block {
  struct tavi__mail_block *next;
  size_t len, cap; /* bytes of records */
  char records[];
};

struct record {
  uint64_t id;
  uint64_t len;
  char data[];
};

static size_t record_bytes(size_t len) { return (sizeof(struct record) + len + 7) & ~(size_t) 7; }

static void free_blocks(struct tavi__mail_block *b) {
  while (b != NULL) {
    struct tavi__mail_block *next = b->next;
    free(b);
    b = next;
  }
}

int tavi__mailbox_init(struct tavi__mailbox *b, size_t bytes_max) {
  *b = (struct tavi__mailbox){.bytes_max = bytes_max};
  return pthread_mutex_init(&b->lock, NULL) == 0 ? 0 : TAVI_E_NOMEM;
}

void tavi__mailbox_free(struct tavi__mailbox *b) {
  free_blocks(b->batch);
  free_blocks(b->first);
  free(b->spare);
  pthread_mutex_destroy(&b->lock);
}

static struct tavi__mail_block *new_block(struct tavi__mailbox *b, size_t need) {
  size_t cap = TAVI__MAIL_BLOCK_BYTES - sizeof(struct tavi__mail_block);
  struct tavi__mail_block *block;
  if (need <= cap && b->spare != NULL) {
    block = b->spare;
    b->spare = NULL;
  } else {
    if (need > cap) cap = need;
    block = malloc(sizeof(*block) + cap);
    if (block == NULL) return NULL;
  }
  block->next = NULL;
  block->len = 0;
  block->cap = cap;
  return block;
}

int tavi__mailbox_put(struct tavi__mailbox *b, uint64_t id, const void *data, size_t len) {
  if (len > SIZE_MAX / 2) return TAVI_E_LIMIT;
  size_t need = record_bytes(len);
  if (b->bytes != 0 && need > b->bytes_max - (b->bytes < b->bytes_max ? b->bytes : b->bytes_max)) return TAVI_E_LIMIT;

  if (b->last == NULL || b->last->cap - b->last->len < need) {
    struct tavi__mail_block *block = new_block(b, need);
    if (block == NULL) return TAVI_E_NOMEM;
    *(b->last == NULL ? &b->first : &b->last->next) = block;
    b->last = block;
  }

  struct record *r = (struct record *) (void *) (b->last->records + b->last->len);
  r->id = id;
  r->len = len;
  if (len != 0) memcpy(r->data, data, len);
  b->last->len += need;
  b->bytes += need;
  return 0;
}

bool tavi__mailbox_take(struct tavi__mailbox *b) {
  if (b->batch != NULL) return true;

  pthread_mutex_lock(&b->lock);
  b->batch = b->first;
  b->first = b->last = NULL;
  pthread_mutex_unlock(&b->lock);
  b->batch_at = 0;
  return b->batch != NULL;
}

/* The loop is through with a block: its bytes are delivered (at once, since a producer that is refused wakes nobody).
 * Keep one block of the usual size, free the rest. */
static void recycle(struct tavi__mailbox *b, struct tavi__mail_block *block) {
  pthread_mutex_lock(&b->lock);
  b->bytes -= block->len;
  if (b->spare == NULL && block->cap == TAVI__MAIL_BLOCK_BYTES - sizeof(*block)) {
    b->spare = block;
    block = NULL;
  }
  pthread_mutex_unlock(&b->lock);
  free(block);
}

bool tavi__mailbox_next(struct tavi__mailbox *b, uint64_t *ret_id, struct tavi_slice *ret_data) {
  while (b->batch != NULL && b->batch_at == b->batch->len) {
    struct tavi__mail_block *done = b->batch;
    b->batch = done->next;
    b->batch_at = 0;
    recycle(b, done);
  }
  if (b->batch == NULL) return false;

  const struct record *r = (const struct record *) (const void *) (b->batch->records + b->batch_at);
  b->batch_at += record_bytes(r->len);
  *ret_id = r->id;
  *ret_data = (struct tavi_slice){r->data, r->len};
  return true;
}
