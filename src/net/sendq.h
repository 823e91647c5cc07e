/* SPDX-License-Identifier: MIT
 *
 * A send queue: what a connection still has to send, as a list of pieces. Knows no socket.
 *
 * Small writes are copied into blocks from the manager's free list, so a reply needs no malloc and several replies
 * become one piece. Large copies get memory of their own; references to shared buffers, foreign memory with a release
 * function, and ranges of files are pieces without bytes of ours. */
#ifndef TAVI_NET_SENDQ_H
#define TAVI_NET_SENDQ_H

#include <sys/uio.h>

#include "tavi/conn.h"

struct tavi__piece;
struct tavi__file;

struct tavi__sendq {
  struct tavi__piece *last; /* last->next is the first: one pointer per connection is enough. NULL: empty */
  size_t bytes;             /* not yet sent */
};

/* Bytes of it that are in memory, ours or foreign: all but the ranges of files. Walks the queue. */
size_t tavi__sendq_in_memory(const struct tavi__sendq *q);

/* Memory of ours in the queue. */
size_t tavi__sendq_held(const struct tavi__sendq *q);

/* Room for `len` bytes at the end, to be filled by the caller and made part of the queue with tavi__sendq_commit();
 * NULL when memory or the manager's maximum is exhausted. len: up to TAVI__SENDQ_ROOM_MAX. */
char *tavi__sendq_room(struct tavi__sendq *q, struct tavi_manager *m, size_t len);
void tavi__sendq_commit(struct tavi__sendq *q, size_t len);

#define TAVI__SENDQ_ROOM_MAX ((size_t) 4000)

/* Append; 0, TAVI_E_NOMEM or TAVI_E_LIMIT (the manager's maximum). Foreign memory and a reference of the file are
 * taken, also on failure. */
int tavi__sendq_copy(struct tavi__sendq *q, struct tavi_manager *m, const void *data, size_t len);
int tavi__sendq_foreign(struct tavi__sendq *q, struct tavi_manager *m, const void *data, size_t len,
                        void (*release)(void *), void *arg);
int tavi__sendq_file(struct tavi__sendq *q, struct tavi_manager *m, struct tavi__file *file, uint64_t offset,
                     uint64_t len);

/* The bytes of a queue that is one piece of memory, as most are; NULL for any other. The queue is not empty. */
const char *tavi__sendq_only(const struct tavi__sendq *q, size_t *ret_len);

/* The next system call to make: up to cap pieces of memory in iov (returns their number), or, when it returns 0, the
 * range at *ret_offset of *ret_file. *ret_len: its bytes. *ret_more: other pieces follow. The queue is not empty. */
int tavi__sendq_next(const struct tavi__sendq *q, struct iovec *iov, int cap, struct tavi__file **ret_file,
                     uint64_t *ret_offset, size_t *ret_len, bool *ret_more);

/* n bytes from the front of a queue that is not empty were sent. */
void tavi__sendq_sent(struct tavi__sendq *q, struct tavi_manager *m, size_t n);

/* Drop everything. */
void tavi__sendq_clear(struct tavi__sendq *q, struct tavi_manager *m);

/* Copy the first bytes (of memory pieces) to buf. */
size_t tavi__sendq_peek(const struct tavi__sendq *q, char *buf, size_t cap);

/* The bytes of a shared buffer, and one more reference to it. */
struct tavi_slice tavi__shared_bytes(const struct tavi_shared *s);
struct tavi_shared *tavi__shared_ref(struct tavi_shared *s);

#endif
