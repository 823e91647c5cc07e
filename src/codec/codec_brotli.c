/* SPDX-License-Identifier: MIT
 *
 * br (RFC 7932) by libbrotlienc. Its memory grows steeply with the window, the quality, and the bytes between two
 * flushes: a window of 256 KiB takes 38 MiB at quality 9 for 7 percent fewer bytes than 64 KiB with 2. So a stream has
 * the small window and is flushed often; and where the window is larger, the quality ends at 6, which gives away 2
 * percent. (Qualities 10 and 11 take a hundred times as long as 9: not for answers that somebody waits for.)
 *
 * Version 1.0 of the library, as usually built, ends the process with exit(1) when an allocation fails. So our
 * function for allocating does not return then: it jumps out of the library (plain C without locks or global state),
 * and the memory of an encoder is freed block by block instead of by the library, in whatever state that is. */
#include "codec/table.h"

#ifdef TAVI_BROTLI_VERSION

#include <brotli/decode.h>
#include <brotli/encode.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

enum {
  WINDOW_MIN = 10,
  WINDOW_MAX = 18,
  WINDOW_STREAM = 16,           /* also the largest with which the higher qualities take little */
  QUALITY_MAX = 8,              /* 9: twice the memory for 0.2 percent */
  QUALITY_LARGE_MAX = 6,        /* with a larger window */
  FLUSH_BYTES = 16 * 1024,      /* of a stream */
  SIZE_HINT_MAX = (1 << 20) - 1 /* from 1 MiB on, quality 4 would take 4 MiB more */
};

struct brotli {
  struct tavi__encoder base; /* first */
  BrotliEncoderState *state;
  size_t piece_bytes_max;
  struct tavi__node blocks;  /* struct block; all that the library has allocated */
  jmp_buf no_memory;         /* where allocate() jumps to */
};

struct block {
  struct tavi__node node; /* in blocks */
  size_t size;
  max_align_t bytes[];
};

static void *allocate(void *opaque, size_t size) {
  struct brotli *b = opaque;
  struct block *block = size > SIZE_MAX - sizeof(*block) ? NULL : malloc(sizeof(*block) + size);
  if (block == NULL) longjmp(b->no_memory, 1);
  block->size = sizeof(*block) + size;
  b->base.held += block->size;
  tavi__list_append(&b->blocks, &block->node);
  return block->bytes;
}

static void release(void *opaque, void *p) {
  struct brotli *b = opaque;
  if (p == NULL) return;
  struct block *block = TAVI__CONTAINER(p, struct block, bytes);
  b->base.held -= block->size;
  tavi__list_remove(&block->node);
  free(block);
}

static void free_brotli(struct tavi__encoder *e) {
  struct brotli *b = (struct brotli *) e;
  while (!tavi__list_empty(&b->blocks)) release(b, TAVI__CONTAINER(b->blocks.next, struct block, node)->bytes);
  free(b);
}

/* False: memory ran out. */
static bool create(struct brotli *b) {
  if (setjmp(b->no_memory) != 0) return false;
  b->state = BrotliEncoderCreateInstance(allocate, release, b);
  return b->state != NULL;
}

static struct tavi__encoder *make_brotli(int level, size_t size) {
  struct brotli *b = calloc(1, sizeof(*b));
  if (b == NULL) return NULL;

  b->base = (struct tavi__encoder){&tavi__codec_brotli, sizeof(*b)};
  b->piece_bytes_max = size == 0 ? FLUSH_BYTES : SIZE_MAX;
  tavi__list_init(&b->blocks);
  if (!create(b)) {
    free_brotli(&b->base);
    return NULL;
  }
  int window = size == 0 ? WINDOW_STREAM : tavi__codec_window(size, WINDOW_MIN, WINDOW_MAX);
  int quality_max = window > WINDOW_STREAM ? QUALITY_LARGE_MAX : QUALITY_MAX;
  size_t hint = size == 0 ? FLUSH_BYTES : size < SIZE_HINT_MAX ? size : SIZE_HINT_MAX;
  BrotliEncoderSetParameter(b->state, BROTLI_PARAM_LGWIN, (uint32_t) window);
  BrotliEncoderSetParameter(b->state, BROTLI_PARAM_QUALITY, (uint32_t) (level < quality_max ? level : quality_max));
  BrotliEncoderSetParameter(b->state, BROTLI_PARAM_SIZE_HINT, (uint32_t) hint);
  return &b->base;
}

