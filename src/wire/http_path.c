/* SPDX-License-Identifier: MIT
 *
 * A request's path as the name of a file.
 *
 * Everything is judged after it was decoded, and decoded only once: "%2e%2e", ".%2e" and "..%2f" are what they stand
 * for, "%252e" is a name with a '%' in it, and bytes that some later decoder may take for a '/' (overlong UTF-8) stay
 * the bytes that they are, since the system's file names are bytes. ".." is refused and not resolved: no client sends
 * it (RFC 3986 section 5.2.4 has removed it), and what it leads to depends on symbolic links. '\' is refused because
 * some systems, and some of the tools behind us, separate by it.
 *
 * Each component is written behind those that were kept, and becomes one of them when it is judged at its end. */
#include "wire/http_path.h"

#include <assert.h>
#include <string.h>

#include "base/ascii.h"

struct name {
  char *out;
  size_t cap;  /* bytes of out */
  size_t kept; /* bytes of the components before */
  size_t len;  /* of the current component, perhaps more than there is room for */
  size_t dots; /* with which it begins */
  bool hidden;
  bool is_dir; /* the last component was nothing, or "." */
};

/* Where the current component stands: behind the others and a '/'. */
static size_t start_of(const struct name *n) { return n->kept > 0 ? n->kept + 1 : 0; }

/* What does not fit is not written; whether it had to is seen at the end of the component. */
static void put(struct name *n, char c) {
  size_t to = start_of(n) + n->len;
  if (to < n->cap) n->out[to] = c;
  if (c == '.' && n->dots == n->len) n->dots++;
  n->len++;
}

static bool is_well_known(const struct name *n) {
  return n->kept == 0 && n->len == 11 && memcmp(n->out, ".well-known", 11) == 0;
}

/* Judge the current component and keep it, or leave it out. Returns 0 or a negated status. */
static int end_component(struct name *n) {
  size_t start = start_of(n), end = start + n->len;
  n->is_dir = n->len < 2 && n->dots == n->len;
  if (n->len == 2 && n->dots == 2) return -400;
  if (!n->is_dir) {
    if (end >= n->cap) return -414;
    if (n->dots > 0 && !n->hidden && !is_well_known(n)) return -404;
    if (start > 0) n->out[start - 1] = '/';
    n->kept = end;
  }
  n->len = n->dots = 0;
  return 0;
}

static int put_components(struct name *n, struct tavi_slice path) {
  for (size_t at = 1; at < path.len;) {
    int c = tavi__percent_byte(path, &at);
    if (c <= 0 || c == '\\') return -400;
    if (c != '/') {
      put(n, (char) c);
      continue;
    }
    int err = end_component(n);
    if (err < 0) return err;
  }
  return end_component(n);
}

int tavi__http_path(struct tavi_slice path, bool hidden, char *out, int cap, bool *ret_is_dir) {
  assert(cap > 0);
  if (path.len == 0 || path.ptr[0] != '/') return -400;

  struct name n = {.out = out, .cap = (size_t) cap, .hidden = hidden};
  int err = put_components(&n, path);
  if (err < 0) return err;
  out[n.kept] = '\0';
  *ret_is_dir = n.is_dir;
  return (int) n.kept;
}
