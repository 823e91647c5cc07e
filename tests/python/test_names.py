# SPDX-License-Identifier: MIT
"""The names of the package: constants, classes, functions, and that the stubs say what is really there."""
import ast
import copy
import importlib.util
import inspect
import logging
import pathlib
import pickle
import re
import time
import weakref

import pytest

import cymongoose
from cymongoose import (
    Connection, EventChannel, Form, FormPart, HttpMessage, Manager, Origin, Rpc, RpcReq, Timer, _mongoose,
)
from support import run_python

PACKAGE = pathlib.Path(cymongoose.__file__).parent

EVENTS = {
    "MG_EV_ERROR": 0, "MG_EV_OPEN": 1, "MG_EV_POLL": 2, "MG_EV_RESOLVE": 3, "MG_EV_CONNECT": 4, "MG_EV_ACCEPT": 5,
    "MG_EV_TLS_HS": 6, "MG_EV_READ": 7, "MG_EV_WRITE": 8, "MG_EV_CLOSE": 9, "MG_EV_HTTP_HDRS": 10,
    "MG_EV_HTTP_MSG": 11, "MG_EV_WS_OPEN": 12, "MG_EV_WS_MSG": 13, "MG_EV_WS_CTL": 14, "MG_EV_MQTT_CMD": 15,
    "MG_EV_MQTT_MSG": 16, "MG_EV_MQTT_OPEN": 17, "MG_EV_SNTP_TIME": 18, "MG_EV_WAKEUP": 19, "MG_EV_USER": 22,
}
OTHERS = {
    "WEBSOCKET_OP_TEXT": 1, "WEBSOCKET_OP_BINARY": 2, "WEBSOCKET_OP_PING": 9, "WEBSOCKET_OP_PONG": 10,
    "MG_LL_NONE": 0, "MG_LL_ERROR": 1, "MG_LL_INFO": 2, "MG_LL_DEBUG": 3, "MG_LL_VERBOSE": 4,
    "MQTT_PROP_TYPE_BYTE": 0, "MQTT_PROP_TYPE_STRING": 1, "MQTT_PROP_TYPE_STRING_PAIR": 2,
    "MQTT_PROP_TYPE_BINARY_DATA": 3, "MQTT_PROP_TYPE_VARIABLE_INT": 4, "MQTT_PROP_TYPE_INT": 5,
    "MQTT_PROP_TYPE_SHORT": 6,
}
CLASSES = [Manager, Connection, HttpMessage, EventChannel, Form, FormPart, Rpc, RpcReq, Timer]  # Origin is a tuple
FUNCTIONS = ["features", "http_cookie", "http_parse_multipart", "http_var", "event_name", "log_get", "log_set", "millis"]
FUNCTIONS += [
    "base64_decode", "base64_encode", "crc32", "hmac_sha256", "json_get", "json_get_bool", "json_get_long",
    "json_get_num", "json_get_str", "match", "md5", "random_bytes", "random_str", "sha1", "sha256", "url_encode",
    "url_host", "url_is_ssl", "url_pass", "url_port", "url_uri", "url_user",
]


# ==== names and values ====

@pytest.mark.parametrize("name, value", sorted({**EVENTS, **OTHERS}.items()))
def test_constants_are_plain_ints_with_their_values(name, value):
    assert getattr(cymongoose, name) == value
    assert type(getattr(cymongoose, name)) is int
    assert getattr(_mongoose, name) == value


def test_event_numbers_are_distinct():
    assert len(set(EVENTS.values())) == len(EVENTS)


def test_all_names_exist_and_nothing_public_is_missing_from_all():
    exported = cymongoose.__all__
    assert len(set(exported)) == len(exported)
    assert {"log_set", "log_get"} <= set(exported)
    assert {*EVENTS, *OTHERS, *FUNCTIONS, *(cls.__name__ for cls in CLASSES)} <= set(exported)
    for name in exported:
        assert hasattr(cymongoose, name), name
    public = {name for name, value in vars(cymongoose).items()
              if not name.startswith("_") and not inspect.ismodule(value)}
    assert public == set(exported)


def test_star_import_gives_all():
    space = {}
    exec("from cymongoose import *", space)
    assert set(cymongoose.__all__) <= set(space)


def test_compiled_module_exports_the_same_objects():
    for name in cymongoose.__all__:
        if name == "AsyncManager":
            continue
        assert getattr(_mongoose, name) is getattr(cymongoose, name)


def test_classes_tell_where_they_live():
    for cls in CLASSES:
        assert cls.__module__ in ("cymongoose", "cymongoose._mongoose")
        assert cls.__qualname__ == cls.__name__