/* Input is given only when no output waits inside: during a flush the encoder takes none. False: memory ran out, or, in
 * other versions, the library has said so. */
static bool give(struct brotli *b, struct tavi_slice *in, enum tavi__encode what) {
  static const BrotliEncoderOperation operations[] = {BROTLI_OPERATION_PROCESS, BROTLI_OPERATION_FLUSH,
                                                      BROTLI_OPERATION_FINISH};
  bool is_last = in->len <= b->piece_bytes_max;
  size_t len = is_last ? in->len : b->piece_bytes_max, left = len, no_room = 0;
  const uint8_t *from = (const uint8_t *) in->ptr;
  BrotliEncoderOperation operation = is_last ? operations[what] : BROTLI_OPERATION_FLUSH;
  if (setjmp(b->no_memory) != 0) return false;
  if (!BrotliEncoderCompressStream(b->state, operation, &left, &from, &no_room, NULL, NULL)) return false;
  tavi__codec_used(in, len - left);
  return true;
}

static int64_t put_brotli(struct tavi__encoder *e, struct tavi_slice *in, enum tavi__encode what, char *out,
                          size_t cap, bool *ret_more) {
  struct brotli *b = (struct brotli *) e;
  if (!BrotliEncoderHasMoreOutput(b->state) && !give(b, in, what)) return TAVI_E_NOMEM;

  size_t len = cap;
  const uint8_t *from = BrotliEncoderTakeOutput(b->state, &len);
  if (len > 0) memcpy(out, from, len);
  *ret_more = in->len > 0 || BrotliEncoderHasMoreOutput(b->state);
  if (what == TAVI__ENCODE_END && !BrotliEncoderIsFinished(b->state)) *ret_more = true;
  return (int64_t) len;
}

/* ==== decoding (by libbrotlidec, which tells when an allocation fails) ==== */

struct unbrotli {
  struct tavi__decoder base; /* first */
  BrotliDecoderState *state;
};

static struct tavi__decoder *make_decoder(unsigned coding) {
  struct unbrotli *b = calloc(1, sizeof(*b));
  (void) coding;
  if (b == NULL) return NULL;
  b->base.codec = &tavi__codec_brotli;
  b->state = BrotliDecoderCreateInstance(NULL, NULL, NULL);
  if (b->state != NULL) return &b->base;
  free(b);
  return NULL;
}

static void free_decoder(struct tavi__decoder *d) {
  BrotliDecoderDestroyInstance(((struct unbrotli *) d)->state);
  free(d);
}

static bool is_no_memory(BrotliDecoderErrorCode code) {
  return code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES && code >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES;
}

static int64_t decode(struct tavi__decoder *d, struct tavi_slice *in, char *out, size_t cap, bool *ret_more) {
  BrotliDecoderState *state = ((struct unbrotli *) d)->state;
  *ret_more = false;
  if (d->is_done) return in->len > 0 ? TAVI_E_PROTOCOL : 0;
  size_t left = in->len, room = cap;
  const uint8_t *from = (const uint8_t *) in->ptr;
  uint8_t *to = (uint8_t *) out;
  BrotliDecoderResult r = BrotliDecoderDecompressStream(state, &left, &from, &room, &to, NULL);
  if (r == BROTLI_DECODER_RESULT_ERROR)
    return is_no_memory(BrotliDecoderGetErrorCode(state)) ? TAVI_E_NOMEM : TAVI_E_PROTOCOL;
  tavi__codec_used(in, in->len - left);
  d->is_done = r == BROTLI_DECODER_RESULT_SUCCESS;
  *ret_more = in->len > 0 || r == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
  return (int64_t) (cap - room);
}

const struct tavi__codec tavi__codec_brotli = {TAVI_CODING_BROTLI, make_brotli, free_brotli, put_brotli,
                                               make_decoder, free_decoder, decode};

#endif
