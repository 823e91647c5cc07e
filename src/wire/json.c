/* SPDX-License-Identifier: MIT
 *
 * Values out of JSON text: see tavi/json.h.
 *
 * Nothing is built: a path is walked by passing over what stands before each step, and the answer is a part of the
 * text. Passing over a value needs to know, for each array or object that is open, which of both it is: one bit on the
 * stack, and so a limit. There is no recursion.
 *
 * Functions that read take a scan, whose p they move behind what they have read. They return 0, or an error after which
 * p means nothing. */
#include "wire/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/limits.h"
#include "base/utf8.h"

struct scan {
  const char *p, *end;
};

static struct scan scan_of(struct tavi_slice s) {
  const char *p = s.len > 0 ? s.ptr : "";
  return (struct scan){p, p + s.len};
}

static struct tavi_slice from_to(const char *from, const char *to) {
  return (struct tavi_slice){from, (size_t) (to - from)};
}

/* ==== passing over ==== */

static void skip_space(struct scan *s) {
  while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t')) s->p++;
}

/* The next character that is no white space, or NUL at the end: no JSON has one there. */
static char next(struct scan *s) {
  skip_space(s);
  return s->p < s->end ? *s->p : '\0';
}

static int skip_escape(struct scan *s) {
  if (s->p == s->end) return TAVI_E_PROTOCOL;
  char c = *s->p++;
  if (c != 'u') return c != '\0' && strchr("\"\\/bfnrt", c) != NULL ? 0 : TAVI_E_PROTOCOL;
  for (int i = 0; i < 4; i++, s->p++)
    if (s->p == s->end || tavi__hex_value(*s->p) < 0) return TAVI_E_PROTOCOL;
  return 0;
}

static int skip_string(struct scan *s) {
  if (s->p == s->end || *s->p != '"') return TAVI_E_PROTOCOL;
  for (s->p++; s->p < s->end;) {
    unsigned char c = (unsigned char) *s->p++;
    if (c == '"') return 0;
    if (c < ' ') return TAVI_E_PROTOCOL;
    if (c == '\\' && skip_escape(s) < 0) return TAVI_E_PROTOCOL;
  }
  return TAVI_E_PROTOCOL;
}

static bool skip_digits(struct scan *s) {
  const char *first = s->p;
  while (s->p < s->end && *s->p >= '0' && *s->p <= '9') s->p++;
  return s->p > first;
}

static bool skip_char(struct scan *s, char c) {
  if (s->p == s->end || *s->p != c) return false;
  s->p++;
  return true;
}

static int skip_number(struct scan *s) {
  skip_char(s, '-');
  if (!skip_char(s, '0') && !skip_digits(s)) return TAVI_E_PROTOCOL;
  if (skip_char(s, '.') && !skip_digits(s)) return TAVI_E_PROTOCOL;
  if (skip_char(s, 'e') || skip_char(s, 'E')) {
    if (!skip_char(s, '+')) skip_char(s, '-');
    if (!skip_digits(s)) return TAVI_E_PROTOCOL;
  }
  return 0;
}

static int skip_word(struct scan *s, const char *word) {
  size_t len = strlen(word);
  if ((size_t) (s->end - s->p) < len || memcmp(s->p, word, len) != 0) return TAVI_E_PROTOCOL;
  s->p += len;
  return 0;
}

/* "12x", "01" and "truer" are not values with something behind them. */
static bool is_word_end(const struct scan *s) {
  return s->p == s->end || memchr(" \n\r\t,]}", *s->p, 7) != NULL;
}

static int skip_scalar(struct scan *s) {
  int err;
  switch (next(s)) {
    case '"': return skip_string(s);
    case 't': err = skip_word(s, "true"); break;
    case 'f': err = skip_word(s, "false"); break;
    case 'n': err = skip_word(s, "null"); break;
    default: err = skip_number(s); break;
  }
  return err == 0 && is_word_end(s) ? 0 : TAVI_E_PROTOCOL;
}

/* "name" : */
static int skip_name(struct scan *s, struct tavi_slice *ret_name) {
  skip_space(s);
  const char *first = s->p;
  int err = skip_string(s);
  if (err < 0) return err;
  *ret_name = from_to(first, s->p);
  if (next(s) != ':') return TAVI_E_PROTOCOL;
  s->p++;
  return 0;
}

/* What is open around p, innermost last: one bit each, 1 for an object. */
struct nesting {
  uint64_t is_object[TAVI__JSON_DEPTH / 64];
  unsigned depth;
};

static bool in_object(const struct nesting *n) {
  return (n->is_object[(n->depth - 1) / 64] >> (n->depth - 1) % 64 & 1) != 0;
}

