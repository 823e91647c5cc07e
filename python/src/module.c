/* SPDX-License-Identifier: MIT
 *
 * The extension module cymongoose._mongoose: the library behind include/tavi for Python programs.
 *
 * Initialised in two phases (PEP 489), with all state in struct tavi_py_state and all types on the heap, so every
 * interpreter has a module of its own. The GIL is what keeps a manager whole (see module.h), therefore a free-threaded
 * interpreter is told to switch it on.
 *
 * Where to read on: event.c is how the library calls Python; manager.c, connection.c, http_message.c and timer.c are
 * the types, with EventChannel in sse.c and Form in form.c; these two, answer.c, files.c and auth.c have the methods
 * that speak HTTP; convert.c, url.c and options.c read arguments. */
#include "module.h"

struct tavi_py_state *tavi_py_state_of(PyTypeObject *type) {
  /* A Python subclass has no module of its own, but one of ours among its bases. */
  for (PyTypeObject *t = type; t != NULL; t = t->tp_base) {
    if (!PyType_HasFeature(t, Py_TPFLAGS_HEAPTYPE))
      break;
    PyObject *module = PyType_GetModule(t); // borrowed
    if (module != NULL && PyModule_GetDef(module) == &tavi_py_module)
      return PyModule_GetState(module);
    PyErr_Clear();
  }
  PyErr_SetString(PyExc_SystemError, "not a type of this module");
  return NULL;
}

static int setup_event_numbers(struct tavi_py_state *state) {
  for (int i = 0; i <= MG_EV_USER; i++) {
    if (i == 20 || i == 21)
      continue;
    state->event_numbers[i] = PyLong_FromLong(i);
    if (state->event_numbers[i] == NULL)
      return -1;
  }
  return 0;
}

static int module_exec(PyObject *module) {
  struct tavi_py_state *state = PyModule_GetState(module);

  if (setup_event_numbers(state) < 0)
    return -1;
  if (PyModule_AddStringConstant(module, "__version__", tavi_version()) < 0)
    return -1;
  if (tavi_py_constants_setup(module) < 0)
    return -1;
  if (tavi_py_json_setup(module) < 0 || tavi_py_text_setup(module) < 0 || tavi_py_hash_setup(module) < 0)
    return -1;
  if (tavi_py_rpc_setup(module, state) < 0)
    return -1;
  if (tavi_py_connection_setup(module, state) < 0)
    return -1;
  if (tavi_py_http_message_setup(module, state) < 0)
    return -1;
  if (tavi_py_timer_setup(module, state) < 0)
    return -1;
  if (tavi_py_event_channel_setup(module, state) < 0)
    return -1;
  if (tavi_py_form_setup(module, state) < 0)
    return -1;
  if (tavi_py_origin_setup(module, state) < 0)
    return -1;
  return tavi_py_manager_setup(module, state);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
  struct tavi_py_state *state = PyModule_GetState(module);
  if (state == NULL)
    return 0;

  Py_VISIT(state->rpc_type);
  Py_VISIT(state->rpc_req_type);
  Py_VISIT(state->manager_type);
  Py_VISIT(state->connection_type);
  Py_VISIT(state->http_message_type);
  Py_VISIT(state->timer_type);
  Py_VISIT(state->event_channel_type);
  Py_VISIT(state->form_type);
  Py_VISIT(state->form_part_type);
  Py_VISIT(state->origin_type);
  for (int i = 0; i <= MG_EV_USER; i++)
    Py_VISIT(state->event_numbers[i]);
  Py_VISIT(state->json_dumps);
  return 0;
}

static int module_clear(PyObject *module) {
  struct tavi_py_state *state = PyModule_GetState(module);
  if (state == NULL)
    return 0;

  /* The event numbers stay: a manager that is collected together with the module still tells CLOSE. */
  Py_CLEAR(state->rpc_type);
  Py_CLEAR(state->rpc_req_type);
  Py_CLEAR(state->manager_type);
  Py_CLEAR(state->connection_type);
  Py_CLEAR(state->http_message_type);
  Py_CLEAR(state->timer_type);
  Py_CLEAR(state->event_channel_type);
  Py_CLEAR(state->form_type);
  Py_CLEAR(state->form_part_type);
  Py_CLEAR(state->origin_type);
  Py_CLEAR(state->json_dumps);
  return 0;
}

static void module_free(void *module) {
  struct tavi_py_state *state = PyModule_GetState((PyObject *)module);
  if (state == NULL)
    return;

  module_clear((PyObject *)module);
  for (int i = 0; i <= MG_EV_USER; i++)
    Py_CLEAR(state->event_numbers[i]);
  tavi_py_messages_free(state);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)module_exec},
#ifdef Py_MOD_PER_INTERPRETER_GIL_SUPPORTED
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_MOD_GIL_USED
    {Py_mod_gil, Py_MOD_GIL_USED},
#endif
    {0, NULL},
};

PyDoc_STRVAR(module_doc, "The compiled part of cymongoose; import cymongoose instead.");

struct PyModuleDef tavi_py_module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "cymongoose._mongoose",
    .m_doc = module_doc,
    .m_size = sizeof(struct tavi_py_state),
    .m_methods = tavi_py_functions,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__mongoose(void) {
  return PyModuleDef_Init(&tavi_py_module);
}
