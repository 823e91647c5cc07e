/* SPDX-License-Identifier: MIT
 *
 * See spool.h. A nameless file gets its name by link(2), which replaces nothing: when the name is taken, it gets a
 * hidden one first, and is renamed. The mode is left to the kernel, which knows the umask without a race. */
#include "os/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "os/entropy.h"

enum { NAME_TRIES = 16 };

static int error_of(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return TAVI__SPOOL_FULL;
    case ENOTDIR:
    case ELOOP: return TAVI_E_NOT_FOUND;
    case EROFS: return TAVI_E_ACCESS;
    case EXDEV: return TAVI_E_UNSUPPORTED;
    case EISDIR:
    case ENOTEMPTY:
    case EINVAL:
    case ENAMETOOLONG: return TAVI_E_ARG;
    case EINTR: return TAVI_E_SYSTEM;
    default: return tavi__error_of(error);
  }
}

int tavi__spool_directory(const char *path) {
  int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  return fd < 0 ? error_of(errno) : fd;
}

/* ==== opening ==== */

static int random_name(char name[TAVI__SPOOL_NAME_BYTES]) {
  unsigned long long number;
  int err = tavi__entropy(&number, sizeof(number));
  snprintf(name, TAVI__SPOOL_NAME_BYTES, ".tavi-%016llx", number);
  return err;
}

static int open_named(struct tavi__spool *s) {
  for (int i = 0; i < NAME_TRIES; i++) {
    int err = random_name(s->name);
    if (err < 0) return err;
    s->fd = openat(s->directory, s->name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (s->fd >= 0) return 0;
    if (errno != EEXIST) return error_of(errno);
  }
  return TAVI_E_SYSTEM;
}

/* What the attempt to make a nameless file says where there are none. (EISDIR, EINVAL: kernels that do not know the
 * flag. ENOENT, EPERM: perhaps, or the directory has gone, which the next attempt will tell.) */
static bool is_no_nameless(int error) {
  return error == EOPNOTSUPP || error == EISDIR || error == EINVAL || error == ENOENT || error == EPERM;
}

int tavi__spool_open(struct tavi__spool *s, int directory) {
  *s = (struct tavi__spool){.fd = -1, .directory = directory};
  s->fd = openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  if (s->fd >= 0) return 0;
  if (!is_no_nameless(errno)) return error_of(errno);
  int err = open_named(s);
  if (err < 0) s->name[0] = '\0';
  return err;
}

/* ==== writing ==== */

/* A thread of the program's own would get SIGXFSZ, which ends the process: block it, and take it back. */
static void block_limit(sigset_t *only, sigset_t *before) {
  sigemptyset(only);
  sigaddset(only, SIGXFSZ);
  pthread_sigmask(SIG_BLOCK, only, before);
}

static void unblock_limit(const sigset_t *only, const sigset_t *before, bool was_raised) {
  static const struct timespec now = {0};
  if (was_raised && !sigismember(before, SIGXFSZ)) sigtimedwait(only, NULL, &now);
  pthread_sigmask(SIG_SETMASK, before, NULL);
}

int tavi__spool_write(struct tavi__spool *s, const char *data, size_t len, uint64_t offset) {
  sigset_t only, before;
  int error = 0;
  block_limit(&only, &before);
  while (len > 0 && error == 0) {
    ssize_t n = pwrite(s->fd, data, len, (off_t) offset);
    if (n < 0) {
      if (errno != EINTR) error = errno;
      continue;
    }
    data += n;
    len -= (size_t) n;
    offset += (uint64_t) n;
  }
  unblock_limit(&only, &before, error == EFBIG);
  return error == 0 ? 0 : error_of(error);
}

/* ==== saving ==== */

/* Give the file a name in a directory (AT_FDCWD: a path). 0, or -1 and errno. */
static int link_to(int fd, int directory, const char *name) {
  char self[sizeof("/proc/self/fd/") + 12];
  if (linkat(fd, "", directory, name, AT_EMPTY_PATH) == 0) return 0; /* needs a privilege, or Linux 6.10 */
  if (errno != ENOENT && errno != EPERM && errno != EINVAL) return -1;
  snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
  return linkat(AT_FDCWD, self, directory, name, AT_SYMLINK_FOLLOW);
}

/* From now on the file has a hidden name where it was spooled (it can be linked once only: it keeps that name until it
 * is saved or closed). */
static int take_name(struct tavi__spool *s) {
  for (int i = 0; i < NAME_TRIES; i++) {
    int err = random_name(s->name);
    if (err == 0 && link_to(s->fd, s->directory, s->name) == 0) return 0;
    int error = errno;
    s->name[0] = '\0';
    if (err < 0) return err;
    if (error != EEXIST) return error_of(error);
  }
  return TAVI_E_SYSTEM;
}

int tavi__spool_save(struct tavi__spool *s, const char *path) {
  if (s->is_saved) return TAVI_E_STATE;
  if (s->name[0] == '\0') {
    s->is_saved = link_to(s->fd, AT_FDCWD, path) == 0;
    if (s->is_saved) return 0;
    if (errno != EEXIST) return error_of(errno);
    int err = take_name(s);
    if (err < 0) return err;
  }
  if (renameat(s->directory, s->name, AT_FDCWD, path) != 0) return error_of(errno);
  s->is_saved = true;
  return 0;
}

void tavi__spool_close(struct tavi__spool *s) {
  if (s->fd < 0) return;
  if (s->name[0] != '\0' && !s->is_saved) unlinkat(s->directory, s->name, 0);
  close(s->fd);
  s->fd = -1;
}

void tavi__spool_forget(struct tavi__spool *s) {
  if (s->fd >= 0) close(s->fd);
  s->fd = -1;
}
