/* SPDX-License-Identifier: MIT
 *
 * Values out of JSON text by their path. What cannot be found is no error here, whatever the reason: absent, of another
 * kind, no JSON. */
#include "module.h"

#include <string.h>

#include "tavi/json.h"

/* Digits of the largest integer that is made: as many as Python turns into one by default, since it takes quadratic
 * time. "1e999999999" is short and would need 400 MB. */
enum { INTEGER_DIGITS = 4300 };

/* The arguments of one call; both are owned. */
struct query {
  struct tavi_py_payload data, path;
  struct tavi_slice json;
  const char *path_text;
};

static int open_query(PyObject *const *values, struct query *ret_query) {
  struct query q;
  if (tavi_py_received(values[0], &q.data) < 0)
    return -1;
  if (tavi_py_received_text(values[1], "path", &q.path) < 0) {
    Py_DECREF(q.data.owner);
    return -1;
  }
  q.json = (struct tavi_slice){q.data.data, q.data.len};
  q.path_text = memchr(q.path.data, '\0', q.path.len) ? "" : q.path.data; /* no path, as one with a NUL is none */
  *ret_query = q;
  return 0;
}

static void close_query(struct query *q) {
  Py_DECREF(q->data.owner);
  Py_DECREF(q->path.owner);
}

PyDoc_STRVAR(json_get_doc,
"json_get($module, /, data, path)\n"
"--\n"
"\n"
"The text of a value inside JSON text, as it is written there: '\"Alice\"', '30', '[1, 2]', 'null'.\n"
"\n"
"path is '$' for the whole, '.name' for a member (the first of that name), '[2]' for an element counted from 0, one\n"
"after the other: '$.users[0].name'. data is str or bytes; it is read up to that value and no further.\n"
"None when there is no such value, when data is no JSON up to there, and beyond 512 arrays and objects in each\n"
"other.");

static PyObject *json_get(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"json_get", 2, 2, 2, {"data", "path"}};
  PyObject *values[2] = {NULL, NULL};
  struct tavi_slice value;
  struct query q;
  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0 || open_query(values, &q) < 0)
    return NULL;

  PyObject *result = tavi_json_get(q.json, q.path_text, &value) < 0 ? tavi_py_or_none(NULL) : tavi_py_decode(value);
  close_query(&q);
  return result;
}

PyDoc_STRVAR(json_get_str_doc,
"json_get_str($module, /, data, path)\n"
"--\n"
"\n"
"A JSON string as a str, its escapes decoded; None when json_get() finds anything else.\n"
"\n"
"Half of a surrogate pair becomes U+FFFD.");

/* Decoded where a copy of what is written stands. */
static PyObject *decode_string(struct tavi_slice value) {
  char *text = PyMem_Malloc(value.len);
  if (text == NULL)
    return PyErr_NoMemory();

  int64_t len = tavi_json_get_str(value, "$", text, value.len);
  PyObject *result = len < 0 ? tavi_py_or_none(NULL) : tavi_py_decode((struct tavi_slice){text, (size_t)len});
  PyMem_Free(text);
  return result;
}

static PyObject *json_get_str(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"json_get_str", 2, 2, 2, {"data", "path"}};
  PyObject *values[2] = {NULL, NULL};
  struct tavi_slice value;
  struct query q;
  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0 || open_query(values, &q) < 0)
    return NULL;

  PyObject *result = tavi_json_get(q.json, q.path_text, &value) < 0 ? tavi_py_or_none(NULL) : decode_string(value);
  close_query(&q);
  return result;
}

PyDoc_STRVAR(json_get_num_doc,
"json_get_num($module, /, data, path, default=None)\n"
"--\n"
"\n"
"A JSON number as a float, the nearest one; default when json_get() finds anything else.");

static PyObject *json_get_num(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"json_get_num", 2, 3, 3, {"data", "path", "default"}};
  PyObject *values[3] = {NULL, NULL, NULL};
  double number;
  struct query q;
  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0 || open_query(values, &q) < 0)
    return NULL;

  int err = tavi_json_get_num(q.json, q.path_text, &number);
  close_query(&q);
  return err < 0 ? tavi_py_or_none(values[2]) : PyFloat_FromDouble(number);
}

PyDoc_STRVAR(json_get_bool_doc,
"json_get_bool($module, /, data, path, default=None)\n"
"--\n"
"\n"
"True or False for true and false; default when json_get() finds anything else.");

static PyObject *json_get_bool(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"json_get_bool", 2, 3, 3, {"data", "path", "default"}};
  PyObject *values[3] = {NULL, NULL, NULL};
  bool is_true;
  struct query q;
  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0 || open_query(values, &q) < 0)
    return NULL;

  int err = tavi_json_get_bool(q.json, q.path_text, &is_true);
  close_query(&q);
  return err < 0 ? tavi_py_or_none(values[2]) : PyBool_FromLong(is_true);
}

PyDoc_STRVAR(json_get_long_doc,
"json_get_long($module, /, data, path, default=0)\n"
"--\n"
"\n"
"A JSON number cut to an int, exactly: 3.99 is 3, 1.5e3 is 1500. default, an int, when json_get() finds anything else\n"
"and for more than 4,300 digits.");

/* New reference, or NULL without an exception: not found. */
static PyObject *find_integer(const struct query *q) {
  char digits[INTEGER_DIGITS + 2]; /* with a '-' and a NUL */
  int64_t len = tavi_json_get_digits(q->json, q->path_text, digits, sizeof digits - 1);
  if (len < 0 || len - (digits[0] == '-') > INTEGER_DIGITS)
    return NULL;
  digits[len] = '\0';
  PyObject *number = PyLong_FromString(digits, NULL, 10);
  if (number == NULL && PyErr_ExceptionMatches(PyExc_ValueError))
    PyErr_Clear(); /* somebody has lowered sys.set_int_max_str_digits() */
  return number;
}

static PyObject *json_get_long(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"json_get_long", 2, 3, 3, {"data", "path", "default"}};
  PyObject *values[3] = {NULL, NULL, NULL};
  struct query q;
  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0)
    return NULL;
  if (values[2] != NULL && !PyLong_Check(values[2])) {
    PyErr_Format(PyExc_TypeError, "default must be int, not %.100s", Py_TYPE(values[2])->tp_name);
    return NULL;
  }
  if (open_query(values, &q) < 0)
    return NULL;

  PyObject *number = find_integer(&q);
  close_query(&q);
  if (number != NULL || PyErr_Occurred())
    return number;
  return values[2] ? tavi_py_or_none(values[2]) : PyLong_FromLong(0);
}

static PyMethodDef functions[] = {
    {"json_get", TAVI_PY_FASTCALL(json_get), json_get_doc},
    {"json_get_str", TAVI_PY_FASTCALL(json_get_str), json_get_str_doc},
    {"json_get_num", TAVI_PY_FASTCALL(json_get_num), json_get_num_doc},
    {"json_get_bool", TAVI_PY_FASTCALL(json_get_bool), json_get_bool_doc},
    {"json_get_long", TAVI_PY_FASTCALL(json_get_long), json_get_long_doc},
    {NULL, NULL, 0, NULL},
};

int tavi_py_json_setup(PyObject *module) {
  return PyModule_AddFunctions(module, functions);
}
