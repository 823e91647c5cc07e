/* SPDX-License-Identifier: MIT
 *
 * The methods of Connection that answer with files. Arguments are turned into the library's options, and kept until it
 * has read them; what a request may reach is the library's business. */
#include "module.h"

#include <string.h>

#include "tavi/http_files.h"

/* The options of one call. owners keep what they point to. */
struct serving {
  struct tavi_http_files_opts opts;
  struct tavi_http_header *headers;
  PyObject *owners[5]; /* the headers' text, types, missing, index, mount */
  size_t owner_count;
};

static void serving_free(struct serving *s) {
  for (size_t i = 0; i < s->owner_count; i++)
    Py_DECREF(s->owners[i]);
  PyMem_Free(s->headers);
}

static const char *keep(struct serving *s, const struct tavi_py_payload *text) {
  s->owners[s->owner_count++] = text->owner;
  return text->data;
}

/* ==== headers out of lines ==== */

static struct tavi_slice trim(const char *from, const char *to) {
  while (from < to && (*from == ' ' || *from == '\t'))
    from++;
  while (from < to && (to[-1] == ' ' || to[-1] == '\t'))
    to--;
  return (struct tavi_slice){from, (size_t)(to - from)};
}

/* "Name: value", without its end. What may be in either is asked by the library. */
static int parse_header(const char *line, const char *end, struct tavi_http_header *ret_header) {
  const char *colon = memchr(line, ':', (size_t)(end - line));
  if (colon == NULL) {
    PyErr_SetString(PyExc_ValueError, "extra_headers: each line must be 'Name: value'");
    return -1;
  }
  ret_header->name = (struct tavi_slice){line, (size_t)(colon - line)};
  ret_header->value = trim(colon + 1, end);
  return 0;
}

/* Lines that end in CRLF or LF; the last one need not. */
static int parse_headers(struct serving *s, const char *text, size_t len) {
  size_t lines = 1;
  for (size_t i = 0; i < len; i++)
    lines += text[i] == '\n';
  s->headers = PyMem_New(struct tavi_http_header, lines);
  if (s->headers == NULL) {
    PyErr_NoMemory();
    return -1;
  }

  size_t count = 0;
  for (const char *at = text, *last = text + len; at < last; count++) {
    const char *lf = memchr(at, '\n', (size_t)(last - at));
    const char *end = lf ? lf : last;
    if (end > at && end[-1] == '\r')
      end--;
    if (parse_header(at, end, &s->headers[count]) < 0)
      return -1;
    at = lf ? lf + 1 : last;
  }
  s->opts.headers = s->headers;
  s->opts.header_count = count;
  return 0;
}

/* ==== options ==== */

static int set_headers(struct serving *s, PyObject *value) {
  struct tavi_py_payload text;
  if (value == NULL)
    return 0;
  if (tavi_py_text(value, "extra_headers", &text) < 0)
    return -1;
  return parse_headers(s, keep(s, &text), text.len);
}

static int set_types(struct serving *s, PyObject *value) {
  struct tavi_py_payload text;
  if (value == NULL)
    return 0;
  if (tavi_py_c_string(value, "mime_types", &text) < 0)
    return -1;
  s->opts.types = keep(s, &text);
  return 0;
}

static int set_missing(struct serving *s, PyObject *value) {
  struct tavi_py_payload path;
  if (value == NULL)
    return 0;
  if (tavi_py_path(value, "page404", &path) < 0)
    return -1;
  s->opts.missing = keep(s, &path);
  s->opts.missing_status = 200;
  if (path.len == 0)
    s->opts.missing = NULL;
  return 0;
}

static int set_index(struct serving *s, PyObject *value) {
  struct tavi_py_payload text;
  if (value == NULL)
    return 0;
  if (tavi_py_c_string(value, "index", &text) < 0)
    return -1;
  s->opts.index = keep(s, &text);
  return 0;
}

static int set_mount(struct serving *s, PyObject *value) {
  struct tavi_py_payload text;
  if (value == NULL)
    return 0;
  if (tavi_py_c_string(value, "mount", &text) < 0)
    return -1;
  s->opts.mount = keep(s, &text);
  return 0;
}

static int set_ranges_max(struct serving *s, PyObject *value) {
  int64_t number;
  if (value == NULL)
    return 0;
  if (tavi_py_integer(value, "ranges_max", 0, INT_MAX, &number) < 0)
    return -1;
  s->opts.ranges_max = (unsigned)number;
  return 0;
}

static int set_yes_no(bool *field, PyObject *value) {
  int truth = value ? PyObject_IsTrue(value) : *field;
  if (truth < 0)
    return -1;
  *field = truth != 0;
  return 0;
}

