/* SPDX-License-Identifier: MIT
 *
 * What the files of the extension module share: the state of one module, the structs of its objects, and the functions
 * that one file offers the others. The module knows the library by its public headers alone.
 *
 * Lifetimes, in six sentences:
 *  1. A Manager object owns one tavi_manager, from __init__ to close() or to its own end.
 *  2. A Manager holds one strong reference to the Connection object of every open connection and listener, from its
 *     opening until its CLOSE event has been delivered, and one to every running Timer.
 *  3. Connection and Timer point back at their Manager without a reference; the pointer is NULL once they are closed.
 *  4. An HttpMessage, a Form and its parts are valid while the handler runs that they were made for.
 *  5. An EventChannel owns its tavi_sse_channel until close(), its own end or that of its Manager, to which it points
 *     back without a reference.
 *  6. The module state lives as long as any of its types, and so as long as any of these objects; but once the
 *     collector clears its garbage, any part of that may have lost the others: see `mute` of a Manager.
 *
 * Threads: everything here runs with the GIL held; it is given back around the library's wait alone. Any call into
 * Python, and any creation of a garbage collected object, may let another thread in. Therefore arguments are
 * converted first, the C pointer of an object is looked at afterwards, and nothing borrowed from the library is kept
 * across a call into Python. */
#ifndef TAVI_PY_MODULE_H
#define TAVI_PY_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

#include "tavi/conn.h"
#include "tavi/http.h"
#include "tavi/http_sse.h"
#include "tavi/manager.h"
#include "tavi/sntp.h"
#include "tavi/timer.h"

/* ==== numbers of the Python interface ==== */

enum tavi_py_event {
  MG_EV_ERROR = 0,
  MG_EV_OPEN = 1,
  MG_EV_POLL = 2,
  MG_EV_RESOLVE = 3,
  MG_EV_CONNECT = 4,
  MG_EV_ACCEPT = 5,
  MG_EV_TLS_HS = 6,
  MG_EV_READ = 7,
  MG_EV_WRITE = 8,
  MG_EV_CLOSE = 9,
  MG_EV_HTTP_HDRS = 10,
  MG_EV_HTTP_MSG = 11,
  MG_EV_WS_OPEN = 12,
  MG_EV_WS_MSG = 13,
  MG_EV_WS_CTL = 14,
  MG_EV_MQTT_CMD = 15,
  MG_EV_MQTT_MSG = 16,
  MG_EV_MQTT_OPEN = 17,
  MG_EV_SNTP_TIME = 18,
  MG_EV_WAKEUP = 19,
  MG_EV_USER = 22
};

/* ==== the module ==== */

struct tavi_py_message;

struct tavi_py_state {
  PyTypeObject *manager_type;
  PyTypeObject *connection_type;
  PyTypeObject *http_message_type;
  PyTypeObject *timer_type;
  PyTypeObject *event_channel_type;
  PyTypeObject *form_type;
  PyTypeObject *form_part_type;
  PyTypeObject *origin_type;
  PyObject *event_numbers[MG_EV_USER + 1]; /* the ints that handlers get; NULL at 20 and 21 */
  PyObject *json_dumps;                    /* json.dumps, from the first reply_json() on */
  struct tavi_py_message *free_messages;   /* memory of dead HttpMessages; holds no references */
  unsigned free_message_count;
  long log_level;                          /* of log_set() */
  PyTypeObject *rpc_type;
  PyTypeObject *rpc_req_type;
};

extern struct PyModuleDef tavi_py_module;

/* The state of the module that made `type`, which may be a Python subclass. NULL with an exception set. */
struct tavi_py_state *tavi_py_state_of(PyTypeObject *type);

int tavi_py_constants_setup(PyObject *module);
int tavi_py_manager_setup(PyObject *module, struct tavi_py_state *state);
int tavi_py_connection_setup(PyObject *module, struct tavi_py_state *state);
int tavi_py_http_message_setup(PyObject *module, struct tavi_py_state *state);
int tavi_py_timer_setup(PyObject *module, struct tavi_py_state *state);
int tavi_py_event_channel_setup(PyObject *module, struct tavi_py_state *state);
int tavi_py_form_setup(PyObject *module, struct tavi_py_state *state);
int tavi_py_origin_setup(PyObject *module, struct tavi_py_state *state);

extern PyMethodDef tavi_py_functions[];

/* A method or function that is not in the file of its type, with its docstring; and its line in the type's table. */
#define TAVI_PY_ELSEWHERE(name)                                                                                \
  PyObject *tavi_py_##name(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);          \
  extern const char tavi_py_##name##_doc[]
