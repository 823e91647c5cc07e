/* SPDX-License-Identifier: MIT
 *
 * The methods of Connection for datagrams: to any address, to groups and to everybody. */
#include "module.h"

#include <string.h>

#include "tavi/udp.h"

/* The UDP connection for a method that acts on it, or NULL with an exception set. Asked after all conversions. */
static struct tavi_conn *udp_of(struct tavi_py_connection *self, const char *method) {
  if (!tavi_py_connection_is_open(self)) {
    tavi_py_closed_error();
    return NULL;
  }
  if ((self->flags & TAVI_PY_LISTENER) || !(tavi_conn_flags(self->c.conn) & TAVI_CONN_UDP)) {
    PyErr_Format(PyExc_RuntimeError, "%s() is for UDP", method);
    return NULL;
  }
  return self->c.conn;
}

/* (host, port) or what remote_addr gives: (host, port, is_ipv6). */
static int address_argument(PyObject *value, struct tavi_addr *ret_addr) {
  Py_ssize_t count = PyTuple_Check(value) ? PyTuple_GET_SIZE(value) : 0;
  struct tavi_py_payload host;
  int64_t port;

  if (count != 2 && count != 3) {
    PyErr_SetString(PyExc_TypeError, "addr must be a tuple (host, port)");
    return -1;
  }
  if (tavi_py_integer(PyTuple_GET_ITEM(value, 1), "port", 0, 65535, &port) < 0 ||
      tavi_py_c_string(PyTuple_GET_ITEM(value, 0), "host", &host) < 0)
    return -1;
  /* One that does not fit is none: "" is refused like it. */
  memset(ret_addr, 0, sizeof *ret_addr);
  if (host.len < sizeof ret_addr->host)
    memcpy(ret_addr->host, host.data, host.len);
  ret_addr->port = (uint16_t)port;
  Py_DECREF(host.owner);
  return 0;
}

const char tavi_py_send_to_doc[] =
"send_to($self, /, addr, data)\n"
"--\n"
"\n"
"Send one datagram to any address, from a socket that listen('udp://...') has bound, at once.\n"
"\n"
"addr is (host, port) or a remote_addr; host is an IP address, of a link-local peer with its zone\n"
"('fe80::1%eth0'). data is str (as UTF-8), or anything that bytes() takes apart from an int; it may be empty,\n"
"and holds up to 65,507 bytes. Whom send() answers stays as it is.\n"
"\n"
"ValueError for what is no address that this socket can send to, RuntimeError when closed, on connections that\n"
"are not such a socket, and when the datagram cannot be sent. May be called from any thread.";

PyObject *tavi_py_send_to(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"send_to", 2, 2, 2, {"addr", "data"}};
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  PyObject *values[] = {NULL, NULL};
  struct tavi_addr to;
  struct tavi_py_payload data;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0 || address_argument(values[0], &to) < 0 ||
      tavi_py_payload(values[1], &data) < 0)
    return NULL;

  struct tavi_conn *c = udp_of(self, "send_to");
  int err = 0;
  if (c != NULL) {
    struct tavi_py_manager *manager = self->manager;
    tavi_py_enter(manager);
    err = tavi_udp_send_to(c, &to, data.data, data.len);
    tavi_py_leave(manager, self);
  }
  Py_DECREF(data.owner);
  if (c == NULL)
    return NULL;
  if (err == TAVI_E_ADDRESS)
    return PyErr_Format(PyExc_ValueError, "this socket cannot send to %R", values[0]);
  if (err == TAVI_E_ARG) {
    PyErr_SetString(PyExc_RuntimeError, "send_to() is for sockets of listen('udp://...')");
    return NULL;
  }
  return tavi_py_result(err, "send_to");
}

/* ==== groups ==== */

/* A C string, or NULL for None and for what was not given. The caller drops *ret_owner. */
static int interface_argument(PyObject *value, const char **ret_name, PyObject **ret_owner) {
  struct tavi_py_payload name;
  *ret_name = NULL;
  *ret_owner = NULL;
  if (value == NULL || value == Py_None)
    return 0;
  if (tavi_py_c_string(value, "interface", &name) < 0)
    return -1;
  *ret_name = name.data;
  *ret_owner = name.owner;
  return 0;
}

