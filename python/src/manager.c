/* SPDX-License-Identifier: MIT
 *
 * Manager: one event loop and everything that was made with it.
 *
 * poll() is one turn: POLL events that are due, the library's turn, the log lines it left, Python's pending signals,
 * and whatever a handler raised that must leave the loop. Closing is one thing in three places: close(), __exit__ and
 * the finalizer all end in close_manager(). */
#include "module.h"

#include <stdlib.h>
#include <string.h>

#define RUN_WAIT_MS_MAX 1000 /* a signal that comes right before a wait does not end it, so run() looks that often */
#define LOG_TEXT_MAX (1 << 20) /* bytes of log lines that wait to be printed; more are dropped */

/* ==== log ==== */

/* Runs in the middle of the library: keeps the line, print_log() prints it. */
static void on_log(enum tavi_log_level level, const char *text, void *user) {
  struct tavi_py_manager *self = user;
  size_t len = strlen(text);

  if (self->mute || (long)level > self->state->log_level || self->log_len + len + 1 > LOG_TEXT_MAX)
    return;
  if (self->log_len + len + 1 > self->log_cap) {
    size_t cap = 2 * (self->log_len + len + 1);
    char *grown = PyMem_Realloc(self->log_text, cap);
    if (grown == NULL)
      return;
    self->log_text = grown;
    self->log_cap = cap;
  }
  memcpy(self->log_text + self->log_len, text, len);
  self->log_text[self->log_len + len] = '\n';
  self->log_len += len + 1;
}

static void print_log(struct tavi_py_manager *self) {
  if (self->log_len == 0 || self->mute)
    return;

  PyObject *pending = tavi_py_take_exception();
  PyObject *text = PyUnicode_DecodeUTF8(self->log_text, (Py_ssize_t)self->log_len, "replace");
  self->log_len = 0;
  PyObject *out = PySys_GetObject("stdout"); // borrowed
  if (text != NULL && out != NULL && out != Py_None) {
    Py_INCREF(out);
    PyFile_WriteObject(text, out, Py_PRINT_RAW);
    Py_DECREF(out);
  }
  Py_XDECREF(text);
  PyErr_Clear();
  tavi_py_set_exception(pending);
}

/* ==== the GIL around the wait ==== */

static void before_wait(void *user) {
  ((struct tavi_py_manager *)user)->waiting = PyEval_SaveThread();
}

static void after_wait(void *user) {
  PyEval_RestoreThread(((struct tavi_py_manager *)user)->waiting);
}

/* log_set() is for the whole process; the library is told when it matters next. */
static void sync_log_level(struct tavi_py_manager *self) {
  long level = self->state->log_level;
  tavi_manager_set_log_level(self->c, level > TAVI_LOG_DEBUG ? TAVI_LOG_DEBUG
                                      : level < TAVI_LOG_NONE ? TAVI_LOG_NONE
                                                              : (enum tavi_log_level)level);
}

/* ==== making ==== */

static int parse_backend(PyObject *backend, enum tavi_backend *ret_backend) {
  const char *name;

  if (backend == NULL || backend == Py_None) {
    name = getenv("TAVI_BACKEND");
    if (name == NULL || name[0] == '\0')
      name = "auto";
  } else {
    if (!PyUnicode_Check(backend)) {
      PyErr_Format(PyExc_TypeError, "backend must be a str or None, not %.100s", Py_TYPE(backend)->tp_name);
      return -1;
    }
    name = PyUnicode_AsUTF8(backend);
    if (name == NULL)
      return -1;
  }

  if (strcmp(name, "auto") == 0) {
    *ret_backend = TAVI_BACKEND_AUTO;
  } else if (strcmp(name, "epoll") == 0) {
    *ret_backend = TAVI_BACKEND_EPOLL;
  } else if (strcmp(name, "poll") == 0) {
    *ret_backend = TAVI_BACKEND_POLL;
  } else {
    PyErr_SetString(PyExc_ValueError, "backend (or TAVI_BACKEND) must be 'epoll', 'poll' or 'auto'");
    return -1;
  }
  return 0;
}

static int parse_interest(PyObject *events, uint32_t *ret_interest) {
  uint32_t interest = 0;

  if (events == NULL || events == Py_None) {
    *ret_interest = UINT32_MAX;
    return 0;
  }
  PyObject *iterator = PyObject_GetIter(events);
  if (iterator == NULL)
    return -1;

  PyObject *item;
  while ((item = PyIter_Next(iterator)) != NULL) {
    int64_t event = -1;
    int failed = tavi_py_integer(item, "events", INT64_MIN, INT64_MAX, &event);
    Py_DECREF(item);
    if (failed == 0 && (event < 0 || event > MG_EV_USER)) {
      PyErr_Format(PyExc_ValueError, "events: %lld is no event number", (long long)event);
      failed = -1;
    }
    if (failed < 0) {
      Py_DECREF(iterator);
      return -1;
    }
    interest |= UINT32_C(1) << event;
  }
  Py_DECREF(iterator);
  if (PyErr_Occurred())
    return -1;
  *ret_interest = interest;
  return 0;
}

