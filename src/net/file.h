/* SPDX-License-Identifier: MIT
 *
 * An open file that several send queues may hold ranges of. Its bytes are sent by the kernel; those that it does not
 * have in memory are fetched by another thread first, because a read from a disk would hold up everybody else.
 *
 * The loop's thread alone counts references. */
#ifndef TAVI_NET_FILE_H
#define TAVI_NET_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tavi_conn;

struct tavi__file {
  size_t refs;
  int fd;
  uint64_t near;          /* bit n: all of window n was found in memory ... */
  uint64_t size;          /* ... of so many bytes ... */
  uint64_t near_until_ms; /* ... which is believed until then */
};

/* One reference. fd is taken: closed with the last one, or when memory ran out (NULL). */
struct tavi__file *tavi__file_new(int fd);
void tavi__file_unref(struct tavi__file *file); /* NULL is accepted */

static inline struct tavi__file *tavi__file_ref(struct tavi__file *file) {
  file->refs++;
  return file;
}

/* How many of the `len` bytes at offset can be sent to c now without waiting for a disk. 0: they are being fetched, and
 * the connection will be flushed when they are there. */
size_t tavi__file_near(struct tavi_conn *c, struct tavi__file *file, uint64_t offset, size_t len);

#endif
