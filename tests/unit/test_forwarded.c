/* SPDX-License-Identifier: MIT
 *
 * Forwarded and X-Forwarded-*: what is read from the back, what is refused, and that nothing which stands before an
 * element changes how it is read. */
#include "wire/forwarded.h"

#include "guard.h"
#include "test.h"

enum { FIELDS_MAX = 16 };

static struct tavi_http_header fields[FIELDS_MAX];
static struct tavi_http_msg msg;

static struct tavi_slice slice(const char *text) { return (struct tavi_slice){text, strlen(text)}; }

/* Names and values in turn, up to NULL. */
static void set_fields(const char *const *texts) {
  msg = (struct tavi_http_msg){.headers = fields};
  for (; texts[0] != NULL; texts += 2) fields[msg.header_count++] = (struct tavi_http_header){slice(texts[0]), slice(texts[1])};
}

static void add(char *to, size_t cap, struct tavi_slice s) {
  size_t len = strlen(to);
  snprintf(to + len, cap - len, "%.*s", (int)s.len, s.len > 0 ? s.ptr : "");
}

/* All elements from the back as "address#port;scheme@host|...", an address that is not told as "-", "!" at a malformed one. */
static const char *walk(enum tavi__forwarded_kind kind) {
  static char text[1000];
  struct tavi__forwarded_at at = {.field = 0};
  struct tavi__forwarded e;
  int status;
  text[0] = '\0';
  while ((status = tavi__forwarded_back(&msg, kind, &at, &e)) == TAVI_WIRE_EVENT) {
    if (text[0] != '\0') add(text, sizeof text, slice("|"));
    char port[16];
    snprintf(port, sizeof port, "#%u", e.port);
    add(text, sizeof text, e.address.len > 0 ? e.address : slice("-"));
    if (e.port != 0) add(text, sizeof text, slice(port));
    if (e.scheme.len > 0) add(text, sizeof text, slice(";")), add(text, sizeof text, e.scheme);
    if (e.host.len > 0) add(text, sizeof text, slice("@")), add(text, sizeof text, e.host);
  }
  if (status == TAVI_E_PROTOCOL) add(text, sizeof text, slice("!"));
  else CHECK_INT(status, TAVI_WIRE_MORE);
  return text;
}

static void check_walk(enum tavi__forwarded_kind kind, const char *wanted) {
  const char *got = walk(kind);
  CHECK_BYTES(got, strlen(got), wanted, strlen(wanted));
}

struct value_case {
  const char *value, *wanted;
};

static void check_values(const struct value_case *cases, size_t count, const char *name, enum tavi__forwarded_kind kind) {
  for (size_t i = 0; i < count; i++) {
    const size_t len = strlen(cases[i].value);
    test_note("%s", cases[i].value);
    fields[0] = (struct tavi_http_header){slice(name), {guard_at_end(cases[i].value, len), len}};
    msg = (struct tavi_http_msg){.headers = fields, .header_count = 1};
    check_walk(kind, cases[i].wanted);
    fields[0].value.ptr = guard_at_start(cases[i].value, len);
    check_walk(kind, cases[i].wanted);
  }
}

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

TEST(forwarded__elements_from_the_back) {
  static const struct value_case cases[] = {
      /* RFC 7239 section 4 and 6 */
      {"for=\"_gazonk\"", "-"},
      {"For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17#4711"},
      {"for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60;http"},
      {"for=192.0.2.43, for=198.51.100.17", "198.51.100.17|192.0.2.43"},
      {"for=192.0.2.43,for=\"[2001:db8:cafe::17]\",for=unknown", "-|2001:db8:cafe::17|192.0.2.43"},
      {"for=_hidden, for=_SEVKISEK", "-|-"},
      {"for=\"192.0.2.43:47011\"", "192.0.2.43#47011"},
      {"for=\"unknown:80\"", "-#80"},
      {"for=\"192.0.2.43:_port\"", "192.0.2.43"},
      {"proto=https;FOR=1.2.3.4;Host=\"example.com:8080\"", "1.2.3.4;https@example.com:8080"},
      {"host=example.com", "-@example.com"},
      {"by=_x;secret=\"a,b;c\\\"d\\\\\";for=1.2.3.4", "1.2.3.4"},
      {"x=\"\", for=1.2.3.4", "1.2.3.4|-"},
      {"for=1.2.3.4 ; proto=http;", "1.2.3.4;http"},
      {";;for=1.2.3.4;;", "1.2.3.4"},
      {";", "-"},
      {"", ""},
      {" , ,\t, ", ""},
      {",for=1.1.1.1,,for=2.2.2.2,", "2.2.2.2|1.1.1.1"},
  };
  check_values(cases, COUNT(cases), "Forwarded", TAVI__FORWARDED);
}