def test_version_is_a_version():
    assert type(cymongoose.__version__) is str
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", cymongoose.__version__)


def test_package_is_typed():
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "__init__.pyi").exists()
    assert (PACKAGE / "_mongoose.pyi").exists()


# ==== functions ====

@pytest.mark.parametrize("name, value", sorted(EVENTS.items()))
def test_event_name_of_known_numbers(name, value):
    assert cymongoose.event_name(value) == name


@pytest.mark.parametrize("ev, name", [
    (23, "MG_EV_USER+1"), (122, "MG_EV_USER+100"), (20, "MG_EV_UNKNOWN(20)"), (21, "MG_EV_UNKNOWN(21)"),
    (-1, "MG_EV_UNKNOWN(-1)"), (-1000, "MG_EV_UNKNOWN(-1000)"),
])
def test_event_name_of_other_numbers(ev, name):
    assert cymongoose.event_name(ev) == name


def test_event_name_takes_an_int():
    for wrong in ("11", None, b"11", []):
        with pytest.raises(TypeError):
            cymongoose.event_name(wrong)
    assert cymongoose.event_name(True) == "MG_EV_OPEN"


def test_log_level_is_stored_and_is_0_at_first():
    result = run_python("import cymongoose; print(cymongoose.log_get(), cymongoose.MG_LL_NONE)")
    assert result.stdout.split() == ["0", "0"]
    try:
        for level in (cymongoose.MG_LL_ERROR, cymongoose.MG_LL_VERBOSE, 77, -3, 0):
            assert cymongoose.log_set(level) is None
            assert cymongoose.log_get() == level
    finally:
        cymongoose.log_set(0)
    for wrong in ("1", None):
        with pytest.raises(TypeError):
            cymongoose.log_set(wrong)


LOGGING = """
import socket, cymongoose
from cymongoose import *
log_set({level})
with Manager(lambda conn, ev, data: None) as manager:
    port = manager.listen("http://127.0.0.1:0").local_addr[1]
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(b"garbage\\r\\n\\r\\n")
    manager.connect("tcp://127.0.0.1:1")
    for _ in range(20):
        manager.poll(2)
    client.close()
    for _ in range(5):
        manager.poll(2)
"""


def test_level_none_is_silent_whatever_happens():
    result = run_python(LOGGING.format(level=0))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_log_lines_go_to_stdout():
    result = run_python(LOGGING.format(level=4))
    assert result.returncode == 0
    assert result.stderr == ""
    assert result.stdout != ""
    assert result.stdout.endswith("\n")


def test_importing_leaves_the_logging_module_alone():
    assert "cymongoose" not in logging.root.manager.loggerDict


def test_millis_is_the_monotonic_clock():
    before = time.monotonic_ns() // 1_000_000
    now = cymongoose.millis()
    after = time.monotonic_ns() // 1_000_000
    assert type(now) is int and now > 0
    assert before - 1 <= now <= after + 1
    assert cymongoose.millis() >= now


def test_features_name_what_is_built_in():
    found = cymongoose.features()
    assert type(found) is str
    for each in found.split():
        assert re.fullmatch(r"[\w-]+/[\w.-]+", each), each
    with pytest.raises(TypeError):
        cymongoose.features(1)


# ==== classes ====

@pytest.mark.parametrize("cls", CLASSES)
def test_instances_can_be_made_without_arguments(cls):
    assert isinstance(cls(), cls)
    assert isinstance(cls.__new__(cls), cls)


@pytest.mark.parametrize("cls", CLASSES)
def test_classes_can_be_subclassed(cls):
    class Sub(cls):
        extra = "of the subclass"

        def more(self):
            return self.extra

    each = Sub()
    assert isinstance(each, cls)
    assert each.more() == "of the subclass"


@pytest.mark.parametrize("cls", CLASSES)
def test_equality_and_hash_are_by_identity(cls):
    first, second = cls(), cls()
    assert first == first
    assert first != second
    assert hash(first) == hash(first)
    assert len({first, second, first}) == 2


@pytest.mark.parametrize("cls", CLASSES)
def test_instances_have_no_dict(cls):
    each = cls()
    assert not hasattr(each, "__dict__")
    with pytest.raises(AttributeError):
        each.unknown_attribute = 1


@pytest.mark.parametrize("cls", CLASSES)
def test_instances_have_no_weak_references_and_no_pickle(cls):
    with pytest.raises(TypeError):
        weakref.ref(cls())
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(cls(), protocol)
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            duplicate(cls())


