/* SPDX-License-Identifier: MIT
 *
 * HttpMessage: a view of a message in the library's memory, valid while the handler runs that it was given to. What is
 * read from it is copied into ordinary objects; afterwards everything is empty. The methods for credentials and cookies
 * are in auth.c.
 *
 * Two of them are made per request, so their memory comes from a list in the module state. What is on the list holds no
 * references and is no object until it is taken off again. */
#include "module.h"

#include <string.h>

#include "tavi/http_form.h"

#define FREE_MESSAGES_MAX 16 /* views are dead soon after their handler: few are alive at once */

/* ==== making and freeing ==== */

struct tavi_py_message *tavi_py_message_new(struct tavi_py_state *state, const struct tavi_http_msg *msg) {
  struct tavi_py_message *self = state->free_messages;
  PyTypeObject *type = state->http_message_type;

  if (self != NULL) {
    state->free_messages = self->u.next_free;
    state->free_message_count--;
    PyObject_Init((PyObject *)self, type);
  } else {
    self = PyObject_New(struct tavi_py_message, type);
    if (self == NULL)
      return NULL;
  }
  self->msg = msg;
  self->u.state = state;
  return self;
}

static void message_dealloc(PyObject *op) {
  struct tavi_py_message *self = (struct tavi_py_message *)op;
  struct tavi_py_state *state = self->u.state;
  PyTypeObject *type = Py_TYPE(op);

  if (state != NULL && state->free_message_count < FREE_MESSAGES_MAX) {
    self->u.next_free = state->free_messages;
    state->free_messages = self;
    state->free_message_count++;
  } else {
    type->tp_free(op);
  }
  Py_DECREF(type);
}

void tavi_py_messages_free(struct tavi_py_state *state) {
  while (state->free_messages != NULL) {
    struct tavi_py_message *message = state->free_messages;
    state->free_messages = message->u.next_free;
    PyObject_Free(message);
  }
  state->free_message_count = 0;
}

/* ==== properties ==== */

static const struct tavi_http_msg *message_of(PyObject *op) {
  return ((struct tavi_py_message *)op)->msg;
}

const struct tavi_http_msg *tavi_py_message_argument(PyObject *conn, PyObject *message) {
  struct tavi_py_state *state = tavi_py_state_of(Py_TYPE(conn));
  if (state == NULL)
    return NULL;

  if (!PyObject_TypeCheck(message, state->http_message_type)) {
    PyErr_Format(PyExc_TypeError, "message must be HttpMessage, not %.100s", Py_TYPE(message)->tp_name);
    return NULL;
  }
  if (message_of(message) == NULL)
    PyErr_SetString(PyExc_ValueError, "HttpMessage is not valid for this event");
  return message_of(message);
}

static bool is_response(const struct tavi_http_msg *msg) {
  return msg->method.len == 0;
}

static PyObject *empty_str(void) {
  return PyUnicode_FromStringAndSize(NULL, 0);
}

static PyObject *message_method(PyObject *op, void *Py_UNUSED(closure)) {
  const struct tavi_http_msg *msg = message_of(op);
  if (msg == NULL)
    return empty_str();
  return tavi_py_decode(is_response(msg) ? msg->version : msg->method);
}

static PyObject *message_uri(PyObject *op, void *Py_UNUSED(closure)) {
  const struct tavi_http_msg *msg = message_of(op);
  if (msg == NULL)
    return empty_str();
  if (is_response(msg))
    return PyUnicode_FromFormat("%d", msg->status);
  return tavi_py_decode(msg->path);
}

static PyObject *message_query(PyObject *op, void *Py_UNUSED(closure)) {
  const struct tavi_http_msg *msg = message_of(op);
  return msg ? tavi_py_decode(msg->query) : empty_str();
}

static PyObject *message_proto(PyObject *op, void *Py_UNUSED(closure)) {
  const struct tavi_http_msg *msg = message_of(op);
  if (msg == NULL)
    return empty_str();
  return tavi_py_decode(is_response(msg) ? msg->reason : msg->version);
}

static PyObject *message_body_text(PyObject *op, void *Py_UNUSED(closure)) {
  const struct tavi_http_msg *msg = message_of(op);
  return msg ? tavi_py_decode(msg->body) : empty_str();
}

static PyObject *message_body_bytes(PyObject *op, void *Py_UNUSED(closure)) {
  const struct tavi_http_msg *msg = message_of(op);
  return msg ? tavi_py_bytes(msg->body) : PyBytes_FromStringAndSize(NULL, 0);
}

