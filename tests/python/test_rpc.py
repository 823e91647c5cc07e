# SPDX-License-Identifier: MIT
"""Rpc and RpcReq: who answers a call, with what, and what happens when nobody does."""
import gc
import json
import random

import pytest

from cymongoose import Rpc, RpcReq, json_get, json_get_long


def error(text):
    found = json.loads(text)
    return found["id"], found["error"]["code"], found["error"]["message"]


def rpc_with(**handlers):
    rpc = Rpc()
    for name, handler in handlers.items():
        rpc.add(name, handler)
    return rpc


# ==== what callers rely on ====

def test_ok():
    def add(req):
        req.ok(str(json_get_long(req.frame, "$.params[0]") + json_get_long(req.frame, "$.params[1]")))

    rpc = rpc_with(add=add)
    assert rpc.process('{"id":1,"method":"add","params":[1,2]}') == '{"id":1,"result":3}'
    assert rpc.process(b'{"id": "x" ,"method":"add","params":[1,2]}') == '{"id":"x","result":3}'
    assert rpc.process(frame='{"method":"add","params":[1,2]}') == ""


def test_err():
    rpc = rpc_with(fail=lambda req: req.err(code=-5, message='no "good"\n'))
    assert rpc.process('{"id":null,"method":"fail"}') == '{"id":null,"error":{"code":-5,"message":"no \\"good\\"\\n"}}'
    assert rpc.process('{"method":"fail"}') == ""


def test_nobody_answers():
    def boom(req):
        raise ValueError("boom é \ud800")

    def late(req):
        req.ok("1")
        raise ValueError("too late")

    rpc = rpc_with(silent=lambda req: None, boom=boom, late=late)
    assert error(rpc.process('{"id":1,"method":"nope"}')) == (1, -32601, "nope not found")
    assert error(rpc.process('{"id":1,"method":"silent"}')) == (1, -32603, "handler produced no response")
    assert error(rpc.process('{"id":1,"method":"boom"}')) == (1, -32603, "boom é ?")
    assert rpc.process('{"id":1,"method":"late"}') == '{"id":1,"result":1}'
    for method in ("nope", "silent", "boom"):
        assert rpc.process('{"method":"%s"}' % method) == ""


@pytest.mark.parametrize("frame, id", [
    ("", None), ("garbage", None), ('{"id":7}', 7), ('{"id":7,"method":1}', 7), ('{"id":7,"method":"a"', None), ("[]", None),
    ('[{"id":7,"method":"a"}]', None), ('{"id":7,"method":"a"} x', None), ('{"id":7,"method":"a",}', None), ("\0", None),
])
def test_what_is_no_call(frame, id):
    rpc = rpc_with(a=lambda req: req.ok("1"))
    assert error(rpc.process(frame)) == (id, -32700, frame)


def test_methods():
    rpc = Rpc()
    assert rpc.methods == []
    for name in ("a", "b", "", "a"):
        rpc.add(name, print)
    assert rpc.methods == ["a", "b", "a"]
    rpc.methods.clear()
    assert rpc.methods == ["a", "b", "a"]


def test_an_answered_and_an_expired_call():
    kept = []

    def handler(req):
        req.ok("1")
        for again in (lambda: req.ok("2"), lambda: req.err(1, "2")):
            with pytest.raises(RuntimeError, match="Response already sent"):
                again()
        kept.append(req)

    assert rpc_with(a=handler).process('{"id":1,"method":"a"}') == '{"id":1,"result":1}'
    for req in (kept[0], RpcReq()):
        assert req.frame == ""
        for again in (lambda: req.ok("2"), lambda: req.err(1, "2")):
            with pytest.raises(RuntimeError, match="RpcReq is no longer valid"):
                again()


# ==== who answers ====

def test_patterns_and_the_newest_first():
    rpc = Rpc()
    rpc.add("#", lambda req: req.ok('"any"'))
    rpc.add("fs.*", lambda req: req.ok('"fs"'))
    rpc.add("fs.read", lambda req: req.ok('"read"'))
    rpc.add("é?", lambda req: req.ok('"character"'))
    for method, answer in (("fs.read", "read"), ("fs.write", "fs"), ("fs.a/b", "any"), ("x", "any"), ("éü", "character"), ("", "any")):
        assert json.loads(rpc.process(json.dumps({"id": 1, "method": method})))["result"] == answer
    rpc.add("*" * 100 + "x", lambda req: req.ok('"many"'))
    assert json.loads(rpc.process('{"id":1,"method":"x"}'))["result"] == "many"


