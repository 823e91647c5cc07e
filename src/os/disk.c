/* SPDX-License-Identifier: MIT
 *
 * See disk.h. */
#include "os/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#if defined(SYS_openat2)
#include <linux/openat2.h>
#endif

enum {
  /* Non-blocking: a pipe without a writer would hold us up for ever. It means nothing for files. */
  READING = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
  FETCH_BYTES = 64 * 1024,
  PROBE_BYTES = 64 * 1024 /* no more than what a disk reads in one go */
};

static int error_of(int error) {
  switch (error) {
    case ENOTDIR:
    case ELOOP:
    case EXDEV: /* a link that leads out */
    case ENAMETOOLONG:
    case ENXIO: /* a socket, a device that is not there */
    case EINVAL: return TAVI_E_NOT_FOUND;
    default: return tavi__error_of(error);
  }
}

/* 64 bits of nanoseconds end in the year 2262, file systems later. */
static int64_t nanoseconds(const struct timespec *t) {
  const int64_t end_s = INT64_MAX / 1000000000 - 1;
  if (t->tv_sec > end_s) return INT64_MAX;
  if (t->tv_sec < -end_s) return INT64_MIN;
  return (int64_t) t->tv_sec * 1000000000 + t->tv_nsec;
}

static void fill(const struct stat *st, struct tavi__disk_stat *ret_stat) {
  *ret_stat = (struct tavi__disk_stat){
      .device = st->st_dev,
      .inode = st->st_ino,
      .size = st->st_size > 0 ? (uint64_t) st->st_size : 0,
      .modified_ns = nanoseconds(&st->st_mtim),
      .changed_ns = nanoseconds(&st->st_ctim),
      .kind = S_ISREG(st->st_mode)   ? TAVI__DISK_FILE
              : S_ISDIR(st->st_mode) ? TAVI__DISK_DIR
                                     : TAVI__DISK_OTHER,
  };
}

/* fd: a descriptor, or -1 with errno set. */
static int opened(int fd, struct tavi__disk_stat *ret_stat) {
  struct stat st;
  if (fd < 0) return error_of(errno);
  if (fstat(fd, &st) != 0) {
    int err = error_of(errno);
    close(fd);
    return err;
  }
  fill(&st, ret_stat);
  return fd;
}

int tavi__disk_open(const char *path, struct tavi__disk_stat *ret_stat) {
  return opened(open(path, READING), ret_stat);
}

/* ==== below a root ==== */

/* Component by component, following no link. */
static int open_walking(int root_fd, const char *name, int flags) {
  char part[256];
  int at = root_fd;
  for (;;) {
    size_t len = strcspn(name, "/");
    int fd = -1;
    if (len < sizeof(part)) {
      memcpy(part, name, len);
      part[len] = 0;
      fd = openat(at, part, name[len] == 0 ? flags | O_NOFOLLOW : O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
    } else {
      errno = ENAMETOOLONG;
    }
    int error = errno;
    if (at != root_fd) close(at);
    errno = error;
    if (fd < 0 || name[len] == 0) return fd;
    at = fd;
    name += len + 1;
  }
}

static int open_beneath(int root_fd, const char *name, int flags) {
#if defined(SYS_openat2)
  struct open_how how = {.flags = (unsigned) flags, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
  long fd;
  int tries = 0;
  do fd = syscall(SYS_openat2, root_fd, name, &how, sizeof(how));
  while (fd < 0 && (errno == EINTR || errno == EAGAIN) && ++tries < 8); /* EAGAIN: something was renamed on the way */
  if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) return (int) fd;
#endif
  return open_walking(root_fd, name, flags);
}

static int open_below(const char *root, const char *name, bool links_out, int flags,
                      struct tavi__disk_stat *ret_stat) {
  if (name[0] == 0) return opened(open(root, flags), ret_stat);

  int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root_fd < 0) return error_of(errno);
  int fd = opened(links_out ? openat(root_fd, name, flags) : open_beneath(root_fd, name, flags), ret_stat);
  close(root_fd);
  return fd;
}

