/* SPDX-License-Identifier: MIT
 *
 * The codings against the decoders of the libraries they come from: whole inputs and streams, every level, every kind of
 * room for the output; what a flush promises; how much memory is held; the n-th allocation failing. */
#include "codec/codec.h"

#include "decode.h"
#include "failmalloc.h"
#include "test.h"
#include "unit/random.h"

enum { TEXT_BYTES = 100 * 1024, LARGE_BYTES = 5 << 18 };

static const unsigned codings[] = {TAVI_CODING_GZIP, TAVI_CODING_BROTLI, TAVI_CODING_ZSTD};
static const char *const names[] = {"gzip", "brotli", "zstd"};
static char text[LARGE_BYTES], noise[LARGE_BYTES];

/* Words, of which the frequent ones come often; and bytes that no coding makes smaller. */
static void fill(void) {
  static bool is_done;
  if (is_done) return;
  random_seed(1);
  for (size_t at = 0; at < sizeof(text);) {
    uint64_t word = random_below(1 + random_below(4000));
    for (uint64_t w = word * 2654435761u % 1000003 + 1; w > 0 && at < sizeof(text); w /= 26) text[at++] = (char) ('a' + w % 26);
    if (at < sizeof(text)) text[at++] = word % 11 == 0 ? '\n' : ' ';
  }
  for (size_t i = 0; i < sizeof(noise); i++) noise[i] = (char) random_next();
  is_done = true;
}

struct output {
  char *bytes;
  size_t len, held_max;
};

/* Put a piece, and append what comes out, cap bytes at a time. */
static bool put(struct tavi__encoder *e, struct output *o, const char *bytes, size_t len, enum tavi__encode what, size_t cap) {
  struct tavi_slice in = {bytes, len};
  bool has_more = true;
  while (has_more) {
    char *bigger = __real_realloc(o->bytes, o->len + cap);
    if (bigger == NULL) abort();
    o->bytes = bigger;
    int64_t n = tavi__encoder_put(e, &in, what, o->bytes + o->len, cap, &has_more);
    if (n < 0) return false;
    CHECK(n <= (int64_t) cap);
    o->len += (size_t) n;
    if (tavi__encoder_held(e) > o->held_max) o->held_max = tavi__encoder_held(e);
    if (!CHECK(o->len < 2 * (size_t) LARGE_BYTES)) return false; /* it does not end */
  }
  CHECK_INT(in.len, 0);
  return true;
}

static void check_decodes(unsigned coding, const struct output *o, const char *bytes, size_t len) {
  struct decoder d;
  decoder_begin(&d, coding);
  CHECK(decoder_put(&d, o->bytes, o->len));
  CHECK(d.is_end);
  CHECK_INT(d.len, len);
  CHECK(d.len == len && (len == 0 || memcmp(d.out, bytes, len) == 0));
  decoder_end(&d);
}

/* Encode at once; is_stream: as if the size were not known. Returns the encoded size. */
static size_t round_trip(int k, int level, const char *bytes, size_t len, bool is_stream, size_t cap, size_t *ret_held) {
  struct output o = {0};
  test_note("%s level %d, %zu bytes, room %zu, stream %d", names[k], level, len, cap, is_stream);
  struct tavi__encoder *e = tavi__encoder_new(codings[k], level, is_stream ? 0 : len);
  if (!CHECK(e != NULL)) return 0;
  CHECK(put(e, &o, bytes, len, TAVI__ENCODE_END, cap));
  tavi__encoder_free(e);
  check_decodes(codings[k], &o, bytes, len);
  if (ret_held != NULL) *ret_held = o.held_max;
  free(o.bytes);
  return o.len;
}

#define EACH_CODING(k) \
  for (int k = 0; k < 3; k++) \
    if (tavi__codecs() & codings[k])

TEST(codecs__gzip_is_always_there__and_all_are_named) {
  CHECK(tavi__codecs() & TAVI_CODING_GZIP);
  CHECK(strncmp(tavi__codec_versions(), "zlib/1.", 7) == 0);
  CHECK(strcmp(tavi__codec_versions(), tavi_features()) == 0);
  CHECK_INT(strstr(tavi_features(), " brotli/") != NULL, (tavi__codecs() & TAVI_CODING_BROTLI) != 0);
  CHECK_INT(strstr(tavi_features(), " zstd/") != NULL, (tavi__codecs() & TAVI_CODING_ZSTD) != 0);
  tavi__encoder_free(NULL);
}

TEST(encoder__each_level_and_size__comes_back) {
  static const size_t sizes[] = {0, 1, 2, 1000, 4096, 33000, TEXT_BYTES};
  fill();
  EACH_CODING(k) {
    for (int level = 1; level <= 9; level++) {
      for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (int is_stream = 0; is_stream < 2; is_stream++) {
          size_t len = round_trip(k, level, text, sizes[i], is_stream, 8192, NULL);
          if (sizes[i] > 4000) CHECK(len < sizes[i] * 2 / 3);
          round_trip(k, level, noise, sizes[i], is_stream, 8192, NULL);
        }
      }
    }
  }
}

TEST(encoder__smallest_rooms__come_back_and_end) {
  fill();
  EACH_CODING(k) {
    for (size_t cap = TAVI__ENCODE_ROOM_MIN; cap < TAVI__ENCODE_ROOM_MIN + 8; cap++) {
      round_trip(k, 4, text, 20000, cap % 2, cap, NULL);
      round_trip(k, 4, noise, 20000, cap % 2, cap, NULL);
    }
  }
}

