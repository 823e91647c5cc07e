/* SPDX-License-Identifier: MIT
 *
 * From the library's callbacks to handler(conn, ev, data), and what becomes of a handler's exceptions.
 *
 * The `user` of each C connection is its Connection object, borrowed (the manager holds the reference). Outgoing and
 * UDP connections get a prepared object; an accepted one begins with its listener's and gets its own in on_open. The
 * object is made for every connection, wanted events or not: it is what `connections` and the collector see, and at
 * 96 bytes it is the cheapest thing that could remember the handler inherited at accept.
 *
 * Events that nobody wants have a NULL entry in the manager's table, so the library does not even call. OPEN, ERROR
 * and CLOSE have their entries always, because the life of the object hangs on them. */
#include "module.h"

#include <string.h>

/* ==== exceptions ==== */

PyObject *tavi_py_take_exception(void) {
#if PY_VERSION_HEX >= 0x030c0000
  return PyErr_GetRaisedException();
#else
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  if (type == NULL)
    return NULL;

  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback != NULL)
    PyException_SetTraceback(value, traceback);
  Py_XDECREF(traceback);
  Py_DECREF(type);
  return value;
#endif
}

void tavi_py_set_exception(PyObject *exc) {
#if PY_VERSION_HEX >= 0x030c0000
  PyErr_SetRaisedException(exc);
#else
  if (exc == NULL) {
    PyErr_Restore(NULL, NULL, NULL);
    return;
  }
  PyObject *type = (PyObject *)Py_TYPE(exc);
  Py_INCREF(type);
  PyErr_Restore(type, exc, PyException_GetTraceback(exc));
#endif
}

/* To the Python-level sys.stderr, which may be a test's or a program's own. */
static void print_exception(PyObject *exc) {
  PyObject *traceback = PyException_GetTraceback(exc);
  PyErr_Display((PyObject *)Py_TYPE(exc), exc, traceback);
  Py_XDECREF(traceback);
  PyErr_Clear();
}

/* Keep the first of those that have to leave poll(), and end the turn. */
static void keep_fatal(struct tavi_py_manager *manager, PyObject *exc) {
  if (manager->fatal == NULL) {
    Py_INCREF(exc);
    manager->fatal = exc;
  } else {
    print_exception(exc);
  }
  if (manager->polling && manager->c != NULL)
    tavi_manager_break(manager->c);
}

static void tell_error_handler(struct tavi_py_manager *manager, PyObject *exc) {
  PyObject *error_handler = manager->error_handler;
  Py_INCREF(error_handler);
  PyObject *result = PyObject_CallOneArg(error_handler, exc);
  Py_DECREF(error_handler);
  if (result != NULL) {
    Py_DECREF(result);
    return;
  }

  PyObject *second = tavi_py_take_exception();
  if (PyErr_GivenExceptionMatches(second, PyExc_Exception))
    print_exception(second);
  else
    keep_fatal(manager, second);
  Py_DECREF(second);
}

void tavi_py_report(struct tavi_py_manager *manager) {
  PyObject *exc = tavi_py_take_exception();
  if (exc == NULL)
    return;

  if (!PyErr_GivenExceptionMatches(exc, PyExc_Exception))
    keep_fatal(manager, exc);
  else if (manager->error_handler != NULL)
    tell_error_handler(manager, exc);
  else
    print_exception(exc);
  Py_DECREF(exc);
}

int tavi_py_check_fatal(struct tavi_py_manager *manager) {
  if (manager->fatal == NULL || manager->polling)
    return 0;

  PyObject *exc = manager->fatal;
  manager->fatal = NULL;
  tavi_py_set_exception(exc);
  return -1;
}

/* ==== calling a handler ==== */

static bool is_wanted(const struct tavi_py_manager *manager, enum tavi_py_event ev) {
  return (manager->interest >> ev) & 1;
}

static PyObject *handler_of(const struct tavi_py_connection *conn) // borrowed
{
  if (conn->manager->mute)
    return NULL;
  return conn->handler ? conn->handler : conn->manager->handler;
}

