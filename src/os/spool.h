/* SPDX-License-Identifier: MIT
 *
 * Files that are being received: without a name until they are saved, so that nobody sees half a file and a crash
 * leaves nothing behind. Where the file system knows no nameless files (O_TMPFILE), one with a name that nobody guesses
 * (".tavi-" and 16 digits), which is removed with it. */
#ifndef TAVI_OS_SPOOL_H
#define TAVI_OS_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/errors.h"

/* There is no room: the disk, a quota, or what one process may write. Never leaves the library. */
#define TAVI__SPOOL_FULL (-1001)

enum { TAVI__SPOOL_NAME_BYTES = 6 + 16 + 1 };

struct tavi__spool {
  int fd;        /* -1: none */
  int directory; /* borrowed */
  bool is_saved;
  char name[TAVI__SPOOL_NAME_BYTES]; /* in its directory; "" for a nameless file */
};

/* A directory, for the calls below. Returns a descriptor, TAVI_E_NOT_FOUND (none of that name), TAVI_E_ACCESS,
 * TAVI_E_DESCRIPTORS, ... */
int tavi__spool_directory(const char *path);

/* A fresh file, with mode 0666 less the umask. directory: stays open as long as the file. Returns 0, TAVI_E_NOT_FOUND
 * (the directory has gone), TAVI_E_ACCESS, TAVI_E_DESCRIPTORS, TAVI__SPOOL_FULL, TAVI_E_SYSTEM. */
int tavi__spool_open(struct tavi__spool *s, int directory);

/* All of it, or an error: TAVI__SPOOL_FULL, TAVI_E_SYSTEM. Never raises SIGXFSZ. */
int tavi__spool_write(struct tavi__spool *s, const char *data, size_t len, uint64_t offset);

/* Give it a name; a file that is there is replaced at once. Returns 0, TAVI_E_STATE (it was saved before),
 * TAVI_E_NOT_FOUND, TAVI_E_ACCESS, TAVI_E_UNSUPPORTED (another file system), TAVI_E_ARG (the path is too long, or a
 * directory's), TAVI__SPOOL_FULL, TAVI_E_SYSTEM. */
int tavi__spool_save(struct tavi__spool *s, const char *path);

/* Also removes it, unless it was saved. */
void tavi__spool_close(struct tavi__spool *s);

/* Close our copy of it alone: what belongs to the process that we were forked from stays. */
void tavi__spool_forget(struct tavi__spool *s);

#endif
