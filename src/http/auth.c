/* SPDX-License-Identifier: MIT
 *
 * Credentials: Basic (RFC 7617) and Bearer (RFC 6750) in Authorization, and the answer that asks for them.
 *
 * A request with several Authorization headers has none that could be believed: who checked them on the way may have
 * looked at another one. */
#include <string.h>

#include "base/ascii.h"
#include "base/base64.h"
#include "base/limits.h"
#include "http/http.h"
#include "tavi/http_auth.h"
#include "tavi/text.h"

/* ==== secrets ==== */

/* No branch and no place in memory depends on what the bytes are, and `differs` is volatile, so that the compiler may
 * not know when it is decided. A shorter `a` is compared as if it went on with its first byte. */
bool tavi_secret_equal(struct tavi_slice a, struct tavi_slice b) {
  const char *from = a.len > 0 ? a.ptr : "";
  volatile unsigned differs = a.len != b.len;
  for (size_t i = 0; i < b.len; i++) {
    size_t is_inside = (size_t) 0 - (size_t) (i < a.len);
    differs = differs | (unsigned char) (from[i & is_inside] ^ b.ptr[i]);
  }
  return differs == 0;
}

/* ==== reading ==== */

/* The one Authorization header. */
static int find_authorization(const struct tavi_http_msg *msg, struct tavi_slice *ret_value) {
  const struct tavi_http_header *found = NULL;
  for (size_t i = 0; i < msg->header_count; i++) {
    if (!tavi__slice_is(msg->headers[i].name, "authorization", 13)) continue;
    if (found != NULL) return TAVI_E_PROTOCOL;
    found = &msg->headers[i];
  }
  if (found == NULL) return TAVI_E_NOT_FOUND;
  *ret_value = found->value;
  return 0;
}

/* What follows the scheme and its spaces; perhaps nothing. */
static int find_credentials(const struct tavi_http_msg *msg, const char *scheme, size_t scheme_len,
                            struct tavi_slice *ret_credentials) {
  struct tavi_slice value;
  int err = find_authorization(msg, &value);
  if (err < 0) return err;
  if (!tavi__slice_begins(value, scheme, scheme_len)) return TAVI_E_NOT_FOUND;
  size_t at = scheme_len;
  if (at < value.len && value.ptr[at] != ' ') return TAVI_E_NOT_FOUND; /* a longer name */
  while (at < value.len && value.ptr[at] == ' ') at++;
  *ret_credentials = (struct tavi_slice){value.ptr + at, value.len - at};
  return 0;
}

static bool has_control(struct tavi_slice s) {
  for (size_t i = 0; i < s.len; i++)
    if ((unsigned char) s.ptr[i] < ' ' || s.ptr[i] == 0x7f) return true;
  return false;
}

int tavi_http_basic_auth(const struct tavi_http_msg *msg, char *buf, size_t cap, struct tavi_slice *ret_user,
                         struct tavi_slice *ret_password) {
  struct tavi_slice in;
  int err = find_credentials(msg, "basic", 5, &in);
  if (err < 0) return err;

  int64_t len = tavi_base64_decode(in, buf, cap);
  if (len == TAVI_E_LIMIT) return TAVI_E_LIMIT;
  if (len <= 0) return TAVI_E_PROTOCOL; /* nothing has no ':' either */
  struct tavi_slice all = {buf, (size_t) len};
  const char *colon = memchr(buf, ':', all.len);
  if (colon == NULL || has_control(all)) return TAVI_E_PROTOCOL;
  *ret_user = (struct tavi_slice){buf, (size_t) (colon - buf)};
  *ret_password = (struct tavi_slice){colon + 1, all.len - ret_user->len - 1};
  return 0;
}

/* b64token of RFC 6750 section 2.1: letters, digits, "-._~+/", then perhaps '='. */
static bool is_token68(struct tavi_slice s) {
  size_t at = 0;
  for (; at < s.len; at++) {
    char c = s.ptr[at];
    if (!tavi__is_letter(c) && !tavi__is_digit(c) && (c == 0 || strchr("-._~+/", c) == NULL)) break;
  }
  bool has_any = at > 0;
  while (at < s.len && s.ptr[at] == '=') at++;
  return has_any && at == s.len;
}

