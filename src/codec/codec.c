/* SPDX-License-Identifier: MIT
 *
 * The table of codings, and what they share. The build defines TAVI_BROTLI_VERSION and TAVI_ZSTD_VERSION when it has
 * found those libraries. */
#include "codec/codec.h"

#include <assert.h>
#include <string.h>
#include <zlib.h>

#include "codec/table.h"

#ifdef TAVI_BROTLI_VERSION
#define BROTLI_NAME " brotli/" TAVI_BROTLI_VERSION
#else
#define BROTLI_NAME ""
#endif

#ifdef TAVI_ZSTD_VERSION
#define ZSTD_NAME " zstd/" TAVI_ZSTD_VERSION
#else
#define ZSTD_NAME ""
#endif

const char *tavi__codec_versions(void) { return "zlib/" ZLIB_VERSION BROTLI_NAME ZSTD_NAME; }

static const struct tavi__codec *const codecs[] = {
    &tavi__codec_gzip,
#ifdef TAVI_BROTLI_VERSION
    &tavi__codec_brotli,
#endif
#ifdef TAVI_ZSTD_VERSION
    &tavi__codec_zstd,
#endif
};

enum { COUNT = (int) (sizeof(codecs) / sizeof(codecs[0])) };

unsigned tavi__codecs(void) {
  unsigned sum = 0;
  for (int i = 0; i < COUNT; i++) sum |= codecs[i]->coding;
  return sum;
}

/* ==== encoders ==== */

struct tavi__encoder *tavi__encoder_new(unsigned coding, int level, size_t size) {
  assert(level >= 1 && level <= 9);
  for (int i = 0; i < COUNT; i++) {
    if (codecs[i]->coding == coding) return codecs[i]->make(level, size);
  }
  assert(!"a coding that is built in");
  return NULL;
}

void tavi__encoder_free(struct tavi__encoder *e) {
  if (e != NULL) e->codec->free(e);
}

int64_t tavi__encoder_put(struct tavi__encoder *e, struct tavi_slice *in, enum tavi__encode what, char *out, size_t cap,
                          bool *ret_more) {
  assert(cap >= TAVI__ENCODE_ROOM_MIN);
  return e->codec->put(e, in, what, out, cap, ret_more);
}

size_t tavi__encoder_held(const struct tavi__encoder *e) { return e->held; }

/* ==== decoders ==== */

static const struct {
  const char *name;
  unsigned coding;
} names[] = {{"gzip", TAVI_CODING_GZIP},
             {"x-gzip", TAVI_CODING_GZIP},
             {"deflate", TAVI__CODING_DEFLATE},
             {"br", TAVI_CODING_BROTLI},
             {"zstd", TAVI_CODING_ZSTD},
             {"identity", TAVI_CODING_IDENTITY}};

#ifdef TAVI_BROTLI_VERSION
#define BROTLI_ACCEPTED ", br"
#else
#define BROTLI_ACCEPTED ""
#endif

#ifdef TAVI_ZSTD_VERSION
#define ZSTD_ACCEPTED ", zstd"
#else
#define ZSTD_ACCEPTED ""
#endif

const char *tavi__codings_accepted(void) { return "gzip, deflate" BROTLI_ACCEPTED ZSTD_ACCEPTED; }

static bool is_name(struct tavi_slice s, const char *name) {
  if (s.len != strlen(name)) return false;
  for (size_t i = 0; i < s.len; i++)
    if (s.ptr[i] != name[i] && (s.ptr[i] < 'A' || s.ptr[i] > 'Z' || (s.ptr[i] | 0x20) != name[i])) return false;
  return true;
}

int tavi__coding_of(struct tavi_slice name) {
  unsigned known = tavi__codecs() | TAVI__CODING_DEFLATE;
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    if (!is_name(name, names[i].name)) continue;
    return (names[i].coding & ~known) == 0 ? (int) names[i].coding : -1;
  }
  return -1;
}

struct tavi__decoder *tavi__decoder_new(unsigned coding) {
  unsigned by = coding == TAVI__CODING_DEFLATE ? TAVI_CODING_GZIP : coding;
  for (int i = 0; i < COUNT; i++) {
    if (codecs[i]->coding == by) return codecs[i]->make_decoder(coding);
  }
  assert(!"a coding that is built in");
  return NULL;
}

void tavi__decoder_free(struct tavi__decoder *d) {
  if (d != NULL) d->codec->free_decoder(d);
}

int64_t tavi__decoder_put(struct tavi__decoder *d, struct tavi_slice *in, char *out, size_t cap, bool *ret_more) {
  if (in->len > 0) d->has_begun = true;
  return d->codec->decode(d, in, out, cap, ret_more);
}

bool tavi__decoder_is_done(const struct tavi__decoder *d) { return d->is_done || !d->has_begun; }

/* ==== what the codecs share ==== */

int tavi__codec_window(size_t size, int min, int max) {
  int bits = min;
  while (bits < max && (size == 0 || (size_t) 1 << bits < size)) bits++;
  return bits;
}

void tavi__codec_used(struct tavi_slice *in, size_t n) {
  if (n == 0) return; /* ptr may be NULL */
  in->ptr += n;
  in->len -= n;
}