TEST(forwarded__malformed_ones_end_the_reading) {
  static const struct value_case cases[] = {
      {"for=1.1.1.1, nonsense, for=2.2.2.2", "2.2.2.2!"},
      {"for", "!"},
      {"for=", "!"},
      {"=1.2.3.4", "!"},
      {"for=\"\"", "!"},
      {"for =1.2.3.4", "!"},
      {"for= 1.2.3.4", "!"},
      {"for=1.2.3.4:80", "!"},
      {"for=[::1]", "!"},
      {"for=\"::1\"", "!"},
      {"for=\"[1.2.3.4]\"", "!"},
      {"for=\"[::1\"", "!"},
      {"for=\"[::1]x\"", "!"},
      {"for=\"1.2.3.4:\"", "!"},
      {"for=\"1.2.3.4:65536\"", "!"},
      {"for=\"1.2.3.4:123456\"", "!"},
      {"for=\"1.2.3.4:8x\"", "!"},
      {"for=\"1.2.3.4:_\"", "!"},
      {"for=1.2.3", "!"},
      {"for=localhost", "!"},
      {"for=_", "!"},
      {"for=_a!", "!"},
      {"for=\"\\1.2.3.4\"", "!"},
      {"for=1.1.1.1;for=2.2.2.2", "!"},
      {"for=1.1.1.1;proto=http;proto=https", "!"},
      {"for=1.1.1.1 proto=http", "!"},
      {"for=1.1.1.1;proto=\"ht tp\"", "!"},
      {"for=1.1.1.1;proto=1", "!"},
      {"for=1.1.1.1;host=\"a b\"", "!"},
      {"for=1.1.1.1;host=\"a,b\"", "!"},
      {"for=1.1.1.1;host=\"\"", "!"},
      {"for=1.1.1.1;host=\"user@b\"", "!"},
      {"for=\"1.1.1.1", "!"},
      {"for=1.1.1.1\"", "!"},
      {"\"", "!"},
      {"\"\"", "!"},
      {"a=\"\\\"", "!"},
      {"a=\"b\"c", "!"},
  };
  check_values(cases, COUNT(cases), "Forwarded", TAVI__FORWARDED);
}

/* A proxy has appended its element to whatever a client sent. */
TEST(forwarded__what_stands_before_an_element__does_not_change_it) {
  static const char *const before[] = {"for=\"", "\"", "a=\"\\", "\\", "\\\\\"", "for=6.6.6.6;x=\"", "\",\"", "a=\"b\\\",\"", ",,,",
                                       "\"\"\"", "for=\"6.6.6.6\\\""};
  static const char *const own[] = {"for=1.2.3.4", "for=\"[::1]:5\";proto=https", "host=\"a:1\";for=1.2.3.4;ext=\"x,\\\"y\\\\\""};
  static const char *const wanted[] = {"1.2.3.4", "::1#5;https", "1.2.3.4@a:1"};
  for (size_t b = 0; b < COUNT(before); b++) {
    for (size_t o = 0; o < COUNT(own); o++) {
      char value[200];
      struct tavi__forwarded_at at = {.field = 0};
      struct tavi__forwarded e;
      snprintf(value, sizeof value, "%s, %s", before[b], own[o]);
      const char *const texts[] = {"forwarded", value, NULL};
      test_note("%s", value);
      set_fields(texts);
      CHECK_INT(tavi__forwarded_back(&msg, TAVI__FORWARDED, &at, &e), TAVI_WIRE_EVENT);
      const char *got = walk(TAVI__FORWARDED);
      CHECK(strncmp(got, wanted[o], strlen(wanted[o])) == 0);
      CHECK(strstr(got, "6.6.6.6") == NULL || strstr(before[b], "for=\"6") != NULL);
    }
  }
}

