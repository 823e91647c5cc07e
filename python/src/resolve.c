/* SPDX-License-Identifier: MIT
 *
 * Connection.resolve() and resolve_cancel(): a lookup that belongs to a connection or listener and changes nothing else
 * of it. What it finds is kept as the library gave it, since making Python objects may run any code, and that must not
 * happen inside the library. */
#include "module.h"

#include <string.h>

#include "tavi/dns.h"

enum { ADDRS_MAX = 8 };

struct tavi_py_names {
  struct tavi_lookup *lookup; /* owned by the manager; NULL: none is under way */
  size_t count;
  struct tavi_addr addrs[ADDRS_MAX];
  bool is_due;                /* found inside resolve(), which tells it */
  char text[320];             /* why nothing was found; "" */
};

static void forget(struct tavi_py_names *names) {
  tavi_resolve_cancel(names->lookup);
  names->lookup = NULL;
}

void tavi_py_names_free(struct tavi_py_connection *self) {
  if (self->names == NULL)
    return;
  forget(self->names);
  PyMem_Free(self->names);
  self->names = NULL;
}

static void tell(struct tavi_py_connection *self) {
  PyObject *data = Py_None;
  Py_INCREF(data);
  if (self->names->text[0] != '\0')
    Py_SETREF(data, PyUnicode_DecodeUTF8(self->names->text, (Py_ssize_t)strlen(self->names->text), "replace"));
  if (data == NULL) {
    tavi_py_report(self->manager);
    return;
  }
  tavi_py_deliver(self, MG_EV_RESOLVE, data);
  Py_DECREF(data);
}

static void on_resolved(const struct tavi_addr *addrs, size_t count, int err, const char *text, void *user) {
  struct tavi_py_connection *self = user;
  struct tavi_py_names *names = self->names;
  names->lookup = NULL;
  names->count = count < ADDRS_MAX ? count : ADDRS_MAX;
  if (count > 0)
    memcpy(names->addrs, addrs, names->count * sizeof(*addrs));
  PyOS_snprintf(names->text, sizeof(names->text), "%s", text);
  if (!tavi_py_connection_is_open(self) || err == TAVI_E_CLOSED)
    return;
  if (self->manager->calling)
    names->is_due = true;
  else
    tell(self);
}

/* "https://host:1/path" -> "host:1/path": whatever the scheme, only the host matters. */
static const char *without_scheme(const char *url) {
  const char *rest = url + strcspn(url, ":/?#");
  return strncmp(rest, "://", 3) == 0 ? rest + 3 : url;
}

static int start(struct tavi_py_connection *self, const char *url) {
  struct tavi_lookup *lookup = NULL;
  if (self->names == NULL)
    self->names = PyMem_Calloc(1, sizeof(*self->names));
  if (self->names == NULL)
    return TAVI_E_NOMEM;
  forget(self->names);
  struct tavi_py_manager *manager = self->manager;
  tavi_py_enter(manager);
  int err = tavi_resolve(manager->c, without_scheme(url), on_resolved, self, &lookup);
  if (err == 0)
    self->names->lookup = lookup;
  tavi_py_leave(manager, self);
  return err;
}

PyObject *tavi_py_resolve(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"resolve", 1, 1, 1, {"url"}};
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  struct tavi_py_payload url;
  PyObject *arg = tavi_py_argument(&signature, args, nargs, kwnames);

  if (arg == NULL || tavi_py_c_string(arg, "url", &url) < 0)
    return NULL;
  bool is_open = tavi_py_connection_is_open(self);
  int err = is_open ? start(self, url.data) : TAVI_E_CLOSED;
  Py_DECREF(url.owner);
  if (err == TAVI_E_ADDRESS) {
    PyErr_SetString(PyExc_ValueError, "resolve() needs a host name, or a URL with one");
    return NULL;
  }
  if (err < 0 || !self->names->is_due)
    return tavi_py_result(err, "resolve");

  struct tavi_py_manager *manager = self->manager;
  self->names->is_due = false;
  Py_INCREF(manager); /* a handler may drop the last other reference to either */
  Py_INCREF(self);
  tell(self);
  int fatal = tavi_py_check_fatal(manager);
  Py_DECREF(self);
  Py_DECREF(manager);
  if (fatal < 0)
    return NULL;
  Py_RETURN_NONE;
}

PyObject *tavi_py_resolve_cancel(PyObject *op, PyObject *Py_UNUSED(ignored)) {
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  if (!tavi_py_connection_is_open(self))
    return tavi_py_closed_error();
  if (self->names != NULL)
    forget(self->names);
  if (self->flags & TAVI_PY_LISTENER || !(tavi_conn_flags(self->c.conn) & TAVI_CONN_RESOLVING))
    Py_RETURN_NONE;
  return PyObject_CallMethod(op, "close", NULL); /* without its peer's address it will never be connected */
}

PyObject *tavi_py_resolved(PyObject *op, void *Py_UNUSED(closure)) {
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  PyObject *list = PyList_New(0);
  if (list == NULL)
    return NULL;
  for (size_t i = 0; self->names != NULL && i < self->names->count; i++) {
    struct tavi_addr a = self->names->addrs[i];
    PyObject *item = Py_BuildValue("(siO)", a.host, (int)a.port, a.is_ipv6 ? Py_True : Py_False);
    int failed = item == NULL ? -1 : PyList_Append(list, item);
    Py_XDECREF(item);
    if (failed < 0) {
      Py_DECREF(list);
      return NULL;
    }
  }
  Py_SETREF(list, PyList_AsTuple(list));
  return list;
}

bool tavi_py_resolved_first(const struct tavi_py_connection *self, struct tavi_addr *ret_addr) {
  if (self->names == NULL || self->names->count == 0)
    return false;
  *ret_addr = self->names->addrs[0];
  return true;
}