static int open_one(struct nesting *n, bool is_object) {
  if (n->depth == TAVI__JSON_DEPTH) return TAVI_E_LIMIT;
  uint64_t bit = UINT64_C(1) << n->depth % 64, *word = &n->is_object[n->depth / 64];
  *word = is_object ? *word | bit : *word & ~bit;
  n->depth++;
  return 0;
}

/* Behind '{' or ',' a name must follow before the next value. */
static int skip_to_value(struct scan *s, const struct nesting *n) {
  struct tavi_slice name;
  return in_object(n) ? skip_name(s, &name) : 0;
}

/* Behind a value: close what ends here, up to a ',' or until nothing is open. */
static int close_all(struct scan *s, struct nesting *n) {
  while (n->depth > 0) {
    char c = next(s);
    if (c == ',') {
      s->p++;
      return skip_to_value(s, n);
    }
    if (c != (in_object(n) ? '}' : ']')) return TAVI_E_PROTOCOL;
    s->p++;
    n->depth--;
  }
  return 0;
}

static int skip_value(struct scan *s) {
  struct nesting n = {.depth = 0};
  int err;
  do {
    char c = next(s);
    if (c != '{' && c != '[') {
      err = skip_scalar(s);
      if (err == 0) err = close_all(s, &n);
      continue;
    }
    s->p++;
    err = open_one(&n, c == '{');
    if (err < 0) return err;
    bool is_empty = next(s) == (c == '{' ? '}' : ']');
    err = is_empty ? close_all(s, &n) : skip_to_value(s, &n);
  } while (err == 0 && n.depth > 0);
  return err;
}

int tavi__json_check(struct tavi_slice json) {
  struct scan s = scan_of(json);
  int err = skip_value(&s);
  if (err < 0) return err;
  skip_space(&s);
  return s.p == s.end ? 0 : TAVI_E_PROTOCOL;
}

/* ==== strings ==== */

enum { REPLACEMENT = 0xfffd };

/* The four digits at p. */
static unsigned hex4(const char *p) {
  unsigned n = 0;
  for (int i = 0; i < 4; i++) n = n << 4 | (unsigned) tavi__hex_value(p[i]);
  return n;
}

