/* SPDX-License-Identifier: MIT
 *
 * The methods of Connection that write HTTP: answers, and the pieces of streams.
 *
 * reply() is the hottest path of the module. For str in ASCII and for bytes it makes no object and copies nothing:
 * the library is given pointers into the caller's objects, and copies them once, into its send queue. */
#include "module.h"

#include <string.h>

#define INLINE_HEADERS 16

/* ==== headers out of a mapping ==== */

/* items[0] is the default Content-Type, used when the caller gives none. owners keep what items point to. */
struct header_list {
  struct tavi_http_header *items;
  PyObject **owners;
  size_t count, cap; /* of items */
  size_t owner_count;
  bool has_type;
  struct tavi_http_header inline_items[INLINE_HEADERS];
  PyObject *inline_owners[2 * INLINE_HEADERS];
};

#define SLICE(text) {text, sizeof(text) - 1}
static const struct tavi_http_header text_plain = {SLICE("Content-Type"), SLICE("text/plain")};
static const struct tavi_http_header application_json = {SLICE("Content-Type"), SLICE("application/json")};

static void header_list_init(struct header_list *list, const struct tavi_http_header *default_type) {
  list->items = list->inline_items;
  list->owners = list->inline_owners;
  list->count = 1;
  list->cap = INLINE_HEADERS;
  list->owner_count = 0;
  list->has_type = false;
  list->items[0] = *default_type;
}

static inline void header_list_free(struct header_list *list) {
  for (size_t i = 0; i < list->owner_count; i++)
    Py_DECREF(list->owners[i]);
  if (list->items != list->inline_items) {
    PyMem_Free(list->items);
    PyMem_Free(list->owners);
  }
}

static int header_list_grow(struct header_list *list) {
  size_t cap = list->cap * 2;
  struct tavi_http_header *items = PyMem_Malloc(cap * sizeof *items);
  PyObject **owners = PyMem_Malloc(2 * cap * sizeof *owners);
  if (items == NULL || owners == NULL) {
    PyMem_Free(items);
    PyMem_Free(owners);
    PyErr_NoMemory();
    return -1;
  }

  memcpy(items, list->items, list->count * sizeof *items);
  memcpy(owners, list->owners, list->owner_count * sizeof *owners);
  if (list->items != list->inline_items) {
    PyMem_Free(list->items);
    PyMem_Free(list->owners);
  }
  list->items = items;
  list->owners = owners;
  list->cap = cap;
  return 0;
}

static int refuse_illegal(const struct tavi_py_payload *text, const char *what) {
  for (size_t i = 0; i < text->len; i++) {
    char ch = text->data[i];
    if (ch == '\r' || ch == '\n' || ch == '\0') {
      PyErr_Format(PyExc_ValueError, "Header %s contains illegal character 0x%02x", what, ch);
      return -1;
    }
  }
  return 0;
}

/* str(obj) as UTF-8 */
static int header_text(PyObject *obj, const char *what, struct tavi_py_payload *ret_text) {
  struct tavi_py_payload text;
  PyObject *str = PyObject_Str(obj);
  if (str == NULL)
    return -1;

  int failed = tavi_py_payload(str, &text);
  Py_DECREF(str);
  if (failed < 0)
    return -1;
  if (refuse_illegal(&text, what) < 0) {
    Py_DECREF(text.owner);
    return -1;
  }
  *ret_text = text;
  return 0;
}

static bool is_name(const struct tavi_py_payload *name, const char *wanted) {
  return name->len == strlen(wanted) && PyOS_mystrnicmp(name->data, wanted, (Py_ssize_t)name->len) == 0;
}

/* keep_type: a Content-Type of the caller replaces the default; otherwise it is left out. */
static int header_list_add(struct header_list *list, PyObject *name_obj, PyObject *value_obj, bool keep_type) {
  struct tavi_py_payload name, value;

  bool is_full = list->count == list->cap || list->owner_count + 2 > 2 * list->cap; /* some are left out of items */
  if (is_full && header_list_grow(list) < 0)
    return -1;
  if (header_text(name_obj, "name", &name) < 0)
    return -1;
  list->owners[list->owner_count++] = name.owner;
  if (header_text(value_obj, "value", &value) < 0)
    return -1;
  list->owners[list->owner_count++] = value.owner;

  if (is_name(&name, "Content-Type")) {
    if (!keep_type)
      return 0;
    list->has_type = true;
  }
  struct tavi_http_header *item = &list->items[list->count++];
  item->name = (struct tavi_slice){name.data, name.len};
  item->value = (struct tavi_slice){value.data, value.len};
  return 0;
}