static int message_bool(PyObject *op) {
  return message_of(op) != NULL;
}

/* ==== methods ==== */

PyDoc_STRVAR(header_doc,
"header($self, /, name, default=None)\n"
"--\n"
"\n"
"The value of the first header called name, in any case of letters, without the white space around it.\n"
"\n"
"default when there is none, or when the message is not valid any more.");

static PyObject *message_header(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"header", 1, 2, 2, {"name", "default"}};
  PyObject *values[] = {NULL, NULL};
  struct tavi_py_payload name;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0 ||
      tavi_py_received_text(values[0], "name", &name) < 0)
    return NULL;

  const struct tavi_http_msg *msg = message_of(op);
  const struct tavi_slice *value = msg ? tavi_http_header(msg, name.data) : NULL;
  PyObject *result = value ? tavi_py_decode(*value) : tavi_py_or_none(values[1]);
  Py_DECREF(name.owner);
  return result;
}

/* Decoding makes no garbage collected object, but the list and the tuples are such: the message can be gone after each,
 * when the collector has let another thread in. So it is asked for again each time. */
static PyObject *fields(PyObject *op, bool trailers) {
  PyObject *list = PyList_New(0);
  if (list == NULL)
    return NULL;

  for (size_t i = 0;; i++) {
    const struct tavi_http_msg *msg = message_of(op);
    if (msg == NULL || i >= (trailers ? msg->trailer_count : msg->header_count))
      return list;
    const struct tavi_http_header *field = trailers ? &msg->trailers[i] : &msg->headers[i];
    PyObject *name = tavi_py_decode(field->name);
    PyObject *value = tavi_py_decode(field->value);
    PyObject *pair = name && value ? PyTuple_Pack(2, name, value) : NULL;
    Py_XDECREF(name);
    Py_XDECREF(value);
    if (pair == NULL || PyList_Append(list, pair) < 0) {
      Py_XDECREF(pair);
      Py_DECREF(list);
      return NULL;
    }
    Py_DECREF(pair);
  }
}

PyDoc_STRVAR(headers_doc,
"headers($self, /)\n"
"--\n"
"\n"
"All headers as a list of (name, value), in the order and with the letters in which they were sent.");

static PyObject *message_headers(PyObject *op, PyObject *Py_UNUSED(ignored)) {
  return fields(op, false);
}

PyDoc_STRVAR(trailers_doc,
"trailers($self, /)\n"
"--\n"
"\n"
"The fields that followed a chunked body, as a list of (name, value); empty in MG_EV_HTTP_HDRS.");

static PyObject *message_trailers(PyObject *op, PyObject *Py_UNUSED(ignored)) {
  return fields(op, true);
}

PyDoc_STRVAR(query_var_doc,
"query_var($self, /, name)\n"
"--\n"
"\n"
"The value of the first variable called name in the query, decoded ('+' is a space, %XX a byte).\n"
"\n"
"None when there is none; ValueError when its percent escapes are malformed.");

static PyObject *message_query_var(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"query_var", 1, 1, 1, {"name"}};
  PyObject *arg = tavi_py_argument(&signature, args, nargs, kwnames);
  if (arg == NULL)
    return NULL;

  struct tavi_py_payload name;
  struct tavi_slice value;

  if (tavi_py_received_text(arg, "name", &name) < 0)
    return NULL;

  const struct tavi_http_msg *msg = message_of(op);
  struct tavi_slice wanted = {name.data, name.len};
  bool found = msg != NULL && tavi_form_find(msg->query, wanted, &value) == 0;
  Py_DECREF(name.owner);
  if (!found)
    Py_RETURN_NONE;
  return tavi_py_decode_form_value(value);
}

static bool find_parameter(const struct tavi_http_msg *msg, const char *header, struct tavi_slice name,
                           struct tavi_slice *ret_value) {
  const struct tavi_slice *value = tavi_http_header(msg, header);
  return value != NULL && tavi_http_header_param(*value, name, ret_value) == 0 && ret_value->len > 0;
}

PyDoc_STRVAR(header_var_doc,
"header_var($self, /, header, var)\n"
"--\n"
"\n"
"A parameter inside a header, such as 'boundary' of Content-Type: what follows 'var=', up to ';', ',' or a\n"
"space, or the inside of a quoted string. None when the header or the parameter is missing or empty.");

