"""Moto as SQS, CloudWatch and STS, on a port of its own choice, which it prints. It ends when its standard input ends.

Queues that qdone 1.7 made have two stray characters behind their RedrivePolicy, which AWS takes and moto does not.
"""

import os
import sys
import threading

import moto.sqs.models
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

strict = moto.sqs.models.Queue._set_attributes


def lax(queue, attributes, now=None):
    policy = attributes.get("RedrivePolicy")
    if isinstance(policy, str):
        attributes["RedrivePolicy"] = policy.removesuffix("'}")
    return strict(queue, attributes, now)


def end_with_stdin():
    sys.stdin.buffer.read()
    os._exit(0)


moto.sqs.models.Queue._set_attributes = lax
threading.Thread(target=end_with_stdin, daemon=True).start()
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print(server.port, flush=True)
server.serve_forever()
