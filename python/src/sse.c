/* SPDX-License-Identifier: MIT
 *
 * Server-sent events: http_sse() to one connection, and EventChannel to all that are subscribed.
 *
 * An EventChannel refers to no Python object, so the collector has nothing to see: subscribers are in the library's
 * list, and leave it by themselves. The manager knows its open channels and closes them before its connections, so that
 * none points to a manager that has gone. */
#include "module.h"

#include <string.h>

/* ==== one event out of arguments ==== */

/* Both methods take the same: event_type, data, id, retry_ms. */
struct event_text {
  struct tavi_py_payload type, data, id;
  struct tavi_sse_event ev;
};

static void event_text_free(struct event_text *e) {
  Py_XDECREF(e->type.owner);
  Py_XDECREF(e->data.owner);
  Py_XDECREF(e->id.owner);
}

static int event_text_fill(struct event_text *e, PyObject *const *values) {
  PyObject *id = values[2], *retry = values[3];

  if (tavi_py_text(values[0], "event_type", &e->type) < 0 || tavi_py_text(values[1], "data", &e->data) < 0)
    return -1;
  if (id != NULL && id != Py_None && tavi_py_text(id, "id", &e->id) < 0)
    return -1;
  if (retry != NULL && retry != Py_None && tavi_py_integer(retry, "retry_ms", 0, INT64_MAX, &e->ev.retry_ms) < 0)
    return -1;

  e->ev.event = (struct tavi_slice){e->type.data, e->type.len};
  e->ev.data = (struct tavi_slice){e->data.data, e->data.len};
  e->ev.id = (struct tavi_slice){e->id.data, e->id.len};
  e->ev.has_data = true;
  e->ev.has_id = e->id.owner != NULL;
  return 0;
}

/* Read the arguments. The caller frees the texts, whatever the result. */
static int event_arguments(struct event_text *e, const struct tavi_py_signature *signature, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *kwnames) {
  PyObject *values[4] = {NULL};
  memset(e, 0, sizeof *e);
  tavi_sse_event_init(&e->ev);
  return tavi_py_arguments(signature, args, nargs, kwnames, values) < 0 ? -1 : event_text_fill(e, values);
}

static PyObject *bad_event(void) {
  PyErr_SetString(PyExc_ValueError, "event_type or id contains a line break or a null character");
  return NULL;
}

/* ==== to one connection ==== */

static PyObject *send_event(struct tavi_py_connection *self, const struct tavi_sse_event *ev) {
  if (!tavi_py_connection_is_open(self))
    return tavi_py_closed_error();
  if (self->flags & TAVI_PY_LISTENER)
    Py_RETURN_NONE;

  struct tavi_py_manager *manager = self->manager;
  tavi_py_enter(manager);
  int err = tavi_sse_send(self->c.conn, ev);
  tavi_py_leave(manager, self);
  return err == TAVI_E_ARG ? bad_event() : tavi_py_stream_result(err, "http_sse");
}

const char tavi_py_http_sse_doc[] =
"http_sse($self, /, event_type, data, *, id=None, retry_ms=None)\n"
"--\n"
"\n"
"Send one server-sent event in the stream that http_sse_begin(), reply() with 'Transfer-Encoding: chunked'\n"
"or a head written with send() has begun, chunked or not.\n"
"\n"
"Each line of data becomes a 'data:' line of its own; an empty event_type is left out, which means 'message'.\n"
"id is what the browser tells in its Last-Event-ID header when it connects again; '' makes it forget the last\n"
"one. retry_ms is how many milliseconds it waits before it does.\n"
"\n"
"ValueError for a line break in event_type or id; otherwise as http_chunk().";

PyObject *tavi_py_http_sse(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {
      "http_sse", 2, 2, 4, {"event_type", "data", "id", "retry_ms"}};
  struct event_text e;
  PyObject *result = NULL;

  if (event_arguments(&e, &signature, args, nargs, kwnames) == 0)
    result = send_event((struct tavi_py_connection *)op, &e.ev);
  event_text_free(&e);
  return result;
}

/* ==== channels: life ==== */

