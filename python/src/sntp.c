/* SPDX-License-Identifier: MIT
 *
 * Manager.sntp_connect() and Connection.sntp_request(): the time, from a time server. */
#include "module.h"

#include "tavi/sntp.h"

static void on_time(struct tavi_conn *Py_UNUSED(c), const struct tavi_sntp_time *t, void *user) {
  struct tavi_py_connection *conn = user;
  PyObject *unix_ms = PyLong_FromLongLong(t->unix_ms);
  if (unix_ms == NULL) {
    tavi_py_report(conn->manager);
    return;
  }
  tavi_py_deliver(conn, MG_EV_SNTP_TIME, unix_ms);
  Py_DECREF(unix_ms);
}

/* The connection opens inside the call: on_open attaches the prepared object. */
static PyObject *open_with(struct tavi_py_manager *self, const char *url, PyObject *handler,
                           const struct tavi_sntp_opts *opts) {
  struct tavi_py_connection *conn = tavi_py_connection_new(self->state, handler, 0);
  if (conn == NULL)
    return NULL;
  if (!tavi_py_check_open(self)) { /* asked only now: making the object can run any code */
    Py_DECREF(conn);
    return NULL;
  }

  self->sntp_handlers = (struct tavi_sntp_handlers){.conn = self->handlers.conn, .on_time = on_time};
  conn->manager = self;
  tavi_py_enter(self);
  int err = tavi_sntp_connect(self->c, url, opts, &self->sntp_handlers, conn, NULL);
  if (conn->c.conn == NULL)
    conn->manager = NULL;
  tavi_py_leave(self, conn);
  if (err == TAVI_E_NOMEM)
    PyErr_NoMemory();
  else if (err < 0)
    PyErr_Format(PyExc_RuntimeError, "Failed to connect to '%s': %s", url, tavi_err_text(err));
  if (err < 0 || tavi_py_check_fatal(self) < 0) {
    Py_DECREF(conn);
    return NULL;
  }
  return (PyObject *)conn;
}

const char tavi_py_sntp_connect_doc[] =
"sntp_connect($self, /, url, handler=None, *, timeout_ms=3000, keep_open=False)\n"
"--\n"
"\n"
"Ask a time server: MG_EV_SNTP_TIME tells what time it is there, in milliseconds since 1970-01-01 UTC.\n"
"\n"
"url is sntp://host or udp://host; the port is 123 unless given. The question is sent as soon as the address\n"
"is known, and again when no answer comes for a second. The connection closes after the answer; with keep_open\n"
"it stays for sntp_request(). Answers from others than the server, and such that do not repeat the random\n"
"number of the question, are ignored. MG_EV_ERROR tells that there is no answer within timeout_ms, that the\n"
"server does not want to be asked (RATE, DENY, RSTR), or that it does not know the time itself; then do not\n"
"ask it again soon. The computer's clock is not set.\n"
"\n"
"RuntimeError for an empty url or another scheme, and when the manager is closed. May be called from any\n"
"thread.";

PyObject *tavi_py_sntp_connect(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {
      "sntp_connect", 1, 2, 4, {"url", "handler", "timeout_ms", "keep_open"}};
  struct tavi_py_manager *self = (struct tavi_py_manager *)op;
  PyObject *values[] = {NULL, NULL, NULL, NULL};
  struct tavi_sntp_opts opts;
  struct tavi_py_payload url;
  int64_t timeout_ms;

  tavi_sntp_opts_init(&opts);
  timeout_ms = opts.timeout_ms;
  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0)
    return NULL;
  if (values[2] != NULL && values[2] != Py_None &&
      tavi_py_integer(values[2], "timeout_ms", 1, UINT32_MAX, &timeout_ms) < 0)
    return NULL;
  int keep_open = values[3] ? PyObject_IsTrue(values[3]) : 0;
  if (keep_open < 0 || tavi_py_c_string(values[0], "url", &url) < 0)
    return NULL;

  opts.timeout_ms = (uint32_t)timeout_ms;
  opts.keep_open = keep_open != 0;
  PyObject *result = tavi_py_check_open(self) ? open_with(self, url.data, values[1], &opts) : NULL;
  Py_DECREF(url.owner);
  return result;
}

const char tavi_py_sntp_request_doc[] =
"sntp_request($self, /)\n"
"--\n"
"\n"
"Ask the time server again, on a connection of sntp_connect() with keep_open.\n"
"\n"
"While a question is under way, such as the one that sntp_connect() asks by itself, this is the same question:\n"
"there is one answer. Public servers want to be asked no more often than every 15 seconds.\n"
"\n"
"RuntimeError when closed, and on other connections. May be called from any thread.";

PyObject *tavi_py_sntp_request(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"sntp_request", 0, 0, 0, {NULL}};
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  PyObject *none = NULL;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, &none) < 0)
    return NULL;
  if (!tavi_py_connection_is_open(self))
    return tavi_py_closed_error();

  int err = TAVI_E_STATE;
  if (!(self->flags & TAVI_PY_LISTENER)) {
    struct tavi_py_manager *manager = self->manager;
    tavi_py_enter(manager);
    err = tavi_sntp_request(self->c.conn);
    tavi_py_leave(manager, self);
  }
  if (err == TAVI_E_STATE) {
    PyErr_SetString(PyExc_RuntimeError, "sntp_request() is for connections of sntp_connect()");
    return NULL;
  }
  return tavi_py_result(err, "sntp_request");
}
