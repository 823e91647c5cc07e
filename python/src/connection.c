/* SPDX-License-Identifier: MIT
 *
 * Connection: one object for a connection or a listener, from its opening until long after its end.
 *
 * A listener and a connection are two things in the library and one type in Python, so each method asks which it
 * is; sending on a listener is checked like any other and goes nowhere. "Closed" begins with close(), or when the
 * library says that it is closing, except for reading the properties inside the ERROR and CLOSE handlers.
 *
 * The methods that write HTTP are in answer.c, files.c, form.c, sse.c and auth.c. */
#include "module.h"

#include <string.h>

/* ==== life ==== */

struct tavi_py_connection *tavi_py_connection_new(struct tavi_py_state *state, PyObject *handler, unsigned flags) {
  PyTypeObject *type = state->connection_type;
  struct tavi_py_connection *self = (struct tavi_py_connection *)type->tp_alloc(type, 0);
  if (self == NULL)
    return NULL;

  self->handler = tavi_py_none_to_null(handler);
  self->flags = flags;
  return self;
}

void tavi_py_connection_attach(struct tavi_py_connection *self, struct tavi_py_manager *manager, void *c, uint64_t id) {
  self->c.conn = c;
  self->manager = manager;
  self->id = id;
  self->prev = manager->last;
  if (self->prev != NULL)
    self->prev->next = self;
  else
    manager->first = self;
  manager->last = self;
  if (manager->unpolled == NULL)
    manager->unpolled = self;
  Py_INCREF(self);
}

void tavi_py_connection_detach(struct tavi_py_connection *self) {
  struct tavi_py_manager *manager = self->manager;

  tavi_py_names_free(self);
  if (manager->unpolled == self)
    manager->unpolled = self->next;
  if (self->prev != NULL)
    self->prev->next = self->next;
  else
    manager->first = self->next;
  if (self->next != NULL)
    self->next->prev = self->prev;
  else
    manager->last = self->prev;
  self->prev = self->next = NULL;
  self->manager = NULL;
  self->c.conn = NULL;
  Py_DECREF(self);
}

static bool is_closing(const struct tavi_py_connection *self) {
  if (self->c.conn == NULL || (self->flags & TAVI_PY_CLOSING))
    return true;
  return !(self->flags & TAVI_PY_LISTENER) && (tavi_conn_flags(self->c.conn) & TAVI_CONN_CLOSING);
}

bool tavi_py_connection_is_open(const struct tavi_py_connection *self) {
  return !is_closing(self);
}

static bool is_readable_object(const struct tavi_py_connection *self) {
  return self->c.conn != NULL && ((self->flags & TAVI_PY_REPORTING) || !is_closing(self));
}

/* The connection whose properties can be read; NULL for listeners and after the end. */
static struct tavi_conn *conn_to_read(PyObject *op) {
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  return is_readable_object(self) && !(self->flags & TAVI_PY_LISTENER) ? self->c.conn : NULL;
}

/* ==== errors ==== */

PyObject *tavi_py_closed_error(void) {
  PyErr_SetString(PyExc_RuntimeError, "Connection has been closed");
  return NULL;
}

PyObject *tavi_py_result(int err, const char *what) {
  if (err >= 0)
    Py_RETURN_NONE;

  if (err == TAVI_E_NOMEM)
    return PyErr_NoMemory();
  if (err == TAVI_E_CLOSED)
    return tavi_py_closed_error();
  PyErr_Format(err == TAVI_E_ARG ? PyExc_ValueError : PyExc_RuntimeError, "%s failed: %s", what, tavi_err_text(err));
  return NULL;
}

/* The connection for a method that acts on it. Returns 1 for one that is open, 0 for an open listener, and -1 with an
 * exception set. */
static int open_kind(struct tavi_py_connection *self) {
  if (is_closing(self)) {
    tavi_py_closed_error();
    return -1;
  }
  return !(self->flags & TAVI_PY_LISTENER);
}

/* ==== sending ==== */

