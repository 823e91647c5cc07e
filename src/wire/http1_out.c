/* SPDX-License-Identifier: MIT
 *
 * The small pieces from which heads are written: status texts, dates, and the checks that keep a program's own
 * strings from becoming framing.
 *
 * The date is computed from the count of days by calendar arithmetic, with years that begin in March so that the leap
 * day is a year's last. strftime would depend on the locale and gmtime on the C library's idea of time_t. */
#include <assert.h>

#include "base/copy.h"
#include "base/hint.h"
#include "wire/http1.h"
#include "wire/http1_scan.h"

/* ==== status ==== */

#define TEXT(literal) ((struct tavi_slice){literal, sizeof literal - 1})

/* RFC 9110 section 15 and the IANA registry of status codes; those marked "(Unused)" there have no phrase. */
static struct tavi_slice text(int status) {
  switch (status) {
    case 100: return TEXT("100 Continue");
    case 101: return TEXT("101 Switching Protocols");
    case 102: return TEXT("102 Processing");
    case 103: return TEXT("103 Early Hints");
    case 200: return TEXT("200 OK");
    case 201: return TEXT("201 Created");
    case 202: return TEXT("202 Accepted");
    case 203: return TEXT("203 Non-Authoritative Information");
    case 204: return TEXT("204 No Content");
    case 205: return TEXT("205 Reset Content");
    case 206: return TEXT("206 Partial Content");
    case 207: return TEXT("207 Multi-Status");
    case 208: return TEXT("208 Already Reported");
    case 226: return TEXT("226 IM Used");
    case 300: return TEXT("300 Multiple Choices");
    case 301: return TEXT("301 Moved Permanently");
    case 302: return TEXT("302 Found");
    case 303: return TEXT("303 See Other");
    case 304: return TEXT("304 Not Modified");
    case 305: return TEXT("305 Use Proxy");
    case 307: return TEXT("307 Temporary Redirect");
    case 308: return TEXT("308 Permanent Redirect");
    case 400: return TEXT("400 Bad Request");
    case 401: return TEXT("401 Unauthorized");
    case 402: return TEXT("402 Payment Required");
    case 403: return TEXT("403 Forbidden");
    case 404: return TEXT("404 Not Found");
    case 405: return TEXT("405 Method Not Allowed");
    case 406: return TEXT("406 Not Acceptable");
    case 407: return TEXT("407 Proxy Authentication Required");
    case 408: return TEXT("408 Request Timeout");
    case 409: return TEXT("409 Conflict");
    case 410: return TEXT("410 Gone");
    case 411: return TEXT("411 Length Required");
    case 412: return TEXT("412 Precondition Failed");
    case 413: return TEXT("413 Content Too Large");
    case 414: return TEXT("414 URI Too Long");
    case 415: return TEXT("415 Unsupported Media Type");
    case 416: return TEXT("416 Range Not Satisfiable");
    case 417: return TEXT("417 Expectation Failed");
    case 418: return TEXT("418 I'm a teapot"); /* "(Unused)" there, but everybody's */
    case 421: return TEXT("421 Misdirected Request");
    case 422: return TEXT("422 Unprocessable Content");
    case 423: return TEXT("423 Locked");
    case 424: return TEXT("424 Failed Dependency");
    case 425: return TEXT("425 Too Early");
    case 426: return TEXT("426 Upgrade Required");
    case 428: return TEXT("428 Precondition Required");
    case 429: return TEXT("429 Too Many Requests");
    case 431: return TEXT("431 Request Header Fields Too Large");
    case 451: return TEXT("451 Unavailable For Legal Reasons");
    case 500: return TEXT("500 Internal Server Error");
    case 501: return TEXT("501 Not Implemented");
    case 502: return TEXT("502 Bad Gateway");
    case 503: return TEXT("503 Service Unavailable");
    case 504: return TEXT("504 Gateway Timeout");
    case 505: return TEXT("505 HTTP Version Not Supported");
    case 506: return TEXT("506 Variant Also Negotiates");
    case 507: return TEXT("507 Insufficient Storage");
    case 508: return TEXT("508 Loop Detected");
    case 510: return TEXT("510 Not Extended");
    case 511: return TEXT("511 Network Authentication Required");
    default: return TEXT("");
  }
}

const char *tavi__http1_reason(int status) {
  const struct tavi_slice known = text(status);
  return known.len > 0 ? known.ptr + 4 : "";
}

/* Write a number with that many digits, zeros in front. */
static char *put_digits(char *out, unsigned number, int digits) {
  for (int i = digits - 1; i >= 0; i--) {
    out[i] = (char)('0' + number % 10);
    number /= 10;
  }
  return out + digits;
}

