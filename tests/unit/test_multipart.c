/* SPDX-License-Identifier: MIT
 *
 * Bodies of multipart/form-data: all vectors in one piece, in two pieces cut at every place, and byte by byte, always
 * from memory with nothing behind it; what the header lines of a part say; and bodies that are in memory. */
#include "guard.h"
#include "tavi/http_form.h"
#include "test.h"
#include "wire/multipart.h"

enum { BYTES_MAX = 2048, HEAD_BYTES_MAX = 64 };

struct vector {
  const char *title;
  const char *bytes;
  size_t len;
  const char *events; /* "head|body;" for each part, '.' for the last delimiter, '!' and the error's name at its end */
};

#define SIZED(literal) literal, sizeof(literal) - 1
#define A "A: b\r\n"

/* The boundary is "xy". */
static const struct vector vectors[] = {
    {"one part", SIZED("--xy\r\n" A "\r\nhello\r\n--xy--\r\n"), A "|hello;."},
    {"no CRLF at the end", SIZED("--xy\r\n" A "\r\nhello\r\n--xy--"), A "|hello;."},
    {"two parts", SIZED("--xy\r\n" A "\r\n1\r\n--xy\r\n" A "C: d\r\n\r\n2\r\n--xy--\r\n"), A "|1;" A "C: d\r\n|2;."},
    {"no parts", SIZED("--xy--\r\n"), "."},
    {"no parts, CRLF first", SIZED("\r\n--xy--\r\n"), "."},
    {"no header lines", SIZED("--xy\r\n\r\nhello\r\n--xy--\r\n"), "|hello;."},
    {"an empty body", SIZED("--xy\r\n" A "\r\n\r\n--xy--\r\n"), A "|;."},
    {"no body", SIZED("--xy\r\n" A "\r\n--xy--\r\n"), A "|;."},
    {"neither head nor body", SIZED("--xy\r\n\r\n--xy\r\n\r\n--xy--\r\n"), "|;|;."},
    {"a body of one CRLF", SIZED("--xy\r\n" A "\r\n\r\n\r\n--xy--\r\n"), A "|\r\n;."},
    {"a body that ends in CR", SIZED("--xy\r\n" A "\r\n\r\r\n--xy--\r\n"), A "|\r;."},
    {"nearly a delimiter", SIZED("--xy\r\n" A "\r\n\r\n--x\r\n-xy\r\n--zy--xy\r\r\n\n--xy\r\n--xy--\r\n"),
     A "|\r\n--x\r\n-xy\r\n--zy--xy\r\r\n\n--xy;."},
    {"any bytes", SIZED("--xy\r\n" A "\r\n\0\xff\r\0\n\r\n--xy--\r\n"), A "|<\0>\xff\r<\0>\n;."},
    {"preamble", SIZED("hello\r\n--x\r\n--xy\r\n" A "\r\n1\r\n--xy--\r\n"), A "|1;."},
    {"preamble that looks like a delimiter", SIZED("--x\r\n--xy\r\n" A "\r\n1\r\n--xy--\r\n"), A "|1;."},
    {"preamble without CRLF", SIZED("hello--xy\r\n"), ""},
    {"epilogue", SIZED("--xy\r\n" A "\r\n1\r\n--xy--\r\n--xy\r\n" A "\r\n2\r\n--xy--\r\n"), A "|1;."},
    {"white space behind delimiters", SIZED("--xy \t\r\n" A "\r\n1\r\n--xy \r\n" A "\r\n2\r\n--xy-- \r\nepilogue"),
     A "|1;" A "|2;."},
    {"the longest head", SIZED("--xy\r\nA: 34567890123456789012345678901234567890123456789012345678901\r\n\r\n1\r\n--xy--"),
     "A: 34567890123456789012345678901234567890123456789012345678901\r\n|1;."},
    {"a byte more", SIZED("--xy\r\nA: 345678901234567890123456789012345678901234567890123456789012\r\n\r\n1\r\n--xy--"),
     "!TAVI_E_LIMIT"},
    {"a head without end", SIZED("--xy\r\nA: 34567890123456789012345678901234567890123456789012345678901234567890"),
     "!TAVI_E_LIMIT"},
    {"LF ends no head", SIZED("--xy\r\nA: b\n\nc\r\n--xy--\r\n"), ""},
    {"junk behind a delimiter", SIZED("--xyz\r\n" A "\r\n1\r\n--xyz--\r\n"), "!TAVI_E_PROTOCOL"},
    {"junk behind the next one", SIZED("--xy\r\n" A "\r\n1\r\n--xyz\r\n2\r\n--xy--\r\n"), A "|1;!TAVI_E_PROTOCOL"},
    {"junk behind white space", SIZED("--xy z\r\n"), "!TAVI_E_PROTOCOL"},
    {"junk behind the last one", SIZED("--xy\r\n" A "\r\n1\r\n--xy--z"), A "|1;.!TAVI_E_PROTOCOL"},
    {"one dash", SIZED("--xy\r\n" A "\r\n1\r\n--xy-\r\n"), A "|1;!TAVI_E_PROTOCOL"},
    {"LF behind a delimiter", SIZED("--xy\n" A "\r\n1\r\n--xy--\r\n"), "!TAVI_E_PROTOCOL"},
    {"CR and no LF behind a delimiter", SIZED("--xy\rA"), "!TAVI_E_PROTOCOL"},
    {"LF in front of a delimiter", SIZED("--xy\r\n" A "\r\n1\n--xy--\r\n"), A "|1\n--xy--"},
    {"another boundary", SIZED("--ab\r\n" A "\r\n1\r\n--ab--\r\n"), ""},
    {"cut in a head", SIZED("--xy\r\nA: b"), ""},
    {"cut in a body", SIZED("--xy\r\n" A "\r\nhello"), A "|hello"},
    {"cut in a delimiter", SIZED("--xy\r\n" A "\r\nhello\r\n--x"), A "|hello"},
    {"cut behind a delimiter", SIZED("--xy\r\n" A "\r\nhello\r\n--xy"), A "|hello;"},
    {"cut before the last dash", SIZED("--xy\r\n" A "\r\nhello\r\n--xy-"), A "|hello;"},
    {"nothing", SIZED(""), ""},
};

