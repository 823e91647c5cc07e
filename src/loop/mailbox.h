/* SPDX-License-Identifier: MIT
 *
 * The one door by which other threads reach the loop: a queue of payloads under a mutex, packed into blocks.
 *
 * A lock-free list was the alternative. It costs an allocation per payload, and its order across a stall is
 * subtle; a lock that is held for one memcpy is as fast with a handful of threads. The loop takes the whole queue at
 * once, so it holds the lock once per batch. The descriptor is raised once per batch, too: `is_raised` is set by the
 * first producer and cleared by the loop before it takes the queue. */
#ifndef TAVI_LOOP_MAILBOX_H
#define TAVI_LOOP_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "tavi/base.h"

struct tavi__mail_block;

struct tavi__mailbox {
  pthread_mutex_t lock;
  struct tavi__mail_block *first, *last; /* under lock */
  struct tavi__mail_block *spare;        /* under lock: one empty block is kept */
  size_t bytes;                          /* under lock: put and not yet delivered, in whole blocks */
  size_t bytes_max;
  atomic_bool is_raised;                 /* the wake descriptor is, or is about to be, readable */

  /* the loop's alone: the batch that is being delivered */
  struct tavi__mail_block *batch;
  size_t batch_at;                       /* offset in its first block */
};

int tavi__mailbox_init(struct tavi__mailbox *b, size_t bytes_max);
void tavi__mailbox_free(struct tavi__mailbox *b);

/* With b->lock held. Returns 0, TAVI_E_LIMIT or TAVI_E_NOMEM. */
int tavi__mailbox_put(struct tavi__mailbox *b, uint64_t id, const void *data, size_t len);

/* The loop: true when a batch is left from a turn that was broken off. */
static inline bool tavi__mailbox_has_batch(const struct tavi__mailbox *b) { return b->batch != NULL; }

/* The loop: take all that is queued as the new batch (or keep the unfinished one). False when there is nothing. */
bool tavi__mailbox_take(struct tavi__mailbox *b);

/* The loop: the next payload of the batch; false at its end. data is borrowed until the next call. */
bool tavi__mailbox_next(struct tavi__mailbox *b, uint64_t *ret_id, struct tavi_slice *ret_data);

#endif
