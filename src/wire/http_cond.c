/* SPDX-License-Identifier: MIT
 *
 * Conditional requests (RFC 9110 section 13) and what they compare: entity tags and dates.
 *
 * A condition is worth obeying only when it has one reading, and each kind of nonsense has its harmless answer. A list
 * of entity tags that is malformed anywhere matches nothing: If-Match then refuses to change something, and
 * If-None-Match sends the whole representation. A date that is none, or of which there are two, is as if it were not
 * there (13.1.3 and 13.1.4 say so). All fields are found in one pass over the headers, since most requests have none.
 *
 * Dates are read by a picture of each form instead of by a parser for each. strptime would depend on the locale, and
 * timegm is not in every C library. The weekday must be one, but it is not compared with the date: what it adds is
 * nothing that could be answered. */
#include "wire/http_cond.h"

#include <string.h>

#include "base/ascii.h"
#include "wire/http1.h"

/* ==== dates ==== */

struct date {
  int year;  /* 0..9999, or 0..99 when two_digits */
  int month; /* 0..11 */
  int day, hour, minute, second;
  bool two_digits;
};

static bool take(struct tavi_slice *rest, const char *text, size_t len) {
  if (rest->len < len || memcmp(rest->ptr, text, len) != 0) return false;
  rest->ptr += len;
  rest->len -= len;
  return true;
}

static bool take_digits(struct tavi_slice *rest, size_t digits, int *ret_number) {
  if (rest->len < digits) return false;
  int number = 0;
  for (size_t i = 0; i < digits; i++) {
    char c = rest->ptr[i];
    if (!tavi__is_digit(c)) return false;
    number = number * 10 + (c - '0');
  }
  rest->ptr += digits;
  rest->len -= digits;
  *ret_number = number;
  return true;
}

