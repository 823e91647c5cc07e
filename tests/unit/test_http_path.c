/* SPDX-License-Identifier: MIT
 *
 * Paths of requests as names of files: everything by which somebody may want to get out of a root. Sections are of
 * RFC 3986 unless another is named. */
#include "wire/http_path.h"

#include "guard.h"
#include "test.h"

enum { CAP = 64 };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SIZED(literal) literal, sizeof(literal) - 1

/* Decode with room that ends where memory ends, from a path that does so in turn. */
static int decode_at(const char *path, size_t len, bool hidden, int cap, char *out, bool *ret_is_dir) {
  static char exact[8192];
  char *copy = malloc(len > 0 ? len : 1); /* of its exact size, for the address sanitizer */
  if (copy == NULL) abort();
  memcpy(copy, path, len);
  memset(exact, '!', sizeof exact);
  char *room = guard_at_end(exact, (size_t)cap);
  const int got = tavi__http_path((struct tavi_slice){copy, len}, hidden, room, cap, ret_is_dir);
  free(copy);
  memcpy(out, room, (size_t)cap);

  bool is_dir = *ret_is_dir;
  memset(exact, '!', sizeof exact);
  CHECK_INT(tavi__http_path((struct tavi_slice){guard_at_end(path, len), len}, hidden, exact, cap, &is_dir), got);
  CHECK(is_dir == *ret_is_dir && memcmp(exact, out, (size_t)cap) == 0 && exact[cap] == '!');
  memset(exact, '!', sizeof exact);
  CHECK_INT(tavi__http_path((struct tavi_slice){guard_at_start(path, len), len}, hidden, exact, cap, &is_dir), got);
  return got;
}

struct path {
  const char *path;
  size_t len;
  const char *name; /* NULL when refused */
  int status;       /* then */
  bool is_dir;
};

#define FILE_(path, name) {SIZED(path), name, 0, false}
#define DIR_(path, name) {SIZED(path), name, 0, true}
#define BAD(path, status) {SIZED(path), NULL, -(status), false}

static void check(const struct path *cases, size_t count, bool hidden) {
  for (size_t i = 0; i < count; i++) {
    char out[CAP];
    bool is_dir = !cases[i].is_dir; /* must be set, and must not when refused */
    const bool before = is_dir;
    test_note("%s%s", cases[i].path, hidden ? ", hidden" : "");
    const int got = decode_at(cases[i].path, cases[i].len, hidden, CAP, out, &is_dir);
    if (cases[i].name == NULL) {
      CHECK_INT(got, cases[i].status);
      CHECK(is_dir == before);
      continue;
    }
    if (!CHECK_INT(got, strlen(cases[i].name))) continue;
    CHECK_BYTES(out, strlen(out), cases[i].name, strlen(cases[i].name));
    CHECK(is_dir == cases[i].is_dir);
  }
}