PyDoc_STRVAR(send_doc,
"send($self, /, data)\n"
"--\n"
"\n"
"Send data: str (as UTF-8), or anything that bytes() takes apart from an int.\n"
"\n"
"Streams queue it, also before the connection is established, and it leaves by the end of the turn; UDP sends\n"
"one datagram at once. Without effect on a listener. On an HTTP connection a response written this way is\n"
"followed for its framing and counts as the answer.\n"
"\n"
"Raises RuntimeError when the connection is closed or drains, when the send queue is over its maximum, and\n"
"when a datagram cannot be sent. May be called from any thread.");

static PyObject *connection_send(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"send", 1, 1, 1, {"data"}};
  PyObject *arg = tavi_py_argument(&signature, args, nargs, kwnames);
  if (arg == NULL)
    return NULL;

  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  struct tavi_py_payload data;
  int err = 0;

  if (tavi_py_payload(arg, &data) < 0)
    return NULL;

  int kind = open_kind(self);
  if (kind == 1) {
    struct tavi_py_manager *manager = self->manager;
    tavi_py_enter(manager);
    if (data.len < TAVI_PY_FOREIGN_BYTES_MIN) {
      err = tavi_conn_send(self->c.conn, data.data, data.len);
    } else {
      Py_INCREF(data.owner);
      err = tavi_conn_send_foreign(self->c.conn, data.data, data.len, tavi_py_release, data.owner);
    }
    tavi_py_leave(manager, self);
  }
  Py_DECREF(data.owner);
  return kind < 0 ? NULL : tavi_py_result(err, "send");
}

/* ==== receiving ==== */

static const struct tavi_py_signature recv_signature = {"recv", 0, 1, 1, {"n"}};
static const struct tavi_py_signature recv_data_signature = {"recv_data", 0, 1, 1, {"length"}};
static const struct tavi_py_signature send_data_signature = {"send_data", 0, 1, 1, {"length"}};

/* The one optional argument of the three methods below, as a number of bytes; negative means all. */
static int length_argument(const struct tavi_py_signature *signature, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames, size_t *ret_length) {
  PyObject *value = NULL;
  int64_t length = -1;

  if (tavi_py_arguments(signature, args, nargs, kwnames, &value) < 0)
    return -1;
  if (value != NULL &&
      tavi_py_integer(value, signature->names[0], PY_SSIZE_T_MIN, PY_SSIZE_T_MAX, &length) < 0)
    return -1;
  *ret_length = length < 0 ? SIZE_MAX : (size_t)length;
  return 0;
}

/* What peek shows, or its beginning. */
static struct tavi_slice received(const struct tavi_conn *c, size_t length) {
  struct tavi_slice bytes = tavi_conn_peek(c);
  if (bytes.len > length)
    bytes.len = length;
  return bytes;
}

PyDoc_STRVAR(recv_data_doc,
"recv_data($self, /, length=-1)\n"
"--\n"
"\n"
"A copy of the first length received bytes that were not consumed; negative: all of them.\n"
"\n"
"They stay where they are: see recv() to take them. For UDP, the newest datagram. b'' when closed.");

static PyObject *connection_recv_data(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  size_t length;
  if (length_argument(&recv_data_signature, args, nargs, kwnames, &length) < 0)
    return NULL;

  struct tavi_conn *c = conn_to_read(op);
  struct tavi_slice bytes = {NULL, 0};
  if (c != NULL)
    bytes = received(c, length);
  return tavi_py_bytes(bytes);
}

PyDoc_STRVAR(recv_doc,
"recv($self, /, n=-1)\n"
"--\n"
"\n"
"Take the first n received bytes; negative: all of them. b'' when there are none, or when closed.\n"
"\n"
"From the first call on, a full receive buffer pauses the peer instead of ending the connection. Of an HTTP\n"
"message only a body that is streamed can be taken, see stream_body().");

static PyObject *connection_recv(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  size_t length;
  if (length_argument(&recv_signature, args, nargs, kwnames, &length) < 0)
    return NULL;

  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  struct tavi_conn *c = conn_to_read(op);
  if (c == NULL)
    return PyBytes_FromStringAndSize(NULL, 0);

  struct tavi_slice bytes = received(c, length);
  size_t before = tavi_conn_peek(c).len;
  PyObject *result = tavi_py_bytes(bytes);
  if (result == NULL || bytes.len == 0)
    return result;

  struct tavi_py_manager *manager = self->manager;
  tavi_py_enter(manager);
  tavi_conn_consume(c, bytes.len);
  bool is_taken = tavi_conn_peek(c).len < before; /* not of a message that is told as a whole */
  tavi_py_leave(manager, self);
  if (is_taken)
    return result;
  Py_DECREF(result);
  return PyBytes_FromStringAndSize(NULL, 0);
}

