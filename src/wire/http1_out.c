/* SPDX-License-Identifier: MIT
 *
 * The small pieces from which heads are written: status texts, dates, and the checks that keep a program's own
 * strings from becoming framing.
 *
 * The date is computed from the count of days by calendar arithmetic, with years that begin in March so that the leap
 * day is a year's last. strftime would depend on the locale and gmtime on the C library's idea of time_t. */
#include <assert.h>

#include "wire/http1.h"
#include "wire/http1_scan.h"

/* ==== status ==== */

#define TEXT(literal) ((struct tavi_slice){literal, sizeof literal - 1})

/* RFC 9110 section 15 and the IANA registry of status codes; those marked "(Unused)" there have no phrase. */
static struct tavi_slice reason(int status) {
  switch (status) {
    case 100: return TEXT("Continue");
    case 101: return TEXT("Switching Protocols");
    case 102: return TEXT("Processing");
    case 103: return TEXT("Early Hints");
    case 200: return TEXT("OK");
    case 201: return TEXT("Created");
    case 202: return TEXT("Accepted");
    case 203: return TEXT("Non-Authoritative Information");
    case 204: return TEXT("No Content");
    case 205: return TEXT("Reset Content");
    case 206: return TEXT("Partial Content");
    case 207: return TEXT("Multi-Status");
    case 208: return TEXT("Already Reported");
    case 226: return TEXT("IM Used");
    case 300: return TEXT("Multiple Choices");
    case 301: return TEXT("Moved Permanently");
    case 302: return TEXT("Found");
    case 303: return TEXT("See Other");
    case 304: return TEXT("Not Modified");
    case 305: return TEXT("Use Proxy");
    case 307: return TEXT("Temporary Redirect");
    case 308: return TEXT("Permanent Redirect");
    case 400: return TEXT("Bad Request");
    case 401: return TEXT("Unauthorized");
    case 402: return TEXT("Payment Required");
    case 403: return TEXT("Forbidden");
    case 404: return TEXT("Not Found");
    case 405: return TEXT("Method Not Allowed");
    case 406: return TEXT("Not Acceptable");
    case 407: return TEXT("Proxy Authentication Required");
    case 408: return TEXT("Request Timeout");
    case 409: return TEXT("Conflict");
    case 410: return TEXT("Gone");
    case 411: return TEXT("Length Required");
    case 412: return TEXT("Precondition Failed");
    case 413: return TEXT("Content Too Large");
    case 414: return TEXT("URI Too Long");
    case 415: return TEXT("Unsupported Media Type");
    case 416: return TEXT("Range Not Satisfiable");
    case 417: return TEXT("Expectation Failed");
    case 421: return TEXT("Misdirected Request");
    case 422: return TEXT("Unprocessable Content");
    case 423: return TEXT("Locked");
    case 424: return TEXT("Failed Dependency");
    case 425: return TEXT("Too Early");
    case 426: return TEXT("Upgrade Required");
    case 428: return TEXT("Precondition Required");
    case 429: return TEXT("Too Many Requests");
    case 431: return TEXT("Request Header Fields Too Large");
    case 451: return TEXT("Unavailable For Legal Reasons");
    case 500: return TEXT("Internal Server Error");
    case 501: return TEXT("Not Implemented");
    case 502: return TEXT("Bad Gateway");
    case 503: return TEXT("Service Unavailable");
    case 504: return TEXT("Gateway Timeout");
    case 505: return TEXT("HTTP Version Not Supported");
    case 506: return TEXT("Variant Also Negotiates");
    case 507: return TEXT("Insufficient Storage");
    case 508: return TEXT("Loop Detected");
    case 510: return TEXT("Not Extended");
    case 511: return TEXT("Network Authentication Required");
    default: return TEXT("");
  }
}

const char *tavi__http1_reason(int status) { return reason(status).ptr; }

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
  const struct tavi_slice phrase = reason(status);
  char *p = put_digits(out, (unsigned)status, 3);
  *p++ = ' ';
  memcpy(p, phrase.ptr, phrase.len);
  return 4 + phrase.len;
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

bool tavi__http1_is_token(struct tavi_slice s) {
  if (s.len == 0) return false;
  const char *end = s.ptr + s.len;
  return tavi__http1_token_end(s.ptr, tavi__http1_last_block(s.ptr, end), end) == end;
}

bool tavi__http1_is_value(struct tavi_slice s) {
  if (s.len == 0) return true;
  const char *end = s.ptr + s.len;
  return tavi__http1_scan(s.ptr, tavi__http1_last_block(s.ptr, end), end, tavi__http1_break_stops) == end;
}
