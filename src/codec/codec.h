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

#include <stdbool.h>

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

/* ==== decoding ==== */

/* "deflate" of HTTP, besides enum tavi_coding: the zlib format (RFC 1950), and since some servers take the name at its
 * word, a bare DEFLATE stream (RFC 1951). Only decoded. */
#define TAVI__CODING_DEFLATE 8u

/* The coding of that name in a Content-Encoding field (letters of either case; "x-gzip" is gzip, RFC 9110 section
 * 8.4.1.3); TAVI_CODING_IDENTITY for "identity"; -1 for one that is not built in. */
int tavi__coding_of(struct tavi_slice name);

/* The value of an Accept-Encoding field that asks for all that can be decoded. Static. */
const char *tavi__codings_accepted(void);

struct tavi__decoder;

/* coding: one that is built in. NULL when memory ran out. Memory: gzip and deflate 48 KiB; brotli up to 17 MiB and zstd
 * up to 9 MiB, by the window that the encoder has used. */
struct tavi__decoder *tavi__decoder_new(unsigned coding);
void tavi__decoder_free(struct tavi__decoder *d); /* NULL is accepted */

/* Decode *in (moved behind what was used) to out[0..cap); cap is not 0. Call again while *ret_more is true, also when
 * nothing is left of *in: there is more to come from what was given. So the caller bounds the output, whatever the
 * ratio. Returns: the bytes written; TAVI_E_PROTOCOL (this is not that coding, or bytes follow its end), TAVI_E_NOMEM;
 * then only tavi__decoder_free() is left. */
int64_t tavi__decoder_put(struct tavi__decoder *d, struct tavi_slice *in, char *out, size_t cap, bool *ret_more);

/* Could the input end here? False: it was cut off. (Nothing at all is a good end, too.) */
bool tavi__decoder_is_done(const struct tavi__decoder *d);

#endif