/* servers: a str or None. timeout_ms: an int or None. */
static int parse_dns(PyObject *servers, PyObject *timeout_ms, struct tavi_manager_opts *opts) {
  int64_t ms = 0;
  if (servers != NULL && servers != Py_None) {
    if (!PyUnicode_Check(servers)) {
      PyErr_Format(PyExc_TypeError, "dns_servers must be a str or None, not %.100s", Py_TYPE(servers)->tp_name);
      return -1;
    }
    opts->dns_servers = PyUnicode_AsUTF8(servers); /* lives as long as the str */
    if (opts->dns_servers == NULL)
      return -1;
  }
  if (timeout_ms == NULL || timeout_ms == Py_None)
    return 0;
  if (tavi_py_integer(timeout_ms, "dns_timeout_ms", 1, UINT32_MAX, &ms) < 0)
    return -1;
  opts->dns_timeout_ms = (uint32_t)ms;
  return 0;
}

static int make_manager(struct tavi_py_manager *self, struct tavi_manager_opts opts) {
  opts.before_wait = before_wait;
  opts.after_wait = after_wait;
  opts.hook_user = self;
  opts.log = on_log;
  opts.log_user = self;

  int err = tavi_manager_new(&opts, &self->c);
  if (err == TAVI_E_NOMEM) {
    PyErr_NoMemory();
    return -1;
  }
  if (err == TAVI_E_ARG) {
    PyErr_SetString(PyExc_ValueError, "dns_servers must be IP addresses, such as '10.0.0.1, [::1]:5353', up to 8");
    return -1;
  }
  if (err < 0) {
    PyErr_Format(PyExc_RuntimeError, "Failed to create a Manager: %s", tavi_err_text(err));
    return -1;
  }
  return 0;
}

static int manager_init(PyObject *op, PyObject *args, PyObject *kwargs) {
  static const char *const names[] = {"handler", "enable_wakeup", "error_handler",  "events",
                                      "backend", "dns_servers",   "dns_timeout_ms", NULL};
  struct tavi_py_manager *self = (struct tavi_py_manager *)op;
  PyObject *handler = NULL, *error_handler = NULL, *events = NULL, *backend_name = NULL;
  PyObject *dns_servers = NULL, *dns_timeout_ms = NULL;
  struct tavi_manager_opts opts;
  int enable_wakeup = 0;
  uint32_t interest;

  tavi_manager_opts_init(&opts);
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OpO$OOOO:Manager", (char **)(uintptr_t)names, &handler,
                                   &enable_wakeup, &error_handler, &events, &backend_name,
                                   &dns_servers, &dns_timeout_ms))
    return -1;
  if (parse_interest(events, &interest) < 0 || parse_backend(backend_name, &opts.backend) < 0 ||
      parse_dns(dns_servers, dns_timeout_ms, &opts) < 0)
    return -1;

  if (self->initialised) {
    PyErr_SetString(PyExc_RuntimeError, "Manager.__init__() was called before");
    return -1;
  }
  if (make_manager(self, opts) < 0)
    return -1;
  self->initialised = true;
  self->handler = tavi_py_none_to_null(handler);
  self->error_handler = tavi_py_none_to_null(error_handler);
  self->wakeup_enabled = enable_wakeup != 0;
  self->interest = interest;
  tavi_py_events_setup(self);
  return 0;
}

static PyObject *manager_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs)) {
  /* The arguments are for __init__, which a subclass may give others. */
  struct tavi_py_state *state = tavi_py_state_of(type);
  if (state == NULL)
    return NULL;

  struct tavi_py_manager *self = (struct tavi_py_manager *)type->tp_alloc(type, 0);
  if (self != NULL)
    self->state = state;
  return (PyObject *)self;
}

bool tavi_py_check_open(const struct tavi_py_manager *self) {
  if (self->c != NULL && !self->closing)
    return true;
  PyErr_SetString(PyExc_RuntimeError,
                  self->initialised ? "Manager has been freed" : "Manager.__init__() was not called");
  return false;
}

/* ==== poll ==== */

static PyObject *raise_fatal(struct tavi_py_manager *self) {
  PyObject *exc = self->fatal;
  self->fatal = NULL;
  tavi_py_set_exception(exc);
  return NULL;
}

static PyObject *poll_once(struct tavi_py_manager *self, int timeout_ms) {
  int err = 0;

  if (self->polling || tavi_py_is_telling(self)) {
    PyErr_SetString(PyExc_RuntimeError, self->polling ? "poll() is not reentrant: this Manager is being polled already"
                                                      : "poll() is not reentrant: this is a handler of the Manager");
    return NULL;
  }
  if (!tavi_py_check_open(self))
    return NULL;

  self->polling = true;
  sync_log_level(self);
  tavi_py_deliver_polls(self);
  if (self->fatal == NULL)
    err = tavi_manager_poll(self->c, timeout_ms);
  print_log(self);
  self->polling = false;

  if (self->fatal != NULL)
    return raise_fatal(self);
  if (PyErr_CheckSignals() < 0)
    return NULL;
  return tavi_py_result(err < 0 ? err : 0, "poll");
}