TEST(encoder__a_higher_level__makes_text_smaller) {
  fill();
  EACH_CODING(k) {
    size_t fast = round_trip(k, 1, text, TEXT_BYTES, false, 8192, NULL);
    size_t middle = round_trip(k, 4, text, TEXT_BYTES, false, 8192, NULL);
    size_t small = round_trip(k, 9, text, TEXT_BYTES, false, 8192, NULL);
    CHECK(small < middle && middle < fast);
  }
}

/* What came out up to a flush gives all that went in. */
static void check_flushes(int k, int level, const char *bytes, size_t piece, size_t pieces, size_t cap) {
  struct tavi__encoder *e = tavi__encoder_new(codings[k], level, 0);
  struct output o = {0};
  struct decoder d;
  size_t told = 0, at = 0;
  test_note("%s level %d, pieces of %zu, room %zu", names[k], level, piece, cap);
  if (!CHECK(e != NULL)) return;
  decoder_begin(&d, codings[k]);
  for (size_t i = 0; i < pieces; i++) {
    size_t half = piece / 2;
    CHECK(put(e, &o, bytes + at, half, TAVI__ENCODE_MORE, cap));
    CHECK(put(e, &o, bytes + at + half, piece - half, TAVI__ENCODE_FLUSH, cap));
    if (i % 3 == 0) CHECK(put(e, &o, NULL, 0, TAVI__ENCODE_FLUSH, cap)); /* nothing new */
    at += piece;
    CHECK(decoder_put(&d, o.bytes + told, o.len - told));
    told = o.len;
    if (!CHECK_INT(d.len, at) || !CHECK(memcmp(d.out, bytes, at) == 0)) break;
    CHECK(!d.is_end);
  }
  CHECK(put(e, &o, NULL, 0, TAVI__ENCODE_END, cap));
  CHECK(decoder_put(&d, o.bytes + told, o.len - told));
  CHECK(d.is_end);
  CHECK_INT(d.len, at);
  decoder_end(&d);
  tavi__encoder_free(e);
  free(o.bytes);
}

TEST(encoder__each_flush__can_be_decoded_at_once) {
  fill();
  EACH_CODING(k) {
    for (int level = 1; level <= 9; level++) {
      check_flushes(k, level, text, 1, 50, 4096);
      check_flushes(k, level, text, 100, 100, 4096);
      check_flushes(k, level, noise, 100, 100, TAVI__ENCODE_ROOM_MIN);
      check_flushes(k, level, text, 70000, 4, 4096);
      check_flushes(k, level, noise, 70000, 4, 4096);
    }
    for (size_t cap = TAVI__ENCODE_ROOM_MIN; cap < TAVI__ENCODE_ROOM_MIN + 16; cap++) check_flushes(k, 4, text, 77, 50, cap);
  }
}

TEST(encoder__pieces_without_a_flush__come_back) {
  fill();
  EACH_CODING(k) {
    for (int is_known = 0; is_known < 2; is_known++) {
      struct tavi__encoder *e = tavi__encoder_new(codings[k], 4, is_known ? TEXT_BYTES : 0);
      struct output o = {0};
      test_note("%s", names[k]);
      for (size_t at = 0, piece = 1; at < TEXT_BYTES; at += piece, piece = piece * 2 < TEXT_BYTES - at ? piece * 2 : TEXT_BYTES - at)
        CHECK(put(e, &o, text + at, piece, TAVI__ENCODE_MORE, 500));
      CHECK(put(e, &o, NULL, 0, TAVI__ENCODE_END, 500));
      check_decodes(codings[k], &o, text, TEXT_BYTES);
      tavi__encoder_free(e);
      free(o.bytes);
    }
  }
}

/* The figures of codec.h. */
TEST(encoder__memory__as_the_table_says) {
  static const size_t known_max[] = {268 << 10, 8 << 20, 5 << 20};
  static const size_t stream_max[] = {268 << 10, 1 << 20, 768 << 10};
  fill();
  EACH_CODING(k) {
    size_t held = 0;
    for (int level = 1; level <= 9; level++) {
      for (int is_noise = 0; is_noise < 2; is_noise++) {
        round_trip(k, level, is_noise ? noise : text, LARGE_BYTES, false, 65536, &held);
        CHECK(held <= known_max[k]);
        round_trip(k, level, is_noise ? noise : text, LARGE_BYTES, true, 65536, &held);
        CHECK(held <= stream_max[k]);
        round_trip(k, level, is_noise ? noise : text, 600, false, 65536, &held);
        CHECK(held <= (codings[k] == TAVI_CODING_GZIP ? 32u << 10 : 1u << 20));
      }
    }
  }
}

TEST(encoder__each_allocation_fails__told_and_nothing_leaks) {
  fill();
  EACH_CODING(k) {
    for (int level = 1; level <= 9; level += 4) {
      for (unsigned n = 1; fail_begin(n); n++) {
        struct output o = {0};
        test_note("%s level %d, allocation %u", names[k], level, n);
        struct tavi__encoder *e = tavi__encoder_new(codings[k], level, n % 2 ? 0 : 50000);
        bool is_made = e != NULL && put(e, &o, text, 25000, n % 2 ? TAVI__ENCODE_FLUSH : TAVI__ENCODE_MORE, 4096) &&
                       put(e, &o, text + 25000, 25000, TAVI__ENCODE_END, 4096);
        bool has_failed = fail_end();
        tavi__encoder_free(e);
        if (is_made) check_decodes(codings[k], &o, text, 50000);
        free(o.bytes);
        CHECK(is_made != has_failed);
        if (!has_failed && n > 1) break;
      }
    }
  }
}