/* Decode \uXXXX, *p behind the 'u', and with it the second half of a pair. (Behind the text there is its quote.) */
static unsigned decode_unicode(const char **p) {
  unsigned code = hex4(*p);
  *p += 4;
  if (code < 0xd800 || code > 0xdfff) return code;
  if (code > 0xdbff || (*p)[0] != '\\' || (*p)[1] != 'u') return REPLACEMENT;
  unsigned low = hex4(*p + 2);
  if (low < 0xdc00 || low > 0xdfff) return REPLACEMENT;
  *p += 6;
  return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

/* Decode one byte or escape at *p, inside of a string that skip_string() has passed. Returns the number of bytes. */
static size_t decode_one(const char **p, char out[4]) {
  char c = *(*p)++;
  if (c == '\\') {
    c = *(*p)++;
    if (c == 'u') return tavi__utf8_put(decode_unicode(p), out);
    const char *from = "bfnrt", *found = strchr(from, c);
    if (found != NULL) c = "\b\f\n\r\t"[found - from];
  }
  out[0] = c;
  return 1;
}

/* Does a string with its quotes stand for this name? */
static bool is_name(struct tavi_slice string, const char *name, size_t name_len) {
  const char *p = string.ptr + 1, *end = string.ptr + string.len - 1;
  size_t len = (size_t) (end - p), at = 0;
  if (len == name_len && memcmp(p, name, len) == 0) return true;
  if (len <= name_len) return false; /* no escape is shorter than what it stands for */
  while (p < end) {
    char one[4];
    size_t n = decode_one(&p, one);
    if (name_len - at < n || memcmp(name + at, one, n) != 0) return false;
    at += n;
  }
  return at == name_len;
}

/* ==== paths ==== */

static int find_member(struct scan *s, const char *name, size_t name_len) {
  if (next(s) != '{') return TAVI_E_NOT_FOUND;
  s->p++;
  if (next(s) == '}') return TAVI_E_NOT_FOUND;
  for (;;) {
    struct tavi_slice found;
    int err = skip_name(s, &found);
    if (err < 0) return err;
    if (is_name(found, name, name_len)) return 0;
    err = skip_value(s);
    if (err < 0) return err;
    char c = next(s);
    if (c != ',') return c == '}' ? TAVI_E_NOT_FOUND : TAVI_E_PROTOCOL;
    s->p++;
  }
}

static int find_element(struct scan *s, uint64_t index) {
  if (next(s) != '[') return TAVI_E_NOT_FOUND;
  s->p++;
  if (next(s) == ']') return TAVI_E_NOT_FOUND;
  for (; index > 0; index--) {
    int err = skip_value(s);
    if (err < 0) return err;
    char c = next(s);
    if (c != ',') return c == ']' ? TAVI_E_NOT_FOUND : TAVI_E_PROTOCOL;
    s->p++;
  }
  return 0;
}

/* Read "[12]" at *path. An index beyond 64 bits is one that no text has. */
static int read_index(const char **path, uint64_t *ret_index) {
  const char *p = *path + 1, *first = p;
  uint64_t n = 0;
  for (; *p >= '0' && *p <= '9'; p++) {
    unsigned digit = (unsigned) (*p - '0');
    n = n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : n * 10 + digit;
  }
  if (p == first || *p != ']') return TAVI_E_ARG;
  *path = p + 1;
  *ret_index = n;
  return 0;
}

/* Is it well formed, from the first step to the last? Before anything is read: an error must not depend on the text. */
static bool is_path(const char *path) {
  uint64_t index;
  if (*path++ != '$') return false;
  while (*path != '\0') {
    if (*path == '[') {
      if (read_index(&path, &index) < 0) return false;
      continue;
    }
    size_t len = *path == '.' ? strcspn(path + 1, ".[") : 0;
    if (len == 0) return false;
    path += 1 + len;
  }
  return true;
}

int tavi_json_get(struct tavi_slice json, const char *path, struct tavi_slice *ret_value) {
  struct scan s = scan_of(json);
  if (path == NULL || !is_path(path)) return TAVI_E_ARG;

  int err = 0;
  for (path++; *path != '\0' && err == 0;) {
    uint64_t index = 0;
    if (*path == '[') {
      read_index(&path, &index);
      err = find_element(&s, index);
      continue;
    }
    size_t len = strcspn(++path, ".[");
    err = find_member(&s, path, len);
    path += len;
  }
  if (err < 0) return err;

  skip_space(&s);
  const char *first = s.p;
  err = skip_value(&s);
  if (err == 0) *ret_value = from_to(first, s.p);
  return err;
}

/* ==== numbers ==== */

/* A number is 0.DDD * 10^point, where DDD are the digits from `first` on. */
struct number {
  const char *first, *end; /* the significant digits, perhaps with a '.' among them; none: zero */
  int64_t point;
  bool is_negative;
};

/* An exponent beyond this makes nothing or infinity of any number that fits into memory. */
enum { EXPONENT_DIGITS = 17 };

static int64_t exponent_of(const char *p, const char *end) {
  int64_t n = 0;
  bool is_negative = p < end && *p == '-';
  if (p < end && (*p == '-' || *p == '+')) p++;
  while (p < end && *p == '0') p++;
  if (end - p > EXPONENT_DIGITS) end = p + EXPONENT_DIGITS;
  for (; p < end; p++) n = n * 10 + (*p - '0');
  return is_negative ? -n : n;
}

/* Take apart what skip_number() has passed. */
static struct number take_apart(struct tavi_slice text) {
  const char *p = text.ptr, *end = text.ptr + text.len;
  struct number n = {.is_negative = *p == '-'};
  bool in_fraction = false;
  for (p += n.is_negative; p < end && *p != 'e' && *p != 'E'; p++) {
    if (*p == '.') {
      in_fraction = true;
      continue;
    }
    if (n.first == NULL && *p != '0') n.first = p;
    if (n.first == NULL) n.point -= in_fraction;
    else n.point += !in_fraction;
  }
  n.end = p;
  if (n.first == NULL) n.first = n.end;
  if (p < end) n.point += exponent_of(p + 1, end);
  return n;
}

static int get_number(struct tavi_slice json, const char *path, struct number *ret_number) {
  struct tavi_slice value;
  int err = tavi_json_get(json, path, &value);
  if (err < 0) return err;
  if (value.ptr[0] != '-' && (value.ptr[0] < '0' || value.ptr[0] > '9')) return TAVI_E_NOT_FOUND;
  *ret_number = take_apart(value);
  return 0;
}

/* strtod() gets all digits that matter as an integer with an exponent: what a point looks like is up to the locale. */
int tavi_json_get_num(struct tavi_slice json, const char *path, double *ret_number) {
  char text[TAVI__JSON_DIGITS + 32];
  struct number n;
  int err = get_number(json, path, &n);
  if (err < 0) return err;

  size_t len = 0;
  bool is_more = false; /* beyond what is kept: enough to know that it is not nothing */
  if (n.is_negative) text[len++] = '-';
  size_t sign_len = len;
  for (const char *p = n.first; p < n.end; p++) {
    if (*p == '.') continue;
    if (len < TAVI__JSON_DIGITS) text[len++] = *p;
    else is_more |= *p != '0';
  }
  if (is_more) text[len++] = '1';
  if (len == sign_len) text[len++] = '0';
  int64_t exponent = n.point - (int64_t) (len - sign_len);
  if (exponent > 99999) exponent = 99999;
  if (exponent < -99999) exponent = -99999;
  snprintf(text + len, sizeof(text) - len, "e%d", (int) exponent);
  *ret_number = strtod(text, NULL);
  return 0;
}

int64_t tavi_json_get_digits(struct tavi_slice json, const char *path, char *out, size_t cap) {
  struct number n;
  size_t len = 0;
  int err = get_number(json, path, &n);
  if (err < 0) return err;

  bool is_zero = n.first == n.end || n.point <= 0;
  uint64_t count = is_zero ? 1 : (uint64_t) n.point, sign_len = n.is_negative && !is_zero;
  if (cap < sign_len || count > cap - sign_len) return TAVI_E_LIMIT;
  if (sign_len > 0) out[len++] = '-';
  const char *p = is_zero ? n.end : n.first;
  for (uint64_t i = 0; i < count; i++) {
    if (p < n.end && *p == '.') p++;
    out[len++] = p < n.end ? *p++ : '0';
  }
  return (int64_t) len;
}

int tavi_json_get_int(struct tavi_slice json, const char *path, int64_t *ret_number) {
  char digits[20]; /* of INT64_MIN with its sign */
  int64_t len = tavi_json_get_digits(json, path, digits, sizeof(digits)), number = 0;
  if (len < 0) return (int) len;

  bool is_negative = digits[0] == '-';
  for (int64_t i = is_negative; i < len; i++) { /* downwards: INT64_MIN has no opposite */
    int digit = digits[i] - '0';
    if (number < (INT64_MIN + digit) / 10) return TAVI_E_LIMIT;
    number = number * 10 - digit;
  }
  if (!is_negative && number == INT64_MIN) return TAVI_E_LIMIT;
  *ret_number = is_negative ? number : -number;
  return 0;
}

/* ==== the others ==== */

int64_t tavi_json_get_str(struct tavi_slice json, const char *path, char *out, size_t cap) {
  struct tavi_slice value;
  int err = tavi_json_get(json, path, &value);
  if (err < 0) return err;
  if (value.ptr[0] != '"') return TAVI_E_NOT_FOUND;

  const char *p = value.ptr + 1, *end = value.ptr + value.len - 1;
  size_t len = 0;
  while (p < end) {
    char one[4];
    size_t n = decode_one(&p, one);
    if (cap - len < n) return TAVI_E_LIMIT;
    memcpy(out + len, one, n);
    len += n;
  }
  return (int64_t) len;
}

int tavi_json_get_bool(struct tavi_slice json, const char *path, bool *ret_is_true) {
  struct tavi_slice value;
  int err = tavi_json_get(json, path, &value);
  if (err < 0) return err;
  if (value.ptr[0] != 't' && value.ptr[0] != 'f') return TAVI_E_NOT_FOUND;
  *ret_is_true = value.ptr[0] == 't';
  return 0;
}

/* ==== writing ==== */

void tavi__json_put(struct tavi__json_out *out, struct tavi_slice text) {
  if (text.len > 0 && out->len <= out->cap && text.len <= out->cap - out->len)
    memcpy(out->to + out->len, text.ptr, text.len);
  out->len += text.len;
}

void tavi__json_put_escaped(struct tavi__json_out *out, struct tavi_slice text) {
  const char *p = text.len > 0 ? text.ptr : "", *end = p + text.len;
  while (p < end) {
    unsigned char c = (unsigned char) *p;
    size_t len = tavi__utf8_len(p, end);
    const char *from = "\b\f\n\r\t\"\\", *found = c > 0 && c < 0x80 ? strchr(from, c) : NULL;
    char escape[6] = {'\\', 'u', '0', '0', (char) ('0' + (c >> 4)), "0123456789abcdef"[c & 15]};
    if (found != NULL) {
      escape[1] = "bfnrt\"\\"[found - from];
      tavi__json_put(out, (struct tavi_slice){escape, 2});
    } else if (c < ' ') {
      tavi__json_put(out, (struct tavi_slice){escape, 6});
    } else if (len == 0) {
      tavi__json_put(out, (struct tavi_slice){"\xef\xbf\xbd", 3});
    } else {
      tavi__json_put(out, (struct tavi_slice){p, len});
    }
    p += len > 0 ? len : 1;
  }
}

int64_t tavi_json_quote(struct tavi_slice text, char *out, size_t cap) {
  struct tavi__json_out o = {out, cap, 0};
  struct tavi_slice quote = {"\"", 1};
  tavi__json_put(&o, quote);
  tavi__json_put_escaped(&o, text);
  tavi__json_put(&o, quote);
  return o.len <= cap ? (int64_t) o.len : TAVI_E_LIMIT;
}