PyDoc_STRVAR(poll_doc,
"poll($self, /, timeout_ms=0)\n"
"--\n"
"\n"
"One turn of the loop: wait until something is ready, timeout_ms milliseconds at most, and call the handlers.\n"
"\n"
"0 does not wait, a negative number waits without limit. Due timers, wakeups and signals end the wait\n"
"earlier. The GIL is given back during the wait alone. Exceptions of handlers go to error_handler; those that\n"
"are no Exception, such as KeyboardInterrupt, are raised from here after the handler that they came from.\n"
"\n"
"RuntimeError when closed, inside a handler, and while another thread is in poll().");

static PyObject *manager_poll(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"poll", 0, 1, 1, {"timeout_ms"}};
  PyObject *value = NULL;
  int64_t timeout_ms = 0;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, &value) < 0)
    return NULL;
  if (value != NULL && tavi_py_integer(value, "timeout_ms", INT_MIN, INT_MAX, &timeout_ms) < 0)
    return NULL;
  return poll_once((struct tavi_py_manager *)op, (int)timeout_ms);
}

/* ==== listen and connect ==== */

struct opening {
  struct tavi_py_payload url; /* as it was given; a C string */
  PyObject *handler;          // borrowed
  int http;                   /* 1, 0, or -1 for the scheme to decide */
  struct tavi_http_opts opts;
};

static int opening_keyword(struct opening *o, bool listening, PyObject *name, PyObject *value, PyObject **url) {
  if (PyUnicode_CompareWithASCIIString(name, "http") == 0) {
    o->http = value == Py_None ? -1 : PyObject_IsTrue(value);
    return o->http < 0 && value != Py_None ? -1 : 0;
  }

  bool is_url = PyUnicode_CompareWithASCIIString(name, "url") == 0;
  if (is_url || PyUnicode_CompareWithASCIIString(name, "handler") == 0) {
    PyObject **place = is_url ? url : &o->handler;
    if (*place != NULL) {
      PyErr_Format(PyExc_TypeError, "got multiple values for argument '%U'", name);
      return -1;
    }
    *place = value;
    return 0;
  }

  int found = tavi_py_option(name, value, listening, &o->opts);
  if (found == 0)
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", listening ? "listen" : "connect",
                 name);
  return found > 0 ? 0 : -1;
}

/* Read the arguments of both calls. On success the caller drops o->url.owner. */
static int parse_opening(struct opening *o, bool listening, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames) {
  const char *function = listening ? "listen" : "connect";
  PyObject *url = nargs > 0 ? args[0] : NULL;
  Py_ssize_t keywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;

  if (nargs > 2) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most 2 positional arguments (%zd given)", function, nargs);
    return -1;
  }
  o->handler = nargs > 1 ? args[1] : NULL;
  o->http = -1;
  tavi_http_opts_init(&o->opts);
  for (Py_ssize_t i = 0; i < keywords; i++) {
    if (opening_keyword(o, listening, PyTuple_GET_ITEM(kwnames, i), args[nargs + i], &url) < 0)
      return -1;
  }
  if (url == NULL) {
    PyErr_Format(PyExc_TypeError, "%s() missing required argument 'url'", function);
    return -1;
  }
  return tavi_py_c_string(url, "url", &o->url);
}

static void raise_opening(const struct opening *o, bool listening, int err) {
  if (err == TAVI_E_NOMEM)
    PyErr_NoMemory();
  else
    PyErr_Format(PyExc_RuntimeError, "Failed to %s '%s': %s", listening ? "listen on" : "connect to", o->url.data,
                 err == TAVI_E_UNSUPPORTED ? "TLS is not part of this build" : tavi_err_text(err));
}

/* ==== lists of proxies ==== */

/* An option that has no effect on this kind of listener says that a proxy is believed that is not. */
static int check_lists(const struct opening *o, enum tavi_py_use use) {
  if (o->opts.forwarded_from != NULL && use != TAVI_PY_HTTP) {
    PyErr_SetString(PyExc_ValueError, "forwarded_from is for listeners that speak HTTP");
    return -1;
  }
  if (o->opts.listen.proxy_protocol_from != NULL && use == TAVI_PY_UDP) {
    PyErr_SetString(PyExc_ValueError, "proxy_protocol_from is for listeners of TCP and of Unix sockets");
    return -1;
  }
  return 0;
}

/* The library does not tell which argument it refuses, so it is given one list alone, and an address that it refuses
 * for another reason afterwards. */
static bool is_refused(struct tavi_py_manager *self, const char *forwarded_from, const char *proxy_protocol_from) {
  static const char url[] = "http://no.address.invalid:1";
  struct tavi_http_opts opts;
  struct tavi_listener *listener;
  tavi_http_opts_init(&opts);
  opts.forwarded_from = forwarded_from;
  opts.listen.proxy_protocol_from = proxy_protocol_from;
  return tavi_http_listen(self->c, url, &opts, &self->handlers, NULL, &listener) == TAVI_E_ARG;
}

/* Which list is malformed; NULL: none. Called inside tavi_py_enter(). */
static const char *malformed_list(struct tavi_py_manager *self, const struct opening *o) {
  if (is_refused(self, o->opts.forwarded_from, NULL))
    return "forwarded_from";
  return is_refused(self, NULL, o->opts.listen.proxy_protocol_from) ? "proxy_protocol_from" : NULL;
}

/* ==== opening ==== */

