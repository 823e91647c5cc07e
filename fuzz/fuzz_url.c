/* SPDX-License-Identifier: MIT
 *
 * URLs and percent-encoding: the parts of any text lie in it one behind the other, and with what stands between them they
 * are all of it; what is encoded comes back. */
#include "tavi/url.h"

#include "fuzz.h"

/* Between two parts there are only the characters that divide them. */
static const char *behind(const char *at, struct tavi_slice part, const char *end) {
  if (part.ptr == NULL) return at;
  FUZZ_CHECK(part.ptr >= at && part.ptr + part.len <= end);
  for (; at < part.ptr; at++) FUZZ_CHECK(*at == ':' || *at == '/' || *at == '@');
  return part.ptr + part.len;
}

static void check_split(struct tavi_slice url) {
  struct tavi_url u, again;
  const char *at = url.ptr, *end = url.ptr + url.len;
  tavi_url_split(url, &u);
  at = behind(at, u.scheme, end);
  at = behind(at, u.user, end);
  at = behind(at, u.pass, end);
  at = behind(at, u.host, end);
  FUZZ_CHECK(u.uri.ptr >= at && u.uri.ptr + u.uri.len == end);
  FUZZ_CHECK(u.uri.len == 0 || memchr("/?#", *u.uri.ptr, 3) != NULL);
  FUZZ_CHECK(u.port >= -1 && u.port <= 65535);
  FUZZ_CHECK(memchr(u.host.ptr, '@', u.host.len) == NULL && (u.user.len == 0 || memchr(u.user.ptr, ':', u.user.len) == NULL));

  struct tavi_slice front = {url.ptr, url.len - u.uri.len}; /* what follows the authority changes nothing in it */
  tavi_url_split(front, &again);
  FUZZ_CHECK(again.port == u.port && again.host.len == u.host.len && again.user.len == u.user.len && again.is_tls == u.is_tls);
}

static void check_percent(struct tavi_slice in) {
  char *out = calloc(3 * in.len + 1, 1), *back = calloc(3 * in.len + 1, 1);
  if (out == NULL || back == NULL) abort();
  const int64_t len = tavi_percent_encode(in, out, 3 * in.len);
  FUZZ_CHECK(len >= (int64_t)in.len);
  FUZZ_CHECK(tavi_percent_decode((struct tavi_slice){out, (size_t)len}, true, back) == (int64_t)in.len);
  FUZZ_CHECK(memcmp(back, in.ptr, in.len) == 0);
  const int64_t decoded = tavi_percent_decode(in, false, back);
  FUZZ_CHECK(decoded == TAVI_E_ARG || (decoded >= 0 && (size_t)decoded <= in.len));
  free(out), free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size > 4096) return 0;
  char *text = fuzz_copy(data, size);
  check_split((struct tavi_slice){text, size});
  check_percent((struct tavi_slice){text, size});
  free(text);
  return 0;
}