/* The same whether hidden names are shown or not. */
static const struct path either[] = {
    DIR_("/", ""),
    FILE_("/a", "a"),
    DIR_("/a/", "a"),
    FILE_("/a/b.c", "a/b.c"),
    FILE_("/a//b", "a/b"), /* one '/' */
    FILE_("//a", "a"),
    FILE_("///a////b", "a/b"),
    DIR_("/a//", "a"),
    DIR_("//", ""),
    DIR_("/.", ""), /* 5.2.4: "." is left out */
    DIR_("/./", ""),
    DIR_("/././.", ""),
    FILE_("/./a", "a"),
    FILE_("/a/./b", "a/b"),
    DIR_("/a/.", "a"),
    DIR_("/a/./", "a"),
    DIR_("/a/%2e", "a"),
    DIR_("/a/%2E/", "a"),
    FILE_("/%2e/a", "a"),
    FILE_("/a.", "a."), /* points elsewhere mean nothing */
    FILE_("/a..", "a.."),
    FILE_("/a..b", "a..b"),
    FILE_("/a/b./c../d", "a/b./c../d"),
    FILE_("/%61", "a"), /* 2.1: escapes */
    FILE_("/%4a%4A%4b", "JJK"),
    FILE_("/a%20b", "a b"),
    FILE_("/a b", "a b"),
    FILE_("/a+b", "a+b"), /* no form: '+' is itself */
    FILE_("/%25", "%"),
    FILE_("/%2525", "%25"), /* decoded once */
    FILE_("/%252e%252e/a", "%2e%2e/a"),
    FILE_("/%252f", "%2f"),
    FILE_("/%255c", "%5c"),
    FILE_("/%2500", "%00"),
    FILE_("/a%3fb", "a?b"), /* a name with a '?' or '#' */
    FILE_("/a%23b", "a#b"),
    FILE_("/a;b=c", "a;b=c"),
    FILE_("/~a", "~a"),
    FILE_("/C:/a", "C:/a"),
    FILE_("/%c3%a4", "\xc3\xa4"),
    FILE_("/\xc3\xa4", "\xc3\xa4"),
    FILE_("/%ff%80", "\xff\x80"), /* names are bytes */
    FILE_("/%c0%af%c0%ae", "\xc0\xaf\xc0\xae"), /* overlong forms of '/' and '.' are bytes, too */
    FILE_("/%c0%ae%c0%ae/a", "\xc0\xae\xc0\xae/a"),
    FILE_("/%e0%80%af", "\xe0\x80\xaf"),
    FILE_("/%f0%80%80%af", "\xf0\x80\x80\xaf"),
    FILE_("/%0a%0d%09%7f%01", "\n\r\t\x7f\x01"),
    FILE_("/a%2fb", "a/b"), /* an escaped '/' is one */
    FILE_("/a%2F%2fb", "a/b"),
    DIR_("/a%2f", "a"),
    DIR_("/%2f", ""),
    DIR_("/%2f%2e%2f", ""),
    FILE_("/.well-known", ".well-known"), /* RFC 8615 */
    DIR_("/.well-known/", ".well-known"),
    FILE_("/.well-known/acme-challenge/x", ".well-known/acme-challenge/x"),
    FILE_("//./%2ewell%2dknown/a", ".well-known/a"),
    BAD("", 400),
    BAD("a", 400),
    BAD("*", 400),
    BAD("?", 400),
    BAD("\\", 400),
    BAD("%2fa", 400), /* the first is not decoded */
    BAD("http://a/b", 400),
    BAD("/..", 400), /* 5.2.4: ".." is refused */
    BAD("/../", 400),
    BAD("/../a", 400),
    BAD("/a/..", 400),
    BAD("/a/../", 400),
    BAD("/a/../b", 400),
    BAD("/a/b/../../c", 400),
    BAD("//..", 400),
    BAD("/./..", 400),
    BAD("/..//", 400),
    BAD("/%2e%2e", 400),
    BAD("/%2E%2E/a", 400),
    BAD("/.%2e", 400),
    BAD("/%2e.", 400),
    BAD("/a/%2e%2e/b", 400),
    BAD("/..%2f", 400),
    BAD("/..%2fa", 400),
    BAD("/%2e%2e%2fa", 400),
    BAD("/a%2f..%2fb", 400),
    BAD("/a%2f..", 400),
    BAD("/%2f../a", 400),
    BAD("/..%5c", 400),
    BAD("/..%5ca", 400),
    BAD("/a%5c..%5cb", 400),
    BAD("/..\\a", 400),
    BAD("/a\\b", 400),
    BAD("/\\", 400),
    BAD("/%5c", 400),
    BAD("/%5C", 400),
    BAD("/a\0", 400),
    BAD("/\0", 400),
    BAD("/a\0.html", 400),
    BAD("/%00", 400),
    BAD("/a%00.html", 400),
    BAD("/a/%00/b", 400),
    BAD("/.%00", 400),
    BAD("/..%00", 400),
    BAD("/%", 400), /* 2.1: a '%' without two digits */
    BAD("/%2", 400),
    BAD("/%g0", 400),
    BAD("/%0g", 400),
    BAD("/%%", 400),
    BAD("/%%30", 400),
    BAD("/% 2", 400),
    BAD("/%2 ", 400),
    BAD("/%+2", 400),
    BAD("/%-1", 400),
    BAD("/%0x", 400),
    BAD("/%u002e", 400),
    BAD("/%@0", 400), /* just outside of the digits and letters */
    BAD("/%`0", 400),
    BAD("/%/0", 400),
    BAD("/%:0", 400),
    BAD("/%G0", 400),
    BAD("/%\xb0\xb0", 400),
    BAD("/a%2", 400),
    BAD("/a/%", 400),
};

TEST(http_path__table) {
  check(either, COUNT(either), false);
  check(either, COUNT(either), true);
}

