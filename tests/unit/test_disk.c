/* SPDX-License-Identifier: MIT
 *
 * Opening below a root: with symbolic links in every place, on whatever is no file, without permission, and without
 * openat2(2), which a filter forbids in a child process. And whether bytes are in memory. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/disk.h"
#include "test.h"

static char base[32];
static char root[64]; /* base/www; beside it lies what nobody may see */

static const char *at(const char *name) {
  static char paths[4][512];
  static unsigned next;
  char *path = paths[next++ % 4];
  snprintf(path, sizeof(paths[0]), "%s/%s", base, name);
  return path;
}

static void put_text(const char *name, const char *text) {
  int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t) strlen(text)) abort();
  close(fd);
}

static void make_dir(const char *name) {
  if (mkdir(at(name), 0755) != 0) abort();
}

static void make_link(const char *to, const char *name) {
  if (symlink(to, at(name)) != 0) abort();
}

static void make_tree(void) {
  strcpy(base, "./tavi-disk-XXXXXX"); /* allow: strcpy, a literal */
  if (mkdtemp(base) == NULL || chmod(base, 0755) != 0) abort();
  snprintf(root, sizeof(root), "%s/www", base);
  make_dir("www");
  make_dir("www/d");
  make_dir("www/d/e");
  make_dir("out");
  put_text("www/f", "f");
  put_text("www/d/f", "d/f");
  put_text("www/d/e/f", "d/e/f");
  put_text("secret", "secret");
  put_text("out/f", "secret");
}

static int forget(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void) st, (void) type, (void) ftw;
  return remove(path);
}

static void remove_tree(void) { nftw(base, forget, 16, FTW_DEPTH | FTW_PHYS); }

/* What opening gives: the file's text, "/" for a directory, "?" for what is neither, or the name of the error. The stat
 * of what is not opened has to tell the same. */
static const char *opened(const char *name, bool links_out) {
  static char text[64];
  struct tavi__disk_stat st, again = {0};
  int fd = tavi__disk_open_below(root, name, links_out, &st);
  int err = tavi__disk_stat_below(root, name, links_out, &again);
  if (fd < 0) {
    CHECK(err == fd || (err == 0 && (again.kind == TAVI__DISK_OTHER || fd == TAVI_E_ACCESS)));
    return tavi_err_name(fd);
  }
  CHECK_INT(err, 0);
  CHECK(tavi__disk_same(&st, &again));
  strcpy(text, st.kind == TAVI__DISK_DIR ? "/" : "?"); /* allow: strcpy, a literal */
  if (st.kind == TAVI__DISK_FILE) {
    ssize_t n = tavi__disk_read(fd, text, sizeof(text) - 1, 0);
    CHECK_INT(n, (ssize_t) st.size);
    text[n < 0 ? 0 : n] = 0;
  }
  close(fd);
  return text;
}

#define CHECK_OPENED(name, links_out, wanted)                         \
  do {                                                                \
    const char *opened_ = (test_note("%.200s", name), opened((name), (links_out))); \
    CHECK_BYTES(opened_, strlen(opened_), (wanted), strlen(wanted));  \
  } while (0)

#define NONE "TAVI_E_NOT_FOUND"

/* ==== links ==== */

static void make_links(void) {
  make_link("f", "www/to-file");
  make_link("d", "www/to-dir");
  make_link("d/e/../../f", "www/dots-inside");
  make_link("to-file", "www/chain");
  make_link("../f", "www/d/up");
  make_link("../../www/f", "www/d/out-and-in");
  make_link("../secret", "www/out-file");
  make_link("../out", "www/out-dir");
  make_link("out-file", "www/out-chain");
  make_link("../to-dir/../out-dir", "www/d/out-by-dir");
  make_link("..", "www/parent");
  make_link(".", "www/self");
  make_link("loop", "www/loop");
  make_link("loop-b", "www/loop-a");
  make_link("loop-a", "www/loop-b");
  make_link("nothing", "www/dangling");
  make_link("/", "www/absolute-root");
  make_link("/etc/passwd", "www/absolute-file");
  make_link("/proc/self/root", "www/magic");
  char whole[PATH_MAX + 16], *here = realpath(root, NULL);
  if (here == NULL) abort();
  snprintf(whole, sizeof(whole), "%s/f", here);
  make_link(whole, "www/absolute-inside");
  free(here);
}

