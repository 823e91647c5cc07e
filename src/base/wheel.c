/* SPDX-License-Identifier: MIT
 *
 * See wheel.h. The invariant behind everything: an entry of level l differs from now_ms in the l-th group of six bits
 * and in no higher one, and its group is larger than that of now_ms. So the slots to look at next are those above the
 * current position, level by level, and the first one found is the earliest. */
#include "base/wheel.h"

void tavi__wheel_init(struct tavi__wheel *w, uint64_t now_ms) {
  w->now_ms = now_ms;
  w->next_ms = UINT64_MAX;
  tavi__list_init(&w->due);
  for (int l = 0; l < TAVI__WHEEL_LEVELS; l++) {
    w->maybe[l] = 0;
    for (int s = 0; s < TAVI__WHEEL_SLOTS; s++) tavi__list_init(&w->slot[l][s]);
  }
}

void tavi__wheel_add(struct tavi__wheel *w, struct tavi__wheel_entry *e, uint64_t at_ms) {
  e->at_ms = at_ms;
  if (at_ms <= w->now_ms) {
    tavi__list_append(&w->due, &e->node);
    return;
  }

  int level = (63 - __builtin_clzll(at_ms ^ w->now_ms)) / TAVI__WHEEL_BITS;
  if (level >= TAVI__WHEEL_LEVELS) level = TAVI__WHEEL_LEVELS - 1;
  unsigned slot = (unsigned) (at_ms >> (level * TAVI__WHEEL_BITS)) & (TAVI__WHEEL_SLOTS - 1);
  tavi__list_append(&w->slot[level][slot], &e->node);
  w->maybe[level] |= UINT64_C(1) << slot;
  int shift = level * TAVI__WHEEL_BITS;
  uint64_t begins_ms = at_ms >> shift << shift;
  if (begins_ms < w->next_ms) w->next_ms = begins_ms;
}

void tavi__wheel_remove(struct tavi__wheel_entry *e) { tavi__list_remove(&e->node); }

/* The first occupied slot after the current position; false when there is none. */
static bool next_slot(struct tavi__wheel *w, int *ret_level, unsigned *ret_slot, uint64_t *ret_ms) {
  for (int l = 0; l < TAVI__WHEEL_LEVELS; l++) {
    int shift = l * TAVI__WHEEL_BITS;
    unsigned here = (unsigned) (w->now_ms >> shift) & (TAVI__WHEEL_SLOTS - 1);
    uint64_t above = here == 63 ? 0 : w->maybe[l] & (~UINT64_C(0) << (here + 1));
    while (above != 0) {
      unsigned s = (unsigned) __builtin_ctzll(above);
      if (!tavi__list_empty(&w->slot[l][s])) {
        uint64_t block = w->now_ms >> shift >> TAVI__WHEEL_BITS << TAVI__WHEEL_BITS;
        *ret_level = l, *ret_slot = s, *ret_ms = (block | s) << shift;
        return true;
      }
      above &= above - 1;
      w->maybe[l] &= ~(UINT64_C(1) << s);
    }
  }
  return false;
}

void tavi__wheel_advance_far(struct tavi__wheel *w, uint64_t now_ms) {
  int level;
  unsigned slot;
  uint64_t ms;
  while (w->next_ms <= now_ms) {
    w->next_ms = UINT64_MAX;
    if (!next_slot(w, &level, &slot, &ms)) break;
    if (ms > now_ms) {
      w->next_ms = ms;
      break;
    }
    w->now_ms = ms;
    struct tavi__node *head = &w->slot[level][slot];
    w->maybe[level] &= ~(UINT64_C(1) << slot);
    while (!tavi__list_empty(head)) { /* down a level, or due */
      struct tavi__wheel_entry *e = TAVI__CONTAINER(head->next, struct tavi__wheel_entry, node);
      tavi__list_remove(&e->node);
      tavi__wheel_add(w, e, e->at_ms);
    }
    w->next_ms = ms; /* look for the next one */
  }
  if (w->now_ms < now_ms) w->now_ms = now_ms;
}