static int open_listener(struct tavi_py_manager *self, struct tavi_py_connection *conn, struct opening *o,
                         const char *url, enum tavi_py_use use) {
  struct tavi_listener *listener = NULL;
  int err;

  sync_log_level(self);
  o->opts.listen.handlers = &self->listener_handlers;
  o->opts.listen.listener_user = conn;
  if (use == TAVI_PY_HTTP)
    err = tavi_http_listen(self->c, url, &o->opts, &self->handlers, conn, &listener);
  else
    err = tavi_listen(self->c, url, &o->opts.listen, &self->handlers.conn, conn, &listener);
  if (err < 0)
    return err;

  conn->flags |= TAVI_PY_LISTENER;
  tavi_py_connection_attach(conn, self, listener, tavi_listener_id(listener));
  self->queued |= UINT32_C(1) << MG_EV_OPEN;
  return 0;
}

/* Everything but a listener opens inside the call: on_open attaches the prepared object. */
static int open_connection(struct tavi_py_manager *self, struct tavi_py_connection *conn, struct opening *o,
                           bool listening, const char *url, enum tavi_py_use use) {
  const struct tavi_conn_opts *opts = &o->opts.listen.conn;
  struct tavi_conn *c = NULL;

  conn->manager = self;
  int err;
  if (listening)
    err = tavi_udp_listen(self->c, url, &o->opts.listen, &self->handlers.conn, conn, &c);
  else if (use == TAVI_PY_HTTP)
    err = tavi_http_connect(self->c, url, &o->opts, &self->handlers, conn, &c);
  else
    err = tavi_connect(self->c, url, opts, &self->handlers.conn, conn, &c);
  if (conn->c.conn == NULL)
    conn->manager = NULL;
  return err;
}

/* url: what tavi_py_url() has made. */
static PyObject *open_with(struct tavi_py_manager *self, struct opening *o, bool listening, const char *url,
                           enum tavi_py_use use) {
  struct tavi_py_connection *conn =
      tavi_py_connection_new(self->state, o->handler, listening ? TAVI_PY_LISTENING : 0);
  if (conn == NULL)
    return NULL;
  if (!tavi_py_check_open(self)) { /* asked only now: making the object can run any code */
    Py_DECREF(conn);
    return NULL;
  }

  tavi_py_enter(self);
  int err = listening && use != TAVI_PY_UDP ? open_listener(self, conn, o, url, use)
                                            : open_connection(self, conn, o, listening, url, use);
  const char *malformed = err == TAVI_E_ARG && listening ? malformed_list(self, o) : NULL;
  tavi_py_leave(self, conn);
  if (!self->polling)
    print_log(self);

  if (malformed != NULL)
    PyErr_Format(PyExc_ValueError, "%s must be a list of addresses and networks such as '10.0.0.0/8, ::1, unix'",
                 malformed);
  else if (err < 0)
    raise_opening(o, listening, err);
  if (err < 0 || tavi_py_check_fatal(self) < 0) {
    Py_DECREF(conn);
    return NULL;
  }
  return (PyObject *)conn;
}

static PyObject *open_any(PyObject *op, bool listening, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  struct tavi_py_manager *self = (struct tavi_py_manager *)op;
  struct opening o;
  enum tavi_py_use use;
  char *url = NULL;
  PyObject *result = NULL;

  if (!tavi_py_check_open(self) || parse_opening(&o, listening, args, nargs, kwnames) < 0)
    return NULL;

  int err = tavi_py_url(o.url.data, listening, o.http, &use, &url);
  if (err < 0)
    raise_opening(&o, listening, err);
  else if (check_lists(&o, use) == 0)
    result = open_with(self, &o, listening, url, use);
  PyMem_Free(url);
  Py_DECREF(o.url.owner);
  return result;
}

PyDoc_STRVAR(listen_doc,
"listen($self, /, url, handler=None, *, http=None, reuse_port=None, defer_accept=None, backlog=None, "
"idle_timeout_ms=None, write_timeout_ms=None, recv_bytes_max=None, send_bytes_max=None, send_high_water=None, "
"send_low_water=None, head_bytes_max=None, target_bytes_max=None, header_count_max=None, body_bytes_max=None, "
"head_timeout_ms=None, body_timeout_ms=None, keepalive_timeout_ms=None, proxy_protocol_from=None, "
"forwarded_from=None)\n"
"--\n"
"\n"
"Listen, and return the listener as a Connection.\n"
"\n"
"url is scheme://host:port: http and ws speak HTTP, udp is UDP, all others are raw TCP; http=True or False\n"
"overrides. Also 'unix:/path', 'unix:@name', 'fd://3' and 'fd://systemd'. An empty host is 0.0.0.0, '[::]'\n"
"all addresses of both families. Port 0 lets the system choose, see Connection.local_addr.\n"
"\n"
"handler, when not None, gets the events of the listener and of the connections that it accepts. Options left\n"
"at None have the library's defaults. reuse_port lets several processes share the port; defer_accept accepts\n"
"only when bytes are there; backlog counts connections. The others hold for each accepted connection:\n"
"idle_timeout_ms (default none), write_timeout_ms (60,000), head_timeout_ms and body_timeout_ms (30,000) and\n"
"keepalive_timeout_ms (75,000) are milliseconds, 0 for no limit; recv_bytes_max (3 MiB), send_bytes_max (64\n"
"MiB), send_high_water (1 MiB), send_low_water (256 KiB), head_bytes_max (64 KiB), target_bytes_max (16 KiB)\n"
"and body_bytes_max (16 MiB) are bytes; header_count_max (128) counts headers.\n"
"\n"
"Behind proxies: a list of addresses and networks, such as '10.0.0.0/8, ::1', with 'unix' for all peers on\n"
"Unix sockets. Those of proxy_protocol_from must begin each connection with a PROXY protocol header (version 1\n"
"or 2), and remote_addr is then the client's; of those of forwarded_from, origin() believes the Forwarded and\n"
"X-Forwarded-* headers. At first nobody is believed.\n"
"\n"
"ValueError for such a list that is malformed or without effect (forwarded_from without HTTP, both with UDP),\n"
"RuntimeError 'Failed to listen on ...' with the reason, or when the manager is closed. May be called from\n"
"any thread.");