#define VECTORS (sizeof(vectors) / sizeof(vectors[0]))

/* ==== pieces ==== */

/* A caller as it should be: keeps what was not consumed, and looks at it again with more behind it. */
struct caller {
  struct tavi__multipart mp;
  bool is_dead;
  char kept[BYTES_MAX];
  size_t kept_len;
  char events[BYTES_MAX];
  size_t len;
};

static void caller_init(struct caller *c) {
  *c = (struct caller){0};
  CHECK(tavi__multipart_init(&c->mp, (struct tavi_slice){"xy", 2}, HEAD_BYTES_MAX));
}

static void note(struct caller *c, const char *bytes, size_t len) {
  for (size_t i = 0; i < len && c->len < sizeof(c->events) - 4; i++) {
    if (bytes[i] != '\0') {
      c->events[c->len++] = bytes[i];
    } else {
      memcpy(c->events + c->len, "<\0>", 3);
      c->len += 3;
    }
  }
}

static void note_event(struct caller *c, enum tavi__multipart_event event, struct tavi_slice data) {
  note(c, data.ptr, data.len);
  if (event == TAVI__MULTIPART_PART) note(c, "|", 1);
  if (event == TAVI__MULTIPART_ENDED) note(c, ";", 1);
  if (event == TAVI__MULTIPART_LAST) note(c, ".", 1);
  CHECK(event != TAVI__MULTIPART_DATA || data.len > 0);
  CHECK(event < TAVI__MULTIPART_ENDED || data.len == 0);
}

