/* SPDX-License-Identifier: MIT
 *
 * What a connection has received and not consumed, when it cannot stay in the loop's own buffer: one growable run of
 * bytes. NULL is an empty one, which is what an idle connection has. */
#ifndef TAVI_NET_RECVBUF_H
#define TAVI_NET_RECVBUF_H

#include <stddef.h>

struct tavi_manager;

struct tavi__recvbuf {
  size_t start, len, cap; /* bytes[start..start+len) is what is held */
  char bytes[];
};

/* Make room for `more` bytes behind the end. Grows by half at least; the memory is counted. Returns 0, TAVI_E_NOMEM or
 * TAVI_E_LIMIT. *b may be NULL and may move. */
int tavi__recvbuf_reserve(struct tavi__recvbuf **b, struct tavi_manager *m, size_t more);

int tavi__recvbuf_append(struct tavi__recvbuf **b, struct tavi_manager *m, const void *data, size_t len);

/* Drop n bytes from the front; an empty one is freed. */
void tavi__recvbuf_consume(struct tavi__recvbuf **b, struct tavi_manager *m, size_t n);

void tavi__recvbuf_free(struct tavi__recvbuf **b, struct tavi_manager *m);

#endif