static PyObject *manager_listen(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  return open_any(op, true, args, nargs, kwnames);
}

PyDoc_STRVAR(connect_doc,
"connect($self, /, url, handler=None, *, http=None, connect_timeout_ms=None, idle_timeout_ms=None, "
"write_timeout_ms=None, recv_bytes_max=None, send_bytes_max=None, send_high_water=None, send_low_water=None, "
"head_bytes_max=None, header_count_max=None, body_bytes_max=None, head_timeout_ms=None, body_timeout_ms=None)\n"
"--\n"
"\n"
"Open a connection and return it at once; MG_EV_CONNECT tells when it is established.\n"
"\n"
"url and http as in listen(). Bytes may be sent at once, they leave when the connection is established. A\n"
"failure is told by MG_EV_ERROR and MG_EV_CLOSE. connect_timeout_ms (default 30,000) limits the time until\n"
"then; the other options are those of listen().\n"
"\n"
"RuntimeError for an empty url, for a scheme that needs TLS, and when the manager is closed. May be called\n"
"from any thread.");

static PyObject *manager_connect(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  return open_any(op, false, args, nargs, kwnames);
}

/* ==== wakeup ==== */

static int connection_id_argument(PyObject *value, uint64_t *ret_id) {
  if (!PyLong_Check(value)) {
    PyErr_Format(PyExc_TypeError, "connection_id must be int, not %.100s", Py_TYPE(value)->tp_name);
    return -1;
  }
  *ret_id = PyLong_AsUnsignedLongLong(value);
  return *ret_id == UINT64_MAX && PyErr_Occurred() ? -1 : 0;
}

PyDoc_STRVAR(wakeup_doc,
"wakeup($self, /, connection_id, data=b'')\n"
"--\n"
"\n"
"Hand bytes to a connection or listener: its handler gets MG_EV_WAKEUP with them, and a waiting poll()\n"
"returns.\n"
"\n"
"May be called from any thread; payloads of one thread arrive in the order in which they were given, of any\n"
"size, and none is lost unless its target closes first. True when accepted; False without enable_wakeup, for\n"
"an id that is not open, and when 64 MiB wait already. To wakeup_id: ends the wait of poll() and does nothing\n"
"else.\n"
"\n"
"TypeError when data is not bytes, OverflowError for an id below 0 or above 64 bits, RuntimeError when\n"
"closed.");

static PyObject *manager_wakeup(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"wakeup", 1, 2, 2, {"connection_id", "data"}};
  struct tavi_py_manager *self = (struct tavi_py_manager *)op;
  PyObject *values[] = {NULL, NULL};
  uint64_t id;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0 || connection_id_argument(values[0], &id) < 0)
    return NULL;
  if (values[1] != NULL && !PyBytes_Check(values[1])) {
    PyErr_Format(PyExc_TypeError, "data must be bytes, not %.100s", Py_TYPE(values[1])->tp_name);
    return NULL;
  }
  if (!tavi_py_check_open(self))
    return NULL;
  if (!self->wakeup_enabled || id == 0)
    Py_RETURN_FALSE;

  int err = values[1] == NULL ? tavi_manager_wakeup(self->c, id, NULL, 0)
                              : tavi_manager_wakeup(self->c, id, PyBytes_AS_STRING(values[1]),
                                                    (size_t)PyBytes_GET_SIZE(values[1]));
  if (err == TAVI_E_NOMEM)
    return PyErr_NoMemory();
  return PyBool_FromLong(err >= 0);
}

/* ==== timers ==== */

PyDoc_STRVAR(timer_add_doc,
"timer_add($self, /, milliseconds, callback, *, repeat=False, run_now=False)\n"
"--\n"
"\n"
"Call callback() after so many milliseconds, inside poll(); with repeat=True every so many, until cancelled.\n"
"\n"
"run_now: the first call is in the next poll(). Periods missed by a stall are left out. The manager keeps the\n"
"timer alive, the returned Timer need not be kept. Exceptions of the callback are treated as those of\n"
"handlers.\n"
"\n"
"OverflowError for a negative time or one above 139 years, RuntimeError when closed. May be called from any\n"
"thread.");