static const struct {
  const char *name, *wanted, *links_out, *no_openat2;
} links[] = {
    {"", "/", "/", "/"},
    {"f", "f", "f", "f"},
    {"d", "/", "/", "/"},
    {"d/f", "d/f", "d/f", "d/f"},
    {"d/e/f", "d/e/f", "d/e/f", "d/e/f"},
    {"to-file", "f", "f", NONE},
    {"to-dir", "/", "/", NONE},
    {"to-dir/f", "d/f", "d/f", NONE},
    {"to-dir/e/f", "d/e/f", "d/e/f", NONE},
    {"dots-inside", "f", "f", NONE},
    {"chain", "f", "f", NONE},
    {"self/self/self/f", "f", "f", NONE},
    {"d/up", "f", "f", NONE},
    {"d/out-and-in", NONE, "f", NONE}, /* it leaves the root on the way */
    {"out-file", NONE, "secret", NONE},
    {"out-dir", NONE, "/", NONE},
    {"out-dir/f", NONE, "secret", NONE},
    {"out-chain", NONE, "secret", NONE},
    {"d/out-by-dir", NONE, "/", NONE},
    {"d/out-by-dir/f", NONE, "secret", NONE},
    {"parent", NONE, "/", NONE},
    {"parent/secret", NONE, "secret", NONE},
    {"parent/www/f", NONE, "f", NONE},
    {"self/parent/secret", NONE, "secret", NONE},
    {"loop", NONE, NONE, NONE},
    {"loop-a", NONE, NONE, NONE},
    {"loop/f", NONE, NONE, NONE},
    {"dangling", NONE, NONE, NONE},
    {"dangling/f", NONE, NONE, NONE},
    {"absolute-root", NONE, "/", NONE},
    {"absolute-root/etc/hostname/none", NONE, NONE, NONE},
    {"absolute-inside", NONE, "f", NONE}, /* absolute ones always are out */
    {"magic", NONE, "/", NONE},
    {"f/", NONE, NONE, NONE},
    {"f/f", NONE, NONE, NONE},
    {"d/none", NONE, NONE, NONE},
    {"none/f", NONE, NONE, NONE},
};

enum { LINKS = sizeof(links) / sizeof(links[0]) };

/* valgrind and old sandboxes do not let it through. */
static bool has_openat2(void) {
  return syscall(SYS_openat2, AT_FDCWD, "/", NULL, (size_t) 0) >= 0 || (errno != ENOSYS && errno != EPERM);
}

TEST(below__links_in_every_place) {
  bool is_whole = has_openat2();
  if (!is_whole) printf("(there is no openat2 here)\n");
  make_tree();
  make_links();
  for (int i = 0; i < LINKS; i++) {
    CHECK_OPENED(links[i].name, false, is_whole ? links[i].wanted : links[i].no_openat2);
    CHECK_OPENED(links[i].name, true, links[i].links_out);
  }
  remove_tree();
}

/* The root itself may be reached by links. */
TEST(below__root_is_a_link) {
  make_tree();
  make_link("www", "by-link");
  snprintf(root, sizeof(root), "%s/by-link", base);
  CHECK_OPENED("", false, "/");
  CHECK_OPENED("d/f", false, "d/f");
  snprintf(root, sizeof(root), "%s/none", base);
  CHECK_OPENED("", false, NONE);
  CHECK_OPENED("f", false, NONE);
  snprintf(root, sizeof(root), "%s/secret", base); /* a file */
  CHECK_OPENED("f", false, NONE);
  CHECK_OPENED("f", true, NONE);
  remove_tree();
}

