/* SPDX-License-Identifier: MIT
 *
 * Forms: receive_form() with its types Form and FormPart, and forms that are in memory.
 *
 * Form and FormPart are views, as HttpMessage: what they point to is the library's until on_form returns; then the Form
 * lets go of its parts, and each part that somebody kept is empty. A form that is on its way belongs to the manager's
 * list, where the collector can see its callback. */
#include "module.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tavi/http_form.h"

/* ==== forms in memory ==== */

PyObject *tavi_py_decode_form_value(struct tavi_slice value) {
  char *text = PyMem_Malloc(value.len + 1);
  if (text == NULL)
    return PyErr_NoMemory();

  PyObject *result = NULL;
  int64_t len = tavi_percent_decode(value, true, text);
  if (len < 0)
    PyErr_SetString(PyExc_ValueError, "form value with a bad percent escape");
  else
    result = PyUnicode_DecodeUTF8(text, (Py_ssize_t)len, "surrogateescape");
  PyMem_Free(text);
  return result;
}

const char tavi_py_http_var_doc[] =
"http_var($module, /, buf, name)\n"
"--\n"
"\n"
"The value of the first variable called name in form data such as 'a=1&b=2', decoded ('+' is a space, %XX a\n"
"byte); '' for 'a=' and for a bare 'a'.\n"
"\n"
"None when there is none; ValueError when its percent escapes are malformed.";

PyObject *tavi_py_http_var(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"http_var", 2, 2, 2, {"buf", "name"}};
  PyObject *values[] = {NULL, NULL}, *result = NULL;
  struct tavi_py_payload buf, name;
  struct tavi_slice value;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0 || tavi_py_payload(values[0], &buf) < 0)
    return NULL;
  if (tavi_py_received_text(values[1], "name", &name) == 0) {
    int err = tavi_form_find((struct tavi_slice){buf.data, buf.len}, (struct tavi_slice){name.data, name.len}, &value);
    result = err < 0 ? tavi_py_or_none(NULL) : tavi_py_decode_form_value(value);
    Py_DECREF(name.owner);
  }
  Py_DECREF(buf.owner);
  return result;
}

static PyObject *part_dict(const struct tavi_multipart_part *part) {
  return Py_BuildValue("{sNsNsN}", "name", tavi_py_decode(part->name), "filename", tavi_py_decode(part->filename),
                       "body", tavi_py_bytes(part->body));
}

const char tavi_py_http_parse_multipart_doc[] =
"http_parse_multipart($module, /, body, offset=0)\n"
"--\n"
"\n"
"The next part of a multipart body that is in memory, as (next_offset, part).\n"
"\n"
"Begin with offset 0 and go on with next_offset until part is None, which comes as (0, None): behind the last\n"
"part, and where the body is malformed. part is a dict with 'name' and 'filename' (str, '' when there is none)\n"
"and 'body' (bytes). filename is what the client says: never a path to write to.\n"
"\n"
"OverflowError for a negative offset. For large uploads see Connection.receive_form().";

PyObject *tavi_py_http_parse_multipart(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
                                       PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"http_parse_multipart", 1, 2, 2, {"body", "offset"}};
  PyObject *values[] = {NULL, NULL};
  struct tavi_py_payload body;
  struct tavi_multipart_part part;
  int64_t from = 0;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0)
    return NULL;
  if (values[1] != NULL && tavi_py_integer(values[1], "offset", 0, PY_SSIZE_T_MAX, &from) < 0)
    return NULL;
  if (tavi_py_payload(values[0], &body) < 0)
    return NULL;

  PyObject *dict = NULL;
  size_t offset = (size_t)from;
  struct tavi_slice bytes = {body.data, body.len}, boundary = {NULL, 0};
  bool has_part = offset <= body.len && tavi_multipart_next(bytes, boundary, &offset, &part) == 0;
  if (has_part)
    dict = part_dict(&part);
  Py_DECREF(body.owner);
  if (!has_part)
    return Py_BuildValue("(iO)", 0, Py_None);
  return dict ? Py_BuildValue("(nN)", (Py_ssize_t)offset, dict) : NULL;
}