static void call_handler(PyObject *handler, struct tavi_py_connection *conn, enum tavi_py_event ev, PyObject *data) {
  struct tavi_py_manager *manager = conn->manager;
  PyObject *args[] = {NULL, (PyObject *)conn, manager->state->event_numbers[ev], data};

  Py_INCREF(handler); /* set_handler() may drop it meanwhile */
  PyObject *result = PyObject_Vectorcall(handler, args + 1, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
  Py_DECREF(handler);
  if (result != NULL)
    Py_DECREF(result);
  else
    tavi_py_report(manager);
}

void tavi_py_deliver(struct tavi_py_connection *conn, enum tavi_py_event ev, PyObject *data) {
  PyObject *handler = handler_of(conn);
  if (handler != NULL && is_wanted(conn->manager, ev))
    call_handler(handler, conn, ev, data);
}

/* An event without data that may come inside a call of ours. */
static void tell(struct tavi_py_connection *conn, enum tavi_py_event ev) {
  if (conn->manager->calling)
    conn->manager->queued |= UINT32_C(1) << ev;
  else
    tavi_py_deliver(conn, ev, Py_None);
}

static void tell_queued(struct tavi_py_connection *conn, enum tavi_py_event ev, uint32_t queued, PyObject *data) {
  if ((queued >> ev) & 1 && conn->manager != NULL)
    tavi_py_deliver(conn, ev, data);
}

/* On the stack of the thread that runs the handlers; other threads may be at the same thing meanwhile. */
struct tavi_py_teller {
  unsigned long thread;
  struct tavi_py_teller *next;
};

bool tavi_py_is_telling(const struct tavi_py_manager *manager) {
  for (const struct tavi_py_teller *t = manager->tellers; t != NULL; t = t->next)
    if (t->thread == PyThread_get_thread_ident())
      return true;
  return false;
}

/* After a call for many connections. Each handler may let another thread close and free others: so begin again. */
static void tell_failed(struct tavi_py_manager *manager, PyObject *text) {
  struct tavi_py_connection *conn = manager->first;
  while (conn != NULL) {
    if (!(conn->flags & TAVI_PY_FAILED)) {
      conn = conn->next;
      continue;
    }
    conn->flags &= ~(unsigned)TAVI_PY_FAILED;
    Py_INCREF(conn);
    tavi_py_deliver(conn, MG_EV_ERROR, text);
    Py_DECREF(conn);
    conn = manager->first;
  }
}

void tavi_py_flush_queued(struct tavi_py_manager *manager, struct tavi_py_connection *conn) {
  struct tavi_py_teller self = {PyThread_get_thread_ident(), manager->tellers}, **place = &manager->tellers;
  uint32_t queued = manager->queued;
  PyObject *text = manager->queued_error;
  manager->queued = 0;
  manager->queued_error = NULL;

  manager->tellers = &self;
  Py_INCREF(manager); /* a handler may drop the last other reference to either */
  Py_XINCREF(conn);
  if (conn == NULL) {
    tell_failed(manager, text ? text : Py_None);
  } else {
    tell_queued(conn, MG_EV_OPEN, queued, Py_None);
    tell_queued(conn, MG_EV_RESOLVE, queued, Py_None);
    tell_queued(conn, MG_EV_CONNECT, queued, Py_None);
    tell_queued(conn, MG_EV_WRITE, queued, Py_None);
    tell_queued(conn, MG_EV_ERROR, queued, text ? text : Py_None);
    conn->flags &= ~(unsigned)TAVI_PY_FAILED;
  }
  Py_XDECREF(text);
  while (*place != &self)
    place = &(*place)->next;
  *place = self.next;
  Py_XDECREF(conn);
  Py_DECREF(manager);
}

/* ==== POLL ==== */

static void poll_from(struct tavi_py_manager *manager, struct tavi_py_connection *conn) {
  /* Meanwhile the list can grow at its end, by connect(), but loses nobody: only a turn or close() does that. */
  struct tavi_py_connection *last = manager->last;

  manager->unpolled = NULL;
  for (;;) {
    if (tavi_py_connection_is_open(conn))
      tavi_py_deliver(conn, MG_EV_POLL, Py_None);
    if (conn == last)
      return;
    conn = conn->next;
    if (manager->fatal != NULL) {
      manager->unpolled = conn;
      return;
    }
  }
}

void tavi_py_deliver_polls(struct tavi_py_manager *manager) {
  if (manager->first == NULL || !is_wanted(manager, MG_EV_POLL))
    return;

  uint64_t now_ms = tavi_millis();
  if (now_ms >= manager->sweep_ms) {
    manager->sweep_ms = now_ms + TAVI_PY_SWEEP_MS;
    poll_from(manager, manager->first);
  } else if (manager->unpolled != NULL) {
    poll_from(manager, manager->unpolled);
  }
}

/* ==== callbacks: connections ==== */

static struct tavi_py_connection *accepted(struct tavi_py_connection *listener, struct tavi_conn *c) {
  struct tavi_py_manager *manager = listener->manager;
  /* May run any code, since it may collect garbage: the handler is taken afterwards. */
  struct tavi_py_connection *conn = manager->mute ? NULL : tavi_py_connection_new(manager->state, NULL, 0);
  if (conn == NULL) {
    tavi_conn_set_user(c, NULL);
    tavi_conn_close(c);
    tavi_py_report(manager); /* nothing, when mute */
    return NULL;
  }
  Py_XINCREF(listener->handler);
  conn->handler = listener->handler;
  tavi_conn_set_user(c, conn);
  tavi_py_connection_attach(conn, manager, c, tavi_conn_id(c));
  Py_DECREF(conn); /* the manager has its own */
  return conn;
}

/* The manager of a prepared object is known already; it becomes open by being attached. */
static void on_open(struct tavi_conn *c, void *user) {
  struct tavi_py_connection *conn = user;
  if (conn->c.conn != NULL)
    conn = accepted(conn, c);
  else
    tavi_py_connection_attach(conn, conn->manager, c, tavi_conn_id(c));
  if (conn != NULL)
    tell(conn, MG_EV_OPEN);
}

static void on_resolve(struct tavi_conn *Py_UNUSED(c), void *user) {
  tell(user, MG_EV_RESOLVE);
}

static void on_connect(struct tavi_conn *Py_UNUSED(c), void *user) {
  tell(user, MG_EV_CONNECT);
}

static void on_accept(struct tavi_conn *Py_UNUSED(c), void *user) {
  if (user != NULL)
    tell(user, MG_EV_ACCEPT);
}

static void on_read(struct tavi_conn *Py_UNUSED(c), void *user) {
  tell(user, MG_EV_READ);
}

static void on_write(struct tavi_conn *Py_UNUSED(c), size_t Py_UNUSED(sent), void *user) {
  tell(user, MG_EV_WRITE);
}

static void tell_wakeup(struct tavi_py_connection *conn, struct tavi_slice data) {
  if (handler_of(conn) == NULL)
    return;

  PyObject *bytes = tavi_py_bytes(data);
  if (bytes == NULL) {
    tavi_py_report(conn->manager);
    return;
  }
  tavi_py_deliver(conn, MG_EV_WAKEUP, bytes);
  Py_DECREF(bytes);
}

static void on_wakeup(struct tavi_conn *Py_UNUSED(c), struct tavi_slice data, void *user) {
  tell_wakeup(user, data);
}

static void on_error(struct tavi_conn *Py_UNUSED(c), int err, const char *text, void *user) {
  struct tavi_py_connection *conn = user;
  struct tavi_py_manager *manager = conn->manager;

  if (text == NULL)
    text = tavi_err_text(err);
  conn->flags |= TAVI_PY_REPORTING;
  if (manager->mute)
    return;
  PyObject *str = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "ignore");
  if (str == NULL) {
    tavi_py_report(manager);
    return;
  }
  if (manager->calling) {
    conn->flags |= TAVI_PY_FAILED;
    manager->queued |= UINT32_C(1) << MG_EV_ERROR;
    Py_XSETREF(manager->queued_error, str);
    return;
  }
  tavi_py_deliver(conn, MG_EV_ERROR, str);
  Py_DECREF(str);
}