TEST(forwarded__several_fields_are_one_list) {
  static const char *const texts[] = {"Forwarded", "for=1.1.1.1, for=2.2.2.2", "Host", "x", "FORWARDED", "", "forwarded", "for=3.3.3.3",
                                      "X-Forwarded-For", "9.9.9.9", "forwarded-x", "for=8.8.8.8", NULL};
  set_fields(texts);
  check_walk(TAVI__FORWARDED, "3.3.3.3|2.2.2.2|1.1.1.1");
  check_walk(TAVI__X_FORWARDED, "9.9.9.9");
  CHECK(tavi__forwarded_has(&msg, TAVI__FORWARDED) && tavi__forwarded_has(&msg, TAVI__X_FORWARDED));
  msg.header_count = 2;
  CHECK(tavi__forwarded_has(&msg, TAVI__FORWARDED) && !tavi__forwarded_has(&msg, TAVI__X_FORWARDED));
  msg.header_count = 0;
  check_walk(TAVI__FORWARDED, "");
}

TEST(x_forwarded__elements_from_the_back) {
  static const struct value_case cases[] = {
      {"1.1.1.1, 2.2.2.2", "2.2.2.2|1.1.1.1"},
      {"2001:db8::1,1.1.1.1:80,[::1]:81,[::2],unknown", "-|::2|::1#81|1.1.1.1#80|2001:db8::1"},
      {"", ""},
      {", 1.1.1.1", "1.1.1.1"},
      {"\"1.1.1.1\"", "!"},
      {"\", 1.1.1.1", "1.1.1.1!"},
      {"1.1.1.1 2.2.2.2", "!"},
      {"2001:db8::1:99999", "!"},
      {"example.com, 1.1.1.1", "1.1.1.1!"},
  };
  check_values(cases, COUNT(cases), "X-Forwarded-For", TAVI__X_FORWARDED);
}

TEST(x_forwarded__scheme_and_host__belong_to_the_same_place_or_are_the_last) {
  static const struct {
    const char *x_for, *proto, *host;
    size_t place;
    const char *scheme_wanted, *host_wanted;
  } cases[] = {
      {"1.1.1.1, 2.2.2.2", "https, http", "a, b", 1, "http", "b"},
      {"1.1.1.1, 2.2.2.2", "https, http", "a, b", 2, "https", "a"},
      {"1.1.1.1, 2.2.2.2", "https", "a", 2, "https", "a"},
      {"1.1.1.1, 2.2.2.2", "ftp, https, http", "c, a,, b", 2, "http", "b"},
      {"1.1.1.1", "http", "a:1", 0, "http", "a:1"},
      {"", "https", "", 0, "https", ""},
      {"1.1.1.1", "ht tp", "a b", 1, "", ""},
      {"1.1.1.1", "", "", 1, "", ""},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    const char *const texts[] = {"x-forwarded-host", cases[i].host, "X-Forwarded-For", cases[i].x_for,
                                 "X-Forwarded-Proto", cases[i].proto, NULL};
    struct tavi__forwarded_at at = {.field = 0};
    struct tavi__forwarded e = {.port = 7};
    test_note("case %zu", i);
    set_fields(texts);
    for (size_t n = 0; n < cases[i].place; n++) CHECK_INT(tavi__forwarded_back(&msg, TAVI__X_FORWARDED, &at, &e), TAVI_WIRE_EVENT);
    tavi__x_forwarded_rest(&msg, &at, &e);
    CHECK_STR(e.scheme, cases[i].scheme_wanted);
    CHECK_STR(e.host, cases[i].host_wanted);
  }
}