struct tavi_py_event_channel {
  PyObject_HEAD
  struct tavi_sse_channel *c;                 /* owned; NULL when closed */
  struct tavi_py_manager *manager;            /* borrowed; NULL when c is, but not while the manager is closing */
  struct tavi_py_event_channel *prev, *next;  /* in manager->channels */
};

static struct tavi_py_event_channel *channel_of(PyObject *op) {
  return (struct tavi_py_event_channel *)op;
}

static void attach(struct tavi_py_event_channel *self, struct tavi_py_manager *manager, struct tavi_sse_channel *c) {
  self->c = c;
  self->manager = manager;
  self->prev = NULL;
  self->next = manager->channels;
  if (self->next != NULL)
    self->next->prev = self;
  manager->channels = self;
}

static void end_channel(struct tavi_py_event_channel *self) {
  if (self->c != NULL)
    tavi_sse_channel_free(self->c);
  self->c = NULL;
}

static void close_channel(struct tavi_py_event_channel *self) {
  if (self->manager == NULL)
    return;

  end_channel(self);
  if (self->prev != NULL)
    self->prev->next = self->next;
  else
    self->manager->channels = self->next;
  if (self->next != NULL)
    self->next->prev = self->prev;
  self->manager = NULL;
}

void tavi_py_channels_end(struct tavi_py_manager *manager) {
  for (struct tavi_py_event_channel *channel = manager->channels; channel != NULL; channel = channel->next)
    end_channel(channel);
}

void tavi_py_channels_close(struct tavi_py_manager *manager) {
  while (manager->channels != NULL)
    close_channel(manager->channels);
}

static void channel_dealloc(PyObject *op) {
  PyTypeObject *type = Py_TYPE(op);
  close_channel(channel_of(op));
  type->tp_free(op);
  Py_DECREF(type);
}

static int slow_argument(PyObject *value, enum tavi_sse_slow *ret_slow) {
  if (!PyUnicode_Check(value)) {
    PyErr_Format(PyExc_TypeError, "slow must be str, not %.100s", Py_TYPE(value)->tp_name);
    return -1;
  }
  if (PyUnicode_CompareWithASCIIString(value, "close") == 0) {
    *ret_slow = TAVI_SSE_SLOW_CLOSE;
  } else if (PyUnicode_CompareWithASCIIString(value, "skip") == 0) {
    *ret_slow = TAVI_SSE_SLOW_SKIP;
  } else {
    PyErr_SetString(PyExc_ValueError, "slow must be 'close' or 'skip'");
    return -1;
  }
  return 0;
}

const char tavi_py_event_channel_doc[] =
"event_channel($self, /, *, slow='close', pending_bytes_max=262144)\n"
"--\n"
"\n"
"A new EventChannel, which sends server-sent events to all connections that are subscribed to it.\n"
"\n"
"slow says what becomes of a subscriber that has more than pending_bytes_max bytes to send when an event\n"
"comes: 'close' closes it, and its browser comes again and says by Last-Event-ID what it has; with 'skip' it\n"
"does not get this event. The channel lives until its close(), until it is collected, or until the manager is\n"
"closed.\n"
"\n"
"ValueError for another slow, OverflowError for a number below 0, RuntimeError when closed. May be called from\n"
"any thread.";

PyObject *tavi_py_event_channel(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"event_channel", 0, 0, 2, {"slow", "pending_bytes_max"}};
  struct tavi_py_manager *manager = (struct tavi_py_manager *)op;
  PyObject *values[] = {NULL, NULL};
  struct tavi_sse_channel_opts opts;
  tavi_sse_channel_opts_init(&opts);
  int64_t pending_max = (int64_t)opts.pending_bytes_max;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0)
    return NULL;
  if (values[0] != NULL && slow_argument(values[0], &opts.slow) < 0)
    return NULL;
  if (values[1] != NULL && tavi_py_integer(values[1], "pending_bytes_max", 0, PY_SSIZE_T_MAX, &pending_max) < 0)
    return NULL;
  if (!tavi_py_check_open(manager))
    return NULL;

  /* Not garbage collected: no code runs in its creation. */
  PyTypeObject *type = manager->state->event_channel_type;
  struct tavi_py_event_channel *self = (struct tavi_py_event_channel *)type->tp_alloc(type, 0);
  if (self == NULL)
    return NULL;
  struct tavi_sse_channel *c;
  opts.pending_bytes_max = (size_t)pending_max;
  if (tavi_sse_channel_new(manager->c, &opts, &c) < 0) {
    Py_DECREF(self);
    return PyErr_NoMemory();
  }
  attach(self, manager, c);
  return (PyObject *)self;
}

