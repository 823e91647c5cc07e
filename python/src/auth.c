/* SPDX-License-Identifier: MIT
 *
 * Credentials, cookies, and the client behind a proxy: methods of HttpMessage and of Connection, the function
 * http_cookie(), and the type Origin. */
#include "module.h"

#include <string.h>

#include "tavi/http_auth.h"

static const struct tavi_http_msg *message_of(PyObject *op) {
  return ((struct tavi_py_message *)op)->msg;
}

static struct tavi_slice slice_of(const struct tavi_py_payload *text) {
  return (struct tavi_slice){text->data, text->len};
}

typedef int text_fn(PyObject *obj, const char *argument, struct tavi_py_payload *ret_text);

/* Two texts, the whole of what a method takes. The caller drops both owners, whatever the result. */
static int two_texts(const struct tavi_py_signature *signature, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames, text_fn *read_text, struct tavi_py_payload texts[2]) {
  PyObject *values[] = {NULL, NULL};
  texts[0].owner = texts[1].owner = NULL;
  if (tavi_py_arguments(signature, args, nargs, kwnames, values) < 0)
    return -1;
  for (int i = 0; i < 2; i++)
    if (read_text(values[i], signature->names[i], &texts[i]) < 0)
      return -1;
  return 0;
}

static void drop_texts(struct tavi_py_payload texts[2]) {
  Py_XDECREF(texts[0].owner);
  Py_XDECREF(texts[1].owner);
}

/* ==== credentials that were sent ==== */

/* decoded: memory that is as long as the longest header of msg; it is freed here. */
static PyObject *decode_basic(const struct tavi_http_msg *msg, char *decoded, size_t cap) {
  struct tavi_slice user, password;
  int err = tavi_http_basic_auth(msg, decoded, cap, &user, &password);
  PyObject *first = err == 0 ? tavi_py_decode(user) : NULL;
  PyObject *second = first != NULL ? tavi_py_decode(password) : NULL;
  PyMem_Free(decoded);
  if (err < 0)
    Py_RETURN_NONE;
  if (second == NULL) {
    Py_XDECREF(first);
    return NULL;
  }
  return Py_BuildValue("(NN)", first, second);
}

const char tavi_py_basic_auth_doc[] =
"basic_auth($self, /)\n"
"--\n"
"\n"
"(user, password) of 'Authorization: Basic ...', or None: when there is no such header, several, or a\n"
"malformed one. Compare with is_user(), whose time tells nothing.";

PyObject *tavi_py_basic_auth(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"basic_auth", 0, 0, 0, {NULL}};
  if (tavi_py_arguments(&signature, args, nargs, kwnames, NULL) < 0)
    return NULL;

  const struct tavi_http_msg *msg = message_of(op);
  const struct tavi_slice *header = msg ? tavi_http_header(msg, "Authorization") : NULL;
  if (header == NULL)
    Py_RETURN_NONE;
  char *decoded = PyMem_Malloc(header->len + 1);
  return decoded ? decode_basic(msg, decoded, header->len + 1) : PyErr_NoMemory();
}

const char tavi_py_bearer_token_doc[] =
"bearer_token($self, /)\n"
"--\n"
"\n"
"The token of 'Authorization: Bearer ...', or None: when there is no such header, several, or a malformed one.";

PyObject *tavi_py_bearer_token(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"bearer_token", 0, 0, 0, {NULL}};
  struct tavi_slice token;
  if (tavi_py_arguments(&signature, args, nargs, kwnames, NULL) < 0)
    return NULL;

  const struct tavi_http_msg *msg = message_of(op);
  if (msg == NULL || tavi_http_bearer_token(msg, &token) < 0)
    Py_RETURN_NONE;
  return tavi_py_decode(token);
}

const char tavi_py_is_user_doc[] =
"is_user($self, /, user, password)\n"
"--\n"
"\n"
"True when the request carries exactly these as Basic credentials. Both are always compared, in a time that\n"
"depends on the length of what was sent alone.";

PyObject *tavi_py_is_user(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"is_user", 2, 2, 2, {"user", "password"}};
  struct tavi_py_payload texts[2];
  PyObject *result = NULL;
  if (two_texts(&signature, args, nargs, kwnames, tavi_py_received_text, texts) == 0) {
    const struct tavi_http_msg *msg = message_of(op);
    result = PyBool_FromLong(msg != NULL && tavi_http_is_user(msg, slice_of(&texts[0]), slice_of(&texts[1])));
  }
  drop_texts(texts);
  return result;
}

