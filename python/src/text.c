/* SPDX-License-Identifier: MIT
 *
 * Functions over text: patterns, the parts of a URL, percent-encoding, Base64. */
#include "module.h"

#include "tavi/text.h"
#include "tavi/url.h"

static struct tavi_slice slice_of(const struct tavi_py_payload *payload) {
  return (struct tavi_slice){payload->data, payload->len};
}

/* ==== patterns ==== */

int64_t tavi_py_match(struct tavi_slice text, struct tavi_slice pattern, struct tavi_slice **ret_captures) {
  size_t count = 0;
  for (size_t i = 0; i < pattern.len; i++)
    count += pattern.ptr[i] == '?' || pattern.ptr[i] == '*' || pattern.ptr[i] == '#';

  struct tavi_slice *captures = PyMem_New(struct tavi_slice, count + 1);
  if (captures == NULL) {
    PyErr_NoMemory();
    return -1;
  }
  int64_t found = tavi_match(text, pattern, captures, count);
  if (found < 0 || ret_captures == NULL)
    PyMem_Free(captures);
  else
    *ret_captures = captures;
  return found;
}

PyDoc_STRVAR(match_doc,
"match($module, /, s, pattern)\n"
"--\n"
"\n"
"Whether all of s matches the pattern, and what its wildcards stand for: (True, ['users', '42']) or (False, []).\n"
"\n"
"'?' is any character, '*' any run of them without a '/', '#' any run. All others stand for themselves; there is no\n"
"escape. Each wildcard from the left takes the shortest run that it can, and no pattern takes longer than\n"
"len(s) * len(pattern).");

static PyObject *match_result(const struct tavi_slice *captures, int64_t count) {
  PyObject *list = PyList_New((Py_ssize_t)(count > 0 ? count : 0));
  for (int64_t i = 0; i < count && list != NULL; i++) {
    PyObject *text = tavi_py_decode(captures[i]);
    if (text != NULL)
      PyList_SET_ITEM(list, (Py_ssize_t)i, text);
    else
      Py_CLEAR(list);
  }
  return list ? Py_BuildValue("(NN)", PyBool_FromLong(count >= 0), list) : NULL;
}

static PyObject *match(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"match", 2, 2, 2, {"s", "pattern"}};
  PyObject *values[2] = {NULL, NULL}, *result = NULL;
  struct tavi_py_payload text, pattern;
  struct tavi_slice *captures = NULL;
  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0)
    return NULL;
  if (tavi_py_received_text(values[0], "s", &text) < 0)
    return NULL;
  if (tavi_py_received_text(values[1], "pattern", &pattern) < 0) {
    Py_DECREF(text.owner);
    return NULL;
  }

  int64_t count = tavi_py_match(slice_of(&text), slice_of(&pattern), &captures);
  if (!PyErr_Occurred())
    result = match_result(captures, count);
  PyMem_Free(captures);
  Py_DECREF(text.owner);
  Py_DECREF(pattern.owner);
  return result;
}

/* ==== URLs ==== */

/* The parts of the one argument; *ret_url is borrowed from *ret_text, which is owned. */
static int split(const struct tavi_py_signature *signature, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames, struct tavi_py_payload *ret_text, struct tavi_url *ret_url) {
  PyObject *arg = tavi_py_argument(signature, args, nargs, kwnames);
  if (arg == NULL || tavi_py_received_text(arg, "url", ret_text) < 0)
    return -1;
  tavi_url_split(slice_of(ret_text), ret_url);
  return 0;
}