/* ==== channels: methods ==== */

static PyObject *channel_closed_error(void) {
  PyErr_SetString(PyExc_RuntimeError, "EventChannel has been closed");
  return NULL;
}

/* The argument of both methods; borrowed. */
static struct tavi_py_connection *connection_argument(PyObject *op, const struct tavi_py_signature *signature,
                                                      PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  PyObject *arg = tavi_py_argument(signature, args, nargs, kwnames);
  struct tavi_py_state *state = arg ? tavi_py_state_of(Py_TYPE(op)) : NULL;
  if (state == NULL)
    return NULL;

  if (!PyObject_TypeCheck(arg, state->connection_type)) {
    PyErr_Format(PyExc_TypeError, "conn must be Connection, not %.100s", Py_TYPE(arg)->tp_name);
    return NULL;
  }
  return (struct tavi_py_connection *)arg;
}

PyDoc_STRVAR(subscribe_doc,
"subscribe($self, /, conn)\n"
"--\n"
"\n"
"From now on conn, whose stream http_sse_begin() has begun, gets what is published: until it closes, its\n"
"stream ends, or it is unsubscribed. It may be on several channels; twice on one is once.\n"
"\n"
"RuntimeError when no stream has begun and when the connection or the channel is closed, ValueError for a\n"
"connection of another manager.");

static PyObject *channel_subscribe(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"subscribe", 1, 1, 1, {"conn"}};
  struct tavi_py_event_channel *self = channel_of(op);
  struct tavi_py_connection *conn = connection_argument(op, &signature, args, nargs, kwnames);

  if (conn == NULL)
    return NULL;
  if (self->c == NULL)
    return channel_closed_error();
  if (!tavi_py_connection_is_open(conn))
    return tavi_py_closed_error();
  if (conn->manager != self->manager) {
    PyErr_SetString(PyExc_ValueError, "conn belongs to another Manager");
    return NULL;
  }

  int err = conn->flags & TAVI_PY_LISTENER ? TAVI_E_STATE : tavi_sse_subscribe(self->c, conn->c.conn);
  if (err == TAVI_E_STATE) {
    PyErr_SetString(PyExc_RuntimeError, "no event stream has begun, or it is complete");
    return NULL;
  }
  return tavi_py_result(err, "subscribe");
}

PyDoc_STRVAR(unsubscribe_doc,
"unsubscribe($self, /, conn)\n"
"--\n"
"\n"
"conn gets nothing more from this channel; its stream goes on. Does nothing when it is not subscribed.");

static PyObject *channel_unsubscribe(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"unsubscribe", 1, 1, 1, {"conn"}};
  struct tavi_py_event_channel *self = channel_of(op);
  struct tavi_py_connection *conn = connection_argument(op, &signature, args, nargs, kwnames);

  if (conn == NULL)
    return NULL;
  if (self->c != NULL && conn->manager == self->manager && !(conn->flags & TAVI_PY_LISTENER))
    tavi_sse_unsubscribe(self->c, conn->c.conn);
  Py_RETURN_NONE;
}

PyDoc_STRVAR(publish_doc,
"publish($self, /, event_type, data, *, id=None, retry_ms=None)\n"
"--\n"
"\n"
"Send an event, as of http_sse(), to every subscriber, and return how many get it. It is encoded once and\n"
"leaves by the end of the turn.\n"
"\n"
"0 while the manager is closing. ValueError for a line break in event_type or id, RuntimeError when the channel\n"
"or its manager is closed. May be called from any thread.");