TEST(http_path__hidden_names_are_not_there) {
  static const struct path cases[] = {
      BAD("/.a", 404),
      BAD("/.git/config", 404),
      BAD("/a/.b", 404),
      BAD("/a/.b/c", 404),
      BAD("/a/.b/", 404),
      BAD("/%2ea", 404),
      BAD("/a%2f.b", 404),
      BAD("/a//.b", 404),
      BAD("/...", 404),
      BAD("/.../", 404),
      BAD("/a/%2e%2e%2e", 404),
      BAD("/..a", 404),
      BAD("/.%2ea", 404),
      BAD("/a/.well-known", 404), /* the exception is for the first */
      BAD("/.well-known/.well-known", 404),
      BAD("/.well-known/.a", 404),
      BAD("/.well-known/a/.b", 404),
      BAD("/.well-knownx", 404),
      BAD("/.well-know", 404),
      BAD("/.Well-Known/a", 404),
      BAD("/.well-known/..", 400),
      BAD("/.a/..", 404), /* the first from the left */
      BAD("/../.a", 400),
      BAD("/.a/%", 404),
      BAD("/.a%", 400),
  };
  check(cases, COUNT(cases), false);
}

TEST(http_path__hidden_names_are_there_when_asked_for) {
  static const struct path cases[] = {
      FILE_("/.a", ".a"),
      FILE_("/.git/config", ".git/config"),
      DIR_("/a/.b/", "a/.b"),
      FILE_("/%2ea", ".a"),
      FILE_("/...", "..."),
      FILE_("/..a", "..a"),
      FILE_("/.../a", ".../a"),
      FILE_("/a/.well-known", "a/.well-known"),
      BAD("/.a/..", 400),
      BAD("/.a/%", 400),
  };
  check(cases, COUNT(cases), true);
}

TEST(http_path__length_without_what_is_left_out) {
  static const struct {
    const char *path;
    int len; /* of the name */
  } cases[] = {
      {"/", 0}, {"/a", 1}, {"/ab", 2}, {"/a/b", 3}, {"/a/", 1}, {"//a//b//", 3}, {"/././a/./.", 1}, {"/%61%2f%62/.", 3},
      {"/a/%2e/b/./c", 5}, {"/.well-known", 11}, {"/.well-known/a", 13}, {"/.............", 13},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    for (int cap = 1; cap <= 20; cap++) {
      char out[20];
      bool is_dir = false;
      test_note("%s in %d", cases[i].path, cap);
      const int got = decode_at(cases[i].path, strlen(cases[i].path), true, cap, out, &is_dir);
      CHECK_INT(got, cap > cases[i].len ? cases[i].len : -414);
      if (got >= 0) CHECK_INT(strlen(out), got);
    }
  }
  char out[4];
  bool is_dir = false;
  CHECK_INT(decode_at(SIZED("/.............."), false, 4, out, &is_dir), -414);
  CHECK_INT(decode_at(SIZED("/abcdefghijkl/.."), false, 4, out, &is_dir), -414);
  CHECK_INT(decode_at(SIZED("/abcdefghijkl%00"), false, 4, out, &is_dir), -400);
  CHECK_INT(decode_at(SIZED("/abc/../d"), false, 4, out, &is_dir), -400);
}

TEST(http_path__long_ones) {
  static char path[16 * 1024];
  static char out[4096];
  bool is_dir = false;
  memset(path, '/', sizeof path);
  CHECK_INT(decode_at(path, sizeof path, false, 4096, out, &is_dir), 0);
  for (size_t i = 1; i < sizeof path; i += 2) path[i] = '.';
  CHECK_INT(decode_at(path, sizeof path, false, 1, out, &is_dir), 0);
  CHECK(is_dir);
  memset(path + 1, 'a', sizeof path - 1);
  CHECK_INT(decode_at(path, sizeof path, false, 4096, out, &is_dir), -414);
  CHECK_INT(decode_at(path, 4096, false, 4096, out, &is_dir), 4095);
  CHECK_INT(decode_at(path, 4097, false, 4096, out, &is_dir), -414);
}

/* Every byte, as it is and escaped, in a name and alone. */
TEST(http_path__every_byte) {
  for (int c = 0; c < 256; c++) {
    char raw[] = "/a?b";
    char escaped[16];
    char out[CAP];
    bool is_dir = true;
    raw[2] = (char)c;
    snprintf(escaped, sizeof escaped, "/a%%%02xb", (unsigned)c);
    test_note("byte 0x%02x", (unsigned)c);
    const bool is_bad = c == '\0' || c == '\\';
    const char wanted[] = {'a', (char)c, 'b', '\0'};
    CHECK_INT(decode_at(escaped, 6, false, CAP, out, &is_dir), is_bad ? -400 : 3);
    if (!is_bad) CHECK_BYTES(out, 4, wanted, 4);
    CHECK_INT(decode_at(raw, 4, false, CAP, out, &is_dir), is_bad || c == '%' ? -400 : 3);
    if (!is_bad && c != '%') CHECK_BYTES(out, 4, wanted, 4);
  }
}
