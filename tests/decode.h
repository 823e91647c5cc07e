/* SPDX-License-Identifier: MIT
 *
 * The decoders of zlib, brotli and zstd in one shape, for tests of what the library has compressed. */
#ifndef TAVI_TESTS_DECODE_H
#define TAVI_TESTS_DECODE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#ifdef TAVI_BROTLI_VERSION
#include <brotli/decode.h>
#endif
#ifdef TAVI_ZSTD_VERSION
#include <zstd.h>
#endif

#include "tavi/http.h"

struct decoder {
  unsigned coding;
  z_stream z;
  void *state; /* of the other two */
  char *out;   /* all that was decoded */
  size_t len, cap;
  bool is_end, is_bad;
};

__attribute__((unused)) static void decoder_begin(struct decoder *d, unsigned coding) {
  memset(d, 0, sizeof(*d));
  d->coding = coding;
  if (coding == TAVI_CODING_GZIP && inflateInit2(&d->z, 15 + 16) != Z_OK) abort();
#ifdef TAVI_BROTLI_VERSION
  if (coding == TAVI_CODING_BROTLI) d->state = BrotliDecoderCreateInstance(NULL, NULL, NULL);
#endif
#ifdef TAVI_ZSTD_VERSION
  if (coding == TAVI_CODING_ZSTD) d->state = ZSTD_createDCtx();
#endif
  if (coding != TAVI_CODING_GZIP && d->state == NULL) abort();
}

/* Decode *in to the room that there is. False when that changes nothing any more. */
static bool decoder__step(struct decoder *d, const char **in, size_t *len) {
  size_t before = *len, had = d->len;
  if (d->coding == TAVI_CODING_GZIP) {
    d->z.next_in = (Bytef *) (uintptr_t) *in;
    d->z.avail_in = (uInt) *len;
    d->z.next_out = (Bytef *) d->out + d->len;
    d->z.avail_out = (uInt) (d->cap - d->len);
    int r = inflate(&d->z, Z_SYNC_FLUSH);
    d->is_end = r == Z_STREAM_END;
    d->is_bad = r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR;
    *len = d->z.avail_in;
    d->len = d->cap - d->z.avail_out;
  }
#ifdef TAVI_BROTLI_VERSION
  if (d->coding == TAVI_CODING_BROTLI) {
    const uint8_t *from = (const uint8_t *) *in;
    uint8_t *to = (uint8_t *) d->out + d->len;
    size_t room = d->cap - d->len;
    BrotliDecoderResult r = BrotliDecoderDecompressStream(d->state, len, &from, &room, &to, NULL);
    d->is_end = r == BROTLI_DECODER_RESULT_SUCCESS;
    d->is_bad = r == BROTLI_DECODER_RESULT_ERROR;
    d->len = d->cap - room;
  }
#endif
#ifdef TAVI_ZSTD_VERSION
  if (d->coding == TAVI_CODING_ZSTD) {
    ZSTD_inBuffer from = {*in, *len, 0};
    ZSTD_outBuffer to = {d->out, d->cap, d->len};
    size_t r = ZSTD_decompressStream(d->state, &to, &from);
    d->is_end = r == 0;
    d->is_bad = ZSTD_isError(r);
    *len -= from.pos;
    d->len = to.pos;
  }
#endif
  *in += before - *len;
  return *len != before || d->len != had;
}

/* Decode all of it. False when it cannot be right, or goes on behind its end. */
__attribute__((unused)) static bool decoder_put(struct decoder *d, const char *in, size_t len) {
  bool goes_on = true;
  while (goes_on && !d->is_bad && !d->is_end) {
    if (d->cap - d->len < 4096) {
      d->cap = 2 * d->cap + 65536;
      d->out = realloc(d->out, d->cap);
      if (d->out == NULL) abort();
    }
    goes_on = decoder__step(d, &in, &len);
  }
  return !d->is_bad && len == 0;
}

__attribute__((unused)) static void decoder_end(struct decoder *d) {
  if (d->coding == TAVI_CODING_GZIP) inflateEnd(&d->z);
#ifdef TAVI_BROTLI_VERSION
  if (d->coding == TAVI_CODING_BROTLI) BrotliDecoderDestroyInstance(d->state);
#endif
#ifdef TAVI_ZSTD_VERSION
  if (d->coding == TAVI_CODING_ZSTD) ZSTD_freeDCtx(d->state);
#endif
  free(d->out);
  memset(d, 0, sizeof(*d));
}

#endif