static void closed(struct tavi_py_connection *conn) {
  conn->flags |= TAVI_PY_CLOSING | TAVI_PY_REPORTING;
  tavi_py_deliver(conn, MG_EV_CLOSE, Py_None);
  tavi_py_connection_detach(conn);
}

static void on_close(struct tavi_conn *Py_UNUSED(c), void *user) {
  if (user != NULL)
    closed(user);
}

/* ==== callbacks: HTTP ==== */

static void tell_message(struct tavi_py_connection *conn, enum tavi_py_event ev, const struct tavi_http_msg *msg) {
  struct tavi_py_manager *manager = conn->manager;
  PyObject *handler = handler_of(conn);
  if (handler == NULL)
    return;

  struct tavi_py_message *view = tavi_py_message_new(manager->state, msg);
  if (view == NULL) {
    tavi_py_report(manager);
    return;
  }
  call_handler(handler, conn, ev, (PyObject *)view);
  view->msg = NULL;
  Py_DECREF(view);
}

static void on_headers(struct tavi_conn *Py_UNUSED(c), const struct tavi_http_msg *msg, void *user) {
  tell_message(user, MG_EV_HTTP_HDRS, msg);
}

static void on_message(struct tavi_conn *Py_UNUSED(c), const struct tavi_http_msg *msg, void *user) {
  tell_message(user, MG_EV_HTTP_MSG, msg);
}

/* ==== callbacks: listeners ==== */

static void on_listener_wakeup(struct tavi_listener *Py_UNUSED(l), struct tavi_slice data, void *user) {
  tell_wakeup(user, data);
}

static void on_listener_close(struct tavi_listener *Py_UNUSED(l), void *user) {
  closed(user);
}

/* ==== tables ==== */

void tavi_py_events_setup(struct tavi_py_manager *manager) {
  struct tavi_http_handlers *h = &manager->handlers;

  memset(h, 0, sizeof *h);
  h->conn.on_open = on_open;
  h->conn.on_error = on_error;
  h->conn.on_close = on_close;
  if (is_wanted(manager, MG_EV_RESOLVE))
    h->conn.on_resolve = on_resolve;
  if (is_wanted(manager, MG_EV_CONNECT))
    h->conn.on_connect = on_connect;
  if (is_wanted(manager, MG_EV_ACCEPT))
    h->conn.on_accept = on_accept;
  if (is_wanted(manager, MG_EV_READ))
    h->conn.on_read = on_read;
  if (is_wanted(manager, MG_EV_WRITE))
    h->conn.on_write = on_write;
  if (is_wanted(manager, MG_EV_WAKEUP))
    h->conn.on_wakeup = on_wakeup;
  if (is_wanted(manager, MG_EV_HTTP_HDRS))
    h->on_headers = on_headers;
  if (is_wanted(manager, MG_EV_HTTP_MSG))
    h->on_message = on_message;

  manager->listener_handlers.on_close = on_listener_close;
  manager->listener_handlers.on_wakeup = is_wanted(manager, MG_EV_WAKEUP) ? on_listener_wakeup : NULL;
}