int tavi_http_bearer_token(const struct tavi_http_msg *msg, struct tavi_slice *ret_token) {
  struct tavi_slice in;
  int err = find_credentials(msg, "bearer", 6, &in);
  if (err < 0) return err;
  if (!is_token68(in)) return TAVI_E_PROTOCOL;
  *ret_token = in;
  return 0;
}

bool tavi_http_is_user(const struct tavi_http_msg *msg, struct tavi_slice user, struct tavi_slice password) {
  char buf[TAVI__CREDENTIAL_BYTES];
  struct tavi_slice sent_user, sent_password;
  if (tavi_http_basic_auth(msg, buf, sizeof(buf), &sent_user, &sent_password) < 0) return false;
  bool is_user = tavi_secret_equal(user, sent_user), is_password = tavi_secret_equal(password, sent_password);
  return is_user & is_password;
}

bool tavi_http_is_bearer(const struct tavi_http_msg *msg, struct tavi_slice token) {
  struct tavi_slice sent;
  return tavi_http_bearer_token(msg, &sent) == 0 && tavi_secret_equal(token, sent);
}

/* ==== writing ==== */

/* `from` as the inside of a quoted string (RFC 9110 section 5.6.4). Returns its end. */
static char *put_quoted(char *to, struct tavi_slice from) {
  for (size_t i = 0; i < from.len; i++) {
    if (from.ptr[i] == '"' || from.ptr[i] == '\\') *to++ = '\\';
    *to++ = from.ptr[i];
  }
  return to;
}

static char *put_text(char *to, const char *text) {
  size_t len = strlen(text);
  memcpy(to, text, len);
  return to + len;
}

int tavi_http_challenge(struct tavi_conn *c, const char *scheme, const char *realm) {
  static const char page[] = "401 Unauthorized\n";
  if (scheme == NULL || realm == NULL) return TAVI_E_ARG;
  bool is_basic = strcmp(scheme, "Basic") == 0;
  struct tavi_slice text = {realm, strlen(realm)};
  if ((!is_basic && strcmp(scheme, "Bearer") != 0) || text.len > TAVI__REALM_BYTES || has_control(text))
    return TAVI_E_ARG;

  char value[2 * TAVI__REALM_BYTES + 64];
  char *p = put_text(put_text(value, scheme), " realm=\"");
  p = put_text(put_quoted(p, text), is_basic ? "\", charset=\"UTF-8\"" : "\"");
  const struct tavi_http_header headers[] = {
      {{"WWW-Authenticate", 16}, {value, (size_t) (p - value)}},
      {{"Content-Type", 12}, {"text/plain; charset=utf-8", 25}},
  };
  return tavi_http_reply(c, 401, headers, 2, (struct tavi_slice){page, sizeof(page) - 1});
}

int64_t tavi_http_basic_value(struct tavi_slice user, struct tavi_slice password, char *out, size_t cap) {
  static const char scheme[] = "Basic ";
  size_t scheme_len = sizeof(scheme) - 1;
  if (has_control(user) || has_control(password)) return TAVI_E_ARG;
  if (user.len > 0 && memchr(user.ptr, ':', user.len) != NULL) return TAVI_E_ARG;
  if (user.len >= cap || password.len >= cap - user.len) return TAVI_E_LIMIT;
  size_t len = user.len + 1 + password.len; /* at most cap, so what follows does not overflow */
  if (cap < scheme_len || len > (cap - scheme_len) / 4 * 3) return TAVI_E_LIMIT;

  size_t total = scheme_len + (len + 2) / 3 * 4;
  char *plain = out + total - len; /* encoded where it lies, see base64.h */
  if (user.len > 0) memcpy(plain, user.ptr, user.len);
  plain[user.len] = ':';
  if (password.len > 0) memcpy(plain + user.len + 1, password.ptr, password.len);
  tavi__base64_encode((struct tavi_slice){plain, len}, out + scheme_len);
  memcpy(out, scheme, scheme_len);
  return (int64_t) total;
}