/* ==== FormPart ==== */

struct form_part {
  PyObject_HEAD
  const struct tavi_form_part *c; /* borrowed from the library while on_form runs; NULL afterwards */
};

static const struct tavi_form_part *part_of(PyObject *op) {
  return ((struct form_part *)op)->c;
}

static PyObject *form_part_new(struct tavi_py_state *state, const struct tavi_form_part *c) {
  PyTypeObject *type = state->form_part_type;
  struct form_part *self = (struct form_part *)type->tp_alloc(type, 0);
  if (self != NULL)
    self->c = c;
  return (PyObject *)self;
}

static void plain_dealloc(PyObject *op) {
  PyTypeObject *type = Py_TYPE(op);
  type->tp_free(op);
  Py_DECREF(type);
}

static int part_bool(PyObject *op) {
  return part_of(op) != NULL;
}

/* closure: the offset of a struct tavi_slice in the part. */
static PyObject *part_text(PyObject *op, void *closure) {
  const struct tavi_form_part *part = part_of(op);
  struct tavi_slice text = {NULL, 0};
  if (part != NULL)
    memcpy(&text, (const char *)part + (uintptr_t)closure, sizeof text);
  return tavi_py_decode(text);
}

static PyObject *part_value(PyObject *op, void *Py_UNUSED(closure)) {
  const struct tavi_form_part *part = part_of(op);
  return tavi_py_bytes(part ? part->value : (struct tavi_slice){NULL, 0});
}

static PyObject *part_size(PyObject *op, void *Py_UNUSED(closure)) {
  const struct tavi_form_part *part = part_of(op);
  return PyLong_FromUnsignedLongLong(part ? part->size : 0);
}

static PyObject *part_is_file(PyObject *op, void *Py_UNUSED(closure)) {
  const struct tavi_form_part *part = part_of(op);
  return PyBool_FromLong(part != NULL && part->file != NULL);
}

/* The file of a part; NULL with an exception set. */
static struct tavi_form_file *file_of(PyObject *op) {
  const struct tavi_form_part *part = part_of(op);
  if (part != NULL && part->file != NULL)
    return part->file;
  PyErr_SetString(PyExc_ValueError, part ? "this part of the form is not a file" : "the form is not valid any more");
  return NULL;
}

/* What OSError is to tell; 0: the text of err does. */
static int errno_of(int err) {
  switch (err) {
    case TAVI_E_NOT_FOUND: return ENOENT;
    case TAVI_E_ACCESS: return EACCES;
    case TAVI_E_DESCRIPTORS: return EMFILE;
    case TAVI_E_UNSUPPORTED: return EXDEV;
    default: return 0;
  }
}

/* 0 when there is something at path, otherwise what the system says about the way there. */
static int look_at(const char *path, struct stat *ret_stat) {
  return stat(path, ret_stat) == 0 ? 0 : errno;
}

static bool is_full(int fd) {
  struct statvfs fs;
  return fstatvfs(fd, &fs) == 0 && (fs.f_bavail == 0 || (fs.f_files > 0 && fs.f_favail == 0));
}

/* The library has one number for several reasons: which one it was is looked up afterwards. */
static int save_errno(int err, const struct tavi_form_file *file, const char *path) {
  struct stat st;
  int error = look_at(path, &st);
  bool is_way_bad = error == ENOTDIR || error == ELOOP || error == ENAMETOOLONG;

  if (is_way_bad && (err == TAVI_E_NOT_FOUND || err == TAVI_E_ARG))
    return error;
  bool is_about_path = err == TAVI_E_NOT_FOUND || err == TAVI_E_ARG || err == TAVI_E_SYSTEM;
  if (error == 0 && S_ISDIR(st.st_mode) && is_about_path)
    return EISDIR;
  if (err == TAVI_E_SYSTEM && is_full(tavi_form_fd(file)))
    return ENOSPC;
  return err == TAVI_E_ARG ? EINVAL : errno_of(err);
}