PyDoc_STRVAR(send_data_doc,
"send_data($self, /, length=-1)\n"
"--\n"
"\n"
"A copy of the first length bytes that wait to be sent; negative: all of them. b'' when closed.");

static PyObject *connection_send_data(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  size_t length;
  if (length_argument(&send_data_signature, args, nargs, kwnames, &length) < 0)
    return NULL;

  struct tavi_conn *c = conn_to_read(op);
  size_t pending = c ? tavi_conn_send_pending(c) : 0;
  if (length > pending)
    length = pending;
  PyObject *result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length);
  if (result == NULL || length == 0)
    return result;

  size_t copied = tavi_conn_send_peek(c, PyBytes_AS_STRING(result), length);
  if (copied < length)
    _PyBytes_Resize(&result, (Py_ssize_t)copied);
  return result;
}

PyDoc_STRVAR(pause_doc,
"pause($self, /)\n"
"--\n"
"\n"
"Stop reading from the peer, until resume(). The peer is held back once the buffers between are full.\n"
"\n"
"Without effect on a listener. RuntimeError when closed.");

static PyObject *connection_pause(PyObject *op, PyObject *Py_UNUSED(ignored)) {
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  int kind = open_kind(self);
  if (kind < 0)
    return NULL;
  if (kind == 1)
    tavi_conn_pause(self->c.conn);
  Py_RETURN_NONE;
}

PyDoc_STRVAR(resume_doc,
"resume($self, /)\n"
"--\n"
"\n"
"Read from the peer again after pause().\n"
"\n"
"Without effect on a listener. RuntimeError when closed.");

static PyObject *connection_resume(PyObject *op, PyObject *Py_UNUSED(ignored)) {
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  int kind = open_kind(self);
  if (kind < 0)
    return NULL;
  if (kind == 1) {
    struct tavi_py_manager *manager = self->manager;
    tavi_py_enter(manager);
    tavi_conn_resume(self->c.conn);
    tavi_py_leave(manager, self);
  }
  Py_RETURN_NONE;
}

PyDoc_STRVAR(stream_body_doc,
"stream_body($self, /)\n"
"--\n"
"\n"
"Inside MG_EV_HTTP_HDRS: do not collect the body of this message.\n"
"\n"
"Its pieces are told by MG_EV_READ and taken with recv(); what is not taken is kept up to recv_bytes_max,\n"
"then the peer is paused. MG_EV_HTTP_MSG, with an empty body, comes once all of it was taken. RuntimeError\n"
"elsewhere.");

static PyObject *connection_stream_body(PyObject *op, PyObject *Py_UNUSED(ignored)) {
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  int kind = open_kind(self);
  if (kind < 0)
    return NULL;

  int err = kind == 1 ? tavi_http_stream_body(self->c.conn) : TAVI_E_STATE;
  if (err == TAVI_E_STATE) {
    PyErr_SetString(PyExc_RuntimeError, "stream_body() is for handlers of MG_EV_HTTP_HDRS");
    return NULL;
  }
  return tavi_py_result(err, "stream_body");
}

/* ==== handler ==== */

PyDoc_STRVAR(set_handler_doc,
"set_handler($self, /, handler)\n"
"--\n"
"\n"
"Give the connection a handler of its own, from its next event on; None: the manager's again.\n"
"\n"
"On a listener: for itself and for the connections that it accepts from now on.");

static PyObject *connection_set_handler(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"set_handler", 1, 1, 1, {"handler"}};
  PyObject *handler = tavi_py_argument(&signature, args, nargs, kwnames);
  if (handler == NULL)
    return NULL;

  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  Py_XSETREF(self->handler, tavi_py_none_to_null(handler));
  Py_RETURN_NONE;
}

/* ==== closing ==== */

static void close_listener(struct tavi_py_connection *self) {
  self->flags |= TAVI_PY_CLOSING;
  tavi_listener_close(self->c.listener);
}

