"""A service over ONNX Runtime, as people write them: an endpoint, some files, a webhook.

    python service.py --model FILE --labels DIR --listen HOST:PORT

POST /classify {"values": [a, b, c, d], "callback": URL?}   the model's answer; sent on if asked
GET  /labels/NAME                                           a file that tells what classes mean
GET  /health                                                200 once the model is loaded

The last two are as careless as such code often is: NAME may climb out of the folder, and the
callback may be anywhere. That is what the tests attack.
"""

import argparse
import json
import os
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy
import onnxruntime

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--labels", required=True)
parser.add_argument("--listen", default="127.0.0.1:8000")
options = parser.parse_args()

quiet = onnxruntime.SessionOptions()
quiet.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(options.model, quiet, providers=["CPUExecutionProvider"])


class Service(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, {"status": "ok"})
        if self.path.startswith("/labels/"):
            name = os.path.join(options.labels, self.path.removeprefix("/labels/"))
            return self.attempt(lambda: {"label": open(name, encoding="utf-8").read()})
        self.answer(404, {"error": "no such route"})

    def do_POST(self):
        if self.path != "/classify":
            return self.answer(404, {"error": "no such route"})
        length = min(int(self.headers.get("content-length", "0")), 1 << 20)
        self.attempt(lambda: self.classify(json.loads(self.rfile.read(length))))

    def classify(self, asked):
        values = numpy.array([asked["values"]], dtype=numpy.float32)
        scores = session.run(None, {"values": values})[0][0].tolist()
        reply = {"class": int(numpy.argmax(scores)), "scores": scores}
        if "callback" in asked:
            body = json.dumps(reply).encode()
            urllib.request.urlopen(asked["callback"], body, timeout=5).read()
        return reply

    def attempt(self, work):
        try:
            self.answer(200, work())
        except Exception as error:  # whatever went wrong is the client's to know
            self.answer(400, {"error": str(error)})

    def answer(self, status, reply):
        body = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *args):
        print(form % args, flush=True)


host, port = options.listen.rsplit(":", 1)
HTTPServer((host, int(port)), Service).serve_forever()
