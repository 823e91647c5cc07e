/* SPDX-License-Identifier: MIT
 *
 * gzip (RFC 1952) by zlib. */
#define ZLIB_CONST
#include <stdlib.h>
#include <zlib.h>

#include "codec/table.h"

/* A deflate stream holds 2^(window + 2) + 2^(memory + 9) bytes and 6 KiB. 15 and 8 are zlib's defaults: 262 KiB. A body
 * that is smaller than the window gets a smaller one, and tables to match: what is not there need not be cleared. */
enum { WINDOW_MIN = 10, WINDOW_MAX = 15, MEMORY_BELOW_WINDOW = 7, GZIP_WRAPPER = 16 };

/* zlib counts in unsigned int. */
enum { PIECE_BYTES = 1 << 30 };

struct gzip {
  struct tavi__encoder base; /* first */
  z_stream z;
};

/* Everything is allocated at the beginning and freed at the end. */
static void *allocate(void *e, unsigned count, unsigned size) {
  ((struct tavi__encoder *) e)->held += (size_t) count * size;
  return calloc(count, size);
}

static void release(void *e, void *p) {
  (void) e;
  free(p);
}

static struct tavi__encoder *make_gzip(int level, size_t size) {
  struct gzip *g = calloc(1, sizeof(*g));
  int window = tavi__codec_window(size, WINDOW_MIN, WINDOW_MAX);
  if (g == NULL) return NULL;

  g->base = (struct tavi__encoder){&tavi__codec_gzip, sizeof(*g)};
  g->z.zalloc = allocate;
  g->z.zfree = release;
  g->z.opaque = g;
  if (deflateInit2(&g->z, level, Z_DEFLATED, window + GZIP_WRAPPER, window - MEMORY_BELOW_WINDOW, Z_DEFAULT_STRATEGY) ==
      Z_OK)
    return &g->base;
  free(g);
  return NULL;
}

static void free_gzip(struct tavi__encoder *e) {
  struct gzip *g = (struct gzip *) e;
  deflateEnd(&g->z);
  free(g);
}

static int64_t put_gzip(struct tavi__encoder *e, struct tavi_slice *in, enum tavi__encode what, char *out, size_t cap,
                        bool *ret_more) {
  static const int flushes[] = {Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FINISH};
  z_stream *z = &((struct gzip *) e)->z;
  unsigned len = in->len < PIECE_BYTES ? (unsigned) in->len : PIECE_BYTES;
  unsigned room = cap < PIECE_BYTES ? (unsigned) cap : PIECE_BYTES;
  z->next_in = (const Bytef *) in->ptr;
  z->avail_in = len;
  z->next_out = (Bytef *) out;
  z->avail_out = room;
  int r = deflate(z, len == in->len ? flushes[what] : Z_NO_FLUSH);
  /* Z_BUF_ERROR: there was nothing to do, as when a flush follows another. */
  if (r != Z_OK && r != Z_STREAM_END && (r != Z_BUF_ERROR || what == TAVI__ENCODE_END)) return TAVI_E_SYSTEM;

  tavi__codec_used(in, len - z->avail_in);
  *ret_more = in->len > 0;
  if (what == TAVI__ENCODE_FLUSH && z->avail_out == 0) *ret_more = true;
  if (what == TAVI__ENCODE_END && r != Z_STREAM_END) *ret_more = true;
  return room - z->avail_out;
}

const struct tavi__codec tavi__codec_gzip = {TAVI_CODING_GZIP, make_gzip, free_gzip, put_gzip};