/* bite: take at most so many bytes of data at a time; 0: all. */
static void feed(struct caller *c, const char *bytes, size_t len, size_t bite) {
  memcpy(c->kept + c->kept_len, bytes, len);
  c->kept_len += len;
  while (!c->is_dead) {
    char *p = guard_at_end(c->kept, c->kept_len);
    enum tavi__multipart_event event;
    struct tavi_slice data;
    size_t consumed = 0;
    int r = tavi__multipart_read(&c->mp, p, c->kept_len, &consumed, &event, &data);
    if (r < 0) {
      const char *name = r == TAVI_E_LIMIT ? "!TAVI_E_LIMIT" : "!TAVI_E_PROTOCOL";
      note(c, name, strlen(name));
      c->is_dead = true;
      CHECK_INT(tavi__multipart_read(&c->mp, "--xy--", 6, &consumed, &event, &data), TAVI_E_PROTOCOL);
      return;
    }
    if (!CHECK(consumed <= c->kept_len)) return;
    if (r == TAVI_WIRE_EVENT) {
      CHECK(data.len == 0 || (data.ptr >= p && data.ptr + data.len <= p + consumed));
      if (event == TAVI__MULTIPART_DATA && bite > 0 && data.len > bite) {
        data.len = bite;
        consumed = (size_t) (data.ptr + bite - p);
      }
      note_event(c, event, data);
    }
    memmove(c->kept, c->kept + consumed, c->kept_len - consumed);
    c->kept_len -= consumed;
    if (r == TAVI_WIRE_MORE) {
      CHECK(c->kept_len < HEAD_BYTES_MAX + 2);
      return;
    }
  }
}

/* The events, in which a NUL of the table stands for one. */
static void check_events(const struct caller *c, const struct vector *v) {
  size_t len = strlen(v->events);
  if (strcmp(v->title, "any bytes") == 0) len = sizeof(A "|<\0>\xff\r<\0>\n;.") - 1;
  CHECK_BYTES(c->events, c->len, v->events, len);
}

TEST(multipart__all_vectors_in_one_piece) {
  for (size_t i = 0; i < VECTORS; i++) {
    for (size_t bite = 0; bite < 3; bite++) {
      struct caller c;
      caller_init(&c);
      test_note("%s, %zu bytes at once", vectors[i].title, bite);
      feed(&c, vectors[i].bytes, vectors[i].len, bite);
      check_events(&c, &vectors[i]);
    }
  }
}

TEST(multipart__all_vectors_in_two_pieces) {
  for (size_t i = 0; i < VECTORS; i++) {
    for (size_t cut = 0; cut <= vectors[i].len; cut++) {
      struct caller c;
      caller_init(&c);
      test_note("%s, cut at %zu", vectors[i].title, cut);
      feed(&c, vectors[i].bytes, cut, 0);
      feed(&c, vectors[i].bytes + cut, vectors[i].len - cut, 0);
      check_events(&c, &vectors[i]);
    }
  }
}

TEST(multipart__all_vectors_byte_by_byte) {
  for (size_t i = 0; i < VECTORS; i++) {
    struct caller c;
    caller_init(&c);
    test_note("%s", vectors[i].title);
    for (size_t at = 0; at < vectors[i].len; at++) feed(&c, vectors[i].bytes + at, 1, 0);
    check_events(&c, &vectors[i]);
  }
}

/* In pieces of `step` bytes: EVENT when the part was found, or the error. */
static int read_preamble(size_t preamble, size_t step) {
  static const char rest[] = "\r\n--xy\r\n\r\n";
  size_t len = preamble + sizeof(rest) - 1, at = 0, have = 0;
  char *all = malloc(len);
  struct tavi__multipart mp;
  int r = TAVI_WIRE_MORE;
  if (all == NULL) abort();
  memset(all, 'p', preamble);
  memcpy(all + preamble, rest, sizeof(rest) - 1);
  CHECK(tavi__multipart_init(&mp, (struct tavi_slice){"xy", 2}, HEAD_BYTES_MAX));
  while (r == TAVI_WIRE_MORE && have < len) {
    enum tavi__multipart_event event;
    struct tavi_slice data;
    size_t used;
    have = len - have < step ? len : have + step;
    r = tavi__multipart_read(&mp, all + at, have - at, &used, &event, &data);
    at += used;
  }
  free(all);
  return r;
}

TEST(multipart__preamble_of_64_kib_and_no_more) {
  for (size_t step = 1; step < 100000; step = step * 7 + 1) {
    CHECK_INT(read_preamble(64 << 10, step), TAVI_WIRE_EVENT);
    CHECK_INT(read_preamble((64 << 10) + 1, step), TAVI_E_PROTOCOL);
  }
}

/* ==== boundaries ==== */