static PyObject *change_group(const char *method, int (*change)(struct tavi_conn *, const char *, const char *),
                              PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  const struct tavi_py_signature signature = {method, 1, 2, 2, {"group", "interface"}};
  PyObject *values[] = {NULL, NULL}, *owner;
  struct tavi_py_payload group;
  const char *interface;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0 ||
      tavi_py_c_string(values[0], "group", &group) < 0)
    return NULL;
  if (interface_argument(values[1], &interface, &owner) < 0) {
    Py_DECREF(group.owner);
    return NULL;
  }
  struct tavi_conn *c = udp_of((struct tavi_py_connection *)op, method);
  int err = c != NULL ? change(c, group.data, interface) : 0;
  Py_DECREF(group.owner);
  Py_XDECREF(owner);
  if (c == NULL)
    return NULL;
  if (err == TAVI_E_ADDRESS)
    return PyErr_Format(PyExc_ValueError, "%s(): %R is no group that this socket can be in, or is not in", method,
                        values[0]);
  return tavi_py_result(err, method);
}

const char tavi_py_join_group_doc[] =
"join_group($self, /, group, interface=None)\n"
"--\n"
"\n"
"Receive what is sent to a group (multicast) such as '239.1.2.3' or 'ff02::fb', at the port that listen() has\n"
"bound: 'udp://:PORT' for IPv4, 'udp://[::]:PORT' for both families, with reuse_port=True when others on this\n"
"host are to get it too. interface is a name or a number as str; None lets the system choose.\n"
"\n"
"ValueError when group is none or of the other family, RuntimeError when closed, not UDP, a member already,\n"
"when there is no such interface, and when the socket has all the groups that the system allows.";

PyObject *tavi_py_join_group(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  return change_group("join_group", tavi_udp_join, op, args, nargs, kwnames);
}

const char tavi_py_leave_group_doc[] =
"leave_group($self, /, group, interface=None)\n"
"--\n"
"\n"
"The opposite of join_group(), with the same arguments. ValueError when not a member. Closing leaves all.";

PyObject *tavi_py_leave_group(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  return change_group("leave_group", tavi_udp_leave, op, args, nargs, kwnames);
}

const char tavi_py_set_multicast_doc[] =
"set_multicast($self, /, interface=None, hops=1, loop=True)\n"
"--\n"
"\n"
"How datagrams to groups leave this UDP socket from now on: by which interface (a name or a number as str;\n"
"None lets the system choose), over how many networks (0 to 255; 1 is this network), and whether members on\n"
"this host get them too. OverflowError for hops, otherwise as join_group().";

PyObject *tavi_py_set_multicast(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"set_multicast", 0, 3, 3, {"interface", "hops", "loop"}};
  PyObject *values[] = {NULL, NULL, NULL}, *owner;
  const char *interface;
  int64_t hops = 1;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0)
    return NULL;
  if (values[1] != NULL && tavi_py_integer(values[1], "hops", 0, 255, &hops) < 0)
    return NULL;
  int loop = values[2] ? PyObject_IsTrue(values[2]) : 1;
  if (loop < 0 || interface_argument(values[0], &interface, &owner) < 0)
    return NULL;

  struct tavi_conn *c = udp_of((struct tavi_py_connection *)op, "set_multicast");
  int err = c != NULL ? tavi_udp_set_multicast(c, interface, (unsigned)hops, loop != 0) : 0;
  Py_XDECREF(owner);
  return c != NULL ? tavi_py_result(err, "set_multicast") : NULL;
}

const char tavi_py_set_broadcast_doc[] =
"set_broadcast($self, /, allowed=True)\n"
"--\n"
"\n"
"Allow or forbid this UDP socket to send to broadcast addresses; at first it is forbidden. RuntimeError when\n"
"closed, or not UDP.";

PyObject *tavi_py_set_broadcast(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"set_broadcast", 0, 1, 1, {"allowed"}};
  PyObject *value = NULL;

  if (tavi_py_arguments(&signature, args, nargs, kwnames, &value) < 0)
    return NULL;
  int allowed = value ? PyObject_IsTrue(value) : 1;
  if (allowed < 0)
    return NULL;
  struct tavi_conn *c = udp_of((struct tavi_py_connection *)op, "set_broadcast");
  return c != NULL ? tavi_py_result(tavi_udp_set_broadcast(c, allowed != 0), "set_broadcast") : NULL;
}
