/* SPDX-License-Identifier: MIT
 *
 * See idmap.h. At most 3/4 of the places are used; the table only grows, by doubling. */
#include "base/idmap.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_BITS = 4 };

static size_t home(const struct tavi__idmap *m, uint64_t id) {
  return (size_t) ((id * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - m->bits));
}

static size_t mask(const struct tavi__idmap *m) { return ((size_t) 1 << m->bits) - 1; }

static void put(struct tavi__idmap *m, const uint64_t *id) {
  size_t i = home(m, *id);
  while (m->place[i] != NULL) i = (i + 1) & mask(m);
  m->place[i] = id;
}

static bool grow(struct tavi__idmap *m) {
  struct tavi__idmap bigger = {.bits = m->bits == 0 ? FIRST_BITS : m->bits + 1, .count = m->count};
  bigger.place = calloc((size_t) 1 << bigger.bits, sizeof(*bigger.place));
  if (bigger.place == NULL) return false;

  for (size_t i = 0; m->bits != 0 && i <= mask(m); i++)
    if (m->place[i] != NULL) put(&bigger, m->place[i]);
  free(m->place);
  *m = bigger;
  return true;
}

void tavi__idmap_free(struct tavi__idmap *m) {
  free(m->place);
  *m = (struct tavi__idmap){0};
}

bool tavi__idmap_add(struct tavi__idmap *m, const uint64_t *id) {
  if (m->bits == 0 || (m->count + 1) * 4 > ((size_t) 3 << m->bits))
    if (!grow(m)) return false;
  put(m, id);
  m->count++;
  return true;
}

static size_t find(const struct tavi__idmap *m, uint64_t id) {
  size_t i = home(m, id);
  while (m->place[i] != NULL && *m->place[i] != id) i = (i + 1) & mask(m);
  return i;
}

const uint64_t *tavi__idmap_find(const struct tavi__idmap *m, uint64_t id) {
  return m->bits == 0 ? NULL : m->place[find(m, id)];
}

void tavi__idmap_remove(struct tavi__idmap *m, uint64_t id) {
  assert(m->bits != 0);
  size_t gap = find(m, id);
  if (m->place[gap] == NULL) return;

  m->count--;
  for (size_t i = (gap + 1) & mask(m); m->place[i] != NULL; i = (i + 1) & mask(m)) {
    /* An entry may move back to the gap unless its home lies between the gap and where it is now. */
    size_t from_home = (i - home(m, *m->place[i])) & mask(m);
    if (from_home < ((i - gap) & mask(m))) continue;
    m->place[gap] = m->place[i];
    gap = i;
  }
  m->place[gap] = NULL;
}