PyDoc_STRVAR(close_doc,
"close($self, /)\n"
"--\n"
"\n"
"Close now; what waits to be sent is dropped. Does nothing when closed already.\n"
"\n"
"The object is closed at once, MG_EV_CLOSE follows by the end of the turn, or of the next one when no turn\n"
"runs. May be called from any thread.");

static PyObject *connection_close(PyObject *op, PyObject *Py_UNUSED(ignored)) {
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;

  if (is_closing(self))
    Py_RETURN_NONE;
  if (self->flags & TAVI_PY_LISTENER) {
    close_listener(self);
    Py_RETURN_NONE;
  }
  struct tavi_py_manager *manager = self->manager;
  self->flags |= TAVI_PY_CLOSING;
  tavi_py_enter(manager);
  tavi_conn_close(self->c.conn);
  tavi_py_leave(manager, self);
  Py_RETURN_NONE;
}

PyDoc_STRVAR(drain_doc,
"drain($self, /)\n"
"--\n"
"\n"
"Close when everything that waits has been sent; a listener closes at once. Nothing can be sent afterwards.\n"
"\n"
"Does nothing when closed already. May be called from any thread.");

static PyObject *connection_drain(PyObject *op, PyObject *Py_UNUSED(ignored)) {
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;

  if (is_closing(self))
    Py_RETURN_NONE;
  if (self->flags & TAVI_PY_LISTENER) {
    close_listener(self);
    Py_RETURN_NONE;
  }
  struct tavi_py_manager *manager = self->manager;
  tavi_py_enter(manager);
  tavi_conn_drain(self->c.conn);
  tavi_py_leave(manager, self);
  Py_RETURN_NONE;
}

static void fail_listener(struct tavi_py_connection *self, PyObject *message) {
  struct tavi_py_manager *manager = self->manager;

  self->flags |= TAVI_PY_REPORTING;
  close_listener(self);
  Py_INCREF(manager);
  tavi_py_deliver(self, MG_EV_ERROR, message);
  Py_DECREF(manager);
}

PyDoc_STRVAR(error_doc,
"error($self, /, message)\n"
"--\n"
"\n"
"End the connection as failed: MG_EV_ERROR with this text inside the call, then MG_EV_CLOSE as with close().\n"
"\n"
"RuntimeError when closed.");

static PyObject *connection_error(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"error", 1, 1, 1, {"message"}};
  PyObject *arg = tavi_py_argument(&signature, args, nargs, kwnames);
  if (arg == NULL)
    return NULL;

  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  struct tavi_py_payload message;

  if (tavi_py_text(arg, "message", &message) < 0)
    return NULL;

  int kind = open_kind(self);
  if (kind < 0) {
    Py_DECREF(message.owner);
    return NULL;
  }
  struct tavi_py_manager *manager = self->manager;
  Py_INCREF(manager);
  if (kind == 1) {
    tavi_py_enter(manager);
    tavi_conn_fail(self->c.conn, message.data);
    tavi_py_leave(manager, self);
  } else {
    fail_listener(self, arg);
  }
  Py_DECREF(message.owner);
  int fatal = tavi_py_check_fatal(manager);
  Py_DECREF(manager);
  if (fatal < 0)
    return NULL;
  Py_RETURN_NONE;
}

/* ==== properties ==== */

/* closure: the bit of enum tavi_conn_flag. */
static PyObject *connection_flag(PyObject *op, void *closure) {
  struct tavi_conn *c = conn_to_read(op);
  return PyBool_FromLong(c != NULL && (tavi_conn_flags(c) & (unsigned)(uintptr_t)closure));
}

static PyObject *connection_never(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure)) {
  Py_RETURN_FALSE;
}

static PyObject *connection_is_listening(PyObject *op, void *Py_UNUSED(closure)) {
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  return PyBool_FromLong(is_readable_object(self) && (self->flags & TAVI_PY_LISTENING));
}

static PyObject *connection_is_closing(PyObject *op, void *Py_UNUSED(closure)) {
  return PyBool_FromLong(is_closing((struct tavi_py_connection *)op));
}

static PyObject *connection_id(PyObject *op, void *Py_UNUSED(closure)) {
  return PyLong_FromUnsignedLongLong(((struct tavi_py_connection *)op)->id);
}