const char tavi_py_is_bearer_doc[] =
"is_bearer($self, /, token)\n"
"--\n"
"\n"
"True when the request carries exactly this as its Bearer token; compared as in is_user().";

PyObject *tavi_py_is_bearer(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"is_bearer", 1, 1, 1, {"token"}};
  PyObject *arg = tavi_py_argument(&signature, args, nargs, kwnames);
  struct tavi_py_payload token;
  if (arg == NULL || tavi_py_received_text(arg, "token", &token) < 0)
    return NULL;

  const struct tavi_http_msg *msg = message_of(op);
  bool is_bearer = msg != NULL && tavi_http_is_bearer(msg, slice_of(&token));
  Py_DECREF(token.owner);
  return PyBool_FromLong(is_bearer);
}

/* ==== credentials that are asked for, or sent ==== */

const char tavi_py_http_challenge_doc[] =
"http_challenge($self, /, scheme='Basic', realm='')\n"
"--\n"
"\n"
"Answer the current HTTP request with 401 and 'WWW-Authenticate: <scheme> realm=\"<realm>\"': a browser asks its\n"
"user for a name and a password.\n"
"\n"
"scheme is 'Basic' or 'Bearer'. ValueError for another one and for a realm with control characters; otherwise as\n"
"reply().";

static PyObject *challenge(struct tavi_py_connection *self, const char *scheme, const char *realm) {
  if (!tavi_py_connection_is_open(self))
    return tavi_py_closed_error();
  if (self->flags & TAVI_PY_LISTENER)
    Py_RETURN_NONE;

  struct tavi_py_manager *manager = self->manager;
  tavi_py_enter(manager);
  int err = tavi_http_challenge(self->c.conn, scheme, realm);
  tavi_py_leave(manager, self);
  if (err == TAVI_E_ARG) {
    PyErr_SetString(PyExc_ValueError, "scheme must be 'Basic' or 'Bearer', and realm a short text without controls");
    return NULL;
  }
  return tavi_py_answer_result(err);
}

PyObject *tavi_py_http_challenge(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"http_challenge", 0, 2, 2, {"scheme", "realm"}};
  PyObject *values[] = {NULL, NULL}, *result = NULL;
  struct tavi_py_payload scheme = {NULL, "Basic", 5}, realm = {NULL, "", 0};

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0)
    return NULL;
  if (values[0] != NULL && tavi_py_c_string(values[0], "scheme", &scheme) < 0)
    return NULL;
  if (values[1] == NULL || tavi_py_c_string(values[1], "realm", &realm) == 0)
    result = challenge((struct tavi_py_connection *)op, scheme.data, realm.data);
  Py_XDECREF(scheme.owner);
  Py_XDECREF(realm.owner);
  return result;
}

/* "Authorization: Basic ...\r\n" as bytes. */
static PyObject *authorization(struct tavi_slice user, struct tavi_slice password) {
  static const char name[] = "Authorization: ";
  size_t cap = 16 + (user.len + password.len + 4) / 3 * 4, at = sizeof name - 1;
  PyObject *line = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(at + cap + 2));
  if (line == NULL)
    return NULL;

  char *to = PyBytes_AS_STRING(line);
  memcpy(to, name, at);
  int64_t len = tavi_http_basic_value(user, password, to + at, cap);
  if (len < 0) {
    Py_DECREF(line);
    PyErr_SetString(PyExc_ValueError, "username contains ':', or one of both a control character");
    return NULL;
  }
  at += (size_t)len;
  memcpy(to + at, "\r\n", 2);
  _PyBytes_Resize(&line, (Py_ssize_t)at + 2);
  return line;
}

static int send_line(struct tavi_py_connection *self, PyObject *line) {
  if (!tavi_py_connection_is_open(self))
    return TAVI_E_CLOSED;
  if (self->flags & TAVI_PY_LISTENER)
    return 0;

  struct tavi_py_manager *manager = self->manager;
  tavi_py_enter(manager);
  int err = tavi_conn_send(self->c.conn, PyBytes_AS_STRING(line), (size_t)PyBytes_GET_SIZE(line));
  tavi_py_leave(manager, self);
  return err;
}

const char tavi_py_http_basic_auth_doc[] =
"http_basic_auth($self, /, username, password)\n"
"--\n"
"\n"
"Append the header line 'Authorization: Basic ...' to what waits to be sent, after a request line written\n"
"with send(). ValueError for a ':' in username and for control characters, RuntimeError when closed.";