static PyObject *message_header_var(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"header_var", 2, 2, 2, {"header", "var"}};
  PyObject *values[2] = {NULL, NULL};
  struct tavi_py_payload header, var;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0 ||
      tavi_py_received_text(values[0], "header", &header) < 0)
    return NULL;
  if (tavi_py_received_text(values[1], "var", &var) < 0) {
    Py_DECREF(header.owner);
    return NULL;
  }

  const struct tavi_http_msg *msg = message_of(op);
  struct tavi_slice name = {var.data, var.len}, value;
  bool found = msg != NULL && find_parameter(msg, header.data, name, &value);
  Py_DECREF(header.owner);
  Py_DECREF(var.owner);
  if (!found)
    Py_RETURN_NONE;
  return tavi_py_decode(value);
}

PyDoc_STRVAR(status_doc,
"status($self, /)\n"
"--\n"
"\n"
"The status code of a response, 0 for a request, None when the message is not valid any more.");

static PyObject *message_status(PyObject *op, PyObject *Py_UNUSED(ignored)) {
  const struct tavi_http_msg *msg = message_of(op);
  if (msg == NULL)
    Py_RETURN_NONE;
  return PyLong_FromLong(msg->status);
}

/* ==== type ==== */

static PyMethodDef message_methods[] = {
    {"__reduce__", tavi_py_no_pickle, METH_NOARGS, NULL},
    {"header", TAVI_PY_FASTCALL(message_header), header_doc},
    {"headers", message_headers, METH_NOARGS, headers_doc},
    {"trailers", message_trailers, METH_NOARGS, trailers_doc},
    {"query_var", TAVI_PY_FASTCALL(message_query_var), query_var_doc},
    {"header_var", TAVI_PY_FASTCALL(message_header_var), header_var_doc},
    {"status", message_status, METH_NOARGS, status_doc},
    TAVI_PY_ENTRY(cookie),
    TAVI_PY_ENTRY(cookies),
    TAVI_PY_ENTRY(basic_auth),
    TAVI_PY_ENTRY(bearer_token),
    TAVI_PY_ENTRY(is_user),
    TAVI_PY_ENTRY(is_bearer),
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(method_doc, "The request's method, such as 'GET'; of a response its version, such as 'HTTP/1.1'.");
PyDoc_STRVAR(uri_doc, "The request target up to its first '?', not decoded; of a response its status as text.");
PyDoc_STRVAR(query_doc, "What follows the first '?' of the request target, not decoded.");
PyDoc_STRVAR(proto_doc, "The request's version, such as 'HTTP/1.1'; of a response its reason phrase.");
PyDoc_STRVAR(body_text_doc, "The body as UTF-8 text; bytes that are none become surrogates.");
PyDoc_STRVAR(body_bytes_doc, "The body; in MG_EV_HTTP_HDRS as much of it as has arrived.");

static PyGetSetDef message_getset[] = {
    {"method", message_method, NULL, method_doc, NULL},
    {"uri", message_uri, NULL, uri_doc, NULL},
    {"query", message_query, NULL, query_doc, NULL},
    {"proto", message_proto, NULL, proto_doc, NULL},
    {"body_text", message_body_text, NULL, body_text_doc, NULL},
    {"body_bytes", message_body_bytes, NULL, body_bytes_doc, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(message_doc,
"HttpMessage()\n"
"--\n"
"\n"
"A request or response, as handlers get it with MG_EV_HTTP_HDRS and MG_EV_HTTP_MSG.\n"
"\n"
"Valid until the handler returns: then bool(message) is False and everything in it is empty. What was read\n"
"from it before stays. One made by hand is never valid.");

static PyType_Slot message_slots[] = {
    {Py_tp_doc, (void *)message_doc},
    {Py_tp_dealloc, (void *)message_dealloc},
    {Py_nb_bool, (void *)message_bool},
    {Py_tp_methods, message_methods},
    {Py_tp_getset, message_getset},
    {0, NULL},
};

static PyType_Spec message_spec = {
    .name = "cymongoose.HttpMessage",
    .basicsize = sizeof(struct tavi_py_message),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = message_slots,
};

int tavi_py_http_message_setup(PyObject *module, struct tavi_py_state *state) {
  state->http_message_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &message_spec, NULL);
  if (state->http_message_type == NULL)
    return -1;
  return PyModule_AddType(module, state->http_message_type);
}