static PyObject *manager_timer_add(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {
      "timer_add", 2, 2, 4, {"milliseconds", "callback", "repeat", "run_now"}};
  struct tavi_py_manager *self = (struct tavi_py_manager *)op;
  PyObject *values[] = {NULL, NULL, NULL, NULL};
  int64_t period_ms;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0 ||
      tavi_py_integer(values[0], "milliseconds", 0, (int64_t)TAVI_TIMER_MS_MAX, &period_ms) < 0)
    return NULL;
  int repeat = values[2] ? PyObject_IsTrue(values[2]) : 0;
  int run_now = values[3] ? PyObject_IsTrue(values[3]) : 0;
  if (repeat < 0 || run_now < 0 || !tavi_py_check_open(self))
    return NULL;

  uint64_t delay_ms = run_now ? 0 : (uint64_t)period_ms;
  uint64_t repeat_ms = !repeat ? 0 : period_ms > 0 ? (uint64_t)period_ms : 1;
  return tavi_py_timer_start(self, delay_ms, repeat_ms, values[1]);
}

/* ==== closing ==== */

/* CLOSE handlers run in here, with the library's manager still whole. */
static void close_manager(struct tavi_py_manager *self) {
  self->closing = true;
  tavi_py_channels_end(self);
  tavi_manager_free(self->c);
  self->c = NULL;
  tavi_py_channels_close(self);
  tavi_py_timers_release(self);
  tavi_py_receiving_release(self);
  print_log(self);
  self->closing = false;
}

PyDoc_STRVAR(close_doc,
"close($self, /)\n"
"--\n"
"\n"
"Close every connection and listener, deliver their MG_EV_CLOSE, end all timers. A second call does nothing.\n"
"\n"
"RuntimeError inside a handler and while any thread is in poll().");

static PyObject *manager_close(PyObject *op, PyObject *Py_UNUSED(ignored)) {
  struct tavi_py_manager *self = (struct tavi_py_manager *)op;

  if (self->c == NULL || self->closing)
    Py_RETURN_NONE;
  if (self->polling || tavi_py_is_telling(self)) {
    PyErr_SetString(PyExc_RuntimeError,
                    "Cannot close Manager while poll() is active or inside a handler; close it afterwards");
    return NULL;
  }
  close_manager(self);
  if (self->fatal != NULL)
    return raise_fatal(self);
  Py_RETURN_NONE;
}

PyDoc_STRVAR(enter_doc,
"__enter__($self, /)\n"
"--\n"
"\n"
"The manager itself.");

static PyObject *manager_enter(PyObject *op, PyObject *Py_UNUSED(ignored)) {
  Py_INCREF(op);
  return op;
}

PyDoc_STRVAR(exit_doc,
"__exit__($self, /, *exc_info)\n"
"--\n"
"\n"
"close(). Exceptions propagate.");

static PyObject *manager_exit(PyObject *op, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs)) {
  PyObject *result = PyObject_CallMethod(op, "close", NULL); /* a subclass may have its own */
  if (result == NULL)
    return NULL;
  Py_DECREF(result);
  Py_RETURN_FALSE;
}

/* ==== run ==== */

static const char *const run_signals[] = {"SIGINT", "SIGTERM"};
enum { RUN_SIGNALS = 2 };

static PyObject *on_run_signal(PyObject *op, PyObject *Py_UNUSED(args)) {
  ((struct tavi_py_manager *)op)->stop = true;
  Py_RETURN_NONE;
}

static PyMethodDef on_run_signal_def = {"stop", on_run_signal, METH_VARARGS, NULL};

/* signal.signal(name, handler): the previous handler, or NULL with an exception set. */
static PyObject *set_signal(PyObject *signal, const char *name, PyObject *handler) {
  PyObject *number = PyObject_GetAttrString(signal, name);
  if (number == NULL)
    return NULL;
  PyObject *previous = PyObject_CallMethod(signal, "signal", "OO", number, handler);
  Py_DECREF(number);
  return previous;
}

/* None stands for a handler that was not set by Python and cannot be set again. Keeps the current exception. */
static void restore_signals(PyObject *signal, PyObject *previous[RUN_SIGNALS]) {
  PyObject *pending = tavi_py_take_exception();
  for (int i = 0; i < RUN_SIGNALS; i++) {
    if (previous[i] != NULL && previous[i] != Py_None) {
      PyObject *ours = set_signal(signal, run_signals[i], previous[i]);
      if (ours == NULL)
        PyErr_WriteUnraisable(previous[i]);
      Py_XDECREF(ours);
    }
    Py_XDECREF(previous[i]);
  }
  tavi_py_set_exception(pending);
}

static int run_loop(struct tavi_py_manager *self, int poll_ms) {
  if (poll_ms < 0 || poll_ms > RUN_WAIT_MS_MAX)
    poll_ms = RUN_WAIT_MS_MAX;
  bool is_plain = Py_TYPE(self) == self->state->manager_type;

  while (!self->stop && self->c != NULL) {
    PyObject *result =
        is_plain ? poll_once(self, poll_ms) : PyObject_CallMethod((PyObject *)self, "poll", "i", poll_ms);
    if (result == NULL)
      return -1;
    Py_DECREF(result);
  }
  return 0;
}

