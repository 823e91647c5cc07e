/* SPDX-License-Identifier: MIT
 *
 * Hashes, HMAC, CRC-32 and random values. */
#include "module.h"

#include "tavi/crypto.h"

enum { HASH_BYTES_MAX = 32 };

typedef int (*hash_fn)(struct tavi_slice data, unsigned char *ret_hash);

static PyObject *hash_result(int err, const unsigned char *hash, Py_ssize_t len, const char *what) {
  if (err == 0)
    return PyBytes_FromStringAndSize((const char *)hash, len);
  if (err == TAVI_E_NOMEM)
    return PyErr_NoMemory();
  return PyErr_Format(PyExc_RuntimeError, "this system's OpenSSL has no %s", what);
}

static PyObject *hash_one(const struct tavi_py_signature *signature, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames, hash_fn hash, Py_ssize_t len) {
  PyObject *arg = tavi_py_argument(signature, args, nargs, kwnames);
  struct tavi_py_payload data;
  unsigned char out[HASH_BYTES_MAX];
  if (arg == NULL || tavi_py_payload(arg, &data) < 0)
    return NULL;

  int err = hash((struct tavi_slice){data.data, data.len}, out);
  Py_DECREF(data.owner);
  return hash_result(err, out, len, signature->function);
}

#define HASH_FUNCTION(name, bytes)                                                                                   \
  static PyObject *name(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {   \
    static const struct tavi_py_signature signature = {#name, 1, 1, 1, {"data"}};                                    \
    return hash_one(&signature, args, nargs, kwnames, tavi_##name, bytes);                                           \
  }

PyDoc_STRVAR(md5_doc,
"md5($module, /, data)\n"
"--\n"
"\n"
"The MD5 of data, 16 bytes. A checksum: it protects against nobody.");
HASH_FUNCTION(md5, 16)

PyDoc_STRVAR(sha1_doc,
"sha1($module, /, data)\n"
"--\n"
"\n"
"The SHA-1 of data, 20 bytes. A checksum: it protects against nobody.");
HASH_FUNCTION(sha1, 20)

PyDoc_STRVAR(sha256_doc,
"sha256($module, /, data)\n"
"--\n"
"\n"
"The SHA-256 of data, 32 bytes.");
HASH_FUNCTION(sha256, 32)

PyDoc_STRVAR(hmac_sha256_doc,
"hmac_sha256($module, /, key, data)\n"
"--\n"
"\n"
"The HMAC-SHA-256 of data under key, 32 bytes.");

static PyObject *hmac_sha256(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"hmac_sha256", 2, 2, 2, {"key", "data"}};
  PyObject *values[2] = {NULL, NULL};
  struct tavi_py_payload key, data;
  unsigned char out[HASH_BYTES_MAX];
  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0 || tavi_py_payload(values[0], &key) < 0)
    return NULL;
  if (tavi_py_payload(values[1], &data) < 0) {
    Py_DECREF(key.owner);
    return NULL;
  }

  int err = tavi_hmac_sha256((struct tavi_slice){key.data, key.len}, (struct tavi_slice){data.data, data.len}, out);
  Py_DECREF(key.owner);
  Py_DECREF(data.owner);
  return hash_result(err, out, 32, "HMAC-SHA-256");
}

PyDoc_STRVAR(crc32_doc,
"crc32($module, /, data, initial=0)\n"
"--\n"
"\n"
"The CRC-32 of data; initial is that of the bytes before it. OverflowError when initial is beyond 32 bits.");

static PyObject *crc32(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"crc32", 1, 2, 2, {"data", "initial"}};
  PyObject *values[2] = {NULL, NULL};
  struct tavi_py_payload data;
  int64_t initial = 0;
  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0)
    return NULL;
  if (values[1] != NULL && tavi_py_integer(values[1], "initial", 0, UINT32_MAX, &initial) < 0)
    return NULL;
  if (tavi_py_payload(values[0], &data) < 0)
    return NULL;

  uint32_t crc = tavi_crc32((uint32_t)initial, (struct tavi_slice){data.data, data.len});
  Py_DECREF(data.owner);
  return PyLong_FromUnsignedLong(crc);
}

/* ==== random values ==== */

static int count_argument(const struct tavi_py_signature *signature, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames, Py_ssize_t *ret_count) {
  PyObject *arg = tavi_py_argument(signature, args, nargs, kwnames);
  int64_t count;
  if (arg == NULL || tavi_py_integer(arg, "n", 0, PY_SSIZE_T_MAX, &count) < 0)
    return -1;
  *ret_count = (Py_ssize_t)count;
  return 0;
}

static PyObject *no_entropy(PyObject *unused) {
  Py_DECREF(unused);
  PyErr_SetString(PyExc_OSError, "the system gives no random bytes");
  return NULL;
}

PyDoc_STRVAR(random_bytes_doc,
"random_bytes($module, /, n)\n"
"--\n"
"\n"
"n bytes of the system that nobody can guess. OverflowError for a negative n.");

static PyObject *random_bytes(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"random_bytes", 1, 1, 1, {"n"}};
  Py_ssize_t count;
  if (count_argument(&signature, args, nargs, kwnames, &count) < 0)
    return NULL;

  PyObject *bytes = PyBytes_FromStringAndSize(NULL, count);
  if (bytes != NULL && tavi_random_bytes(PyBytes_AS_STRING(bytes), (size_t)count) < 0)
    return no_entropy(bytes);
  return bytes;
}

PyDoc_STRVAR(random_str_doc,
"random_str($module, /, n)\n"
"--\n"
"\n"
"n letters and digits of ASCII that nobody can guess; 22 of them are as good as 128 bits. OverflowError for a\n"
"negative n.");

static PyObject *random_str(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"random_str", 1, 1, 1, {"n"}};
  Py_ssize_t count;
  if (count_argument(&signature, args, nargs, kwnames, &count) < 0)
    return NULL;

  PyObject *text = PyUnicode_New(count, 127);
  if (text != NULL && count > 0 && tavi_random_text(PyUnicode_DATA(text), (size_t)count) < 0)
    return no_entropy(text);
  return text;
}

static PyMethodDef functions[] = {
    {"md5", TAVI_PY_FASTCALL(md5), md5_doc},
    {"sha1", TAVI_PY_FASTCALL(sha1), sha1_doc},
    {"sha256", TAVI_PY_FASTCALL(sha256), sha256_doc},
    {"hmac_sha256", TAVI_PY_FASTCALL(hmac_sha256), hmac_sha256_doc},
    {"crc32", TAVI_PY_FASTCALL(crc32), crc32_doc},
    {"random_bytes", TAVI_PY_FASTCALL(random_bytes), random_bytes_doc},
    {"random_str", TAVI_PY_FASTCALL(random_str), random_str_doc},
    {NULL, NULL, 0, NULL},
};

int tavi_py_hash_setup(PyObject *module) {
  return PyModule_AddFunctions(module, functions);
}
