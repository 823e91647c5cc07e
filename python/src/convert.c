/* SPDX-License-Identifier: MIT
 *
 * The argument rules that all methods share: payloads, text, paths, integers, and the sorting of positional and keyword
 * arguments. There is one function per kind of parameter, so that each kind is refused with the same words
 * everywhere. The interpreter's own PyArg functions are not used because they cost more than a whole reply. */
#include "module.h"

#include <string.h>

int tavi_py_payload_slow(PyObject *obj, struct tavi_py_payload *ret_payload) {
  PyObject *bytes;

  if (PyUnicode_Check(obj))
    bytes = PyUnicode_AsUTF8String(obj);
  else
    bytes = PyObject_Bytes(obj); /* refuses None and int */
  if (bytes == NULL)
    return -1;

  if (!PyBytes_CheckExact(bytes)) { /* a subclass out of somebody's __bytes__ */
    PyObject *copy = PyBytes_FromStringAndSize(PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    if (copy == NULL)
      return -1;
    bytes = copy;
  }
  ret_payload->owner = bytes;
  ret_payload->data = PyBytes_AS_STRING(bytes);
  ret_payload->len = (size_t)PyBytes_GET_SIZE(bytes);
  return 0;
}

static int refuse_non_text(PyObject *obj, const char *argument) {
  if (PyUnicode_Check(obj))
    return 0;
  PyErr_Format(PyExc_TypeError, "%s must be str, not %.100s", argument, Py_TYPE(obj)->tp_name);
  return -1;
}

int tavi_py_text(PyObject *obj, const char *argument, struct tavi_py_payload *ret_text) {
  return refuse_non_text(obj, argument) < 0 ? -1 : tavi_py_payload(obj, ret_text);
}

int tavi_py_received(PyObject *obj, struct tavi_py_payload *ret_payload) {
  if (!PyUnicode_Check(obj) || PyUnicode_IS_COMPACT_ASCII(obj))
    return tavi_py_payload(obj, ret_payload);

  PyObject *bytes = PyUnicode_AsEncodedString(obj, "utf-8", "surrogateescape");
  if (bytes == NULL)
    return -1;
  *ret_payload = (struct tavi_py_payload){bytes, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes)};
  return 0;
}

int tavi_py_received_text(PyObject *obj, const char *argument, struct tavi_py_payload *ret_text) {
  return refuse_non_text(obj, argument) < 0 ? -1 : tavi_py_received(obj, ret_text);
}

int tavi_py_c_string(PyObject *obj, const char *argument, struct tavi_py_payload *ret_text) {
  struct tavi_py_payload text;

  if (tavi_py_text(obj, argument, &text) < 0)
    return -1;

  if (memchr(text.data, '\0', text.len) != NULL) {
    Py_DECREF(text.owner);
    PyErr_Format(PyExc_ValueError, "%s contains a null character", argument);
    return -1;
  }
  *ret_text = text;
  return 0;
}

/* What os.fspath() gives, as the bytes of the file system. New reference. */
static PyObject *path_bytes(PyObject *obj, const char *argument) {
  if (!PyUnicode_Check(obj) && !PyObject_HasAttrString((PyObject *)Py_TYPE(obj), "__fspath__")) {
    PyErr_Format(PyExc_TypeError, "%s must be str or os.PathLike, not %.100s", argument, Py_TYPE(obj)->tp_name);
    return NULL;
  }
  PyObject *path = PyOS_FSPath(obj);
  if (path == NULL)
    return NULL;
  if (PyBytes_Check(path))
    return path;

  PyObject *bytes = PyUnicode_EncodeFSDefault(path);
  Py_DECREF(path);
  return bytes;
}

int tavi_py_path(PyObject *obj, const char *argument, struct tavi_py_payload *ret_path) {
  PyObject *bytes = path_bytes(obj, argument);
  if (bytes == NULL)
    return -1;

  size_t len = (size_t)PyBytes_GET_SIZE(bytes);
  if (memchr(PyBytes_AS_STRING(bytes), '\0', len) != NULL) {
    Py_DECREF(bytes);
    PyErr_Format(PyExc_ValueError, "%s contains a null character", argument);
    return -1;
  }
  *ret_path = (struct tavi_py_payload){bytes, PyBytes_AS_STRING(bytes), len};
  return 0;
}

int tavi_py_integer(PyObject *obj, const char *argument, int64_t min, int64_t max, int64_t *ret_value) {
  PyObject *number;
  if (PyLong_Check(obj)) {
    number = obj;
    Py_INCREF(number);
  } else if (PyFloat_Check(obj)) {
    number = PyNumber_Long(obj);
  } else {
    number = PyNumber_Index(obj);
  }
  if (number == NULL) {
    if (PyErr_ExceptionMatches(PyExc_TypeError))
      PyErr_Format(PyExc_TypeError, "%s must be int, not %.100s", argument, Py_TYPE(obj)->tp_name);
    return -1;
  }

  int overflow;
  int64_t value = PyLong_AsLongLongAndOverflow(number, &overflow);
  Py_DECREF(number);
  if (value == -1 && !overflow && PyErr_Occurred())
    return -1;

  if (overflow || value < min || value > max) {
    PyErr_Format(PyExc_OverflowError, "%s must be from %lld to %lld", argument, (long long)min, (long long)max);
    return -1;
  }
  *ret_value = value;
  return 0;
}

static int place_keyword(const struct tavi_py_signature *signature, PyObject *name, PyObject *value,
                         PyObject **values) {
  for (Py_ssize_t i = 0; i < signature->total; i++) {
    if (PyUnicode_CompareWithASCIIString(name, signature->names[i]) != 0)
      continue;
    if (values[i] != NULL) {
      PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", signature->function, name);
      return -1;
    }
    values[i] = value;
    return 0;
  }
  PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", signature->function, name);
  return -1;
}

int tavi_py_arguments(const struct tavi_py_signature *signature, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames, PyObject **values) {
  if (nargs > signature->positional) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most %zd positional arguments (%zd given)", signature->function,
                 signature->positional, nargs);
    return -1;
  }
  for (Py_ssize_t i = 0; i < nargs; i++)
    values[i] = args[i];

  if (kwnames != NULL) {
    Py_ssize_t count = PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < count; i++) {
      if (place_keyword(signature, PyTuple_GET_ITEM(kwnames, i), args[nargs + i], values) < 0)
        return -1;
    }
  }

  for (Py_ssize_t i = nargs; i < signature->required; i++) {
    if (values[i] == NULL) {
      PyErr_Format(PyExc_TypeError, "%s() missing required argument '%s'", signature->function, signature->names[i]);
      return -1;
    }
  }
  return 0;
}

void tavi_py_release(void *owner) {
  Py_DECREF((PyObject *)owner); /* an exact bytes or str: runs no code */
}

PyObject *tavi_py_no_pickle(PyObject *self, PyObject *Py_UNUSED(unused)) {
  PyErr_Format(PyExc_TypeError, "cannot pickle '%.200s' object", Py_TYPE(self)->tp_name);
  return NULL;
}