static PyObject *channel_publish(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {
      "publish", 2, 2, 4, {"event_type", "data", "id", "retry_ms"}};
  struct tavi_py_event_channel *self = channel_of(op);
  struct event_text e;
  int64_t count = 0;

  bool is_ready = event_arguments(&e, &signature, args, nargs, kwnames) == 0;
  if (is_ready && self->manager == NULL) {
    channel_closed_error();
    is_ready = false;
  }
  if (is_ready && self->c != NULL) {
    struct tavi_py_manager *manager = self->manager;
    tavi_py_enter(manager);
    count = tavi_sse_publish(self->c, &e.ev);
    tavi_py_leave(manager, NULL);
  }
  event_text_free(&e);
  if (!is_ready)
    return NULL;
  if (count < 0)
    return count == TAVI_E_ARG ? bad_event() : tavi_py_result((int)count, "publish");
  return PyLong_FromLongLong(count);
}

PyDoc_STRVAR(channel_close_doc,
"close($self, /)\n"
"--\n"
"\n"
"End the channel. The streams of its subscribers go on. Does nothing when closed already.");

static PyObject *channel_close(PyObject *op, PyObject *Py_UNUSED(ignored)) {
  close_channel(channel_of(op));
  Py_RETURN_NONE;
}

enum count { SUBSCRIBERS, SKIPPED, CLOSED };

/* closure: an enum count. */
static PyObject *channel_count(PyObject *op, void *closure) {
  const struct tavi_sse_channel *c = channel_of(op)->c;
  uint64_t count = 0;
  if (c != NULL) {
    switch ((enum count)(uintptr_t)closure) {
      case SUBSCRIBERS: count = tavi_sse_subscriber_count(c); break;
      case SKIPPED: count = tavi_sse_skipped_count(c); break;
      case CLOSED: count = tavi_sse_closed_count(c); break;
    }
  }
  return PyLong_FromUnsignedLongLong(count);
}

/* ==== channels: type ==== */

static PyMethodDef channel_methods[] = {
    {"__reduce__", tavi_py_no_pickle, METH_NOARGS, NULL},
    {"subscribe", TAVI_PY_FASTCALL(channel_subscribe), subscribe_doc},
    {"unsubscribe", TAVI_PY_FASTCALL(channel_unsubscribe), unsubscribe_doc},
    {"publish", TAVI_PY_FASTCALL(channel_publish), publish_doc},
    {"close", channel_close, METH_NOARGS, channel_close_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(subscriber_count_doc, "How many connections are subscribed.");
PyDoc_STRVAR(skipped_count_doc, "Events that were not sent to a subscriber because it was slow, since the beginning.");
PyDoc_STRVAR(closed_count_doc, "Subscribers that were closed because they were slow, since the beginning.");

#define CLOSURE(number) (void *)(uintptr_t)(number)

static PyGetSetDef channel_getset[] = {
    {"subscriber_count", channel_count, NULL, subscriber_count_doc, CLOSURE(SUBSCRIBERS)},
    {"skipped_count", channel_count, NULL, skipped_count_doc, CLOSURE(SKIPPED)},
    {"closed_count", channel_count, NULL, closed_count_doc, CLOSURE(CLOSED)},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(channel_doc,
"EventChannel()\n"
"--\n"
"\n"
"Sends each event to many connections, as Manager.event_channel() makes it.\n"
"\n"
"All of it may be used from any thread. Once it or its manager is closed, the methods that act raise\n"
"RuntimeError and the counts are 0. One made by hand is closed.");

static PyType_Slot channel_slots[] = {
    {Py_tp_doc, (void *)channel_doc},
    {Py_tp_dealloc, (void *)channel_dealloc},
    {Py_tp_methods, channel_methods},
    {Py_tp_getset, channel_getset},
    {0, NULL},
};

static PyType_Spec channel_spec = {
    .name = "cymongoose.EventChannel",
    .basicsize = sizeof(struct tavi_py_event_channel),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = channel_slots,
};

int tavi_py_event_channel_setup(PyObject *module, struct tavi_py_state *state) {
  state->event_channel_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &channel_spec, NULL);
  if (state->event_channel_type == NULL)
    return -1;
  return PyModule_AddType(module, state->event_channel_type);
}