/* The pairs of a mapping, as a sequence that nobody else changes. */
static PyObject *pairs_of(PyObject *mapping) {
  if (PyDict_CheckExact(mapping))
    return PyDict_Items(mapping);

  PyObject *items = PyObject_CallMethod(mapping, "items", NULL);
  if (items == NULL)
    return NULL;
  PyObject *pairs = PySequence_Tuple(items);
  Py_DECREF(items);
  return pairs;
}

static int header_list_add_pair(struct header_list *list, PyObject *pair, bool keep_type) {
  PyObject *both = PySequence_Tuple(pair);
  if (both == NULL)
    return -1;

  int failed = -1;
  if (PyTuple_GET_SIZE(both) != 2)
    PyErr_SetString(PyExc_ValueError, "headers.items() must give pairs");
  else
    failed = header_list_add(list, PyTuple_GET_ITEM(both, 0), PyTuple_GET_ITEM(both, 1), keep_type);
  Py_DECREF(both);
  return failed;
}

static int header_list_fill(struct header_list *list, PyObject *headers, bool keep_type) {
  if (headers == NULL || headers == Py_None)
    return 0;

  PyObject *pairs = pairs_of(headers);
  if (pairs == NULL)
    return -1;

  int failed = 0;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(pairs) && failed == 0; i++)
    failed = header_list_add_pair(list, PySequence_Fast_GET_ITEM(pairs, i), keep_type);
  Py_DECREF(pairs);
  return failed;
}

/* ==== answers ==== */

PyObject *tavi_py_answer_result(int err) {
  if (err == TAVI_E_STATE) {
    PyErr_SetString(PyExc_RuntimeError, "no request is waiting for an answer");
    return NULL;
  }
  if (err == TAVI_E_ARG) {
    PyErr_SetString(PyExc_ValueError,
                    "Header name contains illegal character or is empty, or its value cannot be sent");
    return NULL;
  }
  return tavi_py_result(err, "reply");
}

static PyObject *write_answer(struct tavi_py_connection *self, int status, const struct header_list *list,
                              const struct tavi_py_payload *body) {
  if (self->c.conn == NULL || (self->flags & TAVI_PY_CLOSING))
    return tavi_py_closed_error();
  if (self->flags & TAVI_PY_LISTENER)
    Py_RETURN_NONE;

  struct tavi_py_manager *manager = self->manager;
  const struct tavi_http_header *headers = list->items + (list->has_type ? 1 : 0);
  size_t count = list->count - (list->has_type ? 1 : 0);

  struct tavi_slice slice = {body->data, body->len};
  int err;
  tavi_py_enter(manager);
  if (body->len < TAVI_PY_FOREIGN_BYTES_MIN) {
    err = tavi_http_reply(self->c.conn, status, headers, count, slice);
  } else {
    Py_INCREF(body->owner);
    err = tavi_http_reply_foreign(self->c.conn, status, headers, count, slice, tavi_py_release, body->owner);
  }
  tavi_py_leave(manager, self);

  if (err < 0)
    return tavi_py_answer_result(err);
  Py_RETURN_NONE;
}

static PyObject *answer(struct tavi_py_connection *self, PyObject *status_obj, const struct tavi_py_payload *body,
                        PyObject *headers, const struct tavi_http_header *default_type) {
  int64_t status = 200;
  struct header_list list;

  if (status_obj != NULL && tavi_py_integer(status_obj, "status_code", INT_MIN, INT_MAX, &status) < 0)
    return NULL;
  if (status < 100 || status > 999) {
    PyErr_SetString(PyExc_ValueError, "status_code must be from 100 to 999");
    return NULL;
  }

  header_list_init(&list, default_type);
  PyObject *result = NULL;
  if (header_list_fill(&list, headers, default_type == &text_plain) == 0)
    result = write_answer(self, (int)status, &list, body);
  header_list_free(&list);
  return result;
}