PyObject *tavi_py_http_basic_auth(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"http_basic_auth", 2, 2, 2, {"username", "password"}};
  struct tavi_py_payload texts[2];
  PyObject *line = NULL;
  if (two_texts(&signature, args, nargs, kwnames, tavi_py_text, texts) == 0)
    line = authorization(slice_of(&texts[0]), slice_of(&texts[1]));
  drop_texts(texts);
  if (line == NULL)
    return NULL;

  int err = send_line((struct tavi_py_connection *)op, line);
  Py_DECREF(line);
  return tavi_py_result(err, "http_basic_auth");
}

/* ==== cookies ==== */

const char tavi_py_cookie_doc[] =
"cookie($self, /, name)\n"
"--\n"
"\n"
"The value of the first cookie called name (case-sensitive), without the quotes around it, not decoded\n"
"otherwise; None when there is none.";

PyObject *tavi_py_cookie(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"cookie", 1, 1, 1, {"name"}};
  PyObject *arg = tavi_py_argument(&signature, args, nargs, kwnames);
  struct tavi_py_payload name;
  struct tavi_slice value;
  if (arg == NULL || tavi_py_received_text(arg, "name", &name) < 0)
    return NULL;

  const struct tavi_http_msg *msg = message_of(op);
  bool is_found = msg != NULL && tavi_http_cookie(msg, slice_of(&name), &value) == 0;
  Py_DECREF(name.owner);
  if (!is_found)
    Py_RETURN_NONE;
  return tavi_py_decode(value);
}

static bool is_space(char ch) {
  return ch == ' ' || ch == '\t';
}

/* One pair out of a Cookie header, cut as tavi_http_cookie() cuts it. A cookie that is there already stays. */
static int add_cookie(PyObject *dict, const char *from, const char *to) {
  while (from < to && is_space(*from))
    from++;
  while (from < to && is_space(to[-1]))
    to--;
  const char *equals = memchr(from, '=', (size_t)(to - from));
  if (equals == NULL || equals == from)
    return 0;

  struct tavi_slice value = {equals + 1, (size_t)(to - equals - 1)};
  if (value.len >= 2 && value.ptr[0] == '"' && to[-1] == '"')
    value = (struct tavi_slice){value.ptr + 1, value.len - 2};
  PyObject *key = tavi_py_decode((struct tavi_slice){from, (size_t)(equals - from)});
  PyObject *text = key ? tavi_py_decode(value) : NULL;
  int failed = text == NULL || PyDict_SetDefault(dict, key, text) == NULL ? -1 : 0;
  Py_XDECREF(key);
  Py_XDECREF(text);
  return failed;
}

static int add_cookies(PyObject *dict, struct tavi_slice header) {
  for (const char *at = header.ptr, *end = at + header.len; at < end;) {
    const char *semicolon = memchr(at, ';', (size_t)(end - at));
    const char *last = semicolon ? semicolon : end;
    if (add_cookie(dict, at, last) < 0)
      return -1;
    at = semicolon ? semicolon + 1 : end;
  }
  return 0;
}

static bool is_cookie_header(struct tavi_slice name) {
  return name.len == 6 && PyOS_mystrnicmp(name.ptr, "Cookie", 6) == 0;
}

const char tavi_py_cookies_doc[] =
"cookies($self, /)\n"
"--\n"
"\n"
"All cookies as a dict from name to value, as cookie() gives them.";

PyObject *tavi_py_cookies(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"cookies", 0, 0, 0, {NULL}};
  if (tavi_py_arguments(&signature, args, nargs, kwnames, NULL) < 0)
    return NULL;

  PyObject *dict = PyDict_New(); /* the last garbage collected object: no code runs in the walk */
  const struct tavi_http_msg *msg = message_of(op);
  for (size_t i = 0; dict != NULL && msg != NULL && i < msg->header_count; i++)
    if (is_cookie_header(msg->headers[i].name) && add_cookies(dict, msg->headers[i].value) < 0)
      Py_CLEAR(dict);
  return dict;
}

static int same_site_argument(PyObject *value, enum tavi_same_site *ret_same_site) {
  static const char *const names[] = {"Lax", "Strict", "None"}; /* in the order of the enum */
  for (int i = 0; PyUnicode_Check(value) && i < 3; i++) {
    if (PyUnicode_CompareWithASCIIString(value, names[i]) == 0) {
      *ret_same_site = (enum tavi_same_site)i;
      return 0;
    }
  }
  PyErr_SetString(PyUnicode_Check(value) ? PyExc_ValueError : PyExc_TypeError,
                  "same_site must be 'Lax', 'Strict' or 'None'");
  return -1;
}

