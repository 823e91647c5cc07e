/* SPDX-License-Identifier: MIT
 *
 * gzip (RFC 1952) by zlib; and, to decode, what HTTP calls deflate. */
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

/* ==== decoding ==== */

/* Deflate is told from zlib by the first two bytes, which may come in two calls. */
struct inflating {
  struct tavi__decoder base; /* first */
  z_stream z;
  bool is_open;              /* inflateInit2() was called: the format is known */
  unsigned char first;       /* of the two bytes */
  bool has_first;
};

static int open_inflating(struct inflating *i, int window) {
  i->is_open = inflateInit2(&i->z, window) == Z_OK;
  return i->is_open ? 0 : TAVI_E_NOMEM;
}

static struct tavi__decoder *make_decoder(unsigned coding) {
  struct inflating *i = calloc(1, sizeof(*i));
  if (i == NULL) return NULL;
  i->base.codec = &tavi__codec_gzip;
  if (coding == TAVI_CODING_GZIP && open_inflating(i, WINDOW_MAX + GZIP_WRAPPER) < 0) {
    free(i);
    return NULL;
  }
  return &i->base;
}

static void free_decoder(struct tavi__decoder *d) {
  struct inflating *i = (struct inflating *) d;
  if (i->is_open) inflateEnd(&i->z);
  free(i);
}

/* The header of RFC 1950: CM is 8, and the two bytes are a multiple of 31. */
static int find_format(struct inflating *i, struct tavi_slice *in) {
  if (!i->has_first && in->len > 0) {
    i->first = (unsigned char) in->ptr[0];
    i->has_first = true;
    tavi__codec_used(in, 1);
  }
  if (in->len == 0) return 0;
  unsigned two = i->first * 256u + (unsigned char) in->ptr[0];
  return open_inflating(i, (i->first & 0x0f) == 8 && two % 31 == 0 ? WINDOW_MAX : -WINDOW_MAX);
}

static int inflate_some(struct inflating *i, struct tavi_slice *in) {
  unsigned len = in->len < PIECE_BYTES ? (unsigned) in->len : PIECE_BYTES;
  i->z.next_in = (const Bytef *) in->ptr;
  i->z.avail_in = len;
  int r = inflate(&i->z, Z_NO_FLUSH);
  tavi__codec_used(in, len - i->z.avail_in);
  if (r == Z_MEM_ERROR) return TAVI_E_NOMEM;
  if (r == Z_STREAM_END) i->base.is_done = true;
  return r == Z_OK || r == Z_BUF_ERROR || r == Z_STREAM_END ? 0 : TAVI_E_PROTOCOL;
}

/* gzip has members, of which another may follow (RFC 1952 section 2.2); nothing follows the end of the others. */
static int begin_member(struct inflating *i) {
  if (i->has_first) return TAVI_E_PROTOCOL;
  i->base.is_done = false;
  return inflateReset(&i->z) == Z_OK ? 0 : TAVI_E_PROTOCOL;
}

static int64_t decode(struct tavi__decoder *d, struct tavi_slice *in, char *out, size_t cap, bool *ret_more) {
  struct inflating *i = (struct inflating *) d;
  unsigned room = cap < PIECE_BYTES ? (unsigned) cap : PIECE_BYTES;
  *ret_more = false;
  i->z.next_out = (Bytef *) out;
  i->z.avail_out = room;
  if (!i->is_open) {
    int err = find_format(i, in);
    if (err < 0 || !i->is_open) return err;
    struct tavi_slice first = {(const char *) &i->first, 1};
    err = inflate_some(i, &first);
    if (err < 0) return err;
  }
  if (d->is_done && in->len > 0) {
    int err = begin_member(i);
    if (err < 0) return err;
  }
  if (!d->is_done) {
    int err = inflate_some(i, in);
    if (err < 0) return err;
  }
  *ret_more = in->len > 0 || (i->z.avail_out == 0 && !d->is_done);
  return room - i->z.avail_out;
}

const struct tavi__codec tavi__codec_gzip = {TAVI_CODING_GZIP, make_gzip, free_gzip, put_gzip,
                                             make_decoder, free_decoder, decode};