/* openat2(2) is not there, or not allowed. Returns false when no filter can be set. */
static bool forbid_openat2(int error) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned) error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 &&
         syscall(SYS_openat2, AT_FDCWD, "/", NULL, 0) == -1 && errno == error;
}

/* Run a part of a test in a child process, where it may give up what it cannot get back. */
static void apart(void (*part)(void)) {
  int status = 0;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    part();
    fflush(stdout);
    _exit(test_failures > 0);
  }
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int forbidden_with;

static void open_without_openat2(void) {
  char long_name[400];
  memset(long_name, 'n', sizeof(long_name));
  long_name[399] = 0;
  if (!forbid_openat2(forbidden_with)) {
    printf("(openat2 cannot be forbidden here)\n");
    return;
  }
  for (int i = 0; i < LINKS; i++) CHECK_OPENED(links[i].name, false, links[i].no_openat2);
  CHECK_OPENED(long_name, false, NONE);
  CHECK_OPENED("fifo", false, "?");
  for (int i = 0; i < LINKS; i++) CHECK_OPENED(links[i].name, true, links[i].links_out);
  int next = dup(0);
  close(next);
  for (int i = 0; i < LINKS; i++) opened(links[i].name, false);
  int again = dup(0);
  CHECK_INT(again, next); /* no descriptor was left open on the way */
  close(again);
}

TEST(below__without_openat2__no_link_is_followed) {
  static const int errors[] = {ENOSYS, EPERM};
  make_tree();
  make_links();
  if (mkfifo(at("www/fifo"), 0644) != 0) abort();
  for (int i = 0; i < 2; i++) {
    forbidden_with = errors[i];
    apart(open_without_openat2);
  }
  remove_tree();
}

/* ==== what is no file ==== */

TEST(below__pipe_socket_device__never_waits) {
  make_tree();
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  snprintf(a.sun_path, sizeof(a.sun_path), "%s", at("www/socket"));
  CHECK_INT(bind(s, (struct sockaddr *) &a, sizeof(a)), 0);
  CHECK_INT(mkfifo(at("www/fifo"), 0644), 0);
  make_link("/dev/null", "www/null");
  CHECK_OPENED("fifo", false, "?");
  CHECK_OPENED("fifo", true, "?");
  CHECK_OPENED("fifo/f", false, NONE);
  CHECK_OPENED("socket", false, NONE);
  CHECK_OPENED("null", false, NONE);
  CHECK_OPENED("null", true, "?");
  if (mknod(at("www/device"), S_IFCHR | 0644, 0x103) == 0) {
    const char *device = opened("device", false); /* a file system may be mounted so that it cannot be opened */
    CHECK(strcmp(device, "?") == 0 || strcmp(device, "TAVI_E_ACCESS") == 0);
  }
  close(s);
  remove_tree();
}

TEST(below__names_of_all_lengths) {
  char name[6000];
  make_tree();
  for (size_t len = 250; len <= 260; len++) { /* of one component: 255 is the most */
    memset(name, 'n', len);
    name[len] = 0;
    bool is_made = len <= 255;
    if (is_made) put_text((snprintf(name, sizeof(name), "www/%0*d", (int) len, 7), name), "long");
    snprintf(name, sizeof(name), "%0*d", (int) len, 7);
    CHECK_OPENED(name, false, is_made ? "long" : NONE);
  }
  for (size_t len = 4080; len <= 4110; len++) { /* of a whole path: 4095 */
    for (size_t i = 0; i < len; i++) name[i] = i % 2 == 0 ? 'd' : '/';
    name[len] = 0;
    CHECK_OPENED(name, false, NONE);
    CHECK_OPENED(name, true, NONE);
  }
  CHECK_OPENED("\x01\x7f\xff \n", false, NONE);
  remove_tree();
}

/* ==== permission and descriptors ==== */

static void open_as_nobody(void) {
  if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) return;
  CHECK_OPENED("f", false, "f");
  CHECK_OPENED("closed-file", false, "TAVI_E_ACCESS");
  CHECK_OPENED("closed-dir", false, "TAVI_E_ACCESS");
  CHECK_OPENED("closed-dir/f", false, "TAVI_E_ACCESS");
  CHECK_OPENED("closed-dir/f", true, "TAVI_E_ACCESS");
  CHECK_OPENED("search-only", false, "TAVI_E_ACCESS"); /* what is in it can be opened by its name */
  CHECK_OPENED("search-only/f", false, "f");
}

