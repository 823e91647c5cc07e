/* SPDX-License-Identifier: MIT
 *
 * Rpc: handlers of remote calls by the pattern of their method; and RpcReq, a call while its handler runs. What a frame
 * is and what a reply looks like is the library's business (tavi/jsonrpc.h); here is who answers. */
#include "module.h"

#include <string.h>

#include "tavi/json.h"
#include "tavi/jsonrpc.h"

struct rpc {
  PyObject_HEAD
  PyObject *handlers; /* a list of (pattern, handler), newest first; NULL: none yet */
};

/* A call on the stack of process(). */
struct call {
  struct tavi_py_payload payload; /* what frame points into */
  struct tavi_jsonrpc_frame frame;
  PyObject *reply; /* the text of the reply, "" for a call without an id; NULL: not answered */
};

struct rpc_req {
  PyObject_HEAD
  struct call *call; /* borrowed; NULL once the handler has returned */
};

/* ==== replies ==== */

enum { ENVELOPE_BYTES = 64 }; /* of a reply, besides id and what it is about */

/* Take the reply that was written to `out`, which is freed. A call without an id gets none. */
static int set_reply(struct call *call, char *out, int64_t len) {
  bool is_wanted = call->frame.id.len > 0 || call->frame.method.len == 0;
  PyObject *reply = NULL;
  if (out == NULL)
    PyErr_NoMemory();
  else
    reply = tavi_py_decode((struct tavi_slice){out, is_wanted ? (size_t)len : 0});
  PyMem_Free(out);
  Py_XSETREF(call->reply, reply);
  return reply != NULL ? 0 : -1;
}

static int reply_result(struct call *call, struct tavi_slice json) {
  size_t cap = ENVELOPE_BYTES + call->frame.id.len + json.len;
  char *out = PyMem_Malloc(cap);
  return set_reply(call, out, out != NULL ? tavi_jsonrpc_result(call->frame.id, json, out, cap) : 0);
}

static int reply_error(struct call *call, int64_t code, struct tavi_slice message) {
  size_t cap = ENVELOPE_BYTES + call->frame.id.len + 6 * message.len;
  char *out = PyMem_Malloc(cap);
  return set_reply(call, out, out != NULL ? tavi_jsonrpc_error(call->frame.id, code, message, out, cap) : 0);
}

/* message: a str, taken; NULL with an exception set goes on as such. */
static int reply_error_str(struct call *call, int64_t code, PyObject *message) {
  PyObject *bytes = message != NULL ? PyUnicode_AsEncodedString(message, "utf-8", "replace") : NULL;
  Py_XDECREF(message);
  if (bytes == NULL)
    return -1;
  int err = reply_error(call, code, (struct tavi_slice){PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes)});
  Py_DECREF(bytes);
  return err;
}

/* ==== RpcReq ==== */

/* Ask after the arguments are converted: that can run any code. */
static struct call *open_call(PyObject *op) {
  struct call *call = ((struct rpc_req *)op)->call;
  if (call == NULL)
    PyErr_SetString(PyExc_RuntimeError, "RpcReq is no longer valid");
  else if (call->reply != NULL)
    PyErr_SetString(PyExc_RuntimeError, "Response already sent");
  return call != NULL && call->reply == NULL ? call : NULL;
}

PyDoc_STRVAR(ok_doc,
"ok($self, /, result_json)\n"
"--\n"
"\n"
"Answer the call with a result, which is JSON text (json.dumps(...)) and not looked at.\n"
"\n"
"RuntimeError when the call is answered already, and after its handler has returned.");

static PyObject *req_ok(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"ok", 1, 1, 1, {"result_json"}};
  PyObject *arg = tavi_py_argument(&signature, args, nargs, kwnames);
  struct tavi_py_payload json;
  if (arg == NULL || tavi_py_text(arg, "result_json", &json) < 0)
    return NULL;

  struct call *call = open_call(op);
  int err = call != NULL ? reply_result(call, (struct tavi_slice){json.data, json.len}) : -1;
  Py_DECREF(json.owner);
  return err < 0 ? NULL : tavi_py_or_none(NULL);
}

PyDoc_STRVAR(err_doc,
"err($self, /, code, message)\n"
"--\n"
"\n"
"Answer the call with an error: a number, and words.\n"
"\n"
"RuntimeError when the call is answered already, and after its handler has returned.");