static PyObject *connection_handler(PyObject *op, void *Py_UNUSED(closure)) {
  return tavi_py_or_none(((struct tavi_py_connection *)op)->handler);
}

static PyObject *connection_userdata(PyObject *op, void *Py_UNUSED(closure)) {
  return tavi_py_or_none(((struct tavi_py_connection *)op)->userdata);
}

static int connection_set_userdata(PyObject *op, PyObject *value, void *Py_UNUSED(closure)) {
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  Py_XSETREF(self->userdata, tavi_py_none_to_null(value)); /* del means None */
  return 0;
}

static PyObject *address_tuple(int err, const struct tavi_addr *addr) {
  if (err < 0)
    return Py_BuildValue("(siO)", "0.0.0.0", 0, Py_False);

  PyObject *host = PyUnicode_DecodeFSDefault(addr->host);
  if (host == NULL)
    return NULL;
  return Py_BuildValue("(NiO)", host, (int)addr->port, addr->is_ipv6 ? Py_True : Py_False);
}

static int own_addr(const struct tavi_py_connection *self, struct tavi_addr *ret_addr) {
  if (self->flags & TAVI_PY_LISTENER)
    return tavi_listener_local_addr(self->c.listener, ret_addr);
  if (tavi_conn_flags(self->c.conn) & (TAVI_CONN_RESOLVING | TAVI_CONN_CONNECTING))
    return TAVI_E_NOT_FOUND;
  return tavi_conn_local_addr(self->c.conn, ret_addr);
}

static int peer_addr(const struct tavi_py_connection *self, struct tavi_addr *ret_addr) {
  if (!(self->flags & TAVI_PY_LISTENER))
    return tavi_conn_remote_addr(self->c.conn, ret_addr);
  return tavi_py_resolved_first(self, ret_addr) ? 0 : TAVI_E_NOT_FOUND;
}

/* closure: NULL for the own one, anything else for the peer's. */
static PyObject *connection_addr(PyObject *op, void *closure) {
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  struct tavi_addr addr;

  if (!is_readable_object(self))
    Py_RETURN_NONE;
  return address_tuple(closure == NULL ? own_addr(self, &addr) : peer_addr(self, &addr), &addr);
}

enum size { RECV_LEN, SEND_LEN, RECV_SIZE, SEND_SIZE };

/* closure: an enum size. */
static PyObject *connection_size(PyObject *op, void *closure) {
  const struct tavi_conn *c = conn_to_read(op);
  size_t size = 0;
  if (c != NULL) {
    switch ((enum size)(uintptr_t)closure) {
      case RECV_LEN: size = tavi_conn_peek(c).len; break;
      case SEND_LEN: size = tavi_conn_send_pending(c); break;
      case RECV_SIZE: size = tavi_conn_recv_held(c); break;
      case SEND_SIZE: size = tavi_conn_send_held(c); break;
    }
  }
  return PyLong_FromSize_t(size);
}

static PyObject *connection_repr(PyObject *op) {
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  struct tavi_conn *c = conn_to_read(op);
  unsigned flags = c ? tavi_conn_flags(c) : 0;

  if (!is_readable_object(self))
    return PyUnicode_FromString("<Connection closed>");
  return PyUnicode_FromFormat("<Connection id=%llu readable=%s writable=%s>", (unsigned long long)self->id,
                              flags & TAVI_CONN_READABLE ? "True" : "False",
                              flags & TAVI_CONN_WRITABLE ? "True" : "False");
}

/* ==== type ==== */

static int connection_traverse(PyObject *op, visitproc visit, void *arg) {
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  Py_VISIT(Py_TYPE(op));
  Py_VISIT(self->handler);
  Py_VISIT(self->userdata);
  return 0;
}

static int connection_clear(PyObject *op) {
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  Py_CLEAR(self->handler);
  Py_CLEAR(self->userdata);
  return 0;
}

/* Only closed ones come here: an open one has its manager's reference. */
static void connection_dealloc(PyObject *op) {
  PyTypeObject *type = Py_TYPE(op);
  PyObject_GC_UnTrack(op);
  connection_clear(op);
  type->tp_free(op);
  Py_DECREF(type);
}

