/* SPDX-License-Identifier: MIT
 *
 * See mimetypes.h. */
#include "http/mimetypes.h"

#include <stdlib.h>

#include "base/ascii.h"
#include "base/limits.h"
#include "os/disk.h"
#include "os/sock.h"
#include "wire/mime.h"

struct tavi__mimetype {
  struct tavi_slice extension;
  const char *type;
};

static int by_extension(const void *a, const void *b) {
  const struct tavi_slice *x = &((const struct tavi__mimetype *) a)->extension;
  const struct tavi_slice *y = &((const struct tavi__mimetype *) b)->extension;
  for (size_t i = 0; i < x->len && i < y->len; i++) {
    int order = tavi__lower(x->ptr[i]) - tavi__lower(y->ptr[i]);
    if (order != 0) return order;
  }
  return (x->len > y->len) - (x->len < y->len);
}

static char *read_text(size_t *ret_len) {
  static const char *const paths[] = {"/etc/mime.types", "/etc/apache2/mime.types", "/usr/local/etc/mime.types"};
  for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
    struct tavi__disk_stat st;
    int fd = tavi__disk_open(paths[i], &st);
    if (fd < 0) continue;
    char *text = st.kind == TAVI__DISK_FILE && st.size < TAVI__MIME_BYTES_MAX ? malloc((size_t) st.size + 1) : NULL;
    ssize_t len = text == NULL ? -1 : tavi__disk_read(fd, text, (size_t) st.size, 0);
    tavi__fd_close(fd);
    if (len > 0) {
      *ret_len = (size_t) len;
      return text;
    }
    free(text);
  }
  return NULL;
}

/* Go through the text; with `types` note them, without just count. The text is cut behind each type when they are. */
static size_t take_types(char *text, size_t len, struct tavi__mimetype *types) {
  struct tavi_slice type, extensions, word;
  size_t at = 0, count = 0;
  while (tavi__mime_line((struct tavi_slice){text, len}, &at, &type, &extensions)) {
    while (tavi__mime_word(&extensions, &word)) {
      if (types != NULL) types[count] = (struct tavi__mimetype){word, type.ptr};
      count++;
    }
    if (types != NULL) text[type.ptr + type.len - text] = 0; /* the white space behind it */
  }
  return count;
}

static void load(struct tavi__mimetypes *t) {
  size_t len;
  t->has_looked = true;
  t->text = read_text(&len);
  if (t->text == NULL) return;

  size_t count = take_types(t->text, len, NULL);
  t->types = count == 0 ? NULL : malloc(count * sizeof(*t->types));
  if (t->types == NULL) return;
  t->count = take_types(t->text, len, t->types);
  qsort(t->types, t->count, sizeof(*t->types), by_extension);
}

const char *tavi__mimetypes_find(struct tavi__mimetypes *t, struct tavi_slice extension) {
  const struct tavi__mimetype key = {extension, NULL}, *found = NULL;
  if (!t->has_looked) load(t);
  if (t->count > 0 && extension.len > 0) found = bsearch(&key, t->types, t->count, sizeof(key), by_extension);
  return found != NULL ? found->type : NULL;
}

void tavi__mimetypes_free(struct tavi__mimetypes *t) {
  free(t->types);
  free(t->text);
}