static PyObject *req_err(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"err", 2, 2, 2, {"code", "message"}};
  PyObject *values[2] = {NULL, NULL};
  struct tavi_py_payload message;
  int64_t code;
  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0)
    return NULL;
  if (tavi_py_integer(values[0], "code", INT64_MIN, INT64_MAX, &code) < 0)
    return NULL;
  if (tavi_py_text(values[1], "message", &message) < 0)
    return NULL;

  struct call *call = open_call(op);
  int err = call != NULL ? reply_error(call, code, (struct tavi_slice){message.data, message.len}) : -1;
  Py_DECREF(message.owner);
  return err < 0 ? NULL : tavi_py_or_none(NULL);
}

PyDoc_STRVAR(frame_doc, "The text of the whole call; '' once its handler has returned.");

static PyObject *req_frame(PyObject *op, void *Py_UNUSED(closure)) {
  const struct call *call = ((struct rpc_req *)op)->call;
  return tavi_py_decode(call != NULL ? call->frame.text : (struct tavi_slice){NULL, 0});
}

static void req_dealloc(PyObject *op) {
  PyTypeObject *type = Py_TYPE(op);
  type->tp_free(op);
  Py_DECREF(type);
}

static PyMethodDef req_methods[] = {
    {"__reduce__", tavi_py_no_pickle, METH_NOARGS, NULL},
    {"ok", TAVI_PY_FASTCALL(req_ok), ok_doc},
    {"err", TAVI_PY_FASTCALL(req_err), err_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef req_getset[] = {
    {"frame", req_frame, NULL, frame_doc, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(req_doc,
"RpcReq()\n"
"--\n"
"\n"
"A remote call, as the handlers of Rpc get it. Valid until the handler returns; one made by hand never is.");

static PyType_Slot req_slots[] = {
    {Py_tp_doc, (void *)req_doc},
    {Py_tp_dealloc, (void *)req_dealloc},
    {Py_tp_methods, req_methods},
    {Py_tp_getset, req_getset},
    {0, NULL},
};

static PyType_Spec req_spec = {
    .name = "cymongoose.RpcReq",
    .basicsize = sizeof(struct rpc_req),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = req_slots,
};

/* ==== calling ==== */

static const char not_found[] = " not found";

/* The name of the method as UTF-8, in memory of its own, with not_found behind it. */
static char *method_name(const struct call *call, struct tavi_slice *ret_name) {
  struct tavi_slice json = call->frame.method;
  char *text = PyMem_Malloc(json.len + sizeof not_found);
  if (text == NULL) {
    PyErr_NoMemory();
    return NULL;
  }
  int64_t len = json.len > 0 ? tavi_json_get_str(json, "$", text, json.len) : 0;
  *ret_name = (struct tavi_slice){text, len > 0 ? (size_t)len : 0};
  memcpy(text + ret_name->len, not_found, sizeof not_found);
  return text;
}

/* 1: this handler is for the call; 0; -1 with an exception set. Replies have the pattern "" for themselves. */
static int is_for(PyObject *pattern, bool is_reply, struct tavi_slice name) {
  Py_ssize_t len;
  const char *text = PyUnicode_AsUTF8AndSize(pattern, &len);
  if (text == NULL)
    return -1;
  if (len == 0 || is_reply)
    return len == 0 && is_reply;
  int64_t found = tavi_py_match(name, (struct tavi_slice){text, (size_t)len}, NULL);
  return PyErr_Occurred() ? -1 : found >= 0;
}

/* The handler for the call; borrowed from handlers. NULL: none, or an exception is set. */
static PyObject *find_handler(PyObject *handlers, const struct call *call, struct tavi_slice name) {
  for (Py_ssize_t i = 0; handlers != NULL && i < PyList_GET_SIZE(handlers); i++) {
    PyObject *entry = PyList_GET_ITEM(handlers, i); // borrowed
    int found = is_for(PyTuple_GET_ITEM(entry, 0), call->frame.method.len == 0, name);
    if (found != 0)
      return found > 0 ? PyTuple_GET_ITEM(entry, 1) : NULL;
  }
  return NULL;
}

/* What an exception says, as a str. It is taken; when it cannot say anything, its type's name must do. */
static PyObject *words_of(PyObject *exc) {
  PyObject *text = PyObject_Str(exc);
  if (text == NULL && PyErr_ExceptionMatches(PyExc_Exception)) {
    PyErr_Clear();
    text = PyUnicode_FromString(Py_TYPE(exc)->tp_name);
  }
  Py_DECREF(exc);
  return text;
}

/* Call the handler with the request. Returns 0, or -1 with an exception set that is not one for the caller of the
 * method: KeyboardInterrupt and the like. */
static int call_handler(struct tavi_py_state *state, PyObject *handler, struct call *call) {
  struct rpc_req *req = (struct rpc_req *)state->rpc_req_type->tp_alloc(state->rpc_req_type, 0);
  if (req == NULL)
    return -1;

  req->call = call;
  PyObject *result = PyObject_CallOneArg(handler, (PyObject *)req);
  req->call = NULL;
  Py_DECREF(req);
  if (result == NULL && !PyErr_ExceptionMatches(PyExc_Exception))
    return -1;

  static const char nothing[] = "handler produced no response";
  PyObject *exc = result == NULL ? tavi_py_take_exception() : NULL;
  Py_XDECREF(result);
  if (call->reply != NULL) {
    Py_XDECREF(exc);
    return 0;
  }
  if (exc != NULL)
    return reply_error_str(call, TAVI_JSONRPC_INTERNAL_ERROR, words_of(exc));
  return reply_error(call, TAVI_JSONRPC_INTERNAL_ERROR, (struct tavi_slice){nothing, sizeof nothing - 1});
}

static int answer(struct tavi_py_state *state, PyObject *handlers, struct call *call) {
  struct tavi_slice name;
  char *name_text = method_name(call, &name);
  if (name_text == NULL)
    return -1;

  int err = 0;
  PyObject *handler = find_handler(handlers, call, name);
  if (handler != NULL) {
    Py_INCREF(handler); /* the list may change while it runs */
    err = call_handler(state, handler, call);
    Py_DECREF(handler);
  } else if (PyErr_Occurred()) {
    err = -1;
  } else if (call->frame.method.len > 0) {
    name.len += sizeof not_found - 1;
    err = reply_error(call, TAVI_JSONRPC_METHOD_NOT_FOUND, name);
  }
  PyMem_Free(name_text);
  return err;
}

/* ==== Rpc ==== */

PyDoc_STRVAR(add_doc,
"add($self, /, method, handler)\n"
"--\n"
"\n"
"Let handler(req) answer the calls of a method: it gets an RpcReq and calls its ok() or err().\n"
"\n"
"method is a pattern as in match(). Of several that match, the one that was added last is called. '' is for replies\n"
"to calls of one's own, which have 'result' or 'error' instead of a method.");

static PyObject *rpc_add(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"add", 2, 2, 2, {"method", "handler"}};
  struct rpc *self = (struct rpc *)op;
  PyObject *values[2] = {NULL, NULL};
  struct tavi_py_payload method;
  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0)
    return NULL;
  if (tavi_py_text(values[0], "method", &method) < 0)
    return NULL;
  Py_DECREF(method.owner); /* it can be encoded: that is what process() relies on */
  if (!PyCallable_Check(values[1]))
    return PyErr_Format(PyExc_TypeError, "handler must be callable, not %.100s", Py_TYPE(values[1])->tp_name);

  PyObject *name = PyUnicode_FromObject(values[0]), *entry = NULL; /* an exact str */
  if (name != NULL)
    entry = PyTuple_Pack(2, name, values[1]);
  Py_XDECREF(name);
  if (entry == NULL)
    return NULL;
  if (self->handlers == NULL)
    self->handlers = PyList_New(0);
  int err = self->handlers != NULL ? PyList_Insert(self->handlers, 0, entry) : -1;
  Py_DECREF(entry);
  return err < 0 ? NULL : tavi_py_or_none(NULL);
}

PyDoc_STRVAR(process_doc,
"process($self, /, frame)\n"
"--\n"
"\n"
"Call the handler for a frame, such as '{\"id\": 1, \"method\": \"add\", \"params\": [1, 2]}', and return its reply:\n"
"'{\"id\":1,\"result\":3}'.\n"
"\n"
"Errors have the numbers of JSON-RPC: -32700 for what is no JSON or no call, -32601 for an unknown method, -32603\n"
"when the handler raises an Exception or does not answer. '' for a call without an id, which wants no reply, and for\n"
"replies.");

static PyObject *rpc_process(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"process", 1, 1, 1, {"frame"}};
  PyObject *arg = tavi_py_argument(&signature, args, nargs, kwnames);
  struct tavi_py_state *state = tavi_py_state_of(Py_TYPE(op));
  struct call call = {.reply = NULL};
  if (arg == NULL || state == NULL || tavi_py_received(arg, &call.payload) < 0)
    return NULL;

  struct tavi_slice text = {call.payload.data, call.payload.len};
  int err = tavi_jsonrpc_parse(text, &call.frame);
  if (err < 0) {
    call.frame.method.len = 0; /* one that is no string */
    err = reply_error(&call, TAVI_JSONRPC_PARSE_ERROR, text);
  } else {
    bool is_reply = call.frame.method.len == 0;
    err = answer(state, ((struct rpc *)op)->handlers, &call);
    if (err == 0 && is_reply) /* whatever its handler said */
      Py_XSETREF(call.reply, PyUnicode_FromString(""));
  }
  Py_DECREF(call.payload.owner);
  if (err < 0)
    Py_CLEAR(call.reply);
  return call.reply;
}

PyDoc_STRVAR(methods_doc, "The patterns given to add(), the newest first, without ''; a new list.");

static PyObject *rpc_methods(PyObject *op, void *Py_UNUSED(closure)) {
  PyObject *handlers = ((struct rpc *)op)->handlers, *result = PyList_New(0);
  for (Py_ssize_t i = 0; result != NULL && handlers != NULL && i < PyList_GET_SIZE(handlers); i++) {
    PyObject *name = PyTuple_GET_ITEM(PyList_GET_ITEM(handlers, i), 0); // borrowed
    if (PyUnicode_GET_LENGTH(name) > 0 && PyList_Append(result, name) < 0)
      Py_CLEAR(result);
  }
  return result;
}

static int rpc_traverse(PyObject *op, visitproc visit, void *arg) {
  Py_VISIT(Py_TYPE(op));
  Py_VISIT(((struct rpc *)op)->handlers);
  return 0;
}

static int rpc_clear(PyObject *op) {
  Py_CLEAR(((struct rpc *)op)->handlers);
  return 0;
}

static void rpc_dealloc(PyObject *op) {
  PyTypeObject *type = Py_TYPE(op);
  PyObject_GC_UnTrack(op);
  rpc_clear(op);
  type->tp_free(op);
  Py_DECREF(type);
}

static PyMethodDef rpc_method_table[] = {
    {"__reduce__", tavi_py_no_pickle, METH_NOARGS, NULL},
    {"add", TAVI_PY_FASTCALL(rpc_add), add_doc},
    {"process", TAVI_PY_FASTCALL(rpc_process), process_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef rpc_getset[] = {
    {"methods", rpc_methods, NULL, methods_doc, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(rpc_doc,
"Rpc()\n"
"--\n"
"\n"
"Remote calls as JSON texts, after JSON-RPC 2.0: frames need no 'jsonrpc' member, replies have none, and there are no\n"
"batches. Over what the texts travel is up to the program, for example a WebSocket.");

static PyType_Slot rpc_slots[] = {
    {Py_tp_doc, (void *)rpc_doc},
    {Py_tp_traverse, (void *)rpc_traverse},
    {Py_tp_clear, (void *)rpc_clear},
    {Py_tp_dealloc, (void *)rpc_dealloc},
    {Py_tp_methods, rpc_method_table},
    {Py_tp_getset, rpc_getset},
    {0, NULL},
};

static PyType_Spec rpc_spec = {
    .name = "cymongoose.Rpc",
    .basicsize = sizeof(struct rpc),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = rpc_slots,
};

int tavi_py_rpc_setup(PyObject *module, struct tavi_py_state *state) {
  state->rpc_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &rpc_spec, NULL);
  if (state->rpc_type == NULL || PyModule_AddType(module, state->rpc_type) < 0)
    return -1;
  state->rpc_req_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &req_spec, NULL);
  if (state->rpc_req_type == NULL)
    return -1;
  return PyModule_AddType(module, state->rpc_req_type);
}