PyDoc_STRVAR(resolve_doc,
"resolve($self, /, url)\n"
"--\n"
"\n"
"Look up a host name, or the host of a URL. MG_EV_RESOLVE tells the end, and resolved has the addresses.\n"
"\n"
"Nothing else happens to the connection or listener. The event's data is None, or a str that says why nothing\n"
"was found. It comes inside this call for addresses and for names that are known already. Another call takes\n"
"the place of one that is under way. ValueError when there is no host in url, RuntimeError when closed.");

PyDoc_STRVAR(resolve_cancel_doc,
"resolve_cancel($self, /)\n"
"--\n"
"\n"
"No MG_EV_RESOLVE comes any more for resolve(). A connection whose own peer is still being looked up closes.\n"
"\n"
"RuntimeError when closed.");

static PyMethodDef connection_methods[] = {
    {"__reduce__", tavi_py_no_pickle, METH_NOARGS, NULL},
    {"set_handler", TAVI_PY_FASTCALL(connection_set_handler), set_handler_doc},
    {"send", TAVI_PY_FASTCALL(connection_send), send_doc},
    TAVI_PY_ENTRY(send_to),
    TAVI_PY_ENTRY(join_group),
    TAVI_PY_ENTRY(leave_group),
    TAVI_PY_ENTRY(set_multicast),
    TAVI_PY_ENTRY(set_broadcast),
    TAVI_PY_ENTRY(sntp_request),
    {"recv", TAVI_PY_FASTCALL(connection_recv), recv_doc},
    {"recv_data", TAVI_PY_FASTCALL(connection_recv_data), recv_data_doc},
    {"send_data", TAVI_PY_FASTCALL(connection_send_data), send_data_doc},
    {"pause", connection_pause, METH_NOARGS, pause_doc},
    {"resume", connection_resume, METH_NOARGS, resume_doc},
    {"stream_body", connection_stream_body, METH_NOARGS, stream_body_doc},
    TAVI_PY_ENTRY(reply),
    TAVI_PY_ENTRY(reply_json),
    TAVI_PY_ENTRY(compress),
    TAVI_PY_ENTRY(serve_dir),
    TAVI_PY_ENTRY(serve_file),
    TAVI_PY_ENTRY(receive_form),
    TAVI_PY_ENTRY(http_chunk),
    TAVI_PY_ENTRY(http_sse_begin),
    TAVI_PY_ENTRY(http_sse),
    TAVI_PY_ENTRY(http_basic_auth),
    TAVI_PY_ENTRY(http_challenge),
    TAVI_PY_ENTRY(origin),
    {"drain", connection_drain, METH_NOARGS, drain_doc},
    {"close", connection_close, METH_NOARGS, close_doc},
    {"error", TAVI_PY_FASTCALL(connection_error), error_doc},
    {"resolve", TAVI_PY_FASTCALL(tavi_py_resolve), resolve_doc},
    {"resolve_cancel", tavi_py_resolve_cancel, METH_NOARGS, resolve_cancel_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(id_doc, "The number of the connection: never used again by this manager, and kept after the close.");
PyDoc_STRVAR(handler_doc, "The connection's own handler, or None.");
PyDoc_STRVAR(userdata_doc, "Any object of yours; None at first. Kept after the close.");
PyDoc_STRVAR(is_listening_doc, "True for what listen() has returned.");
PyDoc_STRVAR(is_client_doc, "True for what connect() has returned.");
PyDoc_STRVAR(is_udp_doc, "True for UDP.");
PyDoc_STRVAR(is_websocket_doc, "True once the connection speaks WebSocket.");
PyDoc_STRVAR(is_tls_doc, "True when the connection is encrypted.");
PyDoc_STRVAR(is_readable_doc, "True when the last wait found something to read.");
PyDoc_STRVAR(is_writable_doc, "True when the last wait found room to send.");
PyDoc_STRVAR(is_full_doc,
             "True while the send queue is above its high water mark and has not fallen below the low one.");
PyDoc_STRVAR(is_draining_doc, "True after drain(), or when the connection closes as soon as all is sent.");
PyDoc_STRVAR(is_closing_doc, "True once the connection is closed or about to be.");
PyDoc_STRVAR(is_paused_doc, "True between pause() and resume().");
PyDoc_STRVAR(local_addr_doc,
             "The own address as (ip, port, is_ipv6), of a Unix socket (path, 0, False); None when closed.");
PyDoc_STRVAR(remote_addr_doc, "The peer's address in the same form; UDP: the sender of the newest datagram; "
             "listeners: see resolve().");
PyDoc_STRVAR(resolved_doc,
             "The addresses that the last resolve() has found, the best first, as a tuple of (ip, port, is_ipv6).");
PyDoc_STRVAR(recv_len_doc, "Bytes that were received and not consumed.");
PyDoc_STRVAR(send_len_doc, "Bytes that wait to be sent.");
PyDoc_STRVAR(recv_size_doc, "Bytes of memory held for received bytes.");
PyDoc_STRVAR(send_size_doc, "Bytes of memory held for the send queue.");

#define CLOSURE(number) (void *)(uintptr_t)(number)

static PyGetSetDef connection_getset[] = {
    {"id", connection_id, NULL, id_doc, NULL},
    {"handler", connection_handler, NULL, handler_doc, NULL},
    {"userdata", connection_userdata, connection_set_userdata, userdata_doc, NULL},
    {"is_listening", connection_is_listening, NULL, is_listening_doc, NULL},
    {"is_client", connection_flag, NULL, is_client_doc, CLOSURE(TAVI_CONN_CLIENT)},
    {"is_udp", connection_flag, NULL, is_udp_doc, CLOSURE(TAVI_CONN_UDP)},
    {"is_websocket", connection_never, NULL, is_websocket_doc, NULL},
    {"is_tls", connection_never, NULL, is_tls_doc, NULL},
    {"is_readable", connection_flag, NULL, is_readable_doc, CLOSURE(TAVI_CONN_READABLE)},
    {"is_writable", connection_flag, NULL, is_writable_doc, CLOSURE(TAVI_CONN_WRITABLE)},
    {"is_full", connection_flag, NULL, is_full_doc, CLOSURE(TAVI_CONN_FULL)},
    {"is_draining", connection_flag, NULL, is_draining_doc, CLOSURE(TAVI_CONN_DRAINING)},
    {"is_closing", connection_is_closing, NULL, is_closing_doc, NULL},
    {"is_paused", connection_flag, NULL, is_paused_doc, CLOSURE(TAVI_CONN_PAUSED)},
    {"local_addr", connection_addr, NULL, local_addr_doc, NULL},
    {"remote_addr", connection_addr, NULL, remote_addr_doc, CLOSURE(1)},
    {"resolved", tavi_py_resolved, NULL, resolved_doc, NULL},
    {"recv_len", connection_size, NULL, recv_len_doc, CLOSURE(RECV_LEN)},
    {"send_len", connection_size, NULL, send_len_doc, CLOSURE(SEND_LEN)},
    {"recv_size", connection_size, NULL, recv_size_doc, CLOSURE(RECV_SIZE)},
    {"send_size", connection_size, NULL, send_size_doc, CLOSURE(SEND_SIZE)},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(connection_doc,
"Connection()\n"
"--\n"
"\n"
"A connection or a listener, as Manager.listen(), Manager.connect() and handlers give it.\n"
"\n"
"One object for the whole life of the connection. All of it may be used from any thread, also while another\n"
"one is inside Manager.poll(). After the close the methods that act raise RuntimeError, and the properties\n"
"are False, 0 or None, apart from id, handler and userdata. One made by hand is closed.");

static PyType_Slot connection_slots[] = {
    {Py_tp_doc, (void *)connection_doc},
    {Py_tp_repr, (void *)connection_repr},
    {Py_tp_traverse, (void *)connection_traverse},
    {Py_tp_clear, (void *)connection_clear},
    {Py_tp_dealloc, (void *)connection_dealloc},
    {Py_tp_methods, connection_methods},
    {Py_tp_getset, connection_getset},
    {0, NULL},
};

static PyType_Spec connection_spec = {
    .name = "cymongoose.Connection",
    .basicsize = sizeof(struct tavi_py_connection),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = connection_slots,
};

int tavi_py_connection_setup(PyObject *module, struct tavi_py_state *state) {
  state->connection_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &connection_spec, NULL);
  if (state->connection_type == NULL)
    return -1;
  return PyModule_AddType(module, state->connection_type);
}