/* close(), keeping the current exception. Returns -1 when there is one then. */
static int close_after_run(struct tavi_py_manager *self) {
  PyObject *pending = tavi_py_take_exception();
  PyObject *result = PyObject_CallMethod((PyObject *)self, "close", NULL);
  if (pending != NULL) {
    if (result == NULL)
      PyErr_WriteUnraisable((PyObject *)self);
    tavi_py_set_exception(pending);
  }
  Py_XDECREF(result);
  return PyErr_Occurred() ? -1 : 0;
}

PyDoc_STRVAR(run_doc,
"run($self, /, poll_ms=100)\n"
"--\n"
"\n"
"Poll until SIGINT or SIGTERM arrives, then close the manager.\n"
"\n"
"Both signals have their previous handlers again afterwards. poll_ms is how long one wait may take.\n"
"ValueError outside of the main thread (the manager stays open), RuntimeError when closed.");

static PyObject *manager_run(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"run", 0, 1, 1, {"poll_ms"}};
  struct tavi_py_manager *self = (struct tavi_py_manager *)op;
  PyObject *value = NULL, *previous[RUN_SIGNALS] = {NULL, NULL};
  int64_t poll_ms = 100;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, &value) < 0)
    return NULL;
  if (value != NULL && tavi_py_integer(value, "poll_ms", INT_MIN, INT_MAX, &poll_ms) < 0)
    return NULL;
  if (!tavi_py_check_open(self))
    return NULL;
  PyObject *signal = PyImport_ImportModule("signal");
  PyObject *handler = signal ? PyCFunction_New(&on_run_signal_def, op) : NULL;
  if (handler == NULL) {
    Py_XDECREF(signal);
    return NULL;
  }

  self->stop = false;
  bool installed = true;
  for (int i = 0; i < RUN_SIGNALS && installed; i++) {
    previous[i] = set_signal(signal, run_signals[i], handler);
    installed = previous[i] != NULL;
  }
  if (installed)
    run_loop(self, (int)poll_ms);
  restore_signals(signal, previous);
  Py_DECREF(handler);
  Py_DECREF(signal);
  if (!installed || close_after_run(self) < 0)
    return NULL;
  Py_RETURN_NONE;
}

/* ==== the rest ==== */

PyDoc_STRVAR(fileno_doc,
"fileno($self, /)\n"
"--\n"
"\n"
"A descriptor that is readable whenever poll(0) has something to do, for use in another event loop.\n"
"\n"
"It belongs to the manager: do not read, write or close it. MG_EV_POLL does not make it readable.\n"
"io.UnsupportedOperation with the 'poll' back end, OSError when descriptors have run out, RuntimeError when\n"
"closed.");

static PyObject *raise_unsupported(void) {
  PyObject *io = PyImport_ImportModule("io");
  PyObject *type = io ? PyObject_GetAttrString(io, "UnsupportedOperation") : NULL;
  if (type != NULL)
    PyErr_SetString(type, "the 'poll' back end has no descriptor of its own");
  Py_XDECREF(io);
  Py_XDECREF(type);
  return NULL;
}

static PyObject *manager_fileno(PyObject *op, PyObject *Py_UNUSED(ignored)) {
  struct tavi_py_manager *self = (struct tavi_py_manager *)op;
  int fd;

  if (!tavi_py_check_open(self))
    return NULL;

  int err = tavi_manager_fd(self->c, &fd);
  if (err == TAVI_E_UNSUPPORTED)
    return raise_unsupported();
  if (err < 0) {
    PyErr_SetString(PyExc_OSError, tavi_err_text(err));
    return NULL;
  }
  return PyLong_FromLong(fd);
}

static PyObject *manager_connections(PyObject *op, void *Py_UNUSED(closure)) {
  struct tavi_py_manager *self = (struct tavi_py_manager *)op;
  PyObject *list = PyList_New(0); /* the last garbage collected object before the walk: no code runs in it */
  if (list == NULL)
    return NULL;

  for (struct tavi_py_connection *conn = self->first; conn != NULL; conn = conn->next) {
    if (tavi_py_connection_is_open(conn) && PyList_Append(list, (PyObject *)conn) < 0) {
      Py_DECREF(list);
      return NULL;
    }
  }
  PyObject *result = PyList_AsTuple(list);
  Py_DECREF(list);
  return result;
}

static PyObject *manager_wakeup_id(PyObject *op, void *Py_UNUSED(closure)) {
  struct tavi_py_manager *self = (struct tavi_py_manager *)op;
  return PyLong_FromUnsignedLongLong(self->wakeup_enabled ? TAVI_ID_MANAGER : 0);
}

/* ==== type ==== */

static int manager_traverse(PyObject *op, visitproc visit, void *arg) {
  struct tavi_py_manager *self = (struct tavi_py_manager *)op;
  Py_VISIT(Py_TYPE(op));
  Py_VISIT(self->handler);
  Py_VISIT(self->error_handler);
  Py_VISIT(self->fatal);
  for (struct tavi_py_connection *conn = self->first; conn != NULL; conn = conn->next)
    Py_VISIT(conn);
  for (struct tavi_py_timer *timer = self->timers; timer != NULL; timer = timer->next)
    Py_VISIT(timer);
  return tavi_py_receiving_traverse(self, visit, arg);
}

static int manager_clear(PyObject *op) {
  struct tavi_py_manager *self = (struct tavi_py_manager *)op;
  self->mute = true;
  Py_CLEAR(self->handler);
  Py_CLEAR(self->error_handler);
  Py_CLEAR(self->fatal);
  Py_CLEAR(self->queued_error);
  return 0;
}