#define URL_FUNCTION(name, expression)                                                                               \
  static PyObject *name(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {   \
    static const struct tavi_py_signature signature = {#name, 1, 1, 1, {"url"}};                                     \
    struct tavi_py_payload text;                                                                                     \
    struct tavi_url url;                                                                                             \
    if (split(&signature, args, nargs, kwnames, &text, &url) < 0)                                                    \
      return NULL;                                                                                                   \
    PyObject *result = expression;                                                                                   \
    Py_DECREF(text.owner);                                                                                           \
    return result;                                                                                                   \
  }

/* A request cannot go without a '/': "http://h?q" asks for "/?q" (RFC 9110 section 4.2.3). */
static PyObject *request_uri(struct tavi_slice uri) {
  PyObject *text = tavi_py_decode(uri);
  if (text == NULL || (uri.len > 0 && uri.ptr[0] == '/'))
    return text;
  PyObject *result = PyUnicode_FromFormat("/%U", text);
  Py_DECREF(text);
  return result;
}

PyDoc_STRVAR(url_port_doc,
"url_port($module, /, url)\n"
"--\n"
"\n"
"The port of a URL, otherwise that of its scheme: 80 for http and ws, 443 for https and wss, 1883 for mqtt, 8883 for\n"
"mqtts. 0 when there is none, and for one that is no number up to 65535.");
URL_FUNCTION(url_port, PyLong_FromLong(url.port > 0 ? url.port : 0))

PyDoc_STRVAR(url_host_doc,
"url_host($module, /, url)\n"
"--\n"
"\n"
"The host of a URL, also of one without a scheme; an IPv6 address with its brackets. '' when there is none.");
URL_FUNCTION(url_host, tavi_py_decode(url.host))

PyDoc_STRVAR(url_user_doc,
"url_user($module, /, url)\n"
"--\n"
"\n"
"The user in a URL, not decoded; '' when there is none.");
URL_FUNCTION(url_user, tavi_py_decode(url.user))

PyDoc_STRVAR(url_pass_doc,
"url_pass($module, /, url)\n"
"--\n"
"\n"
"The password in a URL, not decoded; '' when there is none.");
URL_FUNCTION(url_pass, tavi_py_decode(url.pass))

PyDoc_STRVAR(url_uri_doc,
"url_uri($module, /, url)\n"
"--\n"
"\n"
"What follows the host and port of a URL: path, query and fragment, with a '/' in front in any case.");
URL_FUNCTION(url_uri, request_uri(url.uri))

PyDoc_STRVAR(url_is_ssl_doc,
"url_is_ssl($module, /, url)\n"
"--\n"
"\n"
"True when the scheme asks for TLS: https, wss, mqtts, ssl, tls or tcps, in any case of letters.");
URL_FUNCTION(url_is_ssl, PyBool_FromLong(url.is_tls))

PyDoc_STRVAR(url_encode_doc,
"url_encode($module, /, s)\n"
"--\n"
"\n"
"s so that it can stand anywhere in a URL: letters, digits, '-', '.', '_' and '~' stay, any other byte of its UTF-8\n"
"becomes %XX.");

static PyObject *url_encode(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"url_encode", 1, 1, 1, {"s"}};
  PyObject *arg = tavi_py_argument(&signature, args, nargs, kwnames), *result = NULL;
  struct tavi_py_payload text;
  if (arg == NULL || tavi_py_text(arg, "s", &text) < 0)
    return NULL;

  char *out = PyMem_New(char, text.len * 3 + 1);
  if (out != NULL) {
    int64_t len = tavi_percent_encode(slice_of(&text), out, text.len * 3);
    result = PyUnicode_FromStringAndSize(out, (Py_ssize_t)len);
  } else {
    PyErr_NoMemory();
  }
  PyMem_Free(out);
  Py_DECREF(text.owner);
  return result;
}

/* ==== Base64 ==== */

PyDoc_STRVAR(base64_encode_doc,
"base64_encode($module, /, data)\n"
"--\n"
"\n"
"The Base64 of data, with padding, as a str. data is str (as UTF-8), or anything that bytes() takes apart from an\n"
"int.");

static PyObject *base64_encode(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"base64_encode", 1, 1, 1, {"data"}};
  PyObject *arg = tavi_py_argument(&signature, args, nargs, kwnames);
  struct tavi_py_payload data;
  if (arg == NULL || tavi_py_payload(arg, &data) < 0)
    return NULL;

  size_t cap = data.len / 3 * 4 + 4;
  char *out = PyMem_Malloc(cap);
  int64_t len = out != NULL ? tavi_base64_encode(slice_of(&data), out, cap) : 0;
  PyObject *result = out != NULL ? PyUnicode_FromStringAndSize(out, (Py_ssize_t)len) : PyErr_NoMemory();
  PyMem_Free(out);
  Py_DECREF(data.owner);
  return result;
}

PyDoc_STRVAR(base64_decode_doc,
"base64_decode($module, /, data)\n"
"--\n"
"\n"
"The bytes of Base64 text (RFC 4648 section 4). ValueError for a character that is not of its alphabet, for padding\n"
"that is missing or misplaced, and for bits left over.");

static PyObject *base64_decode(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"base64_decode", 1, 1, 1, {"data"}};
  PyObject *arg = tavi_py_argument(&signature, args, nargs, kwnames);
  if (arg == NULL)
    return NULL;
  if (!PyUnicode_Check(arg))
    return PyErr_Format(PyExc_TypeError, "data must be str, not %.100s", Py_TYPE(arg)->tp_name);

  PyObject *text = PyUnicode_AsASCIIString(arg);
  if (text == NULL)
    return NULL;
  struct tavi_slice in = {PyBytes_AS_STRING(text), (size_t)PyBytes_GET_SIZE(text)};
  char *out = PyMem_Malloc(in.len + 1);
  int64_t len = out != NULL ? tavi_base64_decode(in, out, in.len) : 0;
  PyObject *result = NULL;
  if (out == NULL)
    PyErr_NoMemory();
  else if (len < 0)
    PyErr_SetString(PyExc_ValueError, "data is not valid Base64");
  else
    result = PyBytes_FromStringAndSize(out, (Py_ssize_t)len);
  PyMem_Free(out);
  Py_DECREF(text);
  return result;
}

static PyMethodDef functions[] = {
    {"match", TAVI_PY_FASTCALL(match), match_doc},
    {"url_port", TAVI_PY_FASTCALL(url_port), url_port_doc},
    {"url_host", TAVI_PY_FASTCALL(url_host), url_host_doc},
    {"url_user", TAVI_PY_FASTCALL(url_user), url_user_doc},
    {"url_pass", TAVI_PY_FASTCALL(url_pass), url_pass_doc},
    {"url_uri", TAVI_PY_FASTCALL(url_uri), url_uri_doc},
    {"url_is_ssl", TAVI_PY_FASTCALL(url_is_ssl), url_is_ssl_doc},
    {"url_encode", TAVI_PY_FASTCALL(url_encode), url_encode_doc},
    {"base64_encode", TAVI_PY_FASTCALL(base64_encode), base64_encode_doc},
    {"base64_decode", TAVI_PY_FASTCALL(base64_decode), base64_decode_doc},
    {NULL, NULL, 0, NULL},
};

int tavi_py_text_setup(PyObject *module) {
  return PyModule_AddFunctions(module, functions);
}
