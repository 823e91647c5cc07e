/* SPDX-License-Identifier: MIT
 *
 * Files and directories of the system, read only. (What is written is in spool.h.) */
#ifndef TAVI_OS_DISK_H
#define TAVI_OS_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "os/errors.h"

enum tavi__disk_kind { TAVI__DISK_FILE, TAVI__DISK_DIR, TAVI__DISK_OTHER };

/* What is known of a file without reading it; the same as long as it was not changed. */
struct tavi__disk_stat {
  uint64_t device, inode, size;
  int64_t modified_ns, changed_ns; /* since 1970-01-01 UTC: of its bytes, and of anything about it */
  enum tavi__disk_kind kind;
};

static inline bool tavi__disk_same(const struct tavi__disk_stat *a, const struct tavi__disk_stat *b) {
  return a->inode == b->inode && a->device == b->device && a->size == b->size && a->modified_ns == b->modified_ns &&
         a->changed_ns == b->changed_ns && a->kind == b->kind;
}

/* Open for reading, and never wait for the other end of a pipe. Returns a descriptor, TAVI_E_NOT_FOUND (also when the
 * way there leads through a file, round in circles, or is too long), TAVI_E_ACCESS, TAVI_E_DESCRIPTORS, ... */
int tavi__disk_open(const char *path, struct tavi__disk_stat *ret_stat);

/* Open `name` (no '/' in front, no ".."; "" is the root itself) below the directory `root`. Unless links_out, no
 * symbolic link on the way leads out of the root: that is TAVI_E_NOT_FOUND. (openat2 with RESOLVE_BENEATH; where the
 * kernel lacks it, or a sandbox forbids it, no link is followed at all.) The root itself may be reached by links. */
int tavi__disk_open_below(const char *root, const char *name, bool links_out, struct tavi__disk_stat *ret_stat);

/* The same without reading it, so no permission to read is needed. Returns 0 or an error. */
int tavi__disk_stat_below(const char *root, const char *name, bool links_out, struct tavi__disk_stat *ret_stat);

/* Links are followed. Returns 0 or an error as above. */
int tavi__disk_stat(const char *path, struct tavi__disk_stat *ret_stat);

/* Up to len bytes from offset on; fewer at the end of the file. Returns their number or an error. */
ssize_t tavi__disk_read(int fd, void *to, size_t len, uint64_t offset);

/* Bytes of the file now; 0 when that cannot be told. */
uint64_t tavi__disk_size(int fd);

/* Would reading these bytes, which the file has, not wait for a disk? Where the kernel cannot say so exactly, one in
 * 64 KiB is tried; true when it cannot be told at all. */
bool tavi__disk_is_near(int fd, uint64_t offset, size_t len);

/* Wait until they are in memory. */
void tavi__disk_fetch(int fd, uint64_t offset, size_t len);

/* Call entry() for each name in the directory, but "." and "..", in no order, until it returns false. stat: NULL for a
 * symbolic link, which is not followed here. fd is read, not closed. Returns 0 or an error. */
int tavi__disk_list(int fd, bool (*entry)(const char *name, const struct tavi__disk_stat *stat, void *arg), void *arg);

#endif
