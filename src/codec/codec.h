/* SPDX-License-Identifier: MIT
 *
 * Content codings (RFC 9110 section 8.4.1) behind one streaming table: gzip by zlib, which is always there, brotli and
 * zstd when the library was built with them. Knows no connection and no HTTP.
 *
 * Memory of an encoder, at most (tests/unit/test_codec.c measures it):
 *
 *              size known            size not known (a stream lives long, and there may be many)
 *     gzip     268 KiB               268 KiB   window 32 KiB
 *     brotli   8 MiB                 1 MiB     window 64 KiB
 *     zstd     5 MiB                 768 KiB   window 64 KiB */
#ifndef TAVI_CODEC_CODEC_H
#define TAVI_CODEC_CODEC_H

#include "tavi/http.h"

/* The codings that were built in, a sum of enum tavi_coding. */
unsigned tavi__codecs(void);

/* The libraries behind them, "zlib/1.2.13 brotli/1.0.9". Static. */
const char *tavi__codec_versions(void);

struct tavi__encoder;

/* What is to follow the bytes of a call. */
enum tavi__encode {
  TAVI__ENCODE_MORE,  /* others: they may be held back */
  TAVI__ENCODE_FLUSH, /* perhaps nothing for a while: all that was given can be decoded from what comes out */
  TAVI__ENCODE_END    /* nothing */
};

/* coding: one that is built in. level: 1 to 9. size: of all that will be put, which takes less memory when it is
 * little; 0: not known. NULL when memory ran out. */
struct tavi__encoder *tavi__encoder_new(unsigned coding, int level, size_t size);
void tavi__encoder_free(struct tavi__encoder *e); /* NULL is accepted */

/* The smallest room for output: less would not hold what ends a flush, which would then begin again. */
#define TAVI__ENCODE_ROOM_MIN 16

/* Encode *in (moved behind what was used) to out[0..cap), cap at least TAVI__ENCODE_ROOM_MIN. Call again while
 * *ret_more is true, with the same `what`: there is more to come from what was given. Nothing may follow
 * TAVI__ENCODE_END.
 * Returns: the bytes written, or TAVI_E_NOMEM / TAVI_E_SYSTEM; then only tavi__encoder_free() is left. */
int64_t tavi__encoder_put(struct tavi__encoder *e, struct tavi_slice *in, enum tavi__encode what, char *out, size_t cap,
                          bool *ret_more);

/* Bytes of memory that it holds now. */
size_t tavi__encoder_held(const struct tavi__encoder *e);

#endif
