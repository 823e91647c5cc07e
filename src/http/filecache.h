/* SPDX-License-Identifier: MIT
 *
 * What a manager remembers of the files that were asked for: validators, the type, an open descriptor or, of small
 * files, the bytes, and which compressed neighbours there are.
 *
 * An entry is looked at again (one stat) in each turn in which it is wanted, so what is sent is what is there; the
 * requests of one turn share the look. What has changed too short a time ago for its time stamp to tell the next
 * change (see is_settled) is not remembered at all, and its entity tag is weak. Nothing stays longer than a few seconds
 * unused: a deleted file gives its disk space back. */
#ifndef TAVI_HTTP_FILECACHE_H
#define TAVI_HTTP_FILECACHE_H

#include "base/list.h"
#include "net/file.h"
#include "os/disk.h"
#include "tavi/http.h"

struct tavi__filecache;

struct tavi__cached {
  struct tavi__node node;        /* in the order of use */
  struct tavi__cached *next;     /* with the same hash */
  uint64_t hash, used_ms;
  uint32_t turn;                 /* in which it was looked at */
  uint32_t name_at;              /* path + name_at is the name below its root */
  struct tavi__disk_stat stat;
  struct tavi__file *file;       /* NULL: the bytes are here, or it is no file */
  struct tavi_shared *bytes;     /* NULL: see file */
  int64_t modified_s;            /* what Last-Modified says: not in the future (RFC 9110 section 8.8.2.1) */
  const char *type;              /* Content-Type. Static, or as long as the cache */
  uint64_t walked_ms;            /* when it was last reached from its root without leaving that */
  uint64_t neighbours_ms;        /* when the next field was found out; 0: never */
  unsigned neighbours;           /* a sum of enum tavi_coding: compressed forms that are there */
  bool is_settled;
  bool links_out;
  uint8_t etag_len, modified_len;
  char etag[48];                 /* weak, "W/" in front; a settled entry's strong one is what is behind that */
  char modified[29];             /* Last-Modified */
  char path[];                   /* ends in NUL */
};

/* The cache of this manager, made when it is not there. NULL: no memory. */
struct tavi__filecache *tavi__filecache_of(struct tavi_manager *m);

/* What is at `name` below `root`, or at `name` itself when root is NULL. links_out: see tavi__disk_open_below().
 * Returns: 0 and the entry, borrowed until the callback returns or the next-but-one call; or an error of
 * tavi__disk_open(). Not a file or a directory: TAVI_E_NOT_FOUND. */
int tavi__filecache_find(struct tavi__filecache *fc, const char *root, const char *name, bool links_out,
                         struct tavi__cached **ret_entry);

/* The compressed forms that lie beside a file and are not older than it; found out once in a while. */
unsigned tavi__filecache_neighbours(struct tavi__filecache *fc, struct tavi__cached *entry);

/* The name of such a form: `name` with ".gz" or the like behind it. False: longer than the system's names can be. */
enum { TAVI__FILE_PATH_BYTES = 4096 };
bool tavi__filecache_neighbour(const char *name, unsigned coding, char ret_name[TAVI__FILE_PATH_BYTES]);

/* The entity tag, with its quotes. */
static inline struct tavi_slice tavi__cached_etag(const struct tavi__cached *entry) {
  unsigned skip = entry->is_settled ? 2 : 0;
  return (struct tavi_slice){entry->etag + skip, entry->etag_len - skip};
}

#endif
