/* SPDX-License-Identifier: MIT
 *
 * See cache.h. */
#include "dns/cache.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"

enum { FIRST_BITS = 6 };

/* FNV-1a of the name in small letters, beginning with the seed, and mixed at the end so that the low bits are good. */
static uint32_t hash_of(const struct tavi__dns_cache *c, const char *host) {
  uint32_t h = c->seed;
  for (const unsigned char *p = (const unsigned char *) host; *p != 0; p++) {
    uint32_t small = *p >= 'A' && *p <= 'Z' ? *p + 32u : *p;
    h = (h ^ small) * 16777619u;
  }
  h ^= h >> 16;
  h *= 0x7feb352du;
  return h ^ h >> 15;
}

static struct tavi__dns_name **bucket_of(const struct tavi__dns_cache *c, uint32_t hash) {
  return &c->buckets[hash & ((1u << c->bits) - 1)];
}

int tavi__dns_cache_init(struct tavi__dns_cache *c, uint32_t seed) {
  *c = (struct tavi__dns_cache){.bits = FIRST_BITS, .seed = seed ^ 2166136261u};
  tavi__list_init(&c->known);
  c->buckets = calloc((size_t) 1 << c->bits, sizeof(struct tavi__dns_name *));
  return c->buckets != NULL ? 0 : TAVI_E_NOMEM;
}

void tavi__dns_cache_free(struct tavi__dns_cache *c) {
  for (size_t i = 0; c->buckets != NULL && i < (size_t) 1 << c->bits; i++) {
    struct tavi__dns_name *name = c->buckets[i], *next;
    for (; name != NULL; name = next) {
      next = name->next;
      free(name);
    }
  }
  free(c->buckets);
  c->buckets = NULL;
}

static void drop(struct tavi__dns_cache *c, struct tavi__dns_name *name) {
  struct tavi__dns_name **at = bucket_of(c, name->hash);
  while (*at != name) at = &(*at)->next;
  *at = name->next;
  c->count--;
  if (name->question == NULL) {
    tavi__list_remove(&name->order);
    c->known_count--;
  }
  free(name);
}

struct tavi__dns_name *tavi__dns_cache_find(struct tavi__dns_cache *c, const char *host, uint64_t now_ms) {
  uint32_t hash = hash_of(c, host);
  struct tavi__dns_name *name = *bucket_of(c, hash);
  while (name != NULL && (name->hash != hash || strcasecmp(name->host, host) != 0)) name = name->next;
  if (name == NULL || name->question != NULL) return name;
  if (now_ms >= name->until_ms) {
    drop(c, name);
    return NULL;
  }
  tavi__list_remove(&name->order);
  tavi__list_append(&c->known, &name->order);
  return name;
}

/* Twice as many buckets. Without memory the chains get longer, and that is all. */
static void grow(struct tavi__dns_cache *c) {
  struct tavi__dns_name **old = c->buckets, *next;
  size_t old_count = (size_t) 1 << c->bits;
  struct tavi__dns_name **buckets = calloc(2 * old_count, sizeof(struct tavi__dns_name *));
  if (buckets == NULL) return;

  c->buckets = buckets;
  c->bits++;
  for (size_t i = 0; i < old_count; i++) {
    for (struct tavi__dns_name *name = old[i]; name != NULL; name = next) {
      struct tavi__dns_name **at = bucket_of(c, name->hash);
      next = name->next;
      name->next = *at;
      *at = name;
    }
  }
  free(old);
}

struct tavi__dns_name *tavi__dns_cache_add(struct tavi__dns_cache *c, const char *host,
                                           struct tavi__dns_question *question) {
  size_t len = strlen(host);
  struct tavi__dns_name *name = calloc(1, sizeof(*name) + len + 1);
  if (name == NULL) return NULL;

  if (c->count >= (size_t) 1 << c->bits && c->bits < 24) grow(c);
  memcpy(name->host, host, len + 1);
  name->hash = hash_of(c, host);
  name->question = question;
  struct tavi__dns_name **at = bucket_of(c, name->hash);
  name->next = *at;
  *at = name;
  c->count++;
  return name;
}

void tavi__dns_cache_answered(struct tavi__dns_cache *c, struct tavi__dns_name *name, uint64_t until_ms) {
  if (until_ms == 0) {
    drop(c, name); /* while it still has its question: it is not among the known */
    return;
  }
  name->question = NULL;
  name->until_ms = until_ms;
  tavi__list_append(&c->known, &name->order);
  if (++c->known_count > TAVI__DNS_NAMES_KEPT) drop(c, TAVI__CONTAINER(c->known.next, struct tavi__dns_name, order));
}
