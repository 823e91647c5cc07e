/* SPDX-License-Identifier: MIT
 *
 * Types by extension: our table, a caller's list, and the text of a mime.types file. */
#include <stdlib.h>

#include "test.h"
#include "wire/mime.h"

static struct tavi_slice slice(const char *s) { return (struct tavi_slice){s, strlen(s)}; }

TEST(extension__what_follows_the_last_dot_of_the_last_component) {
  static const char *const cases[][2] = {
      {"a.txt", "txt"},        {"a.tar.gz", "gz"},   {"d.ir/name", ""}, {"d.ir/a.b", "b"}, {".profile", ""},
      {"d/.profile", ""},      {"d/.a.txt", "txt"},  {"a.", ""},        {"Makefile", ""},  {"", ""},
      {"/srv/www/x.HTML", "HTML"}, {"..", ""},       {"d/", ""},        {"a.b/", ""},      {"a..b", "b"},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    test_note("%s", cases[i][0]);
    CHECK_STR(tavi__mime_extension(cases[i][0]), cases[i][1]);
  }
}

/* What IANA has registered (or, where nobody did, what everybody sends). All of our table: one that is out of its order
 * would not be found. */
static const char *const registered[][2] = {
    {"3gp", "video/3gpp"},
    {"7z", "application/x-7z-compressed"},
    {"aac", "audio/aac"},
    {"apng", "image/apng"},
    {"atom", "application/atom+xml"},
    {"avi", "video/x-msvideo"},
    {"avif", "image/avif"},
    {"bin", "application/octet-stream"},
    {"bmp", "image/bmp"},
    {"br", "application/octet-stream"},
    {"bz2", "application/x-bzip2"},
    {"css", "text/css; charset=utf-8"},
    {"csv", "text/csv"},
    {"deb", "application/vnd.debian.binary-package"},
    {"doc", "application/msword"},
    {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {"epub", "application/epub+zip"},
    {"exe", "application/octet-stream"},
    {"flac", "audio/flac"},
    {"gif", "image/gif"},
    {"gz", "application/gzip"},
    {"htm", "text/html; charset=utf-8"},
    {"html", "text/html; charset=utf-8"},
    {"ico", "image/x-icon"},
    {"ics", "text/calendar"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript; charset=utf-8"},
    {"json", "application/json"},
    {"jsonld", "application/ld+json"},
    {"jxl", "image/jxl"},
    {"m3u8", "application/vnd.apple.mpegurl"},
    {"m4a", "audio/mp4"},
    {"m4v", "video/mp4"},
    {"map", "application/json"},
    {"md", "text/markdown; charset=utf-8"},
    {"mjs", "text/javascript; charset=utf-8"},
    {"mkv", "video/matroska"},
    {"mov", "video/quicktime"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"mpeg", "video/mpeg"},
    {"mpg", "video/mpeg"},
    {"odt", "application/vnd.oasis.opendocument.text"},
    {"oga", "audio/ogg"},
    {"ogg", "audio/ogg"},
    {"ogv", "video/ogg"},
    {"opus", "audio/ogg"},
    {"otf", "font/otf"},
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
    {"rss", "application/rss+xml"},
    {"rtf", "application/rtf"},
    {"shtml", "text/html; charset=utf-8"},
    {"svg", "image/svg+xml"},
    {"tar", "application/x-tar"},
    {"tgz", "application/gzip"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"ts", "video/mp2t"},
    {"ttf", "font/ttf"},
    {"txt", "text/plain; charset=utf-8"},
    {"vtt", "text/vtt"},
    {"wasm", "application/wasm"},
    {"wav", "audio/wav"},
    {"weba", "audio/webm"},
    {"webm", "video/webm"},
    {"webmanifest", "application/manifest+json"},
    {"webp", "image/webp"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"xhtml", "application/xhtml+xml"},
    {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
    {"xml", "application/xml"},
    {"xz", "application/x-xz"},
    {"yaml", "application/yaml"},
    {"yml", "application/yaml"},
    {"zip", "application/zip"},
    {"zst", "application/zstd"},
};

TEST(known__each_of_the_table_in_any_case) {
  for (size_t i = 0; i < sizeof(registered) / sizeof(registered[0]); i++) {
    char upper[16];
    const char *small = registered[i][0], *type = registered[i][1];
    size_t len = strlen(small);
    for (size_t k = 0; k <= len; k++) upper[k] = (char) (small[k] >= 'a' && small[k] <= 'z' ? small[k] - 32 : small[k]);
    test_note("%s", small);
    const char *found = tavi__mime_known(slice(small)), *shouted = tavi__mime_known((struct tavi_slice){upper, len});
    CHECK(found != NULL && strcmp(found, type) == 0);
    CHECK(shouted == found);
  }
}

TEST(known__nothing_else) {
  static const char *const others[] = {"", "a", "zzzz", "htmlx", "htm\x01", "tx", "webmanifestx", "webmanifes", "\xFF", "{", "0",
                                       "a-very-long-extension-that-is-none-at-all"};
  for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
    test_note("%s", others[i]);
    CHECK(tavi__mime_known(slice(others[i])) == NULL);
  }
  CHECK(tavi__mime_known((struct tavi_slice){"txtx", 3}) != NULL); /* the length counts */
}

TEST(listed__first_that_fits) {
  static const struct {
    const char *list, *extension, *type;
  } cases[] = {
      {"a=x/a,b=x/b", "a", "x/a"},
      {"a=x/a,b=x/b", "b", "x/b"},
      {"a=x/a,b=x/b", "B", "x/b"},
      {"a=x/a,b=x/b", "c", NULL},
      {"a=x/a,b=x/b", "", NULL},
      {"a=x/a,a=x/second", "a", "x/a"},
      {"a=x/a,*=x/any", "a", "x/a"},
      {"a=x/a,*=x/any", "b", "x/any"},
      {"a=x/a,*=x/any", "", "x/any"},
      {"*=x/any,a=x/a", "a", "x/any"},
      {"a=x/y; charset=a=b,b=x/b", "a", "x/y; charset=a=b"},
      {"aa=x/aa,a=x/a", "a", "x/a"},
      {"a=x/a,aa=x/aa", "aa", "x/aa"},
      {"a", "a", NULL},          /* without a type */
      {"a,b=x/b", "a", NULL},    /* the '=' is the next one's */
      {"a,b=x/b", "b", "x/b"},
      {",,a=x/a,,", "a", "x/a"}, /* empty elements */
      {"a=,b=x/b", "a", ""},
      {"", "a", NULL},
      {"", "", NULL},
      {NULL, "a", NULL},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct tavi_slice type = tavi__mime_listed(cases[i].list, slice(cases[i].extension));
    test_note("%s in %s", cases[i].extension, cases[i].list == NULL ? "nothing" : cases[i].list);
    CHECK_STR(type, cases[i].type == NULL ? "" : cases[i].type);
    CHECK((type.ptr == NULL) == (cases[i].type == NULL));
  }
}

/* "type:ext,ext;type:ext;" of a whole text, which is put into memory of its exact size. */
static const char *told(const char *text) {
  static char out[1024];
  size_t len = strlen(text), at = 0;
  char *exact = malloc(len > 0 ? len : 1);
  struct tavi_slice type, extensions, word;
  if (exact == NULL) abort();
  memcpy(exact, text, len);
  out[0] = 0;
  while (tavi__mime_line((struct tavi_slice){exact, len}, &at, &type, &extensions)) {
    CHECK(at <= len + 1);
    snprintf(out + strlen(out), sizeof(out) - strlen(out), "%.*s:", (int) type.len, type.ptr);
    while (tavi__mime_word(&extensions, &word))
      snprintf(out + strlen(out), sizeof(out) - strlen(out), "%.*s,", (int) word.len, word.ptr);
    snprintf(out + strlen(out), sizeof(out) - strlen(out), ";");
  }
  free(exact);
  return out;
}

TEST(line__types_with_extensions) {
  static const char *const cases[][2] = {
      {"", ""},
      {"\n\n\n", ""},
      {"text/x a", "text/x:a,;"},
      {"text/x a\n", "text/x:a,;"},
      {"text/x\ta b\t c \n", "text/x:a,b,c,;"},
      {"text/x\n", ""},                                 /* no extension */
      {"text/x\ntext/y b\n", "text/y:b,;"},
      {"# text/x a\n", ""},
      {"text/x # a\n", ""},
      {"text/x a # b\n", "text/x:a,;"},
      {"text/x a#b c\n", "text/x:a,;"},
      {"  text/x a\n", "text/x:a,;"},
      {" \t \n \t# x\ntext/x a", "text/x:a,;"},
      {"text/x a\r\ntext/y b\r\n", "text/x:a,;text/y:b,;"},
      {"text/x a\n\n# c\ntext/y b", "text/x:a,;text/y:b,;"},
      {"text/x", ""},
      {"#", ""},
      {"text/x a\n#", "text/x:a,;"},
      {"\r\n\r", ""},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    test_note("%s", cases[i][0]);
    const char *got = told(cases[i][0]);
    CHECK_BYTES(got, strlen(got), cases[i][1], strlen(cases[i][1]));
  }
}
