/* SPDX-License-Identifier: MIT
 *
 * The keyword options of listen() and connect(): each is a field of the library's options and has its name. One table
 * says where the field is, of which kind, and which of the two calls takes it. */
#include "module.h"

#include <stddef.h>
#include <string.h>

enum kind { MS, BYTES, COUNT, YES_NO, TEXT };
enum call { LISTEN = 1, CONNECT = 2, BOTH = 3 };

static const struct option {
  const char *name;
  size_t offset; /* in struct tavi_http_opts */
  enum kind kind;
  enum call call;
} options[] = {
    {"reuse_port", offsetof(struct tavi_http_opts, listen.reuse_port), YES_NO, LISTEN},
    {"defer_accept", offsetof(struct tavi_http_opts, listen.defer_accept), YES_NO, LISTEN},
    {"backlog", offsetof(struct tavi_http_opts, listen.backlog), COUNT, LISTEN},
    {"connect_timeout_ms", offsetof(struct tavi_http_opts, listen.conn.connect_timeout_ms), MS, CONNECT},
    {"idle_timeout_ms", offsetof(struct tavi_http_opts, listen.conn.idle_timeout_ms), MS, BOTH},
    {"write_timeout_ms", offsetof(struct tavi_http_opts, listen.conn.write_timeout_ms), MS, BOTH},
    {"recv_bytes_max", offsetof(struct tavi_http_opts, listen.conn.recv_bytes_max), BYTES, BOTH},
    {"send_bytes_max", offsetof(struct tavi_http_opts, listen.conn.send_bytes_max), BYTES, BOTH},
    {"send_high_water", offsetof(struct tavi_http_opts, listen.conn.send_high_water), BYTES, BOTH},
    {"send_low_water", offsetof(struct tavi_http_opts, listen.conn.send_low_water), BYTES, BOTH},
    {"head_bytes_max", offsetof(struct tavi_http_opts, head_bytes_max), BYTES, BOTH},
    {"target_bytes_max", offsetof(struct tavi_http_opts, target_bytes_max), BYTES, LISTEN},
    {"header_count_max", offsetof(struct tavi_http_opts, header_count_max), BYTES, BOTH},
    {"body_bytes_max", offsetof(struct tavi_http_opts, body_bytes_max), BYTES, BOTH},
    {"head_timeout_ms", offsetof(struct tavi_http_opts, head_timeout_ms), MS, BOTH},
    {"body_timeout_ms", offsetof(struct tavi_http_opts, body_timeout_ms), MS, BOTH},
    {"keepalive_timeout_ms", offsetof(struct tavi_http_opts, keepalive_timeout_ms), MS, LISTEN},
    {"proxy_protocol_from", offsetof(struct tavi_http_opts, listen.proxy_protocol_from), TEXT, LISTEN},
    {"forwarded_from", offsetof(struct tavi_http_opts, forwarded_from), TEXT, LISTEN},
};

static int set_integer(const struct option *option, PyObject *value, struct tavi_http_opts *opts) {
  void *field = (char *)opts + option->offset;
  int64_t min = option->kind == COUNT ? 1 : 0;
  int64_t max = option->kind == BYTES ? PY_SSIZE_T_MAX : option->kind == MS ? UINT32_MAX : INT32_MAX;
  int64_t number;

  if (tavi_py_integer(value, option->name, min, max, &number) < 0)
    return -1;

  if (option->kind == BYTES)
    *(size_t *)field = (size_t)number;
  else if (option->kind == MS)
    *(uint32_t *)field = (uint32_t)number;
  else
    *(int *)field = (int)number;
  return 1;
}

static int set_yes_no(const struct option *option, PyObject *value, struct tavi_http_opts *opts) {
  int truth = PyObject_IsTrue(value);
  if (truth < 0)
    return -1;

  *(bool *)((char *)opts + option->offset) = truth != 0;
  return 1;
}

/* The UTF-8 of a str lives as long as it does: the caller of listen() keeps it during the call. */
static int set_text(const struct option *option, PyObject *value, struct tavi_http_opts *opts) {
  if (!PyUnicode_Check(value)) {
    PyErr_Format(PyExc_TypeError, "%s must be str, not %.100s", option->name, Py_TYPE(value)->tp_name);
    return -1;
  }

  Py_ssize_t len;
  const char *text = PyUnicode_AsUTF8AndSize(value, &len);
  if (text == NULL)
    return -1;
  if (strlen(text) != (size_t)len) {
    PyErr_Format(PyExc_ValueError, "%s contains a null character", option->name);
    return -1;
  }
  *(const char **)((char *)opts + option->offset) = text;
  return 1;
}

int tavi_py_option(PyObject *name, PyObject *value, bool listening, struct tavi_http_opts *opts) {
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
    const struct option *option = &options[i];
    if (!(option->call & (listening ? LISTEN : CONNECT)) || PyUnicode_CompareWithASCIIString(name, option->name) != 0)
      continue;
    if (value == Py_None)
      return 1;
    switch (option->kind) {
      case YES_NO: return set_yes_no(option, value, opts);
      case TEXT: return set_text(option, value, opts);
      default: return set_integer(option, value, opts);
    }
  }
  return 0;
}