const char tavi_py_reply_doc[] =
"reply($self, /, status_code, body=b'', headers=None)\n"
"--\n"
"\n"
"Answer the current HTTP request.\n"
"\n"
"body is str (as UTF-8), or anything that bytes() takes apart from an int. headers is a mapping; names and\n"
"values are taken as str(). 'Content-Type: text/plain' is sent unless headers has one; Date and\n"
"Content-Length are added. With 'Transfer-Encoding: chunked' the answer goes on with http_chunk(), and body,\n"
"if any, is its first chunk.\n"
"\n"
"Raises ValueError for a name or value that cannot be in a header and for a status outside of 100 to 999,\n"
"RuntimeError when closed or when no request waits for an answer. On a connection that is no HTTP server's\n"
"the response is written as it is. Without effect on a listener. May be called from any thread.";

PyObject *tavi_py_reply(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"reply", 1, 3, 3, {"status_code", "body", "headers"}};
  PyObject *values[] = {NULL, NULL, NULL};
  struct tavi_py_payload body = {NULL, NULL, 0};

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0)
    return NULL;
  if (values[1] != NULL && tavi_py_payload(values[1], &body) < 0)
    return NULL;

  PyObject *result = answer((struct tavi_py_connection *)op, values[0], &body, values[2], &text_plain);
  Py_XDECREF(body.owner);
  return result;
}

/* json.dumps(data) as a payload. */
static int dump_json(struct tavi_py_state *state, PyObject *data, struct tavi_py_payload *ret_text) {
  if (state->json_dumps == NULL) {
    PyObject *json = PyImport_ImportModule("json");
    if (json == NULL)
      return -1;
    PyObject *dumps = PyObject_GetAttrString(json, "dumps");
    Py_DECREF(json);
    if (dumps == NULL)
      return -1;
    Py_XSETREF(state->json_dumps, dumps);
  }

  PyObject *text = PyObject_CallOneArg(state->json_dumps, data);
  if (text == NULL)
    return -1;
  int failed = tavi_py_payload(text, ret_text);
  Py_DECREF(text);
  return failed;
}

const char tavi_py_reply_json_doc[] =
"reply_json($self, /, data, status_code=200, headers=None)\n"
"--\n"
"\n"
"Answer with json.dumps(data) as application/json. Otherwise as reply(); TypeError when data has no JSON\n"
"form.";

PyObject *tavi_py_reply_json(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"reply_json", 1, 3, 3, {"data", "status_code", "headers"}};
  PyObject *values[] = {NULL, NULL, NULL};
  struct tavi_py_payload body;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0)
    return NULL;
  struct tavi_py_state *state = tavi_py_state_of(Py_TYPE(op));
  if (state == NULL || dump_json(state, values[0], &body) < 0)
    return NULL;

  PyObject *result = answer((struct tavi_py_connection *)op, values[1], &body, values[2], &application_json);
  Py_DECREF(body.owner);
  return result;
}

/* ==== compression ==== */

static PyObject *coding_name(int coding) {
  switch (coding) {
    case TAVI_CODING_GZIP: return PyUnicode_FromString("gzip");
    case TAVI_CODING_BROTLI: return PyUnicode_FromString("br");
    case TAVI_CODING_ZSTD: return PyUnicode_FromString("zstd");
    default: return PyUnicode_FromString("");
  }
}

const char tavi_py_compress_doc[] =
"compress($self, /, message, *, level=4, bytes_min=512)\n"
"--\n"
"\n"
"Compress the answer to this request, which comes later, if the request accepts that.\n"
"\n"
"Inside the handler that got message, before reply(), reply_json() or a stream. Returns the coding that\n"
"would be used, 'gzip', 'br' or 'zstd', and '' for none. level is 1 (fast) to 9 (small); a whole reply whose\n"
"body is below bytes_min bytes is sent as it is, and so is what is compressed already (images, video,\n"
"archives, or with a Content-Encoding of its own). Files of serve_dir() are not compressed; see its neighbours.\n"
"\n"
"Not for pages that hold a secret beside something that an attacker chose: the length tells the secret\n"
"(BREACH).\n"
"\n"
"ValueError when message is not valid any more or level is another, RuntimeError when closed or when no request\n"
"waits for an answer. '' for a listener.";