#define TAVI_PY_ENTRY(name) {#name, TAVI_PY_FASTCALL(tavi_py_##name), tavi_py_##name##_doc}

/* ==== objects ==== */

struct tavi_py_connection;
struct tavi_py_names;
struct tavi_py_timer;
struct tavi_py_event_channel;
struct tavi_py_receiving;

struct tavi_py_manager {
  PyObject_HEAD
  struct tavi_manager *c;                /* owned; NULL before __init__ and after close() */
  struct tavi_py_state *state;           /* borrowed from the type */
  PyObject *handler;                     /* the default handler; NULL for None */
  PyObject *error_handler;               /* NULL for None */
  PyObject *fatal;                       /* a KeyboardInterrupt or the like that poll() is to raise; or NULL */
  struct tavi_py_connection *first;      /* the open connections in creation order, one reference each */
  struct tavi_py_connection *last;
  struct tavi_py_connection *unpolled;   /* borrowed: the first of them that has not had its first POLL; or NULL */
  struct tavi_py_timer *timers;          /* the running timers, one reference each */
  struct tavi_py_event_channel *channels; /* borrowed: those that are not closed */
  struct tavi_py_receiving *receiving;   /* the forms that are being received; owned */
  PyThreadState *waiting;                /* of the polling thread while it waits without the GIL */
  uint64_t sweep_ms;                     /* when the next POLL sweep is due, on the clock of tavi_millis() */
  uint32_t interest;                     /* bit n: event n is delivered */
  uint32_t queued;                       /* bit n: event n came inside a call; see tavi_py_enter() */
  PyObject *queued_error;                /* the text that goes with ERROR there; or NULL */
  char *log_text;                        /* whole lines that wait to be printed */
  size_t log_len, log_cap;
  bool initialised;                      /* __init__ has succeeded once */
  bool wakeup_enabled;
  struct tavi_py_teller *tellers;        /* threads in a handler that runs outside of poll() */
  bool polling;                          /* inside poll() */
  bool closing;                          /* inside close() */
  bool calling;                          /* inside a call of the library other than poll and free */
  bool stop;                             /* a signal asks run() to end */
  bool mute;                             /* the collector has been at work: nothing of Python's is called any more */
  struct tavi_http_handlers handlers;    /* of every connection: the events that somebody wants */
  struct tavi_listener_handlers listener_handlers;
  struct tavi_sntp_handlers sntp_handlers; /* of connections to time servers */
};

enum {
  TAVI_PY_LISTENING = 1 << 0, /* made by listen() */
  TAVI_PY_LISTENER = 1 << 1,  /* `c` holds a listener; UDP listens with a connection */
  TAVI_PY_CLOSING = 1 << 2,   /* close() was called */
  TAVI_PY_REPORTING = 1 << 3, /* ERROR or CLOSE is being told: the properties can still be read */
  TAVI_PY_FAILED = 1 << 4     /* ERROR came inside a call for many connections and has not been told yet */
};

struct tavi_py_connection {
  PyObject_HEAD
  union {
    struct tavi_conn *conn;
    struct tavi_listener *listener;
  } c;                              /* borrowed from the manager; NULL when closed */
  struct tavi_py_manager *manager;  /* borrowed; NULL exactly when c is */
  struct tavi_py_connection *prev, *next; /* in manager->first */
  PyObject *handler;                /* NULL for None: the manager's is used */
  PyObject *userdata;               /* NULL for None */
  struct tavi_py_names *names;      /* of resolve(); NULL before its first call */
  uint64_t id;                      /* 0 for one that never was open */
  unsigned flags;                   /* TAVI_PY_... */
};

struct tavi_py_message {
  PyObject_HEAD
  const struct tavi_http_msg *msg;  /* borrowed from the library for one handler call; NULL afterwards */
  union {
    struct tavi_py_state *state;       /* NULL when made by Python code */
    struct tavi_py_message *next_free; /* in state->free_messages */
  } u;
};

struct tavi_py_timer {
  PyObject_HEAD
  struct tavi_timer *c;             /* owned by the manager; NULL when not running */
  struct tavi_py_manager *manager;  /* borrowed; NULL exactly when not running */
  struct tavi_py_timer *prev, *next; /* in manager->timers */
  PyObject *callback;               /* NULL when not running */
  bool repeats;
};

/* ==== connection.c ==== */

/* A Connection object that is not open yet. New reference. handler: borrowed, NULL or None for none. */
struct tavi_py_connection *tavi_py_connection_new(struct tavi_py_state *state, PyObject *handler, unsigned flags);

