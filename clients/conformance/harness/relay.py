"""What does a program see whose connection loses every first answer? A relay in front of a server, for the Ingest service."""

import concurrent.futures
import queue
import threading

import grpc

from .client import OPTIONS
from .stubs import ingest_grpc

END = object()


class Relay(ingest_grpc.IngestServicer):
    """Passes everything on, but each batch must come twice: the answer that says that it is stored now gets lost.

    When an answer is lost the connection breaks, as soon as what was passed on by then is answered as well (these answers
    are lost, too). So each batch reaches the server exactly twice, however many are under way.
    """

    def __init__(self, address: str):
        self.channel = grpc.insecure_channel(address, options=OPTIONS)
        self.server_side = ingest_grpc.IngestStub(self.channel)
        self.n_broken = 0
        pool = concurrent.futures.ThreadPoolExecutor(8)
        self.grpc_server = grpc.server(pool, options=[*OPTIONS, ("grpc.so_reuseport", 0)])
        ingest_grpc.add_IngestServicer_to_server(self, self.grpc_server)
        port = self.grpc_server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"

    def __enter__(self):
        self.grpc_server.start()
        return self

    def __exit__(self, *_):
        self.grpc_server.stop(grace=None).wait()
        self.channel.close()

    def GetTableSchema(self, request, context):
        return passed_on(self.server_side.GetTableSchema, request, context)

    def InitProducer(self, request, context):
        return passed_on(self.server_side.InitProducer, request, context)

    def WriteStream(self, requests, context):
        way = OneWay(requests)
        responses = self.server_side.WriteStream(iter(way.passed.get, END))
        context.add_callback(responses.cancel)
        lost = False
        try:
            for response in responses:
                if response.WhichOneof("msg") == "result" and not response.result.repeated and not response.result.status.code:
                    lost = True
                    way.close()
                if not lost:
                    yield response
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())
        if lost:
            self.n_broken += 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")


class OneWay:
    """What a client sends, on its way to the server, until it is closed."""

    def __init__(self, requests):
        self.passed = queue.Queue()
        self.closed = False
        self.lock = threading.Lock()
        threading.Thread(target=self._run, args=(requests,), daemon=True).start()

    def _run(self, requests):
        try:
            for request in requests:
                with self.lock:
                    if self.closed:
                        return
                    self.passed.put(request)
        except grpc.RpcError:
            pass
        self.close()

    def close(self):
        with self.lock:
            if not self.closed:
                self.closed = True
                self.passed.put(END)


def passed_on(call, request, context):
    try:
        return call(request, timeout=60)
    except grpc.RpcError as error:
        context.set_trailing_metadata(error.trailing_metadata())
        context.abort(error.code(), error.details())
