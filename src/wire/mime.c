/* SPDX-License-Identifier: MIT
 *
 * See mime.h. Our own table goes before the system's: text that the web reads as UTF-8 says so, and a program behaves
 * the same on systems without a database. */
#include "wire/mime.h"

#include <string.h>

#include "base/ascii.h"
#include "wire/http1.h"

/* By extension, in order. Types as registered with IANA; text/javascript: RFC 9239. */
static const struct known {
  char extension[12];
  const char *type;
} known[] = {
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

struct tavi_slice tavi__mime_extension(const char *name) {
  const char *slash = strrchr(name, '/'), *base = slash == NULL ? name : slash + 1, *dot = strrchr(base, '.');
  if (dot == NULL || dot == base) return (struct tavi_slice){"", 0};
  return (struct tavi_slice){dot + 1, strlen(dot + 1)};
}

const char *tavi__mime_known(struct tavi_slice extension) {
  char key[sizeof(known[0].extension)];
  if (extension.len == 0 || extension.len >= sizeof(key)) return NULL;
  for (size_t i = 0; i < extension.len; i++) key[i] = tavi__lower(extension.ptr[i]);
  key[extension.len] = 0;

  size_t low = 0, high = sizeof(known) / sizeof(known[0]);
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(key, known[middle].extension);
    if (order == 0) return known[middle].type;
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return NULL;
}

struct tavi_slice tavi__mime_listed(const char *list, struct tavi_slice extension) {
  while (list != NULL && *list != 0) {
    size_t len = strcspn(list, ",");
    const char *eq = memchr(list, '=', len);
    if (eq != NULL) {
      struct tavi_slice name = {list, (size_t) (eq - list)};
      bool is_any = name.len == 1 && name.ptr[0] == '*';
      if (is_any || tavi__slice_is(name, extension.ptr, extension.len))
        return (struct tavi_slice){eq + 1, len - name.len - 1};
    }
    list += len + (list[len] == ',');
  }
  return (struct tavi_slice){NULL, 0};
}

/* ==== mime.types ==== */

static bool is_space(char c) { return tavi__is_space(c) || c == '\r'; }

bool tavi__mime_word(struct tavi_slice *extensions, struct tavi_slice *ret_word) {
  const char *p = extensions->ptr, *end = p + extensions->len;
  while (p < end && is_space(*p)) p++;
  const char *start = p;
  while (p < end && !is_space(*p)) p++;
  *ret_word = (struct tavi_slice){start, (size_t) (p - start)};
  *extensions = (struct tavi_slice){p, (size_t) (end - p)};
  return ret_word->len > 0;
}

bool tavi__mime_line(struct tavi_slice text, size_t *at, struct tavi_slice *ret_type,
                     struct tavi_slice *ret_extensions) {
  while (*at < text.len) {
    const char *start = text.ptr + *at, *nl = memchr(start, '\n', text.len - *at);
    size_t len = nl == NULL ? text.len - *at : (size_t) (nl - start);
    *at += len + 1;
    const char *hash = len == 0 ? NULL : memchr(start, '#', len);
    struct tavi_slice rest = {start, hash == NULL ? len : (size_t) (hash - start)}, type, word;
    if (rest.len == 0 || !tavi__mime_word(&rest, &type)) continue;
    *ret_type = type;
    *ret_extensions = rest;
    if (tavi__mime_word(&rest, &word)) return true;
  }
  return false;
}