/* Tie the object to what the library has opened; the manager takes a reference. */
void tavi_py_connection_attach(struct tavi_py_connection *self, struct tavi_py_manager *manager, void *c, uint64_t id);

/* The opposite, after CLOSE; drops the manager's reference, perhaps the last one. */
void tavi_py_connection_detach(struct tavi_py_connection *self);

/* Neither closed nor about to be. */
bool tavi_py_connection_is_open(const struct tavi_py_connection *self);

/* Raise "Connection has been closed". Returns NULL. */
PyObject *tavi_py_closed_error(void);

/* None for 0, otherwise the exception for a failed call on a connection. `what` is what was tried: "reply". */
PyObject *tavi_py_result(int err, const char *what);

/* ==== answer.c: the methods of Connection that write HTTP ==== */

TAVI_PY_ELSEWHERE(reply);
TAVI_PY_ELSEWHERE(reply_json);
TAVI_PY_ELSEWHERE(compress);
TAVI_PY_ELSEWHERE(http_chunk);
TAVI_PY_ELSEWHERE(http_sse_begin);

/* None for 0, otherwise the exception for a call that was to begin an answer. */
PyObject *tavi_py_answer_result(int err);

/* The same for a call that was to send a piece of one. */
PyObject *tavi_py_stream_result(int err, const char *what);

/* ==== files.c: more of them ==== */

TAVI_PY_ELSEWHERE(serve_dir);
TAVI_PY_ELSEWHERE(serve_file);

/* ==== sse.c: events, and EventChannel ==== */

TAVI_PY_ELSEWHERE(http_sse);
TAVI_PY_ELSEWHERE(event_channel); /* of Manager */

/* The channels of a manager that is about to close send to nobody any more; of one that has closed, they are closed. */
void tavi_py_channels_end(struct tavi_py_manager *manager);
void tavi_py_channels_close(struct tavi_py_manager *manager);

/* ==== form.c: Form, FormPart, and forms in memory ==== */

TAVI_PY_ELSEWHERE(receive_form);
TAVI_PY_ELSEWHERE(http_parse_multipart);
TAVI_PY_ELSEWHERE(http_var);

/* For the manager's traverse and its end. */
int tavi_py_receiving_traverse(struct tavi_py_manager *manager, visitproc visit, void *arg);
void tavi_py_receiving_release(struct tavi_py_manager *manager);

/* The value of a form's field, decoded. ValueError: a bad percent escape. */
PyObject *tavi_py_decode_form_value(struct tavi_slice value);

/* ==== auth.c: credentials, cookies, and who asks ==== */

TAVI_PY_ELSEWHERE(http_basic_auth); /* of Connection */
TAVI_PY_ELSEWHERE(http_challenge);
TAVI_PY_ELSEWHERE(origin);
TAVI_PY_ELSEWHERE(cookie); /* of HttpMessage */
TAVI_PY_ELSEWHERE(cookies);
TAVI_PY_ELSEWHERE(basic_auth);
TAVI_PY_ELSEWHERE(bearer_token);
TAVI_PY_ELSEWHERE(is_user);
TAVI_PY_ELSEWHERE(is_bearer);
TAVI_PY_ELSEWHERE(http_cookie); /* of the module */

/* ==== manager.c ==== */

/* Returns false with an exception set when the manager cannot be used. */
bool tavi_py_check_open(const struct tavi_py_manager *manager);

/* ==== resolve.c: the methods of Connection that are about names ==== */