static bool is_boundary(const char *text, size_t len) {
  struct tavi__multipart mp;
  return tavi__multipart_init(&mp, (struct tavi_slice){text, len}, 100);
}

TEST(boundary__what_RFC_2046_allows) {
  char longest[71];
  memset(longest, 'a', sizeof(longest));
  CHECK(is_boundary(longest, 70));
  CHECK(!is_boundary(longest, 71));
  CHECK(!is_boundary("", 0));
  CHECK(is_boundary(SIZED("AZaz09'()+_,-./:=?")));
  CHECK(is_boundary(SIZED("a b")));
  CHECK(!is_boundary(SIZED("a ")));
  for (const char *p = "\"\\\r\n\t;@[]{}<>*&%$#!~`|^\x7f\x80\xff"; *p != '\0'; p++) CHECK(!is_boundary(p, 1));
  CHECK(!is_boundary(SIZED("a\0b")));
}

static const char *found_boundary(const char *content_type, char out[80]) {
  struct tavi_slice s;
  if (tavi_multipart_boundary((struct tavi_slice){content_type, strlen(content_type)}, &s) < 0) return "none";
  memcpy(out, s.ptr, s.len);
  out[s.len] = '\0';
  return out;
}

TEST(boundary__of_a_content_type) {
  static const char *const rows[][2] = {
      {"multipart/form-data; boundary=xy", "xy"},
      {"Multipart/Form-Data;BOUNDARY=\"x y\"", "x y"},
      {"multipart/mixed; a=\"; boundary=no\"; boundary=yes; z=1", "yes"},
      {"multipart/form-data; boundary=----WebKitFormBoundaryAbC012", "----WebKitFormBoundaryAbC012"},
      {"multipart/form-data", "none"},
      {"multipart/form-data; boundary=", "none"},
      {"multipart/form-data; boundary=\"\"", "none"},
      {"multipart/form-data; boundary=\"a\\\"b\"", "none"},
      {"multipart; boundary=xy", "none"},
      {"multipart/; boundary=xy", "none"},
      {"multipartx/form-data; boundary=xy", "none"},
      {"text/plain; boundary=xy", "none"},
      {"text/plain; a=multipart/form-data; boundary=xy", "none"},
      {"", "none"},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    char out[80];
    const char *found = found_boundary(rows[i][0], out);
    test_note("%s", rows[i][0]);
    CHECK_BYTES(found, strlen(found), rows[i][1], strlen(rows[i][1]));
  }
}

/* ==== header lines ==== */

#define CD "Content-Disposition: form-data"

static const struct {
  const char *head;
  const char *wanted; /* "name|filename|type", "-" for no filename; NULL: refused */
} heads[] = {
    {CD "; name=\"a\"\r\n", "a|-|"},
    {CD "; name=a\r\n", "a|-|"},
    {CD ";name=\"a\";filename=\"b.txt\"\r\nContent-Type: text/plain; charset=utf-8\r\n", "a|b.txt|text/plain; charset=utf-8"},
    {"content-type: image/png\r\ncontent-disposition: Form-Data; FileName=b; NAME=a\r\n", "a|b|image/png"},
    {CD "; name=\"\"\r\n", "|-|"},
    {CD "; name=\"a\"; filename=\"\"\r\n", "a||"},
    {CD "; name=\"a;b=c\"; filename=\"d; name=e\"\r\n", "a;b=c|d; name=e|"},
    {CD "; name=\"a\\\"b\"; filename=\"C:\\dir\\f.txt\"\r\n", "a\\\"b|C:\\dir\\f.txt|"},
    {CD "; name=\"a\\\\\"; filename=\"b\"\r\n", "a\\\\|b|"},
    {CD "; name=\"a%22b\"\r\n", "a%22b|-|"},
    {CD "; name=\"\xc3\xa4\"; filename=\"\xe2\x82\xac\"\r\n", "\xc3\xa4|\xe2\x82\xac|"},
    {CD "; name=\"a\"; filename*=UTF-8''b\r\n", "a|-|"},
    {CD "; name=\"a\"; \r\nX-Other: 1\r\n", "a|-|"},
    {CD " ; name=\"a\" ; filename=\"b\" \r\n", "a|b|"},
    {"", NULL},
    {"Content-Type: text/plain\r\n", NULL},
    {CD "\r\n", NULL},
    {CD "; filename=\"b\"\r\n", NULL},
    {"Content-Disposition: attachment; name=\"a\"\r\n", NULL},
    {"Content-Disposition: form-datax; name=\"a\"\r\n", NULL},
    {"Content-Disposition: ; name=\"a\"\r\n", NULL},
    {CD "; name=\"a\r\n", NULL},
    {CD "; name=\"a\\\"\r\n", NULL},
    {CD "; name=\"a\"b\r\n", NULL},
    {CD "; name\r\n", NULL},
    {CD "; =a\r\n", NULL},
    {CD " name=a\r\n", NULL},
    {CD "; name=a; name=b\r\n", NULL},
    {CD "; name=a; filename=b; filename=c\r\n", NULL},
    {CD "; name=a\r\n" CD "; name=b\r\n", NULL},
    {CD "; name=a\r\nContent-Type: a/b\r\nContent-Type: a/b\r\n", NULL},
    {CD "; name=a\r\nno colon\r\n", NULL},
    {CD "; name=a\r\nfolded: a\r\n b: c\r\n", NULL},
    {CD "; name=a\r\nspace : a\r\n", NULL},
    {CD "; name=a\r\nlf: a\nb: c\r\n", NULL},
    {CD "; name=a\r\ncr: a\rb\r\n", NULL},
    {CD "; name=a\r\n: a\r\n", NULL},
};

