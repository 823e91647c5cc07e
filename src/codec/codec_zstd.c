/* SPDX-License-Identifier: MIT
 *
 * zstd (RFC 8878) by libzstd. Its levels mean tables of up to 100 MiB, so their sizes are set here. A window is far
 * below the 8 MiB that a decoder must have for HTTP (RFC 9659). */
#include "codec/table.h"

#ifdef TAVI_ZSTD_VERSION

#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { WINDOW_MIN = 10, WINDOW_MAX = 19, WINDOW_STREAM = 16, TABLE_MAX = 18, TABLE_STREAM = 15 }; /* bits */

/* From 1 to 9 on, those that take about as long as zlib's. */
static const int levels[] = {1, 2, 3, 5, 6, 7, 8, 10, 12};

struct zstd {
  struct tavi__encoder base; /* first */
  ZSTD_CCtx *context;
};

static bool set(ZSTD_CCtx *context, ZSTD_cParameter name, int value) {
  return !ZSTD_isError(ZSTD_CCtx_setParameter(context, name, value));
}

static bool set_up(ZSTD_CCtx *context, int level, size_t size) {
  int window = size == 0 ? WINDOW_STREAM : tavi__codec_window(size, WINDOW_MIN, WINDOW_MAX);
  int table = size == 0 ? TABLE_STREAM : window < TABLE_MAX ? window : TABLE_MAX;
  return set(context, ZSTD_c_compressionLevel, levels[level - 1]) && set(context, ZSTD_c_windowLog, window) &&
         set(context, ZSTD_c_hashLog, table) && set(context, ZSTD_c_chainLog, table) &&
         (size == 0 || !ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(context, size)));
}

static struct tavi__encoder *make_zstd(int level, size_t size) {
  struct zstd *z = calloc(1, sizeof(*z));
  if (z == NULL) return NULL;

  z->context = ZSTD_createCCtx();
  if (z->context == NULL || !set_up(z->context, level, size)) {
    ZSTD_freeCCtx(z->context);
    free(z);
    return NULL;
  }
  z->base = (struct tavi__encoder){&tavi__codec_zstd, sizeof(*z) + ZSTD_sizeof_CCtx(z->context)};
  return &z->base;
}

static void free_zstd(struct tavi__encoder *e) {
  struct zstd *z = (struct zstd *) e;
  ZSTD_freeCCtx(z->context);
  free(z);
}

static int64_t put_zstd(struct tavi__encoder *e, struct tavi_slice *in, enum tavi__encode what, char *out, size_t cap,
                        bool *ret_more) {
  static const ZSTD_EndDirective directives[] = {ZSTD_e_continue, ZSTD_e_flush, ZSTD_e_end};
  struct zstd *z = (struct zstd *) e;
  ZSTD_inBuffer from = {in->ptr, in->len, 0};
  ZSTD_outBuffer to = {out, cap, 0};
  size_t left = ZSTD_compressStream2(z->context, &to, &from, directives[what]);
  if (ZSTD_isError(left))
    return ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation ? TAVI_E_NOMEM : TAVI_E_SYSTEM;

  z->base.held = sizeof(*z) + ZSTD_sizeof_CCtx(z->context); /* it allocates when the first bytes come */
  tavi__codec_used(in, from.pos);
  *ret_more = what == TAVI__ENCODE_MORE ? in->len > 0 : left > 0;
  return (int64_t) to.pos;
}

/* ==== decoding ==== */

enum { WINDOW_ACCEPTED = 23 }; /* 8 MiB, which is what a server may use: RFC 9659 */

struct unzstd {
  struct tavi__decoder base; /* first */
  ZSTD_DCtx *context;
};

static struct tavi__decoder *make_decoder(unsigned coding) {
  struct unzstd *z = calloc(1, sizeof(*z));
  (void) coding;
  if (z == NULL) return NULL;
  z->base.codec = &tavi__codec_zstd;
  z->context = ZSTD_createDCtx();
  if (z->context != NULL && !ZSTD_isError(ZSTD_DCtx_setParameter(z->context, ZSTD_d_windowLogMax, WINDOW_ACCEPTED)))
    return &z->base;
  ZSTD_freeDCtx(z->context);
  free(z);
  return NULL;
}

static void free_decoder(struct tavi__decoder *d) {
  ZSTD_freeDCtx(((struct unzstd *) d)->context);
  free(d);
}

/* Frames may follow each other (RFC 8878 section 3.1). */
static int64_t decode(struct tavi__decoder *d, struct tavi_slice *in, char *out, size_t cap, bool *ret_more) {
  ZSTD_inBuffer from = {in->ptr, in->len, 0};
  ZSTD_outBuffer to = {out, cap, 0};
  *ret_more = false;
  if (d->is_done && in->len == 0) return 0;
  size_t left = ZSTD_decompressStream(((struct unzstd *) d)->context, &to, &from);
  if (ZSTD_isError(left))
    return ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation ? TAVI_E_NOMEM : TAVI_E_PROTOCOL;
  tavi__codec_used(in, from.pos);
  d->is_done = left == 0;
  *ret_more = in->len > 0 || (left > 0 && to.pos == to.size);
  return (int64_t) to.pos;
}

const struct tavi__codec tavi__codec_zstd = {TAVI_CODING_ZSTD, make_zstd, free_zstd, put_zstd,
                                             make_decoder, free_decoder, decode};

#endif
