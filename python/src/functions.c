/* SPDX-License-Identifier: MIT
 *
 * The functions of the module that belong to no object and to no other file. */
#include "module.h"

PyDoc_STRVAR(event_name_doc,
"event_name($module, /, ev)\n"
"--\n"
"\n"
"The name of an event number, such as 'MG_EV_HTTP_MSG' for 11.\n"
"\n"
"Numbers above MG_EV_USER give 'MG_EV_USER+1' and so on, others 'MG_EV_UNKNOWN(20)'.");

static PyObject *event_name(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"event_name", 1, 1, 1, {"ev"}};
  PyObject *arg = tavi_py_argument(&signature, args, nargs, kwnames);
  if (arg == NULL)
    return NULL;

  static const char *const names[] = {
      "ERROR",    "OPEN",    "POLL",     "RESOLVE",  "CONNECT",   "ACCEPT",    "TLS_HS", "READ",
      "WRITE",    "CLOSE",   "HTTP_HDRS", "HTTP_MSG", "WS_OPEN",   "WS_MSG",    "WS_CTL", "MQTT_CMD",
      "MQTT_MSG", "MQTT_OPEN", "SNTP_TIME", "WAKEUP",   NULL,        NULL,        "USER",
  };
  int64_t event;

  if (tavi_py_integer(arg, "ev", INT64_MIN, INT64_MAX, &event) < 0)
    return NULL;

  if (event >= 0 && event <= MG_EV_USER && names[event] != NULL)
    return PyUnicode_FromFormat("MG_EV_%s", names[event]);
  if (event > MG_EV_USER)
    return PyUnicode_FromFormat("MG_EV_USER+%lld", (long long)(event - MG_EV_USER));
  return PyUnicode_FromFormat("MG_EV_UNKNOWN(%lld)", (long long)event);
}

PyDoc_STRVAR(log_set_doc,
"log_set($module, /, level)\n"
"--\n"
"\n"
"Choose which log lines of the library are printed to sys.stdout: those up to this level.\n"
"\n"
"Holds for all managers of the process, from their next poll() on; MG_LL_NONE (0), the default, prints nothing.");

static PyObject *log_set(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"log_set", 1, 1, 1, {"level"}};
  PyObject *arg = tavi_py_argument(&signature, args, nargs, kwnames);
  if (arg == NULL)
    return NULL;

  struct tavi_py_state *state = PyModule_GetState(module);
  int64_t level;

  if (tavi_py_integer(arg, "level", INT32_MIN, INT32_MAX, &level) < 0)
    return NULL;

  state->log_level = (long)level;
  Py_RETURN_NONE;
}

PyDoc_STRVAR(log_get_doc,
"log_get($module, /)\n"
"--\n"
"\n"
"The level that was given to log_set() last; 0 at first.");

static PyObject *log_get(PyObject *module, PyObject *Py_UNUSED(ignored)) {
  struct tavi_py_state *state = PyModule_GetState(module);
  return PyLong_FromLong(state->log_level);
}

PyDoc_STRVAR(millis_doc,
"millis($module, /)\n"
"--\n"
"\n"
"Milliseconds of the monotonic clock, the one that timers go by.");

static PyObject *millis(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
  return PyLong_FromUnsignedLongLong(tavi_millis());
}

PyDoc_STRVAR(features_doc,
"features($module, /)\n"
"--\n"
"\n"
"What the library was built with, as 'name/version' separated by spaces, such as 'zlib/1.2.13 brotli/1.0.9'.");

static PyObject *features(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
  return PyUnicode_FromString(tavi_features());
}

PyMethodDef tavi_py_functions[] = {
    {"event_name", TAVI_PY_FASTCALL(event_name), event_name_doc},
    {"log_set", TAVI_PY_FASTCALL(log_set), log_set_doc},
    {"log_get", log_get, METH_NOARGS, log_get_doc},
    {"millis", millis, METH_NOARGS, millis_doc},
    {"features", features, METH_NOARGS, features_doc},
    TAVI_PY_ENTRY(http_parse_multipart),
    TAVI_PY_ENTRY(http_var),
    TAVI_PY_ENTRY(http_cookie),
    {NULL, NULL, 0, NULL},
};