/* A manager that nobody holds any more is closed, with its events; poll() holds the one it runs for. */
static void manager_finalize(PyObject *op) {
  struct tavi_py_manager *self = (struct tavi_py_manager *)op;
  if (self->c == NULL || self->polling || self->closing)
    return;

  PyObject *pending = tavi_py_take_exception();
  close_manager(self);
  if (self->fatal != NULL) {
    raise_fatal(self);
    PyErr_WriteUnraisable(op);
  }
  tavi_py_set_exception(pending);
}

static void manager_dealloc(PyObject *op) {
  struct tavi_py_manager *self = (struct tavi_py_manager *)op;
  PyTypeObject *type = Py_TYPE(op);

  /* When the collector has called __del__, it may have cleared the handlers, and freed the module's state, already. */
  bool is_late = PyObject_GC_IsFinalized(op) != 0;
  if (PyObject_CallFinalizerFromDealloc(op) < 0)
    return; /* a CLOSE handler has kept the manager */
  self->mute = self->mute || is_late;
  if (self->c != NULL) { /* a subclass has a __del__ of its own, which stands in the place of manager_finalize() */
    Py_SET_REFCNT(op, 1);
    manager_finalize(op);
    Py_SET_REFCNT(op, Py_REFCNT(op) - 1);
    if (Py_REFCNT(op) > 0)
      return;
  }
  PyObject_GC_UnTrack(op);
  manager_clear(op);
  PyMem_Free(self->log_text);
  type->tp_free(op);
  Py_DECREF(type);
}

static PyMethodDef manager_methods[] = {
    {"__reduce__", tavi_py_no_pickle, METH_NOARGS, NULL},
    {"poll", TAVI_PY_FASTCALL(manager_poll), poll_doc},
    {"listen", TAVI_PY_FASTCALL(manager_listen), listen_doc},
    {"connect", TAVI_PY_FASTCALL(manager_connect), connect_doc},
    TAVI_PY_ENTRY(sntp_connect),
    {"wakeup", TAVI_PY_FASTCALL(manager_wakeup), wakeup_doc},
    {"timer_add", TAVI_PY_FASTCALL(manager_timer_add), timer_add_doc},
    TAVI_PY_ENTRY(event_channel),
    {"run", TAVI_PY_FASTCALL(manager_run), run_doc},
    {"fileno", manager_fileno, METH_NOARGS, fileno_doc},
    {"close", manager_close, METH_NOARGS, close_doc},
    {"__enter__", manager_enter, METH_NOARGS, enter_doc},
    {"__exit__", (PyCFunction)(void (*)(void))manager_exit, METH_FASTCALL, exit_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(connections_doc,
             "The open connections and listeners, as a tuple in the order in which they were made; a snapshot.");
PyDoc_STRVAR(wakeup_id_doc, "The id for a wakeup() that only ends the wait of poll(); 0 without enable_wakeup.");

static PyGetSetDef manager_getset[] = {
    {"connections", manager_connections, NULL, connections_doc, NULL},
    {"wakeup_id", manager_wakeup_id, NULL, wakeup_id_doc, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(manager_doc,
"Manager(handler=None, enable_wakeup=False, error_handler=None, *, events=None, backend=None, "
"dns_servers=None, dns_timeout_ms=5000)\n"
"--\n"
"\n"
"An event loop with its listeners, connections and timers.\n"
"\n"
"handler(conn, ev, data) gets the events of connections that have no handler of their own. enable_wakeup\n"
"allows wakeup(). error_handler(exc) gets the exceptions of handlers and timers, instead of a traceback on\n"
"sys.stderr. events, an iterable of event numbers, narrows what is delivered; None means all. backend is\n"
"'epoll' or 'poll'; None takes the environment's TAVI_BACKEND, otherwise the best one. dns_servers, such as\n"
"'10.0.0.1, [::1]:5353', are asked for names in place of those of the system's configuration, for\n"
"dns_timeout_ms per name at most.\n"
"\n"
"Handlers and timers run on the thread that calls poll(). Everything may be called from any thread while it\n"
"does, except poll() and close(). A manager that is dropped without close() closes when it is collected.");

static PyType_Slot manager_slots[] = {
    {Py_tp_doc, (void *)manager_doc},
    {Py_tp_new, (void *)manager_new},
    {Py_tp_init, (void *)manager_init},
    {Py_tp_traverse, (void *)manager_traverse},
    {Py_tp_clear, (void *)manager_clear},
    {Py_tp_finalize, (void *)manager_finalize},
    {Py_tp_dealloc, (void *)manager_dealloc},
    {Py_tp_methods, manager_methods},
    {Py_tp_getset, manager_getset},
    {0, NULL},
};

static PyType_Spec manager_spec = {
    .name = "cymongoose.Manager",
    .basicsize = sizeof(struct tavi_py_manager),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = manager_slots,
};

int tavi_py_manager_setup(PyObject *module, struct tavi_py_state *state) {
  state->manager_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &manager_spec, NULL);
  if (state->manager_type == NULL)
    return -1;
  return PyModule_AddType(module, state->manager_type);
}