TEST(multipart_head__what_it_says) {
  for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
    struct tavi__multipart_head h;
    size_t len = strlen(heads[i].head);
    test_note("%s", heads[i].head);
    int r = tavi__multipart_head((struct tavi_slice){guard_at_end(heads[i].head, len), len}, &h);
    CHECK_INT(r, heads[i].wanted == NULL ? TAVI_E_PROTOCOL : 0);
    if (r != 0) continue;
    char text[256];
    int n = snprintf(text, sizeof(text), "%.*s|%.*s|%.*s", (int) h.name.len, h.name.ptr,
                     h.has_filename ? (int) h.filename.len : 1, h.has_filename ? h.filename.ptr : "-",
                     (int) h.content_type.len, h.content_type.ptr == NULL ? "" : h.content_type.ptr);
    CHECK_BYTES(text, (size_t) n, heads[i].wanted, strlen(heads[i].wanted));
  }
}

TEST(multipart_decode__what_browsers_write) {
  static const char *const rows[][2] = {
      {"plain", "plain"},         {"a%22b", "a\"b"},       {"a%0D%0Ab", "a\r\nb"}, {"%22", "\""}, {"100%", "100%"},
      {"%2", "%2"},               {"%2522", "%2522"},      {"%41%0d", "%41%0d"},   {"a\\\"b", "a\"b"}, {"a\\\\b", "a\\b"},
      {"C:\\dir\\f", "C:\\dir\\f"}, {"a\\", "a\\"},          {"", ""},               {"\\%22", "\\\""},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    size_t len = strlen(rows[i][0]);
    char *p = guard_at_end(rows[i][0], len);
    size_t n = tavi__multipart_decode((struct tavi_slice){p, len}, p);
    test_note("%s", rows[i][0]);
    CHECK_BYTES(p, n, rows[i][1], strlen(rows[i][1]));
  }
}

/* ==== bodies that are in memory ==== */

static const char form[] =
    "--xy\r\n" CD "; name=\"a\"\r\n\r\n1\r\n--xy\r\n" CD "; name=\"f\"; filename=\"n.txt\"\r\nContent-Type: text/plain\r\n\r\n"
    "line\r\n--x\r\nline\r\n--xy\r\n" CD "; name=\"e\"; filename=\"\"\r\n\r\n\r\n--xy--\r\n";