TEST(below__without_permission) {
  make_tree();
  make_dir("www/closed-dir");
  make_dir("www/search-only");
  put_text("www/closed-file", "");
  put_text("www/closed-dir/f", "f");
  put_text("www/search-only/f", "f");
  chmod(at("www/closed-file"), 0);
  chmod(at("www/closed-dir"), 0);
  chmod(at("www/search-only"), 0311);
  apart(open_as_nobody);
  chmod(at("www/closed-dir"), 0755);
  chmod(at("www/search-only"), 0755);
  remove_tree();
}

static void open_with_few(void) {
  struct rlimit few = {100, 100};
  struct tavi__disk_stat st;
  int last = -1, fd;
  setrlimit(RLIMIT_NOFILE, &few);
  while ((fd = dup(0)) >= 0) last = fd;
  CHECK_INT(tavi__disk_open_below(root, "f", false, &st), TAVI_E_DESCRIPTORS);
  CHECK_INT(tavi__disk_open_below(root, "", false, &st), TAVI_E_DESCRIPTORS);
  CHECK_INT(tavi__disk_open(at("secret"), &st), TAVI_E_DESCRIPTORS);
  CHECK_INT(tavi__disk_stat(at("secret"), &st), 0); /* takes none */
  close(last);
  CHECK_INT(tavi__disk_open_below(root, "f", false, &st), TAVI_E_DESCRIPTORS); /* it takes two for a moment */
  fd = tavi__disk_open(at("secret"), &st);
  CHECK_INT(fd, last); /* and has given back the first one */
}

TEST(below__without_descriptors) {
  make_tree();
  apart(open_with_few);
  remove_tree();
}

/* ==== stat ==== */

TEST(stat__times_that_64_bits_of_nanoseconds_do_not_hold) {
  struct tavi__disk_stat st;
  make_tree();
  struct timespec times[2] = {{0, 0}, {(time_t) 1 << 33, 5}}; /* the year 2242, and 2400 */
  CHECK_INT(utimensat(AT_FDCWD, at("www/f"), times, 0), 0);
  CHECK_INT(tavi__disk_stat(at("www/f"), &st), 0);
  CHECK_INT(st.modified_ns, (((int64_t) 1 << 33) * 1000000000) + 5);
  times[1] = (struct timespec){13569465600, 5};
  if (utimensat(AT_FDCWD, at("www/f"), times, 0) == 0) {
    CHECK_INT(tavi__disk_stat(at("www/f"), &st), 0);
    CHECK(st.modified_ns >= (int64_t) 9223372036 * 1000000000 - 1000000000);
  }
  times[1] = (struct timespec){-1, 999999999};
  CHECK_INT(utimensat(AT_FDCWD, at("www/f"), times, 0), 0);
  CHECK_INT(tavi__disk_stat(at("www/f"), &st), 0);
  CHECK_INT(st.modified_ns, -1);
  remove_tree();
}

/* ==== reading ==== */

TEST(read__up_to_the_end) {
  struct tavi__disk_stat st;
  char bytes[16];
  make_tree();
  put_text("www/f", "0123456789");
  int fd = tavi__disk_open(at("www/f"), &st);
  CHECK_INT(st.size, 10);
  CHECK_INT(tavi__disk_read(fd, bytes, 4, 3), 4);
  CHECK_BYTES(bytes, 4, "3456", 4);
  CHECK_INT(tavi__disk_read(fd, bytes, 16, 7), 3);
  CHECK_INT(tavi__disk_read(fd, bytes, 16, 10), 0);
  CHECK_INT(tavi__disk_read(fd, bytes, 16, 1 << 20), 0);
  CHECK_INT(tavi__disk_read(fd, bytes, 0, 0), 0);
  close(fd);
  fd = tavi__disk_open(root, &st);
  CHECK(fd >= 0 && st.kind == TAVI__DISK_DIR);
  CHECK(tavi__disk_read(fd, bytes, 1, 0) < 0);
  close(fd);
  remove_tree();
}