/* error: what save_errno() has found. */
static PyObject *save_error(int err, int error, PyObject *path) {
  if (err == TAVI_E_STATE) {
    PyErr_SetString(PyExc_RuntimeError, "the file was saved before");
    return NULL;
  }
  if (err == TAVI_E_NOMEM)
    return PyErr_NoMemory();
  errno = error;
  if (error != 0)
    return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
  PyErr_Format(PyExc_OSError, "cannot save the file as %R: %s", path, tavi_err_text(err));
  return NULL;
}

PyDoc_STRVAR(save_doc,
"save($self, /, path)\n"
"--\n"
"\n"
"Give the received file this name, with mode 0666 less the umask; an existing file is replaced at once.\n"
"\n"
"path is str or os.PathLike, your own and trusted: never made from filename unseen. It must be on the same file\n"
"system as the directory of receive_form().\n"
"\n"
"OSError when that fails (FileNotFoundError, IsADirectoryError, PermissionError and others), ValueError when the\n"
"part is no file or not valid any more, RuntimeError when it was saved before.");

static PyObject *part_save(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"save", 1, 1, 1, {"path"}};
  PyObject *arg = tavi_py_argument(&signature, args, nargs, kwnames);
  struct tavi_py_payload path;

  if (arg == NULL || tavi_py_path(arg, "path", &path) < 0)
    return NULL;

  struct tavi_form_file *file = file_of(op);
  int err = file ? tavi_form_save(file, path.data) : 0;
  int error = err < 0 ? save_errno(err, file, path.data) : 0;
  Py_DECREF(path.owner);
  if (file == NULL)
    return NULL;
  if (err < 0)
    return save_error(err, error, arg);
  Py_RETURN_NONE;
}

/* All of a file, from its beginning. The GIL is given back: somebody else may then end the form, so fd is our own. */
static PyObject *read_all(int fd, uint64_t size) {
  if (size > PY_SSIZE_T_MAX)
    return PyErr_NoMemory();
  PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
  if (bytes == NULL)
    return NULL;

  char *to = PyBytes_AS_STRING(bytes);
  size_t done = 0;
  ssize_t n = 0;
  Py_BEGIN_ALLOW_THREADS
  do {
    n = pread(fd, to + done, (size_t)size - done, (off_t)done);
    if (n > 0)
      done += (size_t)n;
  } while ((n > 0 && done < size) || (n < 0 && errno == EINTR));
  Py_END_ALLOW_THREADS
  if (n < 0) {
    Py_DECREF(bytes);
    return PyErr_SetFromErrno(PyExc_OSError);
  }
  if (done < size)
    _PyBytes_Resize(&bytes, (Py_ssize_t)done);
  return bytes;
}

PyDoc_STRVAR(read_doc,
"read($self, /)\n"
"--\n"
"\n"
"All bytes of the file, or of a value. The GIL is given back while the disk is read. b'' when not valid any\n"
"more, OSError when the disk fails.");

static PyObject *part_read(PyObject *op, PyObject *Py_UNUSED(ignored)) {
  const struct tavi_form_part *part = part_of(op);
  if (part == NULL || part->file == NULL)
    return part_value(op, NULL);

  int fd = fcntl(tavi_form_fd(part->file), F_DUPFD_CLOEXEC, 0);
  if (fd < 0)
    return PyErr_SetFromErrno(PyExc_OSError);
  PyObject *bytes = read_all(fd, part->size);
  close(fd);
  return bytes;
}

PyDoc_STRVAR(part_fileno_doc,
"fileno($self, /)\n"
"--\n"
"\n"
"The descriptor of the file, open for reading and writing, its offset anywhere; os.dup() it to keep it.\n"
"\n"
"It belongs to the form. ValueError when the part is no file or not valid any more.");

static PyObject *part_fileno(PyObject *op, PyObject *Py_UNUSED(ignored)) {
  const struct tavi_form_file *file = file_of(op);
  return file ? PyLong_FromLong(tavi_form_fd(file)) : NULL;
}