/* "name=body," of each part, and the last result's name. */
static const char *walk(const char *body, size_t len, const char *boundary) {
  static char text[1024];
  size_t at = 0, n = 0;
  struct tavi_multipart_part part;
  struct tavi_slice b = {boundary, strlen(boundary)}, all = {guard_at_end(body, len), len};
  int r;
  while ((r = tavi_multipart_next(all, b, &at, &part)) == 0) {
    n += (size_t) snprintf(text + n, sizeof(text) - n, "%.*s=%.*s%s,", (int) part.name.len, part.name.ptr,
                           (int) part.body.len, part.body.ptr, part.has_filename ? "(file)" : "");
    if (n > sizeof(text) / 2) break;
  }
  snprintf(text + n, sizeof(text) - n, "%s", r == TAVI_E_NOT_FOUND ? "end" : r == TAVI_E_PROTOCOL ? "bad" : "?");
  return text;
}

static void check_walk(const char *body, size_t len, const char *boundary, const char *wanted) {
  const char *got = walk(body, len, boundary);
  CHECK_BYTES(got, strlen(got), wanted, strlen(wanted));
}

TEST(multipart_next__parts_of_a_whole_body) {
  check_walk(SIZED(form), "xy", "a=1,f=line\r\n--x\r\nline(file),e=(file),end");
  check_walk(SIZED(form), "", "a=1,f=line\r\n--x\r\nline(file),e=(file),end");
  size_t at = 0;
  struct tavi_multipart_part part;
  struct tavi_slice all = {form, sizeof(form) - 1}, xy = {"xy", 2};
  CHECK_INT(tavi_multipart_next(all, xy, &at, &part), 0);
  CHECK_STR(part.name, "a");
  CHECK_STR(part.head, CD "; name=\"a\"\r\n");
  CHECK(!part.has_filename && part.content_type.len == 0 && part.filename.len == 0);
  CHECK_INT(tavi_multipart_next(all, xy, &at, &part), 0);
  CHECK_STR(part.filename, "n.txt");
  CHECK_STR(part.content_type, "text/plain");
}

TEST(multipart_next__cut_anywhere__never_a_short_part) {
  for (size_t len = 0; len < sizeof(form) - 1; len++) {
    const char *got = walk(form, len, "xy");
    test_note("%zu bytes", len);
    CHECK(strstr(got, len >= sizeof(form) - 1 - 2 ? "end" : "bad") != NULL);
    CHECK(strstr(got, "f=") == NULL || strstr(got, "f=line\r\n--x\r\nline(file),") != NULL);
  }
}

TEST(multipart_next__odd_bodies) {
  check_walk(SIZED("--xy--\r\n"), "xy", "end");
  check_walk(SIZED("--xy--\r\n"), "", "end");
  check_walk(SIZED("--xy--"), "", "end");
  check_walk(SIZED(""), "", "bad");
  check_walk(SIZED("--"), "", "bad");
  check_walk(SIZED("--xy"), "", "bad");
  check_walk(SIZED("hello\r\n--xy\r\n" CD "; name=a\r\n\r\n1\r\n--xy--"), "", "bad"); /* it would be searched per part */
  check_walk(SIZED("hello\r\n--xy\r\n" CD "; name=a\r\n\r\n1\r\n--xy--"), "xy", "a=1,end");
  check_walk(SIZED("--xy-- \r\n" CD "; name=a\r\n\r\n1\r\n--xy----"), "", "a=1,end");
  check_walk(SIZED("--xy\r\n" CD "; name=a\r\n\r\n1\r\n--xy--"), "ab", "bad");
  check_walk(SIZED("--xy\r\n" CD "; name=a\r\n\r\n1\r\n--xy--"), "a\"b", "bad");
  check_walk(SIZED("--xy\r\nA: b\r\n\r\n1\r\n--xy--"), "xy", "bad");
  check_walk(SIZED("--xy\r\n" CD "; name=a\r\n\r\n1\r\n--xy--junk"), "xy", "a=1,bad");
}

TEST(multipart_next__offsets_of_nobody) {
  struct tavi_multipart_part part;
  struct tavi_slice all = {form, sizeof(form) - 1}, xy = {"xy", 2};
  for (size_t from = 0; from < sizeof(form) + 5; from++) {
    size_t at = from;
    int r = tavi_multipart_next(all, xy, &at, &part);
    CHECK(r == 0 || r == TAVI_E_NOT_FOUND || r == TAVI_E_PROTOCOL);
    CHECK(at >= from && (at <= all.len || at == from));
  }
}