/* ==== roots ==== */

/* The name that a request's path stands for, as the library reads it, without '/' in front: decoded, without "." and
 * empty components. Where the library refuses the path it does not matter what comes out. Freed with PyMem_Free(); NULL
 * with an exception set. */
static char *name_of(struct tavi_slice path) {
  char *name = PyMem_Malloc(path.len + 1);
  if (name == NULL)
    return (char *)PyErr_NoMemory();

  int64_t decoded = tavi_percent_decode(path, false, name);
  size_t len = 0, end = decoded < 0 ? 0 : (size_t)decoded;
  for (size_t at = 0; at < end;) {
    const char *slash = memchr(name + at, '/', end - at);
    size_t n = slash ? (size_t)(slash - name) - at : end - at;
    bool is_kept = n > 0 && !(n == 1 && name[at] == '.');
    if (is_kept && len > 0)
      name[len++] = '/';
    if (is_kept)
      memmove(name + len, name + at, n);
    len += is_kept ? n : 0;
    at += n + 1;
  }
  name[len] = '\0';
  return name;
}

/* Is the name the prefix or below it? A '/' at either end of the prefix does not count. */
static bool is_below(const char *name, const char *prefix) {
  while (*prefix == '/')
    prefix++;
  size_t len = strlen(prefix);
  while (len > 0 && prefix[len - 1] == '/')
    len--;
  return len == 0 || (strncmp(name, prefix, len) == 0 && (name[len] == '/' || name[len] == '\0'));
}

/* One of the further elements of root_dir, "/prefix=dir", taken apart in its place. */
static int split_root(char *element, char **ret_dir) {
  char *equals = strchr(element, '=');
  if (element[0] != '/' || equals == NULL || equals[1] == '\0') {
    PyErr_SetString(PyExc_ValueError, "root_dir: after a comma '/uri-prefix=dir' is expected; a directory with a comma "
                                      "in its name is given as os.PathLike");
    return -1;
  }
  *equals = '\0';
  *ret_dir = equals + 1;
  return 0;
}

/* The root for this name out of "dir,/prefix=dir2,...", which is cut into pieces: the last whose prefix fits. */
static int choose_root(char *list, const char *name, const char **ret_root, const char **ret_mount) {
  char *comma = strchr(list, ',');
  *ret_root = list;
  while (comma != NULL) {
    char *prefix = comma + 1, *dir;
    *comma = '\0';
    comma = strchr(prefix, ',');
    if (comma != NULL)
      *comma = '\0';
    if (split_root(prefix, &dir) < 0)
      return -1;
    if (is_below(name, prefix)) {
      *ret_root = dir;
      *ret_mount = prefix;
    }
  }
  return 0;
}

/* ==== methods ==== */

static int set_root(char *list, struct tavi_slice path, const char **ret_root, const char **ret_mount) {
  *ret_root = list;
  if (strchr(list, ',') == NULL)
    return 0;
  char *name = name_of(path);
  int failed = name == NULL ? -1 : choose_root(list, name, ret_root, ret_mount);
  PyMem_Free(name);
  return failed;
}

/* How a method calls the library, once everything is known. */
typedef int serve_fn(struct tavi_conn *c, const struct tavi_http_msg *msg, const char *path,
                     const struct tavi_http_files_opts *opts);

static PyObject *serve_result(int err, const char *root) {
  if (err == TAVI_E_STATE) {
    PyErr_SetString(PyExc_RuntimeError, "no request is waiting for an answer");
    return NULL;
  }
  if (err == TAVI_E_ARG) {
    PyErr_SetString(PyExc_ValueError, root[0] == '\0' ? "root_dir must not be empty"
                                                      : "extra_headers: a name or value cannot be sent");
    return NULL;
  }
  return tavi_py_result(err, "serving a file");
}

/* path: a list of roots that is taken apart when is_list. The last steps of both methods, in which no Python code runs
 * before the library's. */
static PyObject *serve(PyObject *op, PyObject *message, char *path, bool is_list, struct serving *s, serve_fn *call) {
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  const struct tavi_http_msg *msg = tavi_py_message_argument(op, message);
  const char *root = path;

  if (msg == NULL || (is_list && set_root(path, msg->path, &root, &s->opts.mount) < 0))
    return NULL;
  if (!tavi_py_connection_is_open(self))
    return tavi_py_closed_error();
  if (self->flags & TAVI_PY_LISTENER)
    Py_RETURN_NONE;

  struct tavi_py_manager *manager = self->manager;
  tavi_py_enter(manager);
  int err = call(self->c.conn, msg, root, &s->opts);
  tavi_py_leave(manager, self);
  return serve_result(err, root);
}