static PyMethodDef part_methods[] = {
    {"__reduce__", tavi_py_no_pickle, METH_NOARGS, NULL},
    {"save", TAVI_PY_FASTCALL(part_save), save_doc},
    {"read", part_read, METH_NOARGS, read_doc},
    {"fileno", part_fileno, METH_NOARGS, part_fileno_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(name_doc, "The field's name, decoded.");
PyDoc_STRVAR(filename_doc, "The name that the client gives the file: a hint, never a path; '' for values.");
PyDoc_STRVAR(content_type_doc, "The Content-Type that the client gives; '' when there is none.");
PyDoc_STRVAR(value_doc, "The value; b'' for files, see read().");
PyDoc_STRVAR(text_doc, "The value as UTF-8 text; bytes that are none become surrogates.");
PyDoc_STRVAR(size_doc, "Bytes of the value or the file.");
PyDoc_STRVAR(is_file_doc, "True for a file, which was written to disk.");

#define SLICE_AT(field) (void *)(uintptr_t)offsetof(struct tavi_form_part, field)

static PyGetSetDef part_getset[] = {
    {"name", part_text, NULL, name_doc, SLICE_AT(name)},
    {"filename", part_text, NULL, filename_doc, SLICE_AT(filename)},
    {"content_type", part_text, NULL, content_type_doc, SLICE_AT(content_type)},
    {"value", part_value, NULL, value_doc, NULL},
    {"text", part_text, NULL, text_doc, SLICE_AT(value)},
    {"size", part_size, NULL, size_doc, NULL},
    {"is_file", part_is_file, NULL, is_file_doc, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(part_doc,
"FormPart()\n"
"--\n"
"\n"
"A field of a Form: a value in memory, or a file on disk that has no name until save().\n"
"\n"
"Valid until on_form returns: then bool(part) is False and everything in it is empty. One made by hand is never\n"
"valid.");

static PyType_Slot part_slots[] = {
    {Py_tp_doc, (void *)part_doc},
    {Py_tp_dealloc, (void *)plain_dealloc},
    {Py_nb_bool, (void *)part_bool},
    {Py_tp_methods, part_methods},
    {Py_tp_getset, part_getset},
    {0, NULL},
};

static PyType_Spec part_spec = {
    .name = "cymongoose.FormPart",
    .basicsize = sizeof(struct form_part),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = part_slots,
};

/* ==== Form ==== */

struct form {
  PyObject_HEAD
  PyObject *parts; /* a tuple of FormPart; NULL when not valid */
  PyObject *error; /* a str, or NULL */
  int status;
};

static PyObject *make_parts(struct tavi_py_state *state, const struct tavi_form *c) {
  PyObject *parts = PyTuple_New((Py_ssize_t)c->part_count);
  for (size_t i = 0; parts != NULL && i < c->part_count; i++) {
    PyObject *part = form_part_new(state, &c->parts[i]);
    if (part == NULL)
      Py_CLEAR(parts);
    else
      PyTuple_SET_ITEM(parts, (Py_ssize_t)i, part);
  }
  return parts;
}

static struct form *form_new(struct tavi_py_state *state, const struct tavi_form *c) {
  PyTypeObject *type = state->form_type;
  struct form *self = (struct form *)type->tp_alloc(type, 0);
  if (self == NULL)
    return NULL;

  self->status = c->status;
  if (c->err < 0)
    self->error = PyUnicode_FromString(c->text[0] ? c->text : tavi_err_text(c->err));
  if (c->err == 0 || self->error != NULL)
    self->parts = make_parts(state, c);
  if (self->parts == NULL)
    Py_CLEAR(self);
  return self;
}

/* The memory behind the parts goes. */
static void form_end(struct form *self) {
  PyObject *parts = self->parts;
  self->parts = NULL;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(parts); i++)
    ((struct form_part *)PyTuple_GET_ITEM(parts, i))->c = NULL;
  Py_DECREF(parts);
}

static void form_dealloc(PyObject *op) {
  struct form *self = (struct form *)op;
  Py_XDECREF(self->parts);
  Py_XDECREF(self->error);
  plain_dealloc(op);
}

static int form_bool(PyObject *op) {
  return ((struct form *)op)->parts != NULL;
}

PyDoc_STRVAR(get_doc,
"get($self, /, name)\n"
"--\n"
"\n"
"The first part called name (case-sensitive), or None.");

static PyObject *form_get(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"get", 1, 1, 1, {"name"}};
  PyObject *arg = tavi_py_argument(&signature, args, nargs, kwnames);
  struct tavi_py_payload name;

  if (arg == NULL || tavi_py_received_text(arg, "name", &name) < 0)
    return NULL;

  PyObject *parts = ((struct form *)op)->parts, *found = NULL; // borrowed
  for (Py_ssize_t i = 0; parts != NULL && found == NULL && i < PyTuple_GET_SIZE(parts); i++) {
    PyObject *part = PyTuple_GET_ITEM(parts, i);
    struct tavi_slice has = part_of(part)->name;
    if (has.len == name.len && (has.len == 0 || memcmp(has.ptr, name.data, has.len) == 0))
      found = part;
  }
  Py_DECREF(name.owner);
  return tavi_py_or_none(found);
}

static PyObject *form_parts(PyObject *op, void *Py_UNUSED(closure)) {
  PyObject *parts = ((struct form *)op)->parts;
  if (parts == NULL)
    return PyTuple_New(0);
  Py_INCREF(parts);
  return parts;
}

static PyObject *form_error(PyObject *op, void *Py_UNUSED(closure)) {
  return tavi_py_or_none(((struct form *)op)->error);
}

static PyObject *form_status(PyObject *op, void *Py_UNUSED(closure)) {
  return PyLong_FromLong(((struct form *)op)->status);
}

static PyMethodDef form_methods[] = {
    {"__reduce__", tavi_py_no_pickle, METH_NOARGS, NULL},
    {"get", TAVI_PY_FASTCALL(form_get), get_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(parts_doc, "The parts in their order; with an error those that were complete.");
PyDoc_STRVAR(error_doc, "None when the form is complete, otherwise what was wrong, for people. Kept.");
PyDoc_STRVAR(status_doc,
             "The status that the client is told unless on_form answers, such as 400 or 413; 0 without an error and "
             "when the client has gone. Kept.");

static PyGetSetDef form_getset[] = {
    {"parts", form_parts, NULL, parts_doc, NULL},
    {"error", form_error, NULL, error_doc, NULL},
    {"status", form_status, NULL, status_doc, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(form_doc,
"Form()\n"
"--\n"
"\n"
"A form that Connection.receive_form() has received.\n"
"\n"
"Valid until on_form returns: then bool(form) is False, it has no parts, and files that were not saved are\n"
"gone. One made by hand is never valid.");

static PyType_Slot form_slots[] = {
    {Py_tp_doc, (void *)form_doc},
    {Py_tp_dealloc, (void *)form_dealloc},
    {Py_nb_bool, (void *)form_bool},
    {Py_tp_methods, form_methods},
    {Py_tp_getset, form_getset},
    {0, NULL},
};

static PyType_Spec form_spec = {
    .name = "cymongoose.Form",
    .basicsize = sizeof(struct form),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = form_slots,
};

int tavi_py_form_setup(PyObject *module, struct tavi_py_state *state) {
  state->form_part_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &part_spec, NULL);
  if (state->form_part_type == NULL || PyModule_AddType(module, state->form_part_type) < 0)
    return -1;
  state->form_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &form_spec, NULL);
  if (state->form_type == NULL)
    return -1;
  return PyModule_AddType(module, state->form_type);
}

/* ==== receiving ==== */

/* One form that is on its way: the `arg` of the library's callback. */
struct tavi_py_receiving {
  struct tavi_py_receiving *prev, *next; /* in manager->receiving */
  struct tavi_py_manager *manager;       /* borrowed */
  struct tavi_py_connection *conn;
  PyObject *on_form;
};

static struct tavi_py_receiving *receiving_new(struct tavi_py_connection *conn, PyObject *on_form) {
  struct tavi_py_receiving *r = PyMem_New(struct tavi_py_receiving, 1);
  if (r == NULL) {
    PyErr_NoMemory();
    return NULL;
  }
  struct tavi_py_manager *manager = conn->manager;
  Py_INCREF(conn);
  Py_INCREF(on_form);
  *r = (struct tavi_py_receiving){.next = manager->receiving, .manager = manager, .conn = conn, .on_form = on_form};
  if (r->next != NULL)
    r->next->prev = r;
  manager->receiving = r;
  return r;
}

/* Take it off the list. */
static void receiving_leave(struct tavi_py_receiving *r) {
  if (r->prev != NULL)
    r->prev->next = r->next;
  else
    r->manager->receiving = r->next;
  if (r->next != NULL)
    r->next->prev = r->prev;
}

/* And give back what it held, which may run any code. */
static void receiving_free(struct tavi_py_receiving *r) {
  PyObject *on_form = r->on_form;
  struct tavi_py_connection *conn = r->conn;
  PyMem_Free(r);
  Py_DECREF(on_form);
  Py_DECREF(conn);
}

int tavi_py_receiving_traverse(struct tavi_py_manager *manager, visitproc visit, void *arg) {
  for (struct tavi_py_receiving *r = manager->receiving; r != NULL; r = r->next) {
    Py_VISIT(r->conn);
    Py_VISIT(r->on_form);
  }
  return 0;
}

void tavi_py_receiving_release(struct tavi_py_manager *manager) {
  while (manager->receiving != NULL) {
    struct tavi_py_receiving *r = manager->receiving;
    receiving_leave(r);
    receiving_free(r);
  }
}

static void on_form(struct tavi_conn *Py_UNUSED(c), const struct tavi_form *c_form, void *arg) {
  struct tavi_py_receiving *r = arg;
  struct tavi_py_manager *manager = r->manager;

  receiving_leave(r);
  if (manager->mute) {
    receiving_free(r);
    return;
  }
  struct form *form = form_new(manager->state, c_form);
  PyObject *result = NULL;
  if (form != NULL) {
    PyObject *args[] = {NULL, (PyObject *)r->conn, (PyObject *)form};
    result = PyObject_Vectorcall(r->on_form, args + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
  }
  if (result == NULL)
    tavi_py_report(manager);
  Py_XDECREF(result);
  if (form != NULL) {
    form_end(form);
    Py_DECREF(form);
  }
  receiving_free(r);
}

/* In the order of the signature; names: of these. */
static int receive_limits(const char *const *names, PyObject *const *values, struct tavi_form_opts *opts) {
  enum { SIZES = 4, ALL = 6 };
  size_t *sizes[SIZES] = {&opts->field_bytes_max, &opts->memory_bytes_max, &opts->part_count_max,
                          &opts->file_count_max};
  uint64_t *bytes[ALL - SIZES] = {&opts->file_bytes_max, &opts->body_bytes_max};
  for (int i = 0; i < ALL; i++) {
    int64_t number;
    if (values[i] == NULL || values[i] == Py_None)
      continue;
    if (tavi_py_integer(values[i], names[i], 0, i < SIZES ? PY_SSIZE_T_MAX : INT64_MAX, &number) < 0)
      return -1;
    if (i < SIZES)
      *sizes[i] = (size_t)number;
    else
      *bytes[i - SIZES] = (uint64_t)number;
  }
  return 0;
}

/* What OSError is to tell about the directory; 0: it is about something else. */
static int directory_errno(int err, const char *directory) {
  struct stat st;
  int error = directory ? look_at(directory, &st) : 0;
  if (err == TAVI_E_ARG)
    return error == ENAMETOOLONG ? error : 0;
  if (err != TAVI_E_NOT_FOUND || directory == NULL)
    return errno_of(err);
  if (error != 0)
    return error;
  return S_ISDIR(st.st_mode) ? ENOENT : ENOTDIR;
}

/* path: that of directory, which is None when it is NULL. */
static PyObject *receive_result(int err, PyObject *directory, const char *path) {
  errno = err < 0 ? directory_errno(err, path) : 0;
  if (errno != 0)
    return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, directory);
  if (err == TAVI_E_ARG) {
    PyErr_SetString(PyExc_ValueError, "the request is not a form");
    return NULL;
  }
  if (err == TAVI_E_STATE) {
    PyErr_SetString(PyExc_RuntimeError,
                    "receive_form() is for handlers of MG_EV_HTTP_HDRS, once for a request and before its answer");
    return NULL;
  }
  return tavi_py_result(err, "receive_form");
}

/* The last step, in which no Python code runs before the library's. */
static PyObject *receive(PyObject *op, PyObject *message, PyObject *callback, const struct tavi_form_opts *opts,
                         PyObject *directory) {
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  const struct tavi_http_msg *msg = tavi_py_message_argument(op, message);
  if (msg == NULL)
    return NULL;
  if (!tavi_py_connection_is_open(self))
    return tavi_py_closed_error();
  if (self->flags & TAVI_PY_LISTENER)
    return receive_result(TAVI_E_STATE, directory, NULL);

  struct tavi_py_receiving *r = receiving_new(self, callback);
  if (r == NULL)
    return NULL;
  int err = tavi_http_receive_form(self->c.conn, msg, opts, on_form, r);
  if (err < 0) {
    receiving_leave(r);
    receiving_free(r);
  }
  return receive_result(err, directory, opts->directory);
}

const char tavi_py_receive_form_doc[] =
"receive_form($self, /, message, directory, on_form, *, field_bytes_max=None, memory_bytes_max=None, "
"part_count_max=None, file_count_max=None, file_bytes_max=None, body_bytes_max=None)\n"
"--\n"
"\n"
"Inside MG_EV_HTTP_HDRS: receive the body of this request as a form (multipart/form-data or urlencoded), of\n"
"any size. on_form(conn, form) takes the place of MG_EV_HTTP_MSG.\n"
"\n"
"Files go to disk piece by piece, written by another thread, into directory, under no name until\n"
"FormPart.save(); the client is held back while the disk is slower. directory is str or os.PathLike; None: a\n"
"form with a file is refused (413).\n"
"\n"
"on_form is called exactly once, unless the manager is collected first. It answers, or something later does.\n"
"When form.error is set and no answer has begun by its end, the client is told form.status and the connection\n"
"closes; when the client has left, it is called as well, and nothing can be answered. Its exceptions are treated\n"
"as those of handlers.\n"
"\n"
"Limits, None for the default: field_bytes_max (64 KiB) of one value, memory_bytes_max (1 MiB) of all values and\n"
"names, part_count_max (1000) parts, file_count_max (64) files, file_bytes_max (1 GiB) of one file,\n"
"body_bytes_max (4 GiB) of everything, in place of the listener's.\n"
"\n"
"ValueError when the request is no form (nothing has happened: answer 415) and when message is not valid any\n"
"more, FileNotFoundError, NotADirectoryError or another OSError for the directory, RuntimeError when closed,\n"
"outside of MG_EV_HTTP_HDRS, for the second time and after an answer.";

PyObject *tavi_py_receive_form(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {
      "receive_form", 3, 3, 9,
      {"message", "directory", "on_form", "field_bytes_max", "memory_bytes_max", "part_count_max", "file_count_max",
       "file_bytes_max", "body_bytes_max"}};
  PyObject *values[9] = {NULL};
  struct tavi_py_payload directory = {NULL, NULL, 0};
  struct tavi_form_opts opts;
  tavi_form_opts_init(&opts);

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0 ||
      receive_limits(signature.names + 3, values + 3, &opts) < 0)
    return NULL;
  if (!PyCallable_Check(values[2])) {
    PyErr_Format(PyExc_TypeError, "on_form must be callable, not %.100s", Py_TYPE(values[2])->tp_name);
    return NULL;
  }
  if (values[1] != Py_None && tavi_py_path(values[1], "directory", &directory) < 0)
    return NULL;

  opts.directory = directory.data;
  PyObject *result = receive(op, values[0], values[2], &opts, values[1]);
  Py_XDECREF(directory.owner);
  return result;
}