def test_bare_connection_behaves_as_closed():
    conn = Connection()
    assert repr(conn) == "<Connection closed>"
    assert conn.is_closing is True
    assert conn.is_listening is False
    assert conn.local_addr is None and conn.remote_addr is None
    assert conn.recv_data() == b"" and conn.send_data() == b"" and conn.recv() == b""
    with pytest.raises(RuntimeError, match="closed"):
        conn.send(b"x")
    conn.userdata = "mine"
    assert conn.userdata == "mine"
    conn.close()
    conn.drain()


def test_bare_message_is_invalid():
    for message in (HttpMessage(), HttpMessage.__new__(HttpMessage), _mongoose.HttpMessage()):
        assert bool(message) is False
        assert message.status() is None
        assert message.method == message.uri == message.query == message.proto == message.body_text == ""
        assert message.body_bytes == b""
        assert message.headers() == []
        assert message.header("Host") is None
        assert message.header("Host", "d") == "d"
        assert message.query_var("a") is None
        assert message.header_var("a", "b") is None


def test_bare_channel_is_closed():
    channel = EventChannel()
    assert (channel.subscriber_count, channel.skipped_count, channel.closed_count) == (0, 0, 0)
    with pytest.raises(RuntimeError, match="closed"):
        channel.publish("a", "b")
    with pytest.raises(RuntimeError, match="closed"):
        channel.subscribe(Connection())
    channel.unsubscribe(Connection())
    channel.close()


def test_bare_form_is_invalid():
    form, part = Form(), FormPart()
    assert bool(form) is False and bool(part) is False
    assert (form.parts, form.error, form.status, form.get("a")) == ((), None, 0, None)
    assert part.name == part.filename == part.content_type == part.text == ""
    assert (part.value, part.read(), part.size, part.is_file) == (b"", b"", 0, False)
    for call in (part.fileno, lambda: part.save("x")):
        with pytest.raises(ValueError, match="not valid"):
            call()


def test_origin_is_a_named_tuple():
    origin = Origin(("::1", 5, "http", "host:1", False))
    assert origin == ("::1", 5, "http", "host:1", False)
    assert (origin.client, origin.port, origin.scheme, origin.host, origin.is_forwarded) == tuple(origin)
    client, port, *_ = origin
    assert (client, port) == ("::1", 5)
    with pytest.raises(AttributeError):
        origin.client = "other"
    with pytest.raises(TypeError):
        Origin()


def test_bare_timer_has_ended():
    timer = Timer()
    assert timer.active is False
    timer.cancel()


# ==== the stubs against the run time ====

def stub(name):
    return ast.parse((PACKAGE / name).read_text())


STUB = stub("_mongoose.pyi")
STUB_CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
STUB_FUNCTIONS = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
STUB_TYPES = {"Handler", "Payload", "Headers", "Path"}  # exist for type checkers only
TUPLE_NAMES = {"n_fields", "n_sequence_fields", "n_unnamed_fields"}  # what each struct sequence has
SPECIAL = {"__init__", "__new__", "__enter__", "__exit__", "__bool__", "__repr__"}


def is_property(node):
    return any(isinstance(each, ast.Name) and each.id == "property" for each in node.decorator_list)


def is_setter(node):
    return any(isinstance(each, ast.Attribute) and each.attr == "setter" for each in node.decorator_list)


def stub_members(node):
    return {each.name: each for each in node.body if isinstance(each, ast.FunctionDef) and not is_setter(each)}


def stub_parameters(node):
    """[(name, kind, default)] of a stub's function; the default as Python value."""
    arguments, found = node.args, []
    plain = arguments.posonlyargs + arguments.args
    defaults = [None] * (len(plain) - len(arguments.defaults)) + arguments.defaults
    for index, (argument, default) in enumerate(zip(plain, defaults)):
        kind = "positional" if index < len(arguments.posonlyargs) else "any"
        found.append((argument.arg, kind, ast.literal_eval(default) if default else inspect.Parameter.empty))
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults):
        found.append((argument.arg, "keyword", ast.literal_eval(default) if default else inspect.Parameter.empty))
    return found


def runtime_parameters(function):
    kinds = {inspect.Parameter.POSITIONAL_ONLY: "positional", inspect.Parameter.POSITIONAL_OR_KEYWORD: "any",
             inspect.Parameter.KEYWORD_ONLY: "keyword"}
    return [(each.name, kinds[each.kind], each.default) for each in inspect.signature(function).parameters.values()]


def every_method():
    for class_name, node in STUB_CLASSES.items():
        for name, member in stub_members(node).items():
            if not is_property(member):
                yield pytest.param(class_name, name, member, id=f"{class_name}.{name}")