const char tavi_py_serve_dir_doc[] =
"serve_dir($self, /, message, root_dir, extra_headers='', mime_types='', page404='', *, listing=True, "
"hidden=False, links_out=False, neighbours=True, ranges_max=16, index='index.html,index.htm', mount='')\n"
"--\n"
"\n"
"Answer the current HTTP request with what the path of message names below root_dir.\n"
"\n"
"Inside the handler that got message. GET and HEAD, ranges, conditional requests; anything else and everything\n"
"that is wrong with the path or the file is answered (405, 400, 404, 403, 416, 500), not raised. Nothing outside\n"
"of root_dir can be reached. Bytes that are not in memory are read by another thread.\n"
"\n"
"root_dir is os.PathLike, or a str 'dir,/uri-prefix=dir2,...', where the last prefix that fits wins. mount is the\n"
"front of the path that is no part of a file's name in root_dir, such as '/static'.\n"
"extra_headers are lines 'Name: value' that end in CRLF, sent with every answer. mime_types, such as\n"
"'ext=type,ext2=type2', go before the usual ones. page404 is a file that is served with status 200 where\n"
"nothing is found. listing: a directory without one of the files of index is listed; otherwise it is 404.\n"
"hidden: names that begin with '.' are served. links_out: symbolic links may lead out of the root. neighbours:\n"
"FILE.br, FILE.zst or FILE.gz, when not older than FILE, is sent in its place to who accepts it. More than\n"
"ranges_max ranges get the whole file; 0 allows none.\n"
"\n"
"ValueError when message is not valid any more and for lines that are no headers, RuntimeError when closed or\n"
"when no request waits for an answer. Without effect on a listener.";

/* The options of serve_dir(): values[2] and on. */
static int dir_options(struct serving *s, PyObject *const *values) {
  if (set_headers(s, values[2]) < 0 || set_types(s, values[3]) < 0 || set_missing(s, values[4]) < 0)
    return -1;
  if (set_yes_no(&s->opts.listing, values[5]) < 0 || set_yes_no(&s->opts.hidden, values[6]) < 0)
    return -1;
  if (set_yes_no(&s->opts.links_out, values[7]) < 0 || set_yes_no(&s->opts.neighbours, values[8]) < 0)
    return -1;
  if (set_ranges_max(s, values[9]) < 0 || set_index(s, values[10]) < 0)
    return -1;
  return set_mount(s, values[11]);
}

PyObject *tavi_py_serve_dir(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {
      "serve_dir", 2, 5, 12,
      {"message", "root_dir", "extra_headers", "mime_types", "page404", "listing", "hidden", "links_out", "neighbours",
       "ranges_max", "index", "mount"}};
  PyObject *values[12] = {NULL};
  struct tavi_py_payload root;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0 ||
      tavi_py_path(values[1], "root_dir", &root) < 0)
    return NULL;
  struct serving s = {.owner_count = 0};
  tavi_http_files_opts_init(&s.opts);
  char *list = PyMem_Malloc(root.len + 1);
  PyObject *result = NULL;
  if (list == NULL)
    PyErr_NoMemory();
  else if (dir_options(&s, values) == 0)
    result = serve(op, values[0], memcpy(list, root.data, root.len + 1), PyUnicode_Check(values[1]), &s,
                   tavi_http_serve_dir);
  PyMem_Free(list);
  serving_free(&s);
  Py_DECREF(root.owner);
  return result;
}

const char tavi_py_serve_file_doc[] =
"serve_file($self, /, message, path, extra_headers='', mime_types='', *, neighbours=True, ranges_max=16)\n"
"--\n"
"\n"
"Answer the current HTTP request with this file, whatever its path and method; 404 when it is not there or is\n"
"a directory.\n"
"\n"
"path is str or os.PathLike and trusted. Otherwise as serve_dir().";

PyObject *tavi_py_serve_file(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {
      "serve_file", 2, 4, 6, {"message", "path", "extra_headers", "mime_types", "neighbours", "ranges_max"}};
  PyObject *values[6] = {NULL};
  struct tavi_py_payload path;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0 || tavi_py_path(values[1], "path", &path) < 0)
    return NULL;
  struct serving s = {.owner_count = 0};
  tavi_http_files_opts_init(&s.opts);
  PyObject *result = NULL;
  if (set_headers(&s, values[2]) == 0 && set_types(&s, values[3]) == 0 &&
      set_yes_no(&s.opts.neighbours, values[4]) == 0 && set_ranges_max(&s, values[5]) == 0)
    result = serve(op, values[0], PyBytes_AS_STRING(path.owner), false, &s, tavi_http_serve_file);
  serving_free(&s);
  Py_DECREF(path.owner);
  return result;
}