static bool take_weekday(struct tavi_slice *rest, bool is_short) {
  static const char *const names[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
  for (int i = 0; i < 7; i++)
    if (take(rest, names[i], is_short ? 3 : strlen(names[i]))) return true;
  return false;
}

static bool take_month(struct tavi_slice *rest, int *ret_month) {
  static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  for (int i = 0; i < 12; i++) {
    if (!take(rest, names + 3 * i, 3)) continue;
    *ret_month = i;
    return true;
  }
  return false;
}

static bool take_time(struct tavi_slice *rest, struct date *d) {
  return take_digits(rest, 2, &d->hour) && take(rest, ":", 1) && take_digits(rest, 2, &d->minute) &&
         take(rest, ":", 1) && take_digits(rest, 2, &d->second);
}

/* Take what one letter of a form stands for; any other is itself. */
static bool take_part(struct tavi_slice *rest, const char *form, struct date *d) {
  switch (*form) {
    case 'w': return take_weekday(rest, true);
    case 'W': return take_weekday(rest, false);
    case 'd': return take_digits(rest, 2, &d->day);
    case 'e': return take_digits(rest, take(rest, " ", 1) ? 1 : 2, &d->day);
    case 'm': return take_month(rest, &d->month);
    case 'Y': return take_digits(rest, 4, &d->year);
    case 'y': return take_digits(rest, 2, &d->year);
    case 't': return take_time(rest, d);
    default: return take(rest, form, 1);
  }
}

static bool has_form(struct tavi_slice s, const char *form, struct date *ret_date) {
  *ret_date = (struct date){.two_digits = strchr(form, 'y') != NULL};
  for (; *form != '\0'; form++)
    if (!take_part(&s, form, ret_date)) return false;
  return s.len == 0;
}

static bool is_leap(int year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

static const int days_before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};

/* year: not negative. A 29 February that the year does not have is its 1 March. */
static int64_t to_unix(const struct date *d, int year) {
  enum { DAYS_TO_1970 = 719528 }; /* from 1 January of the year 0 */
  int leap_days = (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400 + (d->month > 1 && is_leap(year));
  int64_t days = 365 * year + leap_days + days_before[d->month] + d->day - 1 - DAYS_TO_1970;
  return days * 86400 + d->hour * 3600 + d->minute * 60 + d->second;
}

/* The last year that ends in these two digits and is not more than 50 years ahead: the same day 50 years earlier is
 * not in the future. */
static int whole_year(const struct date *d, int64_t now_s) {
  int year = 9900 + d->year;
  while (year >= 100 && to_unix(d, year - 50) > now_s) year -= 100;
  return year;
}

/* RFC 9110 names 23:59:60 as the last time of a day; no other minute has a leap second. */
static bool is_date(const struct date *d, int year) {
  int days = days_before[d->month + 1] - days_before[d->month] + (d->month == 1 && is_leap(year));
  int seconds = d->hour == 23 && d->minute == 59 ? 61 : 60;
  return d->day >= 1 && d->day <= days && d->hour < 24 && d->minute < 60 && d->second < seconds;
}

bool tavi__http_date_parse(struct tavi_slice s, int64_t now_s, int64_t *ret_unix_s) {
  static const char *const forms[] = {"w, d m Y t GMT", "W, d-m-y t GMT", "w m e t Y"};
  struct date d;
  int i = 0;
  while (!has_form(s, forms[i], &d))
    if (++i == sizeof forms / sizeof forms[0]) return false;

  int year = d.two_digits ? whole_year(&d, now_s) : d.year;
  if (!is_date(&d, year)) return false;
  *ret_unix_s = to_unix(&d, year);
  return true;
}

/* ==== entity tags (RFC 9110 section 8.8.3) ==== */

static bool is_weak(struct tavi_slice tag) { return tag.len >= 2 && memcmp(tag.ptr, "W/", 2) == 0; }

/* The length of the tag that s begins with; 0 when there is none. A comma or a backslash in it is only a byte. */
static size_t tag_len(struct tavi_slice s) {
  size_t at = is_weak(s) ? 2 : 0;
  if (at == s.len || s.ptr[at] != '"') return 0;
  for (at++; at < s.len && s.ptr[at] != '"'; at++)
    if ((unsigned char) s.ptr[at] <= ' ' || s.ptr[at] == 0x7f) return 0;
  return at < s.len ? at + 1 : 0;
}

enum comparison { WEAK, STRONG };

/* Section 8.8.3.2. A representation without a tag (an empty one) is never the same. */
static bool is_same(struct tavi_slice tag, struct tavi_slice other, enum comparison how) {
  if (how == STRONG && (is_weak(tag) || is_weak(other))) return false;
  size_t skip = is_weak(tag) ? 2 : 0, skip_other = is_weak(other) ? 2 : 0, len = tag.len - skip;
  return len > 0 && len == other.len - skip_other && memcmp(tag.ptr + skip, other.ptr + skip_other, len) == 0;
}

/* What all fields of one name have told; together they are one list. */
struct tags {
  size_t count; /* elements */
  bool is_there, is_bad, has_star, has_ours;
};

static void read_tags(struct tavi_slice list, struct tavi_slice ours, enum comparison how, struct tags *t) {
  bool may_begin = true; /* false between an element and the comma that has to follow */
  size_t len;
  t->is_there = true;
  for (size_t at = 0; at < list.len; at += len) {
    struct tavi_slice rest = {list.ptr + at, list.len - at};
    len = 1;
    if (tavi__is_space(*rest.ptr)) continue;
    if (*rest.ptr == ',') {
      may_begin = true;
      continue;
    }
    if (*rest.ptr == '*')
      t->has_star = true;
    else
      len = tag_len(rest);
    if (!may_begin || len == 0) {
      t->is_bad = true;
      return;
    }
    t->has_ours |= is_same((struct tavi_slice){rest.ptr, len}, ours, how);
    t->count++;
    may_begin = false;
  }
}

/* "*" matches whatever there is, but not as an element of a list. */
static bool is_matched(const struct tags *t) {
  if (t->is_bad) return false;
  return t->has_star ? t->count == 1 : t->has_ours;
}

/* ==== conditions ==== */

struct since {
  size_t count; /* fields */
  struct tavi_slice value;
};

struct conditions {
  struct tags match, none_match;
  struct since modified, unmodified;
};

static void note_date(struct since *s, struct tavi_slice value) {
  s->value = value;
  s->count++;
}

static void collect(const struct tavi_http_msg *msg, struct tavi_slice etag, struct conditions *c) {
  for (size_t i = 0; i < msg->header_count; i++) {
    struct tavi_slice name = msg->headers[i].name, value = msg->headers[i].value;
    switch (name.len) {
      case 8:
        if (tavi__slice_is(name, "if-match", 8)) read_tags(value, etag, STRONG, &c->match);
        break;
      case 13:
        if (tavi__slice_is(name, "if-none-match", 13)) read_tags(value, etag, WEAK, &c->none_match);
        break;
      case 17:
        if (tavi__slice_is(name, "if-modified-since", 17)) note_date(&c->modified, value);
        break;
      case 19:
        if (tavi__slice_is(name, "if-unmodified-since", 19)) note_date(&c->unmodified, value);
        break;
      default: break;
    }
  }
}

/* Is there a date to compare with, and something to compare? */
static bool has_date(const struct since *s, const struct tavi__validators *v, int64_t *ret_date_s) {
  return s->count == 1 && v->modified_s >= 0 && tavi__http_date_parse(s->value, v->now_s, ret_date_s);
}

int tavi__http_condition(const struct tavi_http_msg *msg, bool is_get, const struct tavi__validators *v) {
  struct conditions c = {0};
  int64_t date_s;
  collect(msg, v->etag, &c);

  if (c.match.is_there) {
    if (!is_matched(&c.match)) return 412;
  } else if (has_date(&c.unmodified, v, &date_s) && v->modified_s > date_s) {
    return 412;
  }

  if (c.none_match.is_there) {
    if (is_matched(&c.none_match)) return is_get ? 304 : 412;
  } else if (is_get && has_date(&c.modified, v, &date_s) && v->modified_s <= date_s) {
    return 304;
  }
  return 0;
}

bool tavi__http_if_range(const struct tavi_http_msg *msg, const struct tavi__validators *v) {
  struct since field = {0};
  int64_t date_s;
  for (size_t i = 0; i < msg->header_count; i++)
    if (tavi__slice_is(msg->headers[i].name, "if-range", 8)) note_date(&field, msg->headers[i].value);

  if (field.count != 1) return field.count == 0;
  if (is_same(field.value, v->etag, STRONG)) return true;
  return has_date(&field, v, &date_s) && date_s == v->modified_s && v->modified_s < v->now_s;
}
