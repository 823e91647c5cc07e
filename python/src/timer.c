/* SPDX-License-Identifier: MIT
 *
 * Timer: a handle on one timer of a manager. The manager keeps running timers alive, so the caller may drop the
 * handle; a timer that has ended keeps nothing alive, neither the manager nor its callback. */
#include "module.h"

/* ==== running and ended ==== */

static void link_timer(struct tavi_py_timer *self, struct tavi_py_manager *manager) {
  self->manager = manager;
  self->next = manager->timers;
  if (self->next != NULL)
    self->next->prev = self;
  manager->timers = self;
  Py_INCREF(self);
}

/* Drops the manager's reference and the callback: the caller holds a reference of its own. */
static void end_timer(struct tavi_py_timer *self) {
  if (self->prev != NULL)
    self->prev->next = self->next;
  else
    self->manager->timers = self->next;
  if (self->next != NULL)
    self->next->prev = self->prev;
  self->prev = self->next = NULL;
  self->manager = NULL;
  self->c = NULL;
  Py_CLEAR(self->callback);
  Py_DECREF(self);
}

static void on_timer(struct tavi_timer *Py_UNUSED(t), void *user) {
  struct tavi_py_timer *self = user;
  struct tavi_py_manager *manager = self->manager;
  PyObject *callback = self->callback;

  Py_INCREF(self);
  Py_INCREF(callback);
  if (!self->repeats)
    end_timer(self); /* the library frees its timer when this function returns */
  if (callback != Py_None) {
    PyObject *result = PyObject_CallNoArgs(callback);
    if (result != NULL)
      Py_DECREF(result);
    else
      tavi_py_report(manager);
  }
  Py_DECREF(callback);
  Py_DECREF(self);
}

PyObject *tavi_py_timer_start(struct tavi_py_manager *manager, uint64_t delay_ms, uint64_t period_ms,
                              PyObject *callback) {
  PyTypeObject *type = manager->state->timer_type;
  struct tavi_py_timer *self = (struct tavi_py_timer *)type->tp_alloc(type, 0);
  if (self == NULL)
    return NULL;

  /* Only now: making an object can run the collector, and so any code. */
  if (manager->c == NULL || manager->closing) {
    Py_DECREF(self);
    PyErr_SetString(PyExc_RuntimeError, "Manager has been freed");
    return NULL;
  }
  self->repeats = period_ms > 0;
  int err = tavi_timer_start(manager->c, delay_ms, period_ms, on_timer, self, &self->c);
  if (err < 0) {
    Py_DECREF(self);
    return tavi_py_result(err, "timer_add");
  }
  Py_INCREF(callback);
  self->callback = callback;
  link_timer(self, manager);
  return (PyObject *)self;
}

void tavi_py_timers_release(struct tavi_py_manager *manager) {
  /* All of the library's are gone. What is released below may run code that cancels the next one. */
  for (struct tavi_py_timer *timer = manager->timers; timer != NULL; timer = timer->next)
    timer->c = NULL;
  while (manager->timers != NULL) {
    struct tavi_py_timer *timer = manager->timers;
    Py_INCREF(timer);
    end_timer(timer);
    Py_DECREF(timer);
  }
}

/* ==== methods ==== */

PyDoc_STRVAR(cancel_doc,
"cancel($self, /)\n"
"--\n"
"\n"
"End the timer: no call starts after this one returns. Does nothing when it has ended already.\n"
"\n"
"May be called from any thread, and inside the timer's own callback.");

static PyObject *timer_cancel(PyObject *op, PyObject *Py_UNUSED(ignored)) {
  struct tavi_py_timer *self = (struct tavi_py_timer *)op;

  if (self->c != NULL) {
    tavi_timer_cancel(self->c);
    end_timer(self);
  }
  Py_RETURN_NONE;
}

static PyObject *timer_active(PyObject *op, void *Py_UNUSED(closure)) {
  return PyBool_FromLong(((struct tavi_py_timer *)op)->c != NULL);
}

/* ==== type ==== */

static int timer_traverse(PyObject *op, visitproc visit, void *arg) {
  Py_VISIT(Py_TYPE(op));
  Py_VISIT(((struct tavi_py_timer *)op)->callback);
  return 0;
}

/* The callback of a running timer is needed until its manager ends it, which the collector does first. */
static int timer_clear(PyObject *op) {
  struct tavi_py_timer *self = (struct tavi_py_timer *)op;
  if (self->c == NULL)
    Py_CLEAR(self->callback);
  return 0;
}

static void timer_dealloc(PyObject *op) {
  PyTypeObject *type = Py_TYPE(op);
  PyObject_GC_UnTrack(op);
  timer_clear(op);
  type->tp_free(op);
  Py_DECREF(type);
}

static PyMethodDef timer_methods[] = {
    {"__reduce__", tavi_py_no_pickle, METH_NOARGS, NULL},
    {"cancel", timer_cancel, METH_NOARGS, cancel_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(active_doc, "True until the timer is cancelled, has fired for the last time, or its manager is closed.");

static PyGetSetDef timer_getset[] = {
    {"active", timer_active, NULL, active_doc, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(timer_doc,
"Timer()\n"
"--\n"
"\n"
"A timer of a manager, as Manager.timer_add() gives it. One made by hand has ended already.");

static PyType_Slot timer_slots[] = {
    {Py_tp_doc, (void *)timer_doc},
    {Py_tp_traverse, (void *)timer_traverse},
    {Py_tp_clear, (void *)timer_clear},
    {Py_tp_dealloc, (void *)timer_dealloc},
    {Py_tp_methods, timer_methods},
    {Py_tp_getset, timer_getset},
    {0, NULL},
};

static PyType_Spec timer_spec = {
    .name = "cymongoose.Timer",
    .basicsize = sizeof(struct tavi_py_timer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = timer_slots,
};

int tavi_py_timer_setup(PyObject *module, struct tavi_py_state *state) {
  state->timer_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &timer_spec, NULL);
  if (state->timer_type == NULL)
    return -1;
  return PyModule_AddType(module, state->timer_type);
}
