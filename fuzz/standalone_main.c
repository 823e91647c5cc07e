/* SPDX-License-Identifier: MIT
 *
 * A main() for fuzz targets where there is no libFuzzer, such as builds with gcc:
 *
 *     fuzz_http1_request [-runs=N] [-seed=N] [-max_len=N] FILE-OR-FOLDER...
 *
 * Every file is run once as it is; then N mutations of them are run. The mutations are blind (no coverage) but the same
 * for the same seed, so that a failure of CI can be repeated anywhere; they splice files with each other and know the
 * bytes that protocols care about. The input that is being run is kept: when the target aborts or crashes it is
 * written to ./crash-<run> and its name is printed. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

enum { FILES_MAX = 4096, FILE_BYTES_MAX = 1 << 20 };

struct file {
  uint8_t *bytes;
  size_t len;
};

static struct file files[FILES_MAX];
static size_t file_count;

/* What is being run, for the signal handler. */
static const uint8_t *current;
static size_t current_len;
static char crash_name[64];

/* ==== crashes ==== */

/* Called in a signal handler: only what POSIX allows there. */
static void save_current(int signal_number) {
  const int fd = open(crash_name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd >= 0) {
    ssize_t written = write(fd, current, current_len);
    (void)written;
    close(fd);
    written = write(STDERR_FILENO, "input saved as ", 15);
    written = write(STDERR_FILENO, crash_name, strlen(crash_name));
    written = write(STDERR_FILENO, "\n", 1);
  }
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

static void run(const uint8_t *bytes, size_t len, unsigned long long number) {
  uint8_t *copy = (uint8_t *)fuzz_copy(bytes, len); /* exactly as long as it is: reads beyond it are seen */
  current = copy;
  current_len = len;
  snprintf(crash_name, sizeof crash_name, "crash-%llu", number);
  LLVMFuzzerTestOneInput(copy, len);
  free(copy);
}

/* ==== seeds ==== */

static void add_file(const char *path) {
  FILE *f = fopen(path, "rb");
  if (f == NULL || file_count == FILES_MAX) {
    fprintf(stderr, "cannot read %s\n", path);
    exit(2);
  }
  uint8_t *bytes = malloc(FILE_BYTES_MAX);
  if (bytes == NULL) exit(2);
  const size_t len = fread(bytes, 1, FILE_BYTES_MAX, f);
  fclose(f);
  uint8_t *fitting = realloc(bytes, len > 0 ? len : 1);
  files[file_count++] = (struct file){fitting != NULL ? fitting : bytes, len};
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static void add_path(const char *path) {
  struct stat st;
  if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
    add_file(path);
    return;
  }
  struct dirent **entries;
  const int count = scandir(path, &entries, NULL, by_name); /* sorted: runs must be repeatable */
  for (int i = 0; i < count; i++) {
    char name[4096];
    if (entries[i]->d_name[0] != '.') {
      snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
      add_path(name);
    }
    free(entries[i]);
  }
  if (count >= 0) free(entries);
}

/* ==== mutations ==== */

static uint64_t random_state;

static uint64_t random_number(void) { /* xorshift64*, Vigna 2014 */
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return random_state * UINT64_C(2685821657736338717);
}

static size_t below(size_t limit) { return limit == 0 ? 0 : (size_t)((random_number() >> 16) % limit); }

static const char *const words[] = {"\r\n", "\r\n\r\n", "\n", "\r", " ", "\t", ":", ";", ",", "=", "\"", "\\", "0", "1",
                                    "ffffffffffffffff", "9223372036854775807", "9223372036854775808", "-1", "\xff",
                                    "chunked", "Transfer-Encoding: ", "Content-Length: ", "Host: ", "HTTP/1.1"};

/* Make room of `add` bytes in place of `cut` bytes at `at`; false when it would not fit. */
static bool replace(uint8_t *bytes, size_t *len, size_t max, size_t at, size_t cut, size_t add) {
  if (*len - cut + add > max) return false;
  memmove(bytes + at + add, bytes + at + cut, *len - at - cut);
  *len = *len - cut + add;
  return true;
}

static void mutate_once(uint8_t *bytes, size_t *len, size_t max) {
  const size_t at = below(*len + 1);
  const size_t run_len = below(*len - at < 16 ? *len - at + 1 : 16);
  switch (random_number() >> 61) {
    case 0: /* flip a bit */
      if (at < *len) bytes[at] ^= (uint8_t)(1u << below(8));
      break;
    case 1: /* another byte */
      if (at < *len) bytes[at] = (uint8_t)random_number();
      break;
    case 2: /* remove a run */
      replace(bytes, len, max, at, run_len, 0);
      break;
    case 3: /* repeat a run */
      if (replace(bytes, len, max, at, 0, run_len)) memmove(bytes + at, bytes + at + run_len, run_len);
      break;
    case 4: /* a random byte more */
      if (replace(bytes, len, max, at, 0, 1)) bytes[at] = (uint8_t)random_number();
      break;
    case 5:
    case 6: { /* a word, inserted or written over a run */
      const char *word = words[below(sizeof words / sizeof words[0])];
      const size_t cut = below(2) == 0 ? 0 : run_len;
      if (replace(bytes, len, max, at, cut, strlen(word))) memcpy(bytes + at, word, strlen(word));
      break;
    }
    default: { /* a piece of another file */
      const struct file *other = &files[below(file_count)];
      const size_t from = below(other->len + 1);
      const size_t piece = below(other->len - from + 1);
      if (replace(bytes, len, max, at, run_len, piece)) memcpy(bytes + at, other->bytes + from, piece);
      break;
    }
  }
}

static void run_mutation(uint8_t *buffer, size_t max, unsigned long long number) {
  const struct file *seed = &files[below(file_count)];
  size_t len = seed->len < max ? seed->len : max;
  if (len > 0) memcpy(buffer, seed->bytes, len);
  for (size_t rounds = 1 + below(6); rounds > 0; rounds--) mutate_once(buffer, &len, max);
  run(buffer, len, number);
}

int main(int argc, char **argv) {
  unsigned long long runs = 0;
  unsigned long long seed = 1;
  size_t max = 2048;
  for (int i = 1; i < argc; i++) {
    if (strncmp(argv[i], "-runs=", 6) == 0) runs = strtoull(argv[i] + 6, NULL, 10);
    else if (strncmp(argv[i], "-seed=", 6) == 0) seed = strtoull(argv[i] + 6, NULL, 10);
    else if (strncmp(argv[i], "-max_len=", 9) == 0) max = (size_t)strtoull(argv[i] + 9, NULL, 10);
    else if (argv[i][0] == '-') fprintf(stderr, "ignored: %s\n", argv[i]);
    else add_path(argv[i]);
  }
  signal(SIGABRT, save_current);
  signal(SIGSEGV, save_current);
  for (size_t i = 0; i < file_count; i++) run(files[i].bytes, files[i].len, i);
  const size_t given = file_count;
  if (file_count == 0) files[file_count++] = (struct file){(uint8_t *)fuzz_copy("", 0), 0};

  random_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
  uint8_t *buffer = malloc(max > 0 ? max : 1);
  if (buffer == NULL) return 2;
  for (unsigned long long i = 0; i < runs; i++) run_mutation(buffer, max, given + i);
  printf("%zu files and %llu mutations run, seed %llu\n", given, runs, seed);
  free(buffer);
  for (size_t i = 0; i < file_count; i++) free(files[i].bytes);
  return 0;
}
