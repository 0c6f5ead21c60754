"""Runs under the Python of `native_plc.native_python`: the C++ S7 server of python-snap7 2.0.2 with some data blocks.

Arguments: one JSON object: port, blocks (hex by DB number), pdu (0: as the client asks), counter ([DB, byte] or null),
tick (seconds), events (true prints every event as JSON), addresses (a server for each). It prints `ready`, then takes
commands on its standard input: `poke DB BYTE HEX` writes into a block, `cpu run` and `cpu stop` switch the CPU. It ends
when its input does.
"""

import contextlib
import ctypes
import json
import os
import sys
import threading
import time

from snap7.server import Server
from snap7.type import Parameter, SrvArea


def say(line):
    """Tell the parent at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def listen_for_commands(servers, memory):
    """Obey the parent; without it, end."""
    for line in sys.stdin:
        command, *words = line.split()
        if command == "poke":
            data = bytes.fromhex(words[2])
            memory[int(words[0])][int(words[1]) : int(words[1]) + len(data)] = data
        elif command == "cpu":
            for server in servers:
                server.set_cpu_status(8 if words[0] == "run" else 4)
        say("done")
    os._exit(0)


def print_events(server):
    """Print what clients did since the last time."""
    while event := server.pick_event():
        fields = {name: getattr(event, name) for name, _ in event._fields_}
        say(json.dumps({key: value for key, value in fields.items() if key != "EvtTime"}))


def serve(address, options, buffers):
    """A started server with the blocks."""
    server = Server(log=False)
    for number, buffer in buffers.items():
        server.register_area(SrvArea.DB, int(number), buffer)
    if options["pdu"]:
        server.set_param(Parameter.PDURequest, options["pdu"])
    server.start_to(address, options["port"])
    server.set_cpu_status(8)
    return server


def main():
    """Serve until told to end."""
    options = json.loads(sys.argv[1])
    buffers = {}
    memory = {}
    for number, text in options["blocks"].items():
        content = bytes.fromhex(text)
        buffers[number] = (ctypes.c_char * len(content)).from_buffer_copy(content)
        memory[int(number)] = memoryview(buffers[number]).cast("B")
    servers = [serve(address, options, buffers) for address in options["addresses"]]
    threading.Thread(target=listen_for_commands, args=(servers, memory), daemon=True).start()
    say("ready")
    due = time.monotonic()
    while True:
        due += options["tick"]
        time.sleep(max(0.0, due - time.monotonic()))
        if options["counter"]:
            db, byte = options["counter"]
            value = (int.from_bytes(memory[db][byte : byte + 2], "big") + 1) % 0x8000
            memory[db][byte : byte + 2] = value.to_bytes(2, "big")
        if options["events"]:
            for server in servers:
                print_events(server)


with contextlib.suppress(KeyboardInterrupt):
    main()
