/* SPDX-License-Identifier: MIT
 *
 * The methods of Connection that write HTTP: answers, chunks, server-sent events, credentials.
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

static void header_list_free(struct header_list *list) {
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

static PyObject *answer_error(int err) {
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
    return answer_error(err);
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

/* ==== streams ==== */

static PyObject *write_chunk(struct tavi_py_connection *self, const void *data, size_t len) {
  if (!tavi_py_connection_is_open(self))
    return tavi_py_closed_error();
  if (self->flags & TAVI_PY_LISTENER)
    Py_RETURN_NONE;

  struct tavi_py_manager *manager = self->manager;
  tavi_py_enter(manager);
  int err = tavi_http_chunk(self->c.conn, data, len);
  tavi_py_leave(manager, self);
  if (err == TAVI_E_STATE) {
    PyErr_SetString(PyExc_RuntimeError, "no chunked answer has begun, or it is complete");
    return NULL;
  }
  return tavi_py_result(err, "http_chunk");
}

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

static char *put(char *out, const char *data, size_t len) {
  memcpy(out, data, len);
  return out + len;
}

/* One event as the WHATWG's HTML standard, 9.2.6, wants it; lines end in LF, CR or CRLF. Returns the end; out has
 * room for `sse_size()` bytes. */
static char *put_sse(char *out, const struct tavi_py_payload *type, const struct tavi_py_payload *data) {
  out = put(out, "event: ", 7);
  out = put(out, type->data, type->len);
  *out++ = '\n';
  for (size_t from = 0;;) {
    size_t to = from;
    while (to < data->len && data->data[to] != '\n' && data->data[to] != '\r')
      to++;
    out = put(out, "data: ", 6);
    out = put(out, data->data + from, to - from);
    *out++ = '\n';
    if (to == data->len)
      break;
    bool is_crlf = data->data[to] == '\r' && to + 1 < data->len && data->data[to + 1] == '\n';
    from = to + (is_crlf ? 2 : 1);
  }
  *out++ = '\n';
  return out;
}

/* Each line end of data becomes at most "\ndata: ". */
static size_t sse_size(const struct tavi_py_payload *type, const struct tavi_py_payload *data) {
  size_t lines = 1;
  for (size_t i = 0; i < data->len; i++)
    lines += data->data[i] == '\n' || data->data[i] == '\r';
  return 7 + type->len + 1 + data->len + lines * 7 + 1;
}

static PyObject *write_sse(struct tavi_py_connection *self, const struct tavi_py_payload *type,
                           const struct tavi_py_payload *data) {
  for (size_t i = 0; i < type->len; i++) {
    if (type->data[i] == '\n' || type->data[i] == '\r') {
      PyErr_SetString(PyExc_ValueError, "event_type contains a line break");
      return NULL;
    }
  }

  char *event = PyMem_Malloc(sse_size(type, data));
  if (event == NULL)
    return PyErr_NoMemory();
  char *end = put_sse(event, type, data);
  PyObject *result = write_chunk(self, event, (size_t)(end - event));
  PyMem_Free(event);
  return result;
}

PyObject *tavi_py_http_sse(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"http_sse", 2, 2, 2, {"event_type", "data"}};
  PyObject *values[] = {NULL, NULL};
  struct tavi_py_payload type, data;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0 ||
      tavi_py_text(values[0], "event_type", &type) < 0)
    return NULL;
  if (tavi_py_text(values[1], "data", &data) < 0) {
    Py_DECREF(type.owner);
    return NULL;
  }

  PyObject *result = write_sse((struct tavi_py_connection *)op, &type, &data);
  Py_DECREF(type.owner);
  Py_DECREF(data.owner);
  return result;
}

/* ==== credentials ==== */

/* base64("username:password") with a LF at its end, as bytes. */
static PyObject *encode_credentials(PyObject *username, PyObject *password) {
  PyObject *joined = PyUnicode_FromFormat("%U:%U", username, password);
  PyObject *plain = joined ? PyUnicode_AsUTF8String(joined) : NULL;
  PyObject *binascii = plain ? PyImport_ImportModule("binascii") : NULL;
  PyObject *encoded = binascii ? PyObject_CallMethod(binascii, "b2a_base64", "O", plain) : NULL;

  Py_XDECREF(joined);
  Py_XDECREF(plain);
  Py_XDECREF(binascii);
  return encoded;
}

/* "Authorization: Basic ...\r\n" as bytes; RFC 7617 section 2. */
static PyObject *authorization(PyObject *username, PyObject *password) {
  PyObject *encoded = encode_credentials(username, password);
  if (encoded == NULL)
    return NULL;

  PyObject *text = PyUnicode_DecodeASCII(PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded) - 1, NULL);
  PyObject *line = text ? PyUnicode_FromFormat("Authorization: Basic %U\r\n", text) : NULL;
  PyObject *bytes = line ? PyUnicode_AsASCIIString(line) : NULL;
  Py_DECREF(encoded);
  Py_XDECREF(text);
  Py_XDECREF(line);
  return bytes;
}

PyObject *tavi_py_http_basic_auth(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"http_basic_auth", 2, 2, 2, {"username", "password"}};
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  PyObject *values[] = {NULL, NULL};

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0)
    return NULL;
  for (int i = 0; i < 2; i++) {
    if (!PyUnicode_Check(values[i])) {
      PyErr_Format(PyExc_TypeError, "%s must be str, not %.100s", signature.names[i], Py_TYPE(values[i])->tp_name);
      return NULL;
    }
  }
  PyObject *line = authorization(values[0], values[1]);
  if (line == NULL)
    return NULL;

  int err = TAVI_E_CLOSED;
  if (tavi_py_connection_is_open(self)) {
    struct tavi_py_manager *manager = self->manager;
    tavi_py_enter(manager);
    err = self->flags & TAVI_PY_LISTENER
              ? 0
              : tavi_conn_send(self->c.conn, PyBytes_AS_STRING(line), (size_t)PyBytes_GET_SIZE(line));
    tavi_py_leave(manager, self);
  }
  Py_DECREF(line);
  return tavi_py_result(err, "http_basic_auth");
}