/* The part of a file that is in memory, by another way than the one that is tested. */
static size_t pages_in_memory(int fd, size_t len) {
  enum { PAGES = 1024 };
  static unsigned char pages[PAGES];
  size_t page = (size_t) sysconf(_SC_PAGESIZE), count = 0;
  void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED || len / page > PAGES || mincore(map, len, pages) != 0) abort();
  for (size_t i = 0; i < len / page; i++) count += pages[i] & 1;
  munmap(map, len);
  return count;
}

TEST(near__cold_file__until_it_is_fetched) {
  enum { LEN = 2 << 20 };
  make_tree();
  char *zeros = calloc(1, LEN + 1);
  if (zeros == NULL) abort();
  memset(zeros, 'z', LEN);
  put_text("www/f", zeros);
  free(zeros);
  int fd = open(at("www/f"), O_RDWR | O_CLOEXEC);
  CHECK(tavi__disk_is_near(fd, 0, LEN)); /* it was just written */
  fsync(fd);
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  if (pages_in_memory(fd, LEN) == 0) {
    bool is_near = true;
    for (int i = 0; i < 100 && is_near; i++) { /* asking begins to read, and a disk may be quick */
      posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
      is_near = tavi__disk_is_near(fd, 0, LEN);
    }
    CHECK(!is_near);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    tavi__disk_fetch(fd, 0, LEN / 2);
    CHECK(tavi__disk_is_near(fd, 0, LEN / 2));
    size_t page = (size_t) sysconf(_SC_PAGESIZE);
    CHECK(pages_in_memory(fd, LEN) >= LEN / 2 / page);
    for (int i = 0; i < 100; i++) { /* its last byte is not */
      posix_fadvise(fd, LEN / 2, 0, POSIX_FADV_DONTNEED);
      is_near = tavi__disk_is_near(fd, 0, LEN);
      if (!is_near || pages_in_memory(fd, LEN / 2) < LEN / 2 / page) break;
    }
    CHECK(!is_near);
    tavi__disk_fetch(fd, LEN / 2, LEN / 2);
    CHECK(tavi__disk_is_near(fd, 0, LEN));
  } else {
    printf("(no file can be made cold here)\n");
  }
  tavi__disk_fetch(fd, LEN - 10, 1 << 20); /* it ends before */
  tavi__disk_fetch(fd, 10 * LEN, 1 << 20);
  close(fd);
  remove_tree();
}

/* ==== directories ==== */

static unsigned listed;
static char last_listed[300];

static bool count(const char *name, const struct tavi__disk_stat *stat, void *arg) {
  unsigned most = *(unsigned *) arg;
  snprintf(last_listed, sizeof(last_listed), "%s", name);
  CHECK(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
  CHECK((stat == NULL) == (strcmp(name, "link") == 0));
  return ++listed < most;
}

TEST(list__each_name_once_and_again) {
  struct tavi__disk_stat st;
  unsigned most = 1000;
  make_tree();
  put_text("out/.hidden", "");
  put_text("out/new\nline", "");
  put_text("out/...", "");
  make_link("www", "out/link");
  int fd = tavi__disk_open(at("out"), &st);
  for (int i = 0; i < 2; i++) { /* from the beginning each time */
    listed = 0;
    CHECK_INT(tavi__disk_list(fd, count, &most), 0);
    CHECK_INT(listed, 5);
  }
  listed = 0;
  most = 2;
  CHECK_INT(tavi__disk_list(fd, count, &most), 0);
  CHECK_INT(listed, 2);
  close(fd);
  fd = tavi__disk_open(at("secret"), &st);
  CHECK_INT(tavi__disk_list(fd, count, &most), TAVI_E_NOT_FOUND); /* a file */
  close(fd);
  remove_tree();
}
