/* SPDX-License-Identifier: MIT
 *
 * From a 64-bit id to the object that carries it, O(1), eight bytes per place.
 *
 * The map stores pointers to the ids inside the objects (open addressing, linear probing, deletion by shifting back, so
 * there are no tombstones to collect). Ids are small growing numbers; multiplying them by the golden ratio spreads
 * neighbours apart, without which a run of live ids would be one long cluster. */
#ifndef TAVI_BASE_IDMAP_H
#define TAVI_BASE_IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tavi__idmap {
  const uint64_t **place;
  size_t count;
  unsigned bits; /* 2^bits places; 0: none yet */
};

void tavi__idmap_free(struct tavi__idmap *m);

/* Add an object by its id, which must stay where it is and unchanged. False when memory ran out. */
bool tavi__idmap_add(struct tavi__idmap *m, const uint64_t *id);

void tavi__idmap_remove(struct tavi__idmap *m, uint64_t id);

/* The pointer that was added for this id, or NULL. */
const uint64_t *tavi__idmap_find(const struct tavi__idmap *m, uint64_t id);

#endif
