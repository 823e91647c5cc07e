/* SPDX-License-Identifier: MIT
 *
 * What codec.c and the codecs share: one file per coding fills a struct tavi__codec. */
#ifndef TAVI_CODEC_TABLE_H
#define TAVI_CODEC_TABLE_H

#include "codec/codec.h"

struct tavi__codec {
  unsigned coding;
  struct tavi__encoder *(*make)(int level, size_t size); /* held: as far as it is known by then */
  void (*free)(struct tavi__encoder *e);
  int64_t (*put)(struct tavi__encoder *e, struct tavi_slice *in, enum tavi__encode what, char *out, size_t cap,
                 bool *ret_more);
  struct tavi__decoder *(*make_decoder)(unsigned coding);
  void (*free_decoder)(struct tavi__decoder *d);
  /* As tavi__decoder_put(); there is some input, or the last call has said that there is more. */
  int64_t (*decode)(struct tavi__decoder *d, struct tavi_slice *in, char *out, size_t cap, bool *ret_more);
};

extern const struct tavi__codec tavi__codec_gzip, tavi__codec_brotli, tavi__codec_zstd;

/* The beginning of every encoder. */
struct tavi__encoder {
  const struct tavi__codec *codec;
  size_t held; /* bytes */
};

/* The beginning of every decoder. */
struct tavi__decoder {
  const struct tavi__codec *codec;
  bool has_begun; /* the input is not empty */
  bool is_done;   /* a good end was seen, and nothing behind it */
};

/* The number of bits of the smallest window, of 2^min to 2^max bytes, that holds `size` bytes; max for size 0. */
int tavi__codec_window(size_t size, int min, int max);

/* The first `n` bytes of *in were used. */
void tavi__codec_used(struct tavi_slice *in, size_t n);

#endif