int tavi__disk_open_below(const char *root, const char *name, bool links_out, struct tavi__disk_stat *ret_stat) {
  return open_below(root, name, links_out, READING, ret_stat);
}

int tavi__disk_stat_below(const char *root, const char *name, bool links_out, struct tavi__disk_stat *ret_stat) {
  int fd = open_below(root, name, links_out, O_PATH | O_CLOEXEC, ret_stat);
  if (fd < 0) return fd;
  close(fd);
  return 0;
}

int tavi__disk_stat(const char *path, struct tavi__disk_stat *ret_stat) {
  struct stat st;
  if (stat(path, &st) != 0) return error_of(errno);
  fill(&st, ret_stat);
  return 0;
}

/* ==== reading ==== */

ssize_t tavi__disk_read(int fd, void *to, size_t len, uint64_t offset) {
  size_t done = 0;
  while (done < len) {
    ssize_t n = pread(fd, (char *) to + done, len - done, (off_t) (offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return error_of(errno);
    if (n == 0) break;
    done += (size_t) n;
  }
  return (ssize_t) done;
}

uint64_t tavi__disk_size(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 && st.st_size > 0 ? (uint64_t) st.st_size : 0;
}

static bool is_byte_near(int fd, uint64_t offset) {
  char byte;
  struct iovec iov = {&byte, 1};
  /* (Not every file system can tell: EOPNOTSUPP.) */
  return preadv2(fd, &iov, 1, (off_t) offset, RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

/* cachestat(2), Linux 6.5: how many pages of the range are in memory. Not every C library knows it yet, and it may be
 * refused for files that are not ours. -1: it cannot be told. */
static int is_all_cached(int fd, uint64_t offset, size_t len) {
#if defined(__linux__)
  enum { CACHESTAT = 451 };
  struct {
    uint64_t offset, len;
  } range = {offset, len};
  struct {
    uint64_t cached, dirty, writeback, evicted, recently_evicted;
  } stat = {0};
  uint64_t page = (uint64_t) sysconf(_SC_PAGESIZE), pages = (offset + len - 1) / page - offset / page + 1;
  if (syscall(CACHESTAT, fd, &range, &stat, 0) == 0) return stat.cached >= pages;
#endif
  return -1;
}

bool tavi__disk_is_near(int fd, uint64_t offset, size_t len) {
  if (len == 0) return true;
  int all = is_all_cached(fd, offset, len);
  if (all >= 0) return all;
  for (uint64_t at = offset; at < offset + len; at += PROBE_BYTES)
    if (!is_byte_near(fd, at)) return false;
  return is_byte_near(fd, offset + len - 1);
}

void tavi__disk_fetch(int fd, uint64_t offset, size_t len) {
  char bytes[FETCH_BYTES];
  posix_fadvise(fd, (off_t) offset, (off_t) len, POSIX_FADV_WILLNEED);
  while (len > 0) {
    size_t part = len < sizeof(bytes) ? len : sizeof(bytes);
    ssize_t n = tavi__disk_read(fd, bytes, part, offset);
    if (n < (ssize_t) part) return; /* its end, or an error: who sends it will see */
    offset += part;
    len -= part;
  }
}

/* ==== directories ==== */

/* Look at one entry and tell it. What has gone meanwhile is not told. */
static bool tell(int fd, const char *name, bool (*entry)(const char *, const struct tavi__disk_stat *, void *),
                 void *arg) {
  struct tavi__disk_stat found;
  struct stat st;
  if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return true;
  fill(&st, &found);
  return entry(name, S_ISLNK(st.st_mode) ? NULL : &found, arg);
}

int tavi__disk_list(int fd, bool (*entry)(const char *name, const struct tavi__disk_stat *stat, void *arg), void *arg) {
  int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (own < 0) return error_of(errno);
  DIR *dir = fdopendir(own);
  if (dir == NULL) {
    int err = error_of(errno);
    close(own);
    return err;
  }
  const struct dirent *e;
  do {
    errno = 0;
    e = readdir(dir);
  } while (e != NULL && tell(own, e->d_name, entry, arg));
  int err = e == NULL && errno != 0 ? error_of(errno) : 0;
  closedir(dir);
  return err;
}
