# SPDX-License-Identifier: MIT
"""One request to a server of the installed package: proof that a wheel holds what it must."""
import http.client
import os
import threading

import cymongoose


def handler(conn, ev, data):
    if ev == cymongoose.MG_EV_HTTP_MSG:
        conn.reply(200, "hello " + data.uri)


def ask(port, answers):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request("GET", "/wheel")
    response = client.getresponse()
    answers.append((response.status, response.read()))
    client.close()


def main():
    folder = os.path.dirname(cymongoose.__file__)
    if not os.path.exists(os.path.join(folder, "py.typed")):
        raise SystemExit("py.typed is missing in " + folder)

    answers = []
    with cymongoose.Manager(handler) as manager:
        listener = manager.listen("http://127.0.0.1:0")
        client = threading.Thread(target=ask, args=(listener.local_addr[1], answers))
        client.start()
        while client.is_alive():
            manager.poll(20)
    if answers != [(200, b"hello /wheel")]:
        raise SystemExit(f"unexpected answer: {answers}")
    print(f"cymongoose {cymongoose.__version__} from {folder} answers")


main()