def test_stub_is_parsed_with_something_in_it():
    assert {cls.__name__ for cls in CLASSES} <= set(STUB_CLASSES)
    assert {"event_name", "millis"} <= set(STUB_FUNCTIONS)
    assert {"poll", "listen", "run", "__enter__"} <= set(stub_members(STUB_CLASSES["Manager"]))


def test_stub_of_the_package_exports_what_the_package_exports():
    tree = stub("__init__.pyi")
    imported = {alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom)
                for alias in node.names}
    assert imported - {"__version__"} == set(cymongoose.__all__)
    [listed] = [ast.literal_eval(node.value) for node in tree.body
                if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"]
    assert sorted(listed) == sorted(cymongoose.__all__)


def test_stub_of_the_extension_has_every_name_and_no_other():
    written = {node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign)} - STUB_TYPES
    written |= set(STUB_CLASSES) | set(STUB_FUNCTIONS)
    real = {name for name in vars(_mongoose) if not name.startswith("_")} | {"__version__"}
    assert written == real


@pytest.mark.parametrize("class_name", sorted(STUB_CLASSES))
def test_stub_has_every_member_and_no_other(class_name):
    cls = getattr(_mongoose, class_name)
    written = set(stub_members(STUB_CLASSES[class_name]))
    real = {name for name in vars(cls) if not name.startswith("_")} - TUPLE_NAMES
    assert {name for name in written if not name.startswith("_")} == real
    assert {name for name in written if name.startswith("_")} <= SPECIAL
    for name in written:
        assert hasattr(cls, name)


@pytest.mark.parametrize("class_name, name, node", every_method())
def test_stub_has_the_parameters_of_each_method(class_name, name, node):
    if name.startswith("__") and name != "__init__":
        return
    cls = getattr(_mongoose, class_name)
    real = runtime_parameters(cls if name == "__init__" else getattr(cls, name))
    written = stub_parameters(node)[1:]
    if name != "__init__":
        assert real[0][0] == "self"
        real = real[1:]
    assert written == real


@pytest.mark.parametrize("name", sorted(STUB_FUNCTIONS))
def test_stub_has_the_parameters_of_each_function(name):
    real = runtime_parameters(getattr(_mongoose, name))
    assert stub_parameters(STUB_FUNCTIONS[name]) == [each for each in real if each[0] != "module"]


@pytest.mark.parametrize("class_name, name, node", every_method())
def test_docstrings_of_methods_say_what_the_stub_says(class_name, name, node):
    cls = getattr(_mongoose, class_name)
    written = ast.get_docstring(node)
    if name.startswith("__") and written is None:
        return
    real = inspect.getdoc(getattr(cls, name))
    assert real and written
    assert " ".join(real.split()) == " ".join(written.split())


def test_docstrings_of_properties_say_what_the_stub_says():
    for class_name, node in STUB_CLASSES.items():
        for name, member in stub_members(node).items():
            if is_property(member):
                real = inspect.getdoc(getattr(getattr(_mongoose, class_name), name))
                assert real, f"{class_name}.{name}"
                assert " ".join(real.split()) == " ".join(ast.get_docstring(member).split()), f"{class_name}.{name}"


def test_properties_of_the_stub_are_properties():
    for class_name, node in STUB_CLASSES.items():
        setters = {each.name for each in node.body if isinstance(each, ast.FunctionDef) and is_setter(each)}
        for name, member in stub_members(node).items():
            if is_property(member):
                assert inspect.isdatadescriptor(getattr(getattr(_mongoose, class_name), name)), name
                if name not in setters and class_name != "Origin":
                    with pytest.raises(AttributeError):
                        setattr(getattr(_mongoose, class_name)(), name, None)


def test_classes_functions_and_modules_have_docstrings():
    for module in (cymongoose, _mongoose):
        assert inspect.getdoc(module)
    for name, node in {**STUB_CLASSES, **STUB_FUNCTIONS}.items():
        real = inspect.getdoc(getattr(_mongoose, name))
        assert real, name
        assert " ".join(real.split()) == " ".join(ast.get_docstring(node).split()), name


def test_extension_can_be_loaded_again_in_one_process():
    """Multi-phase initialisation: a second module object has types of its own, and both work."""
    spec = importlib.util.spec_from_file_location("cymongoose._mongoose", _mongoose.__file__)
    second = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(second)
    assert second.Manager is not Manager
    with second.Manager() as manager, Manager() as other:
        assert type(manager.listen("tcp://127.0.0.1:0")) is second.Connection
        assert type(other.listen("tcp://127.0.0.1:0")) is Connection
