/* SPDX-License-Identifier: MIT
 *
 * Names and what is known of them, by name without case: the answer for as long as it holds, or who asks for it now.
 *
 * A hash table with chains. A name that is being asked for stays; of the others, up to TAVI__DNS_NAMES_KEPT are kept,
 * and the one that was not used for longest goes first. Looking up, adding and dropping are O(1). Knows no clock and no
 * socket. */
#ifndef TAVI_DNS_CACHE_H
#define TAVI_DNS_CACHE_H

#include "net/resolve.h"

struct tavi__dns_question;

struct tavi__dns_answer {
  int err;         /* 0, or why there is no address */
  const char *why; /* static */
  int count;
  struct tavi__peer addrs[TAVI__ADDRS_MAX];
};

struct tavi__dns_name {
  struct tavi__dns_name *next;         /* of the same bucket */
  struct tavi__node order;             /* among the known ones, the one used last at the end */
  uint32_t hash;
  struct tavi__dns_question *question; /* asks for it now; NULL: the answer is known */
  uint64_t until_ms;                   /* the answer holds */
  struct tavi__dns_answer answer;
  char host[];                         /* as it was first asked for */
};

struct tavi__dns_cache {
  struct tavi__dns_name **buckets;     /* 2^bits */
  unsigned bits;
  size_t count, known_count;
  struct tavi__node known;
  uint32_t seed;                       /* so that nobody knows which names share a bucket */
};

/* Returns 0 or TAVI_E_NOMEM. */
int tavi__dns_cache_init(struct tavi__dns_cache *c, uint32_t seed);
void tavi__dns_cache_free(struct tavi__dns_cache *c);

/* The name, when it is being asked for or its answer still holds; or NULL. */
struct tavi__dns_name *tavi__dns_cache_find(struct tavi__dns_cache *c, const char *host, uint64_t now_ms);

/* A name that was not found, and that is asked for by `question` from now on. NULL: no memory. */
struct tavi__dns_name *tavi__dns_cache_add(struct tavi__dns_cache *c, const char *host,
                                           struct tavi__dns_question *question);

/* The question is answered: keep name->answer until then, or, with 0, drop the name. */
void tavi__dns_cache_answered(struct tavi__dns_cache *c, struct tavi__dns_name *name, uint64_t until_ms);

#endif
