/* SPDX-License-Identifier: MIT
 *
 * A circular doubly linked list whose links live inside the items. An unlinked node has next == NULL. */
#ifndef TAVI_BASE_LIST_H
#define TAVI_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct tavi__node {
  struct tavi__node *next, *prev;
};

#define TAVI__CONTAINER(ptr, type, member) ((type *) (void *) ((char *) (ptr) - offsetof(type, member)))

static inline void tavi__list_init(struct tavi__node *head) { head->next = head->prev = head; }

static inline bool tavi__list_empty(const struct tavi__node *head) { return head->next == head; }

static inline void tavi__list_append(struct tavi__node *head, struct tavi__node *n) {
  n->prev = head->prev;
  n->next = head;
  head->prev->next = n;
  head->prev = n;
}

static inline void tavi__list_remove(struct tavi__node *n) {
  n->prev->next = n->next;
  n->next->prev = n->prev;
  n->next = n->prev = NULL;
}

/* Move all items of `from` to the front of `to`, in their order; `from` is empty afterwards. */
static inline void tavi__list_move_front(struct tavi__node *from, struct tavi__node *to) {
  if (tavi__list_empty(from)) return;
  from->prev->next = to->next;
  to->next->prev = from->prev;
  to->next = from->next;
  from->next->prev = to;
  tavi__list_init(from);
}

#endif