size_t tavi__http1_status_text(int status, char *out) {
  assert(status >= 100 && status <= 999);
  const struct tavi_slice known = text(status);
  if (known.len > 0) {
    memcpy(out, known.ptr, known.len);
    return known.len;
  }
  *put_digits(out, (unsigned)status, 3) = ' ';
  return 4;
}

/* ==== dates ==== */

/* The years 0 to 9999, which is what four digits can say. Times outside are moved to the nearest of them. */
static const int64_t first_second = INT64_C(-62167219200);
static const int64_t last_second = INT64_C(253402300799);

void tavi__http1_date(int64_t unix_s, char out[29]) {
  if (unix_s < first_second) unix_s = first_second;
  if (unix_s > last_second) unix_s = last_second;

  const int64_t days_to_year_0 = 146097 - 60; /* from 1 March of the year -400 */
  const int64_t elapsed = unix_s - first_second + days_to_year_0 * 86400;
  const unsigned second = (unsigned)(elapsed % 86400);
  const unsigned days = (unsigned)(elapsed / 86400);
  const unsigned era_day = days % 146097; /* 400 years */
  const unsigned era_year = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
  const unsigned year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
  const unsigned march_month = (5 * year_day + 2) / 153; /* 0 is March, 11 is February */
  const unsigned day = year_day - (153 * march_month + 2) / 5 + 1;
  const unsigned month = (march_month + 2) % 12; /* 0 is January */
  const unsigned year = days / 146097 * 400 + era_year + (month < 2 ? 1 : 0) - 400;

  static const char week_days[] = "SunMonTueWedThuFriSat";
  static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  memcpy(out, "Www, 00 Mmm 0000 00:00:00 GMT", 29);
  memcpy(out, week_days + (days + 3) % 7 * 3, 3);
  put_digits(out + 5, day, 2);
  memcpy(out + 8, months + month * 3, 3);
  put_digits(out + 12, year, 4);
  put_digits(out + 17, second / 3600, 2);
  put_digits(out + 20, second / 60 % 60, 2);
  put_digits(out + 23, second % 60, 2);
}

/* ==== checks ==== */

_Static_assert(TAVI__HTTP1_PAD >= TAVI__HTTP1_BLOCK_BYTES, "a block may begin at the last byte");

/* The first byte of p[0..len) that `stops` marks, or len. Reads whole blocks; a mark behind the end is none. */
__attribute__((always_inline)) static inline size_t run(const char *p, size_t len,
                                                        uint64_t (*stops)(tavi__http1_block)) {
  for (size_t i = 0; i < len; i += TAVI__HTTP1_BLOCK_BYTES) {
    const uint64_t marks = stops(tavi__http1_load(p + i));
    if (marks == 0) continue;
    const size_t at = i + tavi__http1_first_mark(marks);
    return at < len ? at : len;
  }
  return len;
}

TAVI__HOT bool is_token(const char *p, size_t len) {
  size_t i = run(p, len, tavi__http1_word_stops);
  while (i < len && tavi__http1_is(p[i], TAVI__HTTP1_TOKEN)) i++;
  return i == len && len > 0;
}

TAVI__HOT bool is_value(const char *p, size_t len) { return run(p, len, tavi__http1_break_stops) == len; }

bool tavi__http1_is_token(struct tavi_slice padded) { return is_token(padded.ptr, padded.len); }

bool tavi__http1_is_value(struct tavi_slice padded) { return is_value(padded.ptr, padded.len); }

/* It is checked where it was copied to: there whole blocks may be read, and what ends the two stops them. */
TAVI__HOT char *put_field(char *to, struct tavi_slice name, struct tavi_slice value) {
  char *value_to = tavi__copy(to, name.ptr, name.len) + 2;
  memcpy(value_to - 2, ": ", 2);
  char *end = tavi__copy(value_to, value.ptr, value.len) + 2;
  memcpy(end - 2, "\r\n", 2);
  return is_token(to, name.len) && is_value(value_to, value.len) ? end : NULL;
}

/* Apart, because whoever calls memcpy must save its registers. */
static TAVI__APART char *put_long_field(char *to, const struct tavi_http_header *field) {
  return put_field(to, field->name, field->value);
}

char *tavi__http1_put_field(char *to, const struct tavi_http_header *field) {
  struct tavi_slice name = field->name, value = field->value;
  if (name.len > TAVI__COPY_INLINE || value.len > TAVI__COPY_INLINE) return put_long_field(to, field);
  return put_field(to, name, value);
}