/* The four texts of a cookie. The caller drops their owners, whatever the result. */
static int cookie_texts(PyObject *const *values, struct tavi_py_payload texts[4], struct tavi_cookie *cookie) {
  static const char *const names[] = {"name", "value", "path", "domain"};
  struct tavi_slice *fields[] = {&cookie->name, &cookie->value, &cookie->path, &cookie->domain};
  for (int i = 0; i < 4; i++) {
    if (values[i] == NULL)
      continue;
    if (tavi_py_text(values[i], names[i], &texts[i]) < 0)
      return -1;
    *fields[i] = slice_of(&texts[i]);
  }
  return 0;
}

/* max_age, same_site, secure and http_only. */
static int cookie_attributes(PyObject *const *values, struct tavi_cookie *cookie) {
  if (values[0] != NULL && values[0] != Py_None &&
      tavi_py_integer(values[0], "max_age", 0, INT64_MAX, &cookie->max_age_s) < 0)
    return -1;
  if (values[1] != NULL && same_site_argument(values[1], &cookie->same_site) < 0)
    return -1;
  int is_secure = values[2] ? PyObject_IsTrue(values[2]) : cookie->is_secure;
  int is_http_only = values[3] ? PyObject_IsTrue(values[3]) : cookie->is_http_only;
  cookie->is_secure = is_secure > 0;
  cookie->is_http_only = is_http_only > 0;
  return is_secure < 0 || is_http_only < 0 ? -1 : 0;
}

static bool is_cookie(const struct tavi_cookie *cookie) {
  char none[1];
  return tavi_cookie_format(cookie, none, 0) != TAVI_E_ARG;
}

/* Which argument of a refused cookie is refused by itself; NULL: they do not go together. */
static const char *wrong_field(const struct tavi_cookie *cookie) {
  static const char *const names[] = {"name", "value", "path", "domain"};
  for (int i = 0; i < 4; i++) {
    struct tavi_cookie one;
    tavi_cookie_init(&one);
    one.name = (struct tavi_slice){"n", 1};
    switch (i) {
      case 0: one.name = cookie->name; break;
      case 1: one.value = cookie->value; break;
      case 2: one.path = cookie->path; break;
      default: one.domain = cookie->domain; break;
    }
    if (!is_cookie(&one))
      return names[i];
  }
  return NULL;
}

static PyObject *cookie_error(const struct tavi_cookie *cookie, int64_t err) {
  const char *field = err == TAVI_E_ARG ? wrong_field(cookie) : NULL;
  if (field != NULL)
    PyErr_Format(PyExc_ValueError, "%s: browsers would refuse this cookie or read it differently", field);
  else if (err == TAVI_E_ARG && cookie->same_site == TAVI_SAME_SITE_NONE && !cookie->is_secure)
    PyErr_SetString(PyExc_ValueError, "same_site 'None' needs secure");
  else if (err == TAVI_E_ARG)
    PyErr_SetString(PyExc_ValueError, "name has a prefix that other arguments do not suit: all need secure, __Host- no "
                                      "domain and path '/', __Http- and __Host-Http- http_only");
  else
    PyErr_SetString(PyExc_ValueError, "name and value together are longer than browsers keep");
  return NULL;
}

static PyObject *format_cookie(const struct tavi_cookie *cookie) {
  size_t cap = cookie->name.len + cookie->value.len + cookie->path.len + cookie->domain.len + 256;
  char *text = PyMem_Malloc(cap);
  if (text == NULL)
    return PyErr_NoMemory();

  PyObject *result = NULL;
  int64_t len = tavi_cookie_format(cookie, text, cap);
  if (len < 0)
    result = cookie_error(cookie, len);
  else
    result = tavi_py_decode((struct tavi_slice){text, (size_t)len});
  PyMem_Free(text);
  return result;
}