PyObject *tavi_py_resolve(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *tavi_py_resolve_cancel(PyObject *op, PyObject *unused);
PyObject *tavi_py_resolved(PyObject *op, void *closure);

/* The first address that resolve() has found; false: none. */
bool tavi_py_resolved_first(const struct tavi_py_connection *self, struct tavi_addr *ret_addr);

/* After CLOSE: end what is under way. */
void tavi_py_names_free(struct tavi_py_connection *self);

/* ==== sntp.c and udp.c ==== */

TAVI_PY_ELSEWHERE(sntp_connect); /* of Manager */
TAVI_PY_ELSEWHERE(sntp_request);
TAVI_PY_ELSEWHERE(send_to);
TAVI_PY_ELSEWHERE(join_group);
TAVI_PY_ELSEWHERE(leave_group);
TAVI_PY_ELSEWHERE(set_multicast);
TAVI_PY_ELSEWHERE(set_broadcast);

/* ==== http_message.c ==== */

/* The message that a method of Connection got as its argument; borrowed. NULL with an exception set: it is no
 * HttpMessage (TypeError), or its handler has returned (ValueError). Ask after everything that can run Python code. */
const struct tavi_http_msg *tavi_py_message_argument(PyObject *conn, PyObject *message);

/* A view of msg; new reference. The caller sets its msg to NULL before msg dies. */
struct tavi_py_message *tavi_py_message_new(struct tavi_py_state *state, const struct tavi_http_msg *msg);

/* Give the memory of dead views back. */
void tavi_py_messages_free(struct tavi_py_state *state);

/* ==== timer.c ==== */

/* Start a timer. New reference, besides the manager's own. */
PyObject *tavi_py_timer_start(struct tavi_py_manager *manager, uint64_t delay_ms, uint64_t period_ms,
                              PyObject *callback);

/* Forget all timers of a manager whose tavi_manager is gone. */
void tavi_py_timers_release(struct tavi_py_manager *manager);

/* ==== event.c ==== */

/* Fill the manager's handler tables with the events of manager->interest. */
void tavi_py_events_setup(struct tavi_py_manager *manager);

/* Call the handler of a connection, if it has one and the event is wanted. data: borrowed. */
void tavi_py_deliver(struct tavi_py_connection *conn, enum tavi_py_event ev, PyObject *data);

/* Deliver POLL where it is due: new connections at once, all of them at least TAVI_PY_SWEEP_MS apart. */
void tavi_py_deliver_polls(struct tavi_py_manager *manager);
#define TAVI_PY_SWEEP_MS 100

/* Around a call into the library that may call back before it returns. No Python code runs in between: the events are
 * noted, and tavi_py_leave() delivers them to `conn` (NULL, after a call for many: ERROR, to each that failed). So the
 * library is never left in the middle of a call while another thread, or a handler that closes the manager, changes
 * what that call is working on. */
static inline void tavi_py_enter(struct tavi_py_manager *manager) {
  manager->calling = true;
}
void tavi_py_flush_queued(struct tavi_py_manager *manager, struct tavi_py_connection *conn);
static inline void tavi_py_leave(struct tavi_py_manager *manager, struct tavi_py_connection *conn) {
  manager->calling = false;
  if (manager->queued)
    tavi_py_flush_queued(manager, conn);
}

/* True when this thread is in a handler that listen(), connect() or another call outside of poll() has called. */
bool tavi_py_is_telling(const struct tavi_py_manager *manager);

/* Deal with the exception that a handler has left: error_handler, or the traceback on stderr; what is not an Exception
 * is kept for poll() to raise. Afterwards no exception is set. */
void tavi_py_report(struct tavi_py_manager *manager);

/* Raise what tavi_py_report() has kept, when poll() is not there to do it. Returns 0 or -1 with an exception set. */
int tavi_py_check_fatal(struct tavi_py_manager *manager);

/* The current exception, taken away, with its traceback; and the way back. New reference; taken. */
PyObject *tavi_py_take_exception(void);
void tavi_py_set_exception(PyObject *exc);

/* ==== url.c ==== */

enum tavi_py_use { TAVI_PY_RAW, TAVI_PY_HTTP, TAVI_PY_UDP };

/* What a URL of the Python interface means to the library: the URL without the scheme names that it does not know, and
 * the kind of connection. http: 1, 0, or -1 to go by the scheme.
 * Returns: 0 and the new URL, to be freed with PyMem_Free(); TAVI_E_NOMEM; TAVI_E_UNSUPPORTED when it asks for TLS. */
int tavi_py_url(const char *url, bool listening, int http, enum tavi_py_use *ret_use, char **ret_url);

/* ==== options.c ==== */

/* Read one keyword argument of listen() or connect() that is an option of the library into opts.
 * Returns 1 when it was one, 0 when there is no such option, -1 with an exception set. */
int tavi_py_option(PyObject *name, PyObject *value, bool listening, struct tavi_http_opts *opts);

/* ==== json.c, text.c, hash.c, rpc.c: functions over text and bytes, and Rpc ==== */

int tavi_py_json_setup(PyObject *module);
int tavi_py_text_setup(PyObject *module);
int tavi_py_hash_setup(PyObject *module);
int tavi_py_rpc_setup(PyObject *module, struct tavi_py_state *state);

struct tavi_py_payload;

/* As tavi_match(); the captures are to be freed with PyMem_Free(), or not wanted (NULL). Ask PyErr_Occurred(). */
int64_t tavi_py_match(struct tavi_slice text, struct tavi_slice pattern, struct tavi_slice **ret_captures);

/* ==== convert.c: the argument rules ==== */

/* Bytes of a Python object: owner is a new reference that keeps them; it is an exact bytes or str. */
struct tavi_py_payload {
  PyObject *owner;
  const char *data;
  size_t len;
};

int tavi_py_payload_slow(PyObject *obj, struct tavi_py_payload *ret_payload);

/* str as UTF-8, or anything that bytes() takes apart from an int. Returns 0 or -1 with an exception set. */
static inline int tavi_py_payload(PyObject *obj, struct tavi_py_payload *ret_payload) {
  if (PyBytes_CheckExact(obj)) {
    ret_payload->data = PyBytes_AS_STRING(obj);
    ret_payload->len = (size_t)PyBytes_GET_SIZE(obj);
  } else if (PyUnicode_CheckExact(obj) && PyUnicode_IS_COMPACT_ASCII(obj)) {
    ret_payload->data = (const char *)PyUnicode_1BYTE_DATA(obj);
    ret_payload->len = (size_t)PyUnicode_GET_LENGTH(obj);
  } else {
    return tavi_py_payload_slow(obj, ret_payload);
  }
  Py_INCREF(obj);
  ret_payload->owner = obj;
  return 0;
}

/* From this size on send() and reply() hand the owner of a payload to the library instead of copying it; this is the
 * release function that goes with it. */
#define TAVI_PY_FOREIGN_BYTES_MIN 65536
void tavi_py_release(void *owner);

/* __reduce__ of all types: what they stand for cannot be copied. */
PyObject *tavi_py_no_pickle(PyObject *self, PyObject *unused);

/* A str as UTF-8, anything else is a TypeError that names the argument. */
int tavi_py_text(PyObject *obj, const char *argument, struct tavi_py_payload *ret_text);

/* A payload that may have come from the network: as tavi_py_payload(), but the surrogates of a str that stand for bytes
 * (as tavi_py_decode() makes them) become these bytes again. */
int tavi_py_received(PyObject *obj, struct tavi_py_payload *ret_payload);

/* The same for a str alone, such as what is looked up or compared. */
int tavi_py_received_text(PyObject *obj, const char *argument, struct tavi_py_payload *ret_text);

/* tavi_py_text() without NUL inside (ValueError), so that data is a C string. */
int tavi_py_c_string(PyObject *obj, const char *argument, struct tavi_py_payload *ret_text);

/* A path: str or os.PathLike, as os.fsencode() has it, without NUL (ValueError); data is a C string. */
int tavi_py_path(PyObject *obj, const char *argument, struct tavi_py_payload *ret_path);

/* An int (a float is cut) from min to max; outside: OverflowError. */
int tavi_py_integer(PyObject *obj, const char *argument, int64_t min, int64_t max, int64_t *ret_value);

/* The parameters of a method: the first `required` must be given, the first `positional` may be so by position. */
#define TAVI_PY_PARAMETERS_MAX 12
struct tavi_py_signature {
  const char *function;
  Py_ssize_t required, positional, total;
  const char *names[TAVI_PY_PARAMETERS_MAX];
};

/* Sort the arguments of a vectorcall; what is not given stays as it was. values: borrowed. */
int tavi_py_arguments(const struct tavi_py_signature *signature, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames, PyObject **values);

/* The same for exactly one parameter. Borrowed; NULL with an exception set. */
static inline PyObject *tavi_py_argument(const struct tavi_py_signature *signature, PyObject *const *args,
                                         Py_ssize_t nargs, PyObject *kwnames) {
  PyObject *value = NULL;
  if (nargs == 1 && kwnames == NULL)
    return args[0];
  return tavi_py_arguments(signature, args, nargs, kwnames, &value) < 0 ? NULL : value;
}

/* For the tables of methods that take their arguments as a vectorcall. */
#define TAVI_PY_FASTCALL(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS

/* Text from the network: UTF-8, anything else as surrogates. New reference. */
static inline PyObject *tavi_py_decode(struct tavi_slice text) {
  return PyUnicode_DecodeUTF8(text.len ? text.ptr : "", (Py_ssize_t)text.len, "surrogateescape");
}

static inline PyObject *tavi_py_bytes(struct tavi_slice bytes) {
  return PyBytes_FromStringAndSize(bytes.len ? bytes.ptr : "", (Py_ssize_t)bytes.len);
}

/* An attribute that holds an object or, as NULL, None. New reference. */
static inline PyObject *tavi_py_or_none(PyObject *obj) {
  PyObject *result = obj ? obj : Py_None;
  Py_INCREF(result);
  return result;
}

/* The opposite: a new reference, NULL for None and NULL. */
static inline PyObject *tavi_py_none_to_null(PyObject *obj) {
  if (obj == Py_None)
    return NULL;
  Py_XINCREF(obj);
  return obj;
}

#endif