PyObject *tavi_py_compress(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"compress", 1, 1, 3, {"message", "level", "bytes_min"}};
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  PyObject *values[] = {NULL, NULL, NULL};
  struct tavi_http_compress_opts opts;
  tavi_http_compress_opts_init(&opts);
  int64_t level = opts.level, bytes_min = (int64_t)opts.bytes_min;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0)
    return NULL;
  if (values[1] != NULL && tavi_py_integer(values[1], "level", INT_MIN, INT_MAX, &level) < 0)
    return NULL;
  if (values[2] != NULL && tavi_py_integer(values[2], "bytes_min", 0, PY_SSIZE_T_MAX, &bytes_min) < 0)
    return NULL;
  if (level < 1 || level > 9) {
    PyErr_SetString(PyExc_ValueError, "level must be from 1 to 9");
    return NULL;
  }
  const struct tavi_http_msg *msg = tavi_py_message_argument(op, values[0]);
  if (msg == NULL)
    return NULL;
  if (!tavi_py_connection_is_open(self))
    return tavi_py_closed_error();
  if (self->flags & TAVI_PY_LISTENER)
    return coding_name(TAVI_CODING_IDENTITY);

  opts.level = (int)level;
  opts.bytes_min = (size_t)bytes_min;
  int coding = tavi_http_compress(self->c.conn, msg, &opts);
  return coding < 0 ? tavi_py_answer_result(coding) : coding_name(coding);
}

/* ==== streams ==== */

PyObject *tavi_py_stream_result(int err, const char *what) {
  if (err == TAVI_E_STATE) {
    PyErr_SetString(PyExc_RuntimeError, "no chunked answer has begun, or it is complete");
    return NULL;
  }
  return tavi_py_result(err, what);
}

static PyObject *write_chunk(struct tavi_py_connection *self, const void *data, size_t len) {
  if (!tavi_py_connection_is_open(self))
    return tavi_py_closed_error();
  if (self->flags & TAVI_PY_LISTENER)
    Py_RETURN_NONE;

  struct tavi_py_manager *manager = self->manager;
  tavi_py_enter(manager);
  int err = tavi_http_chunk(self->c.conn, data, len);
  tavi_py_leave(manager, self);
  return tavi_py_stream_result(err, "http_chunk");
}

const char tavi_py_http_chunk_doc[] =
"http_chunk($self, /, data)\n"
"--\n"
"\n"
"Send one piece of a chunked answer; an empty one ends it.\n"
"\n"
"data is str (as UTF-8), or anything that bytes() takes apart from an int. RuntimeError when closed, or when\n"
"the answer is complete already.";

PyObject *tavi_py_http_chunk(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"http_chunk", 1, 1, 1, {"data"}};
  PyObject *value = tavi_py_argument(&signature, args, nargs, kwnames);
  struct tavi_py_payload data;

  if (value == NULL || tavi_py_payload(value, &data) < 0)
    return NULL;

  PyObject *result = write_chunk((struct tavi_py_connection *)op, data.data, data.len);
  Py_DECREF(data.owner);
  return result;
}

static PyObject *begin_events(struct tavi_py_connection *self, const struct header_list *list) {
  if (!tavi_py_connection_is_open(self))
    return tavi_py_closed_error();
  if (self->flags & TAVI_PY_LISTENER)
    Py_RETURN_NONE;

  struct tavi_py_manager *manager = self->manager;
  tavi_py_enter(manager);
  int err = tavi_sse_begin(self->c.conn, list->items + 1, list->count - 1);
  tavi_py_leave(manager, self);
  return tavi_py_answer_result(err);
}

const char tavi_py_http_sse_begin_doc[] =
"http_sse_begin($self, /, headers=None)\n"
"--\n"
"\n"
"Answer the current HTTP request with a stream of server-sent events, to be sent with http_sse() or by an\n"
"EventChannel; http_chunk(b'') ends it.\n"
"\n"
"200, 'Content-Type: text/event-stream', 'Cache-Control: no-store', then headers as in reply(), which may have\n"
"another Cache-Control. What a client has missed is told by its Last-Event-ID header. Raises as reply().";

PyObject *tavi_py_http_sse_begin(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"http_sse_begin", 0, 1, 1, {"headers"}};
  PyObject *headers = NULL, *result = NULL;
  struct header_list list;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, &headers) < 0)
    return NULL;
  header_list_init(&list, &text_plain); /* stays behind: the type is that of event streams */
  if (header_list_fill(&list, headers, false) == 0)
    result = begin_events((struct tavi_py_connection *)op, &list);
  header_list_free(&list);
  return result;
}