def test_replies_go_to_the_empty_name_and_are_not_answered():
    seen = []
    rpc = rpc_with(a=lambda req: req.ok("1"))
    assert rpc.process('{"id":1,"result":2}') == ""
    rpc.add("", lambda req: seen.append(req.frame))
    rpc.add("", lambda req: (seen.append(req.frame), req.ok("1")))
    for frame in ('{"id":1,"result":2}', '{"id":1,"error":{}}'):
        assert rpc.process(frame) == ""
    assert seen == ['{"id":1,"result":2}', '{"id":1,"error":{}}']
    assert error(rpc.process('{"id":1,"method":""}')) == (1, -32601, " not found")


def test_the_id_is_copied_as_it_is_written():
    rpc = rpc_with(a=lambda req: req.ok("1"))
    for text in ("1", "-1.50e2", '"x\\u0041"', "null", "[1, 2]", '{"a" : 1}', "123456789012345678901234567890"):
        assert rpc.process('{"method":"a","id":%s}' % text) == '{"id":%s,"result":1}' % text


def test_bytes_that_are_no_utf8():
    rpc = rpc_with(a=lambda req: req.ok(json.dumps(len(req.frame))))
    frame = b'{"id":1,"method":"a","x":"\xff"}'
    assert rpc.process(frame) == '{"id":1,"result":29}'
    assert rpc.process(frame.decode("utf-8", "surrogateescape")) == '{"id":1,"result":29}'
    assert error(rpc.process(b'{"id":1,"method":"\xff"}')) == (1, -32601, "\ufffd not found")
    assert error(rpc.process(b"\xff")) == (None, -32700, "\ufffd")


# ==== exceptions, arguments, lifetimes ====

def test_what_is_no_exception_leaves_process():
    class Stop(BaseException):
        pass

    def stop(req):
        kept.append(req)
        req.ok("1")
        raise Stop

    kept = []
    rpc = rpc_with(a=stop)
    with pytest.raises(Stop):
        rpc.process('{"id":1,"method":"a"}')
    with pytest.raises(RuntimeError):
        kept[0].ok("1")


def test_an_exception_that_cannot_say_anything():
    class Mute(Exception):
        def __str__(self):
            raise ValueError

    def boom(req):
        raise Mute

    assert error(rpc_with(a=boom).process('{"id":1,"method":"a"}'))[1:] == (-32603, "Mute")


def test_arguments_of_the_wrong_kind():
    rpc = Rpc()
    for wrong in (None, b"a", 5):
        with pytest.raises(TypeError):
            rpc.add(wrong, print)
    with pytest.raises(TypeError):
        rpc.add("a", None)
    with pytest.raises(UnicodeEncodeError):
        rpc.add("\ud800", print)
    assert rpc.methods == []
    for wrong in (None, 5):
        with pytest.raises(TypeError):
            rpc.process(wrong)

    def handler(req):
        for wrong in (None, b"1", 1):
            with pytest.raises(TypeError):
                req.ok(wrong)
            with pytest.raises(TypeError):
                req.err(1, wrong)
        for wrong in (None, "1"):
            with pytest.raises(TypeError):
                req.err(wrong, "x")
        with pytest.raises(OverflowError):
            req.err(2**63, "x")
        with pytest.raises(UnicodeEncodeError):
            req.ok("\ud800")
        req.err(-2**63, "x")

    rpc.add("a", handler)
    assert error(rpc.process('{"id":1,"method":"a"}')) == (1, -2**63, "x")


def test_a_call_inside_a_call_and_a_handler_that_adds_handlers():
    rpc = Rpc()

    def outer(req):
        rpc.add("outer", lambda req: req.ok('"new"'))
        rpc.add("inner", lambda req: req.ok('"inner"'))
        inner = rpc.process('{"id":2,"method":"inner"}')
        req.ok(json.dumps([inner, req.frame]))

    rpc.add("outer", outer)
    frame = '{"id":1,"method":"outer"}'
    assert json.loads(rpc.process(frame))["result"] == ['{"id":2,"result":"inner"}', frame]
    assert rpc.process(frame) == '{"id":1,"result":"new"}'


def test_a_circle_through_a_handler_is_collected():
    class Thing:
        alive = 0

        def __init__(self):
            Thing.alive += 1
            self.rpc = Rpc()
            self.rpc.add("a", self.handler)

        def __del__(self):
            Thing.alive -= 1

        def handler(self, req):
            req.ok("1")

    for _ in range(10):
        Thing().rpc.process('{"id":1,"method":"a"}')
    gc.collect()
    assert Thing.alive == 0


def test_random_frames_get_json_or_nothing():
    rng = random.Random(15)
    rpc = rpc_with(a=lambda req: req.ok(json_get(req.frame, "$.params") or "0"))
    whole = '{"id":1,"method":"a","params":[1,"é\\u0041"]}'
    for _ in range(5000):
        text = list(whole)
        for _ in range(rng.randrange(4)):
            text[rng.randrange(len(text))] = rng.choice('{}[]":,\\1ae\0 é')
        reply = rpc.process("".join(text))
        assert reply == "" or isinstance(json.loads(reply), dict)
