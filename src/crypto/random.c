/* SPDX-License-Identifier: MIT
 *
 * Random bytes and text: see tavi/crypto.h. They come from the system each time: a generator of our own would have to
 * know when the process was forked. */
#include "os/entropy.h"
#include "tavi/crypto.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

enum { LETTERS = sizeof(alphabet) - 1, FAIR = 256 / LETTERS * LETTERS };

int tavi_random_bytes(void *to, size_t len) { return tavi__entropy(to, len); }

/* Bytes from FAIR on are dropped: with them the first letters would come more often than the last. */
int tavi_random_text(char *to, size_t len) {
  unsigned char bytes[256];
  for (size_t done = 0; done < len;) {
    size_t wanted = len - done < sizeof(bytes) ? len - done : sizeof(bytes);
    int err = tavi__entropy(bytes, wanted);
    if (err < 0) return err;
    for (size_t i = 0; i < wanted; i++)
      if (bytes[i] < FAIR) to[done++] = alphabet[bytes[i] % LETTERS];
  }
  return 0;
}
