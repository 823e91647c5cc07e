/* SPDX-License-Identifier: MIT
 *
 * See http_redirect.h. */
#include "wire/http_redirect.h"

#include <string.h>

bool tavi__http_is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool is(struct tavi_slice method, const char *name) {
  return method.len == strlen(name) && memcmp(method.ptr, name, method.len) == 0;
}

bool tavi__http_redirect_to_get(int status, struct tavi_slice method) {
  if (status == 303) return !is(method, "HEAD");
  return (status == 301 || status == 302) && is(method, "POST");
}

static char small(char c) { return c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c; }

bool tavi__http_same_origin(const struct tavi_url *a, const struct tavi_url *b) {
  if (a->is_tls != b->is_tls || a->port != b->port || a->host.len != b->host.len) return false;
  for (size_t i = 0; i < a->host.len; i++)
    if (small(a->host.ptr[i]) != small(b->host.ptr[i])) return false;
  return true;
}

bool tavi__http_is_downgrade(const struct tavi_url *from, const struct tavi_url *to) {
  return from->is_tls && !to->is_tls;
}