const char tavi_py_http_cookie_doc[] =
"http_cookie($module, /, name, value, *, path='/', domain='', max_age=None, same_site='Lax', secure=True, "
"http_only=True)\n"
"--\n"
"\n"
"The value of a Set-Cookie header.\n"
"\n"
"value must have no controls, spaces, quotes, commas, semicolons and backslashes: encode what may have them. path\n"
"'' leaves it to the browser, domain '' means this host alone. max_age is in seconds, 0 deletes the cookie, None\n"
"keeps it until the browser ends. same_site is 'Lax', 'Strict' or 'None', which needs secure: over TLS alone (and\n"
"to localhost). http_only: scripts cannot read it.\n"
"\n"
"ValueError for what a browser would refuse or read differently.";

PyObject *tavi_py_http_cookie(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames) {
  static const struct tavi_py_signature signature = {
      "http_cookie", 2, 2, 8,
      {"name", "value", "path", "domain", "max_age", "same_site", "secure", "http_only"}};
  PyObject *values[8] = {NULL}, *result = NULL;
  struct tavi_py_payload texts[4] = {{NULL, NULL, 0}};
  struct tavi_cookie cookie;
  tavi_cookie_init(&cookie);

  if (tavi_py_arguments(&signature, args, nargs, kwnames, values) < 0)
    return NULL;
  if (cookie_texts(values, texts, &cookie) == 0 && cookie_attributes(values + 4, &cookie) == 0)
    result = format_cookie(&cookie);
  for (int i = 0; i < 4; i++)
    Py_XDECREF(texts[i].owner);
  return result;
}

/* ==== behind a proxy ==== */

static PyStructSequence_Field origin_fields[] = {
    {"client", "The client's address; '' when a trusted proxy does not tell it or hides it."},
    {"port", "The client's port; 0 when it is not told."},
    {"scheme", "'http' or 'https'."},
    {"host", "The host that was asked for, with its port, if any."},
    {"is_forwarded", "True when a trusted proxy has said so; otherwise it is what the connection and Host tell."},
    {NULL, NULL},
};

static PyStructSequence_Desc origin_desc = {
    .name = "cymongoose.Origin",
    .doc = "Who has asked, in what way, for which host: a tuple with names, as Connection.origin() gives it.",
    .fields = origin_fields,
    .n_in_sequence = 5,
};

int tavi_py_origin_setup(PyObject *module, struct tavi_py_state *state) {
  state->origin_type = PyStructSequence_NewType(&origin_desc);
  if (state->origin_type == NULL)
    return -1;
  return PyModule_AddType(module, state->origin_type);
}

/* Takes the objects, any of which may be NULL with an exception set. */
static PyObject *make_origin(PyTypeObject *type, PyObject *const *fields) {
  PyObject *origin = PyStructSequence_New(type);
  bool is_whole = origin != NULL;
  for (Py_ssize_t i = 0; i < 5; i++) {
    is_whole = is_whole && fields[i] != NULL;
    if (origin != NULL)
      PyStructSequence_SET_ITEM(origin, i, fields[i]);
    else
      Py_XDECREF(fields[i]);
  }
  if (!is_whole)
    Py_CLEAR(origin);
  return origin;
}

const char tavi_py_origin_doc[] =
"origin($self, /, message)\n"
"--\n"
"\n"
"Who sent this request, in what way, and for which host: Origin(client, port, scheme, host, is_forwarded).\n"
"\n"
"Inside the handler that got message. What Forwarded, or else X-Forwarded-For, -Proto and -Host, say is believed\n"
"as far as each hop was told by a proxy of listen(forwarded_from=...).\n"
"\n"
"ValueError when message is not valid any more, RuntimeError when closed and for a listener.";

PyObject *tavi_py_origin(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
  static const struct tavi_py_signature signature = {"origin", 1, 1, 1, {"message"}};
  struct tavi_py_connection *self = (struct tavi_py_connection *)op;
  PyObject *arg = tavi_py_argument(&signature, args, nargs, kwnames);
  const struct tavi_http_msg *msg = arg ? tavi_py_message_argument(op, arg) : NULL;
  struct tavi_py_state *state = msg ? tavi_py_state_of(Py_TYPE(op)) : NULL;
  if (state == NULL)
    return NULL;
  if (!tavi_py_connection_is_open(self) || (self->flags & TAVI_PY_LISTENER))
    return tavi_py_closed_error();

  struct tavi_http_origin o;
  tavi_http_origin(self->c.conn, msg, &o);
  PyObject *fields[] = {PyUnicode_DecodeFSDefault(o.client.host), PyLong_FromLong(o.client.port),
                        tavi_py_decode(o.scheme), tavi_py_decode(o.host), PyBool_FromLong(o.is_forwarded)};
  return make_origin(state->origin_type, fields);
}
