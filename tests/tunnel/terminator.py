"""Ends TLS on a machine's own 127.0.0.1 and passes on what was in it: terminator.py CERT KEY CLIENT_CA TO_PORT. Prints its port."""

import socket
import ssl
import sys
import threading


def pass_on(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(stream, context, port):
    try:
        inside = context.wrap_socket(stream, server_side=True)
    except OSError:
        stream.close()
        return
    fleetd = socket.create_connection(("127.0.0.1", port))
    threading.Thread(target=pass_on, args=(fleetd, inside), daemon=True).start()
    pass_on(inside, fleetd)


cert, key, clients, port = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
context.load_verify_locations(clients)
context.verify_mode = ssl.CERT_REQUIRED
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    stream, _ = listener.accept()
    threading.Thread(target=serve, args=(stream, context, int(port)), daemon=True).start()
