/* SPDX-License-Identifier: MIT
 *
 * Cookies of requests and for answers; the bytes are wire/cookie.c's. */
#include "wire/cookie.h"

#include "http/http.h"

int tavi_http_cookie(const struct tavi_http_msg *msg, struct tavi_slice name, struct tavi_slice *ret_value) {
  for (size_t i = 0; i < msg->header_count; i++) {
    const struct tavi_http_header *h = &msg->headers[i];
    if (tavi__slice_is(h->name, "cookie", 6) && tavi__cookie_find(h->value, name, ret_value)) return 0;
  }
  return TAVI_E_NOT_FOUND;
}

void tavi_cookie_init(struct tavi_cookie *cookie) {
  *cookie = (struct tavi_cookie){
      .path = {"/", 1},
      .max_age_s = -1,
      .same_site = TAVI_SAME_SITE_LAX,
      .is_secure = true,
      .is_http_only = true,
  };
}

int64_t tavi_cookie_format(const struct tavi_cookie *cookie, char *out, size_t cap) {
  return tavi__cookie_format(cookie, out, cap);
}
